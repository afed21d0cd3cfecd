/// A message `io.prometheus.client.MetricFamily`, while its series are being added. Field numbers are those of Prometheus'
/// client_model.
struct MetricMessage {
  /// `io.prometheus.client.MetricType`
  private enum Kind: UInt64 {
    case counter = 0, gauge = 1, summary = 2, histogram = 4
  }

  private var bytes: [UInt8] = []
  /// Nanoseconds since 1970, for every series (`timestamp_ms`); nil: none.
  var time: UInt64?
  /// Since when counters and histograms have been counting, for series that are to say so.
  var start: UInt64?

  init(time: UInt64? = nil) { self.time = time }

  var isEmpty: Bool { bytes.isEmpty }

  /// The message so far.
  var content: [UInt8] { bytes }

  mutating func begin(_ family: MetricFamily, isSummary: Bool) {
    begin(family.name, family.help, family.kind, isSummary: isSummary)
  }

  mutating func begin(_ name: some Collection<UInt8>, _ help: StaticString, _ kind: MetricFamily.Kind, isSummary: Bool)
  {
    bytes.removeAll(keepingCapacity: true)
    bytes.append(field: 1, bytes: name)
    if help.utf8CodeUnitCount > 0 { bytes.append(field: 2, bytes: Bytes(help)) }
    let type: Kind =
      switch kind {
      case .counter: .counter
      case .gauge: .gauge
      case .histogram: isSummary ? .summary : .histogram
      }
    bytes.append(field: 3, varint: type.rawValue)
  }

  /// Adds the message to `output` behind its length, and begins anew.
  mutating func end(into output: inout [UInt8]) {
    output.append(varint: UInt64(bytes.count))
    output += bytes
    bytes.removeAll(keepingCapacity: true)
  }

  // MARK: Series

  /// A counter or a gauge.
  mutating func add(_ sample: MetricSample, _ kind: MetricFamily.Kind, exemplar: Exemplar? = nil) {
    add(sample.entry, sample.label, kind, value: Double(sample.value), exemplar: exemplar)
  }

  /// - Parameter names: what label names become; nil: they stay.
  mutating func add(
    _ entry: StatEntry, _ label: MetricSample.Label, _ kind: MetricFamily.Kind, value: Double,
    labels: LabelNames = .prometheus, exemplar: Exemplar? = nil
  ) {
    let (time, start) = (time, start)
    bytes.append(field: 4) { metric in
      metric.append(entry.labels, label, labels)
      metric.append(field: kind == .counter ? 3 : 2) { message in
        message.append(field: 1, double: value)
        guard kind == .counter else { return }
        if let exemplar { message.append(field: 2, exemplar, value: 1, scale: 1) }
        if let start { message.append(field: 3, timestamp: start) }
      }
      if let time { metric.append(field: 6, varint: time / 1_000_000) }
    }
  }

  /// A histogram with the bounds of the configuration.
  mutating func add(_ histogram: ShownHistogram, labels: LabelNames = .prometheus) {
    let (time, start) = (time, start)
    bytes.append(field: 4) { metric in
      metric.append(histogram.entry.labels, .none, labels)
      metric.append(field: 7) { message in
        message.append(field: 1, varint: histogram.snapshot.count)
        message.append(field: 2, double: Double(histogram.snapshot.sum) / Double(histogram.scale))
        histogram.forEachBucket { bound, total, exemplar in
          // What lies above the last bound is known from the count, unless it has more to say.
          guard bound != nil || exemplar != nil else { return }
          message.append(field: 3) { bucket in
            bucket.append(field: 1, varint: total)
            bucket.append(field: 2, double: bound ?? .infinity)
            if let exemplar {
              bucket.append(field: 3, exemplar, value: exemplar.value, scale: histogram.scale)
            }
          }
        }
        if let start { message.append(field: 15, timestamp: start) }
      }
      if let time { metric.append(field: 6, varint: time / 1_000_000) }
    }
  }

  /// The same by quantiles.
  mutating func addSummary(_ histogram: ShownHistogram, labels: LabelNames = .prometheus) {
    let (time, start) = (time, start)
    bytes.append(field: 4) { metric in
      metric.append(histogram.entry.labels, .none, labels)
      metric.append(field: 4) { message in
        message.append(field: 1, varint: histogram.snapshot.count)
        message.append(field: 2, double: Double(histogram.snapshot.sum) / Double(histogram.scale))
        for (_, percent) in StatsReport.quantiles {
          let value = histogram.snapshot.quantile(percent / 100).map { $0 / Double(histogram.scale) }
          message.append(field: 3) { quantile in
            quantile.append(field: 1, double: percent / 100)
            quantile.append(field: 2, double: value ?? .nan)
          }
        }
        if let start { message.append(field: 4, timestamp: start) }
      }
      if let time { metric.append(field: 6, varint: time / 1_000_000) }
    }
  }

  /// The same by Prometheus' own exponential buckets, 8 for each power of two (schema 3), the widest of which is a little
  /// wider than ours: each of our buckets goes where its middle lies.
  mutating func addNative(_ histogram: ShownHistogram) {
    let native = NativeBuckets(histogram)
    bytes.append(field: 4) { metric in
      metric.append(histogram.entry.labels, .none, .prometheus)
      metric.append(field: 7) { message in
        message.append(field: 1, varint: histogram.snapshot.count)
        message.append(field: 2, double: Double(histogram.snapshot.sum) / Double(histogram.scale))
        message.append(field: 5, varint: zigzag(Int64(NativeBuckets.schema)))
        message.append(field: 6, double: native.zeroThreshold)
        message.append(field: 7, varint: native.zeroCount)
        for span in native.spans {
          message.append(field: 12) { message in
            message.append(field: 1, varint: zigzag(Int64(span.offset)))
            message.append(field: 2, varint: UInt64(span.length))
          }
        }
        // A histogram without any buckets is told from one of the other kind by an empty span.
        if native.spans.isEmpty { message.append(field: 12, bytes: []) }
        var deltas: [UInt8] = []
        var last: Int64 = 0
        for count in native.counts {
          deltas.append(varint: zigzag(count &- last))
          last = count
        }
        if !deltas.isEmpty { message.append(field: 13, bytes: deltas) }
        for exemplar in histogram.exemplars {
          message.append(field: 16, exemplar, value: exemplar.value, scale: histogram.scale)
        }
      }
    }
  }
}

private func zigzag(_ number: Int64) -> UInt64 { UInt64(bitPattern: number << 1 ^ number >> 63) }

/// What the names of labels become.
enum LabelNames {
  /// `envoy_cluster_name`
  case prometheus
  /// Envoy's own: `envoy.cluster_name`
  case envoy
  /// There are none: they are part of the name.
  case none
}

extension [UInt8] {
  /// The `label`s of a `Metric`.
  fileprivate mutating func append(_ labels: [UInt8], _ label: MetricSample.Label, _ names: LabelNames) {
    LabelNames.forEach(labels, label, names) { name, value in
      append(field: 1) { pair in
        pair.append(field: 1, bytes: name)
        pair.append(field: 2, bytes: value)
      }
    }
  }

  fileprivate mutating func append(field: UInt8, timestamp nanoseconds: UInt64) {
    append(field: field) { message in
      message.append(field: 1, varint: nanoseconds / 1_000_000_000)
      message.append(field: 2, varint: nanoseconds % 1_000_000_000)
    }
  }

  fileprivate mutating func append(field: UInt8, _ exemplar: Exemplar, value: UInt64, scale: UInt64) {
    append(field: field) { message in
      var trace: [UInt8] = []
      trace.append(hex: exemplar.traceIDHigh)
      trace.append(hex: exemplar.traceIDLow)
      message.append(field: 1) { pair in
        pair.append(field: 1, bytes: Bytes("trace_id"))
        pair.append(field: 2, bytes: trace)
      }
      if exemplar.spanID != 0 {
        var span: [UInt8] = []
        span.append(hex: exemplar.spanID)
        message.append(field: 1) { pair in
          pair.append(field: 1, bytes: Bytes("span_id"))
          pair.append(field: 2, bytes: span)
        }
      }
      message.append(field: 2, double: Double(value) / Double(scale))
      message.append(field: 3, timestamp: exemplar.time)
    }
  }
}

extension LabelNames {
  private static let prefix = Array("envoy_".utf8)

  /// Calls `body` with each label: the one that a value has, then its entry's.
  static func forEach(
    _ labels: [UInt8], _ label: MetricSample.Label, _ names: LabelNames,
    _ body: (_ name: [UInt8], _ value: [UInt8]) -> Void
  ) {
    if names == .none { return }
    func spelled(_ name: some Collection<UInt8>) -> [UInt8] {
      guard names == .envoy, name.starts(with: prefix) else { return Array(name) }
      return Array("envoy.".utf8) + name.dropFirst(prefix.count)
    }
    switch label {
    case .none: break
    case .codeClass(let number): body(spelled("envoy_response_code_class".utf8), Array("\(number)".utf8))
    case .code(let code): body(spelled("envoy_response_code".utf8), Array("\(code)".utf8))
    }
    for (name, value) in LabelText(labels) { body(spelled(name), value) }
  }
}
