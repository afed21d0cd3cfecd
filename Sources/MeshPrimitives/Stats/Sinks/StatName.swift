// What sinks call a statistic: its full name, or Envoy's "tag-extracted" one, whose variable parts are tags.

extension StatEntry {
  private static let namespace = Array("envoy_".utf8)

  /// The scope's name without the parts that are labels, with a dot at its end: `cluster.` of `cluster.service1.`.
  var extractedPrefix: [UInt8] {
    if isLabelled || labels.isEmpty { return dottedPrefix }
    var rest = dottedPrefix
    // The longest first: a number may be a part of an address, too.
    for value in LabelText(labels).map(\.value).sorted(by: { $0.count > $1.count }) {
      let part = value + [0x2e]
      if let place = rest.place(of: part, after: 0x2e) ?? rest.place(of: part, after: 0x5f) {
        rest.removeSubrange(place..<place + part.count)
      }
    }
    // Prometheus' name is what the scope's maker says: where the two do not agree, that one counts.
    var shown = Self.namespace
    shown.append(metricName: rest)
    if shown.dropLast().elementsEqual(metricPrefix) { return rest }
    let known =
      metricPrefix.starts(with: Self.namespace) ? metricPrefix.dropFirst(Self.namespace.count) : metricPrefix[...]
    return known + [0x2e]
  }
}

extension [UInt8] {
  /// Where `part` stands, at the beginning or behind `separator`.
  fileprivate func place(of part: [UInt8], after separator: UInt8) -> Int? {
    guard !part.isEmpty, count >= part.count else { return nil }
    return (0...(count - part.count)).first { start in
      (start == 0 ? separator == 0x2e : self[start - 1] == separator)
        && self[start..<start + part.count].elementsEqual(part)
    }
  }
}

extension MetricSample {
  /// The name without scope and without the part that is a label: `upstream_rq_xx` of `upstream_rq_5xx`.
  var extractedName: [UInt8] {
    switch label {
    case .none: name
    // …_5xx
    case .codeClass: name.dropLast(3) + Array("xx".utf8)
    // …_503
    case .code: Array(name.dropLast(4))
    }
  }
}
