/// A block whose set is not known at compile time.
protocol StatSource: AnyObject, Sendable {
  func total(at index: Int) -> Int64
  func resetCounters()
}

extension StatBlock: StatSource {}

/// The names of a `StatSet`, shared by all its blocks.
final class StatTable: Sendable {
  struct Row: Sendable {
    let name: [UInt8]
    let kind: StatKind
    let help: StaticString
  }

  let rows: [Row]
  /// Indices of the rows in the order of their names.
  let sorted: [Int]

  init(definitions: [StatDefinition]) {
    let rows = definitions.map { Row(name: Array(Bytes($0.name)), kind: $0.kind, help: $0.help) }
    self.rows = rows
    sorted = rows.indices.sorted { rows[$0].name.lexicographicallyPrecedes(rows[$1].name) }
  }
}

/// One registered thing of a scope: a block, its response codes, or a histogram.
final class StatEntry: Sendable {
  enum Source: Sendable {
    case block(any StatSource, StatTable)
    case codes(ResponseCodeCounters, stem: [UInt8], ResponseCodeDetail)
    case histogram(LatencyHistogram, HistogramDefinition)
  }

  let prefix: String
  /// The prefix with a dot at its end: what the full names begin with.
  let dottedPrefix: [UInt8]
  let metricPrefix: [UInt8]
  /// `a="1",b="2"`, without braces.
  let labels: [UInt8]
  /// It is a series of a `LabelledFamily`: its labels are part of its name.
  let isLabelled: Bool
  let source: Source
  /// A histogram's bounds where it is shown by buckets, ascending, in the shown unit.
  let bounds: [Double]

  /// - Parameter neighbour: an entry of the same prefix and scope, whose texts are shared: there are several for each of
  ///   ten thousand clusters.
  init(
    prefix: String, prometheus: PrometheusScope, source: Source, bounds: [Double] = HistogramSnapshot.defaultBounds,
    neighbour: StatEntry? = nil
  ) {
    isLabelled = false
    if let neighbour, neighbour.isNamed(prometheus) {
      self.prefix = neighbour.prefix
      self.bounds = bounds
      dottedPrefix = neighbour.dottedPrefix
      metricPrefix = neighbour.metricPrefix
      labels = neighbour.labels
      self.source = source
      return
    }
    self.prefix = prefix
    self.bounds = bounds
    dottedPrefix = prefix.isEmpty ? [] : Array(prefix.utf8) + [0x2e]
    (metricPrefix, labels) = Self.texts(prometheus)
    self.source = source
  }

  /// - Parameter labels: as `LabelSet.text` has them.
  init(labelled labels: [UInt8], dottedPrefix: [UInt8], metricPrefix: [UInt8], source: Source, bounds: [Double]) {
    isLabelled = true
    prefix = ""
    self.dottedPrefix = dottedPrefix
    self.metricPrefix = metricPrefix
    self.labels = labels
    self.source = source
    self.bounds = bounds
  }

  private static func texts(_ prometheus: PrometheusScope) -> (metricPrefix: [UInt8], labels: [UInt8]) {
    var metric: [UInt8] = []
    metric.append(metricName: prometheus.metricPrefix.utf8)
    var labels: [UInt8] = []
    for (name, value) in prometheus.labels {
      if !labels.isEmpty { labels.append(0x2c) }
      labels.append(metricName: name.utf8)
      labels.append(0x3d)
      labels.append(labelValue: value.utf8)
    }
    return (metric, labels)
  }

  private func isNamed(_ prometheus: PrometheusScope) -> Bool {
    let texts = Self.texts(prometheus)
    return texts.metricPrefix == metricPrefix && texts.labels == labels
  }

  /// Entries of one scope follow each other in this order.
  var order: Int {
    switch source {
    case .block: 0
    case .codes: 1
    case .histogram: 2
    }
  }

  /// Equal for entries that have the same metrics: the same metric prefix and the same kind of source.
  var family: [UInt8] {
    switch source {
    case .block(_, let table):
      metricPrefix + [0x7c, UInt8(truncatingIfNeeded: table.rows.count)] + (table.rows.first?.name ?? [])
    case .codes(_, let stem, let detail): metricPrefix + [0x7d, detail.rawValue] + stem
    case .histogram(_, let definition): metricPrefix + [0x7e] + Array(Bytes(definition.name))
    }
  }

  /// The end of the run of entries from `start` whose names begin with the first one's prefix. Only within such a run
  /// can the names of different entries interleave.
  static func endOfGroup(_ entries: [StatEntry], from start: Int) -> Int {
    let root = entries[start].dottedPrefix
    var end = start + 1
    // The series of a family are as many as peers make them, and in order already.
    if entries[start].isLabelled { return end }
    while end < entries.count, entries[end].dottedPrefix.starts(with: root) { end += 1 }
    return end
  }
}

/// The counters and gauges of a group of entries, under their full names and sorted. Reused from group to group.
struct StatLines {
  private struct Line {
    let start: Int
    let end: Int
    let kind: StatKind
    let value: Int64
  }

  private var names: [UInt8] = []
  private var lines: [Line] = []

  /// Replaces the content by what `options` lets through of `group`.
  mutating func collect(_ group: ArraySlice<StatEntry>, options: StatsOptions) {
    names.removeAll(keepingCapacity: true)
    lines.removeAll(keepingCapacity: true)
    for entry in group {
      switch entry.source {
      case .block(let block, let table):
        for index in table.sorted {
          guard options.shows(table.rows[index].kind) else { continue }
          let value = block.total(at: index)
          if value == 0, options.usedOnly { continue }
          add(entry, table.rows[index].name, suffix: [], table.rows[index].kind, value, options)
        }
      case .codes(let counters, let stem, let detail):
        guard options.shows(.counter) else { continue }
        for (index, value) in counters.classTotals.enumerated() {
          if value == 0, options.usedOnly || !detail.contains(.always) { continue }
          add(entry, stem, suffix: [0x5f, 0x31 + UInt8(index), 0x78, 0x78], .counter, value, options)
        }
        if detail.contains(.completed) {
          let total = counters.total
          if total != 0 || (detail.contains(.always) && !options.usedOnly) {
            add(entry, stem, suffix: Array(Bytes("_completed")), .counter, total, options)
          }
        }
        guard detail.contains(.codes) else { continue }
        counters.forEachCode { code, value in
          var suffix: [UInt8] = [0x5f]
          suffix.append(decimal: UInt64(code))
          add(entry, stem, suffix: suffix, .counter, value, options)
        }
      case .histogram: continue
      }
    }
    guard group.count > 1 else { return }
    names.withUnsafeBufferPointer { names in
      lines.sort { a, b in
        names[a.start..<a.end].lexicographicallyPrecedes(names[b.start..<b.end])
      }
    }
  }

  private mutating func add(
    _ entry: StatEntry, _ name: [UInt8], suffix: [UInt8], _ kind: StatKind, _ value: Int64, _ options: StatsOptions
  ) {
    let start = names.count
    names += entry.dottedPrefix
    names += name
    names += suffix
    if entry.isLabelled { names.append(labelsInName: entry.labels) }
    let end = names.count
    if !names.withUnsafeBufferPointer({ options.shows(name: $0.slice(start, end - start)) }) {
      names.removeSubrange(start...)
      return
    }
    lines.append(Line(start: start, end: end, kind: kind, value: value))
  }

  func visit(_ body: (_ name: Bytes, _ kind: StatKind, _ value: Int64) -> Void) {
    names.withUnsafeBufferPointer { names in
      for line in lines { body(names.slice(line.start, line.end - line.start), line.kind, line.value) }
    }
  }
}
