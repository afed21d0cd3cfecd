/// The statistics as text, written in portions, so that a scrape of many clusters does not hold up the thread that
/// answers it. The set of statistics is that of the moment the report was made; each value is read when it is written.
public struct StatsReport {
  /// The three shapes Envoy's admin interface knows.
  public enum Format: Sendable {
    case text, json, prometheus
  }

  let options: StatsOptions
  let entries: [StatEntry]
  let format: Format
  private var phase = Phase.values
  /// How far the phase has come: an index into `entries` (text, JSON) or `families` (Prometheus).
  private var position = 0
  /// Prometheus: the metric within the family, and the entry within the metric.
  private var metric = 0
  private var member = 0
  private let families: [[StatEntry]]
  private var lines = StatLines()
  var first = true
  private var typeWritten = false

  private enum Phase {
    case values, histograms, end
  }

  public init(_ store: StatsStore, _ format: Format, options: StatsOptions = StatsOptions()) {
    self.format = format
    var options = options
    options.rule = store.rules.shows
    self.options = options
    entries = format == .prometheus ? [] : store.entries()
    families = format == .prometheus ? store.families() : []
  }

  /// Statistics looked at in one portion: a filter that lets little through must not hold the thread either.
  static let portion = 8_192

  /// Adds the next portion to `output`: until `softLimit` bytes were added, or enough statistics were looked at and
  /// left out.
  /// - Returns: whether there is more.
  public mutating func write(into output: inout [UInt8], softLimit: Int = 64 * 1_024) -> Bool {
    let start = output.count
    // A turn is one sample for Prometheus, and a scope of some dozen statistics otherwise.
    var turns = format == .prometheus ? Self.portion : Self.portion / 32
    while phase != .end {
      if format == .prometheus { writePrometheus(into: &output) } else { writeGroup(into: &output) }
      turns -= 1
      if output.count - start >= softLimit || turns == 0 { break }
    }
    return phase != .end
  }

  // MARK: Text and JSON

  private mutating func writeGroup(into output: inout [UInt8]) {
    if format == .json, phase == .values, position == 0, first { output.append("{\"stats\":[") }
    guard position < entries.count else { return endPhase(into: &output) }
    let end = StatEntry.endOfGroup(entries, from: position)
    if phase == .values {
      lines.collect(entries[position..<end], options: options)
      var first = first
      lines.visit { name, _, value in
        if format == .text {
          output.append(contentsOf: name)
          output.append(": ")
          output.append(decimal: value)
          output.append(0x0a)
        } else {
          if !first { output.append(0x2c) }
          output.append("{\"name\":")
          output.append(jsonString: name)
          output.append(",\"value\":")
          output.append(decimal: value)
          output.append(0x7d)
        }
        first = false
      }
      self.first = first
    } else {
      writeHistograms(of: entries[position..<end], into: &output)
    }
    position = end
  }

  private mutating func endPhase(into output: inout [UInt8]) {
    position = 0
    if phase == .values {
      phase = .histograms
      guard format == .json else { return }
      if !first { output.append(0x2c) }
      beginHistograms(into: &output)
      first = true
    } else {
      phase = .end
      if format == .json { endHistograms(into: &output) }
    }
  }

  // MARK: Prometheus

  /// Writes one sample (for a histogram: its samples), or moves on to the next metric.
  private mutating func writePrometheus(into output: inout [UInt8]) {
    guard position < families.count, let example = families[position].first else {
      phase = .end
      return
    }
    let metrics =
      switch example.source {
      case .block(_, let table): table.rows.count
      case .codes: 3
      case .histogram: 1
      }
    guard metric < metrics else {
      position += 1
      metric = 0
      return
    }
    guard member < families[position].count else {
      metric += 1
      member = 0
      typeWritten = false
      return
    }
    let entry = families[position][member]
    member += 1
    switch entry.source {
    case .block(let block, let table):
      let value = block.total(at: metric)
      let row = table.rows[metric]
      guard options.shows(row.kind), shows(entry, row.name, value) else { return }
      writeType(entry, row.name, row.kind == .counter ? "counter" : "gauge", into: &output)
      writeSample(entry, row.name, suffix: "", label: [], value, into: &output)
    case .codes(let counters, let stem, let detail):
      guard options.shows(.counter) else { return }
      if metric == 0 {
        for (index, value) in counters.classTotals.enumerated() {
          if value == 0, !detail.contains(.always) { continue }
          guard shows(entry, stem + [0x5f, 0x31 + UInt8(index), 0x78, 0x78], value) else { continue }
          writeType(entry, stem + [0x5f, 0x78, 0x78], "counter", into: &output)
          let label = Array("envoy_response_code_class=\"\(index + 1)\"".utf8)
          writeSample(entry, stem, suffix: "_xx", label: label, value, into: &output)
        }
      } else if metric == 1 {
        guard detail.contains(.completed) else { return }
        let name = stem + Array(Bytes("_completed"))
        let value = counters.total
        guard value != 0 || detail.contains(.always), shows(entry, name, value) else { return }
        writeType(entry, name, "counter", into: &output)
        writeSample(entry, name, suffix: "", label: [], value, into: &output)
      } else {
        guard detail.contains(.codes) else { return }
        counters.forEachCode { code, value in
          let digits = Array("\(code)".utf8)
          guard shows(entry, stem + [0x5f] + digits, value) else { return }
          writeType(entry, stem, "counter", into: &output)
          let label = Array("envoy_response_code=\"\(code)\"".utf8)
          writeSample(entry, stem, suffix: "", label: label, value, into: &output)
        }
      }
    case .histogram(let histogram, let definition):
      let snapshot = histogram.snapshot()
      let name = Array(Bytes(definition.name))
      guard options.kinds.contains(.histograms), shows(entry, name, Int64(clamping: snapshot.count)) else { return }
      writeType(entry, name, "histogram", into: &output)
      writeHistogram(entry, name, snapshot, scale: definition.scale, into: &output)
    }
  }

  private func writeHistogram(
    _ entry: StatEntry, _ name: [UInt8], _ snapshot: HistogramSnapshot, scale: UInt64, into output: inout [UInt8]
  ) {
    let bounds = entry.bounds
    let totals = snapshot.cumulative(bucketsLE: bounds.map { $0 * Double(scale) })
    for (bound, total) in zip(bounds, totals) {
      var label = Array("le=\"".utf8)
      label.append(bound, scale: 1)
      label.append(0x22)
      writeSample(entry, name, suffix: "_bucket", label: label, labelLast: true, Int64(clamping: total), into: &output)
    }
    let count = Int64(clamping: snapshot.count)
    writeSample(
      entry, name, suffix: "_bucket", label: Array("le=\"+Inf\"".utf8), labelLast: true, count, into: &output)
    writeName(entry, name, "_sum", into: &output)
    output.append(0x7b)
    output += entry.labels
    output.append("} ")
    output.append(Double(snapshot.sum), scale: scale)
    output.append(0x0a)
    writeSample(entry, name, suffix: "_count", label: [], count, into: &output)
  }

  private func shows(_ entry: StatEntry, _ name: [UInt8], _ value: Int64) -> Bool {
    if value == 0, options.usedOnly { return false }
    if options.showsEveryName { return true }
    return entry.fullName(name).withUnsafeBufferPointer { options.shows(name: $0) }
  }

  private mutating func writeType(
    _ entry: StatEntry, _ name: [UInt8], _ type: StaticString, into output: inout [UInt8]
  ) {
    guard !typeWritten else { return }
    typeWritten = true
    output.append("# TYPE ")
    writeName(entry, name, "", into: &output)
    output.append(0x20)
    output.append(type)
    output.append(0x0a)
  }

  private func writeName(_ entry: StatEntry, _ name: [UInt8], _ suffix: StaticString, into output: inout [UInt8]) {
    output += entry.metricPrefix
    output.append(0x5f)
    output.append(metricName: name)
    output.append(suffix)
  }

  private func writeSample(
    _ entry: StatEntry, _ name: [UInt8], suffix: StaticString, label: [UInt8], labelLast: Bool = false, _ value: Int64,
    into output: inout [UInt8]
  ) {
    writeName(entry, name, suffix, into: &output)
    output.append(0x7b)
    let (first, second) = labelLast ? (entry.labels, label) : (label, entry.labels)
    output += first
    if !first.isEmpty, !second.isEmpty { output.append(0x2c) }
    output += second
    output.append("} ")
    output.append(decimal: value)
    output.append(0x0a)
  }
}
