/// The statistics as text, written in portions, so that a scrape of many clusters does not hold up the thread that
/// answers it. The set of statistics is that of the moment the report was made; each value is read when it is written.
public struct StatsReport {
  /// The shapes that Envoy's admin interface knows beside Prometheus' (`MetricsReport`).
  public enum Format: Sendable {
    case text, json
  }

  let options: StatsOptions
  let entries: [StatEntry]
  let format: Format
  private var phase = Phase.values
  /// How far the phase has come: an index into `entries`.
  private var position = 0
  private var lines = StatLines()
  var first = true

  private enum Phase {
    case values, histograms, end
  }

  public init(_ store: StatsStore, _ format: Format, options: StatsOptions = StatsOptions()) {
    self.format = format
    var options = options
    options.rule = store.rules.shows
    self.options = options
    entries = store.entries()
  }

  /// Statistics looked at in one portion: a filter that lets little through must not hold the thread either.
  static let portion = 8_192

  /// Adds the next portion to `output`: until `softLimit` bytes were added, or enough statistics were looked at and
  /// left out.
  /// - Returns: whether there is more.
  public mutating func write(into output: inout [UInt8], softLimit: Int = 64 * 1_024) -> Bool {
    let start = output.count
    // A turn is a scope of some dozen statistics.
    var turns = Self.portion / 32
    while phase != .end {
      writeGroup(into: &output)
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
}
