/// The statistics for Prometheus, written in portions, so that a scrape of many clusters does not hold up the thread that
/// answers it. The set of series is that of the moment the report was made; each value is read when it is written.
public struct MetricsReport {
  /// How metrics are written.
  public enum Exposition: Sendable {
    /// Text exposition format 0.0.4, as Envoy writes it, with `# HELP`.
    case text
    /// OpenMetrics 1.0, with exemplars.
    case openMetrics
    /// Messages of `io.prometheus.client`, each behind its length, with exemplars.
    case protobuf
  }

  /// How histograms are shown.
  public enum Histograms: Sendable {
    /// By the buckets of the configuration.
    case buckets
    /// By quantiles.
    case quantiles
    /// By Prometheus' own buckets, of which there are 8 for each power of two; with `Exposition.protobuf` only.
    case native
  }

  let options: StatsOptions
  let exposition: Exposition
  let histograms: Histograms
  private var walk: MetricWalk
  private var hasHead = false
  private var isOver = false
  /// Of counters that have a histogram beside them.
  private let requests: RequestExemplars
  /// Exemplars from before the last reset show nothing that is counted.
  private let since: UInt64
  /// The family that is being written, where its length has to be known first.
  var message = MetricMessage()

  public init(
    _ store: StatsStore, _ exposition: Exposition = .text, histograms: Histograms = .buckets,
    options: StatsOptions = StatsOptions()
  ) {
    self.exposition = exposition
    self.histograms = histograms == .native && exposition != .protobuf ? .buckets : histograms
    var options = options
    options.rule = store.rules.shows
    self.options = options
    walk = MetricWalk(store)
    since = store.countsSince
    requests = exposition == .text ? RequestExemplars() : RequestExemplars(walk.families, since: since)
  }

  /// Adds the next portion to `output`: until `softLimit` bytes were added, or enough series were looked at and left out.
  /// - Returns: whether there is more.
  public mutating func write(into output: inout [UInt8], softLimit: Int = 64 * 1_024) -> Bool {
    let start = output.count
    var turns = StatsReport.portion
    while !isOver {
      switch walk.next() {
      case nil:
        if exposition == .openMetrics { output.append("# EOF\n") }
        isOver = true
      case .endOfFamily: endFamily(into: &output)
      case .entry(let family, let item, let entry):
        if case .histogram(let histogram, let definition) = entry.source {
          writeHistogram(family, entry, histogram, definition, into: &output)
        } else {
          writeSamples(family, item, entry, into: &output)
        }
      }
      turns -= 1
      if output.count - start >= softLimit || turns <= 0 { break }
    }
    return !isOver
  }

  private func shows(_ entry: StatEntry, _ name: [UInt8], isZero: Bool) -> Bool {
    if isZero, options.usedOnly { return false }
    if options.showsEveryName { return true }
    return entry.fullName(name).withUnsafeBufferPointer { options.shows(name: $0) }
  }

  private mutating func writeSamples(
    _ family: MetricFamily, _ item: MetricFamily.Item, _ entry: StatEntry, into output: inout [UInt8]
  ) {
    guard options.kinds.contains(family.kind == .counter ? .counters : .gauges) else { return }
    let exemplar = requests.isEmpty ? nil : requests.newest(of: family, entry)
    entry.visit(item) { sample in
      guard shows(entry, sample.name, isZero: sample.value == 0) else { return }
      beginFamily(family, into: &output)
      if exposition == .protobuf {
        message.add(sample, family.kind, exemplar: exemplar)
        return
      }
      output += family.name
      output.append(0x7b)
      output.append(labels: entry.labels, sample.label)
      output.append("} ")
      output.append(decimal: sample.value)
      if let exemplar, exposition == .openMetrics { output.append(exemplar, value: 1, scale: 1) }
      output.append(0x0a)
    }
  }

  private mutating func writeHistogram(
    _ family: MetricFamily, _ entry: StatEntry, _ histogram: LatencyHistogram, _ definition: HistogramDefinition,
    into output: inout [UInt8]
  ) {
    guard options.kinds.contains(.histograms) else { return }
    let snapshot = histogram.snapshot()
    guard shows(entry, Array(Bytes(definition.name)), isZero: snapshot.count == 0) else { return }
    beginFamily(family, into: &output)
    let exemplars = exposition == .text ? [] : histogram.exemplars.filter { $0.time >= since }
    let shown = ShownHistogram(entry: entry, snapshot: snapshot, scale: definition.scale, exemplars: exemplars)
    switch (exposition, histograms) {
    case (.protobuf, .buckets): message.add(shown)
    case (.protobuf, .quantiles): message.addSummary(shown)
    case (.protobuf, .native): message.addNative(shown)
    case (_, .quantiles): writeQuantiles(family, shown, into: &output)
    default: writeBuckets(family, shown, into: &output)
    }
  }

  // MARK: Families

  private mutating func beginFamily(_ family: MetricFamily, into output: inout [UInt8]) {
    guard !hasHead else { return }
    hasHead = true
    let isSummary = family.kind == .histogram && histograms == .quantiles
    if exposition == .protobuf { return message.begin(family, isSummary: isSummary) }
    let name = exposition == .openMetrics ? family.openName : family.name[...]
    if family.help.utf8CodeUnitCount > 0 {
      output.append("# HELP ")
      output += name
      output.append(0x20)
      output.append(family.help)
      output.append(0x0a)
    }
    output.append("# TYPE ")
    output += name
    switch family.kind {
    case .counter where exposition == .openMetrics && !family.isOpenCounter: output.append(" unknown\n")
    case .counter: output.append(" counter\n")
    case .gauge: output.append(" gauge\n")
    case .histogram: output.append(isSummary ? " summary\n" : " histogram\n")
    }
    guard exposition == .openMetrics, let unit = Self.unit(of: name) else { return }
    output.append("# UNIT ")
    output += name
    output.append(0x20)
    output.append(unit)
    output.append(0x0a)
  }

  private static let units: [(suffix: [UInt8], unit: StaticString)] = [
    (Array("_bytes".utf8), "bytes"), (Array("_seconds".utf8), "seconds"),
    (Array("_milliseconds".utf8), "milliseconds"), (Array("_ms".utf8), "ms"),
  ]

  /// OpenMetrics: the unit that a name ends with.
  private static func unit(of name: ArraySlice<UInt8>) -> StaticString? {
    units.first { name.suffix($0.suffix.count).elementsEqual($0.suffix) }?.unit
  }

  private mutating func endFamily(into output: inout [UInt8]) {
    guard hasHead else { return }
    hasHead = false
    if exposition == .protobuf { message.end(into: &output) }
  }

  // MARK: Histograms as text

  private func writeBuckets(_ family: MetricFamily, _ histogram: ShownHistogram, into output: inout [UInt8]) {
    let isOpen = exposition == .openMetrics
    histogram.forEachBucket { bound, total, exemplar in
      writeName(family, "_bucket", histogram, into: &output)
      output.append("le=\"")
      // OpenMetrics spells numbers as Go does.
      if let bound { output.append(bound, isCanonical: isOpen) } else { output.append("+Inf") }
      output.append("\"} ")
      output.append(decimal: total)
      if isOpen, let exemplar { output.append(exemplar, value: exemplar.value, scale: histogram.scale) }
      output.append(0x0a)
    }
    writeSumAndCount(family, histogram, into: &output)
  }

  private func writeQuantiles(_ family: MetricFamily, _ histogram: ShownHistogram, into output: inout [UInt8]) {
    for (_, percent) in StatsReport.quantiles {
      writeName(family, "", histogram, into: &output)
      output.append("quantile=\"")
      output.append(percent / 100, isCanonical: exposition == .openMetrics)
      output.append("\"} ")
      if let value = histogram.snapshot.quantile(percent / 100) {
        output.append(value, scale: histogram.scale)
      } else {
        output.append("NaN")
      }
      output.append(0x0a)
    }
    writeSumAndCount(family, histogram, into: &output)
  }

  /// A name and the beginning of its labels, with room for one more.
  private func writeName(
    _ family: MetricFamily, _ suffix: StaticString, _ histogram: ShownHistogram, into output: inout [UInt8]
  ) {
    output += family.name
    output.append(suffix)
    output.append(0x7b)
    output += histogram.entry.labels
    if !histogram.entry.labels.isEmpty { output.append(0x2c) }
  }

  private func writeSumAndCount(_ family: MetricFamily, _ histogram: ShownHistogram, into output: inout [UInt8]) {
    output += family.name
    output.append("_sum{")
    output += histogram.entry.labels
    output.append("} ")
    output.append(Double(histogram.snapshot.sum), scale: histogram.scale)
    output.append(0x0a)
    output += family.name
    output.append("_count{")
    output += histogram.entry.labels
    output.append("} ")
    output.append(decimal: histogram.snapshot.count)
    output.append(0x0a)
  }
}

/// A histogram as it is shown.
struct ShownHistogram {
  let entry: StatEntry
  let snapshot: HistogramSnapshot
  let scale: UInt64
  let exemplars: [Exemplar]

  /// Calls `body` with each bound in the shown unit (nil: infinity), the values up to it, and the newest exemplar of those
  /// above the bound before.
  func forEachBucket(_ body: (_ bound: Double?, _ total: UInt64, _ exemplar: Exemplar?) -> Void) {
    let bounds = entry.bounds
    let totals = snapshot.cumulative(bucketsLE: bounds.map { $0 * Double(scale) })
    var low = -1.0
    for (bound, total) in zip(bounds, totals) {
      let high = bound * Double(scale)
      body(bound, total, exemplars.isEmpty ? nil : exemplars.newest(above: low, upTo: high))
      low = high
    }
    body(nil, snapshot.count, exemplars.isEmpty ? nil : exemplars.newest(above: low, upTo: .infinity))
  }
}

/// Exemplars of counters: of requests, which have a histogram of their times beside them.
struct RequestExemplars {
  private static let pairs: [(counter: [UInt8], histogram: [UInt8])] = [
    (Array("downstream_rq_total".utf8), Array("downstream_rq_time".utf8)),
    (Array("_requests_total".utf8), Array("_request_duration_milliseconds".utf8)),
  ]

  /// By the name of the counter's family and the labels.
  private var newest: [[UInt8]: Exemplar] = [:]

  init() {}

  init(_ families: [MetricFamily], since: UInt64) {
    for family in families where family.kind == .histogram {
      guard let pair = Self.pairs.first(where: { family.name.hasEnd($0.histogram) }) else { continue }
      let counter = family.name.dropLast(pair.histogram.count) + pair.counter
      for entry in family.parts.lazy.flatMap(\.members) {
        guard case .histogram(let histogram, _) = entry.source else { continue }
        guard let exemplar = histogram.exemplars.max(by: { $0.time < $1.time }), exemplar.time >= since else {
          continue
        }
        newest[counter + entry.labels] = exemplar
      }
    }
  }

  var isEmpty: Bool { newest.isEmpty }

  func newest(of family: MetricFamily, _ entry: StatEntry) -> Exemplar? {
    guard family.isOpenCounter else { return nil }
    return newest[family.name + entry.labels]
  }
}
