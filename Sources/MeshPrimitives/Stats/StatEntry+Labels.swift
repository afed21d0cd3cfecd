extension StatEntry {
  /// A series of a labelled family.
  convenience init(_ labels: LabelSet, of family: LabelledFamily, _ source: Source) {
    self.init(
      labelled: labels.text, dottedPrefix: family.dottedPrefix, metricPrefix: family.metricPrefix, source: source,
      bounds: family.shownBounds)
  }

  /// The full name of one of its statistics, which Envoy gives the labels of the series to: `prefix.name.a.1.b.2`.
  func fullName(_ name: [UInt8]) -> [UInt8] {
    var full = dottedPrefix + name
    if isLabelled { full.append(labelsInName: labels) }
    return full
  }
}
