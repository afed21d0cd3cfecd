// Histograms as text and JSON. Envoy shows each number twice, for the last interval and since the start. There are no
// intervals here: their quantiles are `nan` or null, their buckets empty.

extension StatsReport {
  static let quantiles: [(label: StaticString, percent: Double)] = [
    ("P0", 0), ("P25", 25), ("P50", 50), ("P75", 75), ("P90", 90), ("P95", 95), ("P99", 99), ("P99.5", 99.5),
    ("P99.9", 99.9), ("P100", 100),
  ]

  private struct Histogram {
    let name: [UInt8]
    let snapshot: HistogramSnapshot
    let scale: UInt64
    let bounds: [Double]

    /// How many records each bound has, as `options` say.
    func totals(_ style: StatsOptions.Histograms) -> [UInt64] {
      let cumulative = snapshot.cumulative(bucketsLE: bounds.map { $0 * Double(scale) })
      guard style == .disjoint else { return cumulative }
      return cumulative.indices.map { $0 == 0 ? cumulative[0] : cumulative[$0] &- cumulative[$0 - 1] }
    }
  }

  /// What stands before the histograms of a JSON report.
  func beginHistograms(into output: inout [UInt8]) {
    switch options.histograms {
    case .summary, .detailed:
      let isSummary = options.histograms == .summary
      output.append(
        isSummary ? "{\"histograms\":{\"supported_quantiles\":[" : "{\"histograms\":{\"supported_percentiles\":[")
      for (index, quantile) in Self.quantiles.enumerated() {
        if index > 0 { output.append(0x2c) }
        output.append(quantile.percent, scale: 1)
      }
      output.append(isSummary ? "],\"computed_quantiles\":[" : "],\"details\":[")
    case .cumulative, .disjoint:
      output.append("{\"histograms\":[")
    }
  }

  func endHistograms(into output: inout [UInt8]) {
    switch options.histograms {
    case .summary, .detailed: output.append("]}}]}")
    case .cumulative, .disjoint: output.append("]}]}")
    }
  }

  mutating func writeHistograms(of group: ArraySlice<StatEntry>, into output: inout [UInt8]) {
    var found: [Histogram] = []
    for entry in group {
      guard options.kinds.contains(.histograms), case .histogram(let histogram, let definition) = entry.source else {
        continue
      }
      let name = entry.fullName(Array(Bytes(definition.name)))
      let snapshot = histogram.snapshot()
      if snapshot.count == 0, options.usedOnly { continue }
      if !name.withUnsafeBufferPointer({ options.shows(name: $0) }) { continue }
      found.append(Histogram(name: name, snapshot: snapshot, scale: definition.scale, bounds: entry.bounds))
    }
    found.sort { $0.name.lexicographicallyPrecedes($1.name) }
    for histogram in found {
      if format == .text {
        writeText(histogram, into: &output)
      } else {
        if !first { output.append(0x2c) }
        first = false
        writeJSON(histogram, into: &output)
      }
    }
  }

  // MARK: Text

  private func writeText(_ histogram: Histogram, into output: inout [UInt8]) {
    output.append(contentsOf: histogram.name)
    if histogram.snapshot.count == 0 { return output.append(": No recorded values\n") }
    switch options.histograms {
    case .summary:
      output.append(": ")
      writeQuantiles(histogram, into: &output)
    case .cumulative, .disjoint:
      output.append(":")
      for (bound, total) in zip(histogram.bounds, histogram.totals(options.histograms)) {
        output.append(" B")
        output.append(bound, scale: 1)
        output.append("(0,")
        output.append(decimal: total)
        output.append(0x29)
      }
    case .detailed:
      output.append(":\n  totals=")
      for (index, bucket) in histogram.snapshot.buckets.enumerated() {
        if index > 0 { output.append(", ") }
        output.append(Double(bucket.low), scale: histogram.scale)
        output.append(0x2c)
        output.append(Double(bucket.end - bucket.low), scale: histogram.scale)
        output.append(0x3a)
        output.append(decimal: bucket.count)
      }
      output.append("\n  intervals=\n  summary=")
      writeQuantiles(histogram, into: &output)
    }
    output.append(0x0a)
  }

  private func writeQuantiles(_ histogram: Histogram, into output: inout [UInt8]) {
    for (index, quantile) in Self.quantiles.enumerated() {
      if index > 0 { output.append(0x20) }
      output.append(quantile.label)
      output.append("(nan,")
      output.append(histogram.snapshot.quantile(quantile.percent / 100) ?? 0, scale: histogram.scale)
      output.append(0x29)
    }
  }

  // MARK: JSON

  private func writeJSON(_ histogram: Histogram, into output: inout [UInt8]) {
    output.append("{\"name\":")
    output.append(jsonString: histogram.name)
    switch options.histograms {
    case .summary:
      output.append(",\"values\":[")
      writeQuantilesJSON(histogram, into: &output)
    case .cumulative, .disjoint:
      output.append(",\"buckets\":[")
      for (index, (bound, total)) in zip(histogram.bounds, histogram.totals(options.histograms)).enumerated() {
        output.append(index > 0 ? ",{\"upper_bound\":" : "{\"upper_bound\":")
        output.append(bound, scale: 1)
        output.append(",\"interval\":0,\"cumulative\":")
        output.append(decimal: total)
        output.append(0x7d)
      }
    case .detailed:
      output.append(",\"totals\":[")
      for (index, bucket) in histogram.snapshot.buckets.enumerated() {
        output.append(index > 0 ? ",{\"lower_bound\":" : "{\"lower_bound\":")
        output.append(Double(bucket.low), scale: histogram.scale)
        output.append(",\"width\":")
        output.append(Double(bucket.end - bucket.low), scale: histogram.scale)
        output.append(",\"count\":")
        output.append(decimal: bucket.count)
        output.append(0x7d)
      }
      output.append("],\"intervals\":[],\"percentiles\":[")
      writeQuantilesJSON(histogram, into: &output)
    }
    output.append("]}")
  }

  private func writeQuantilesJSON(_ histogram: Histogram, into output: inout [UInt8]) {
    for (index, quantile) in Self.quantiles.enumerated() {
      output.append(index > 0 ? ",{\"interval\":null,\"cumulative\":" : "{\"interval\":null,\"cumulative\":")
      if let value = histogram.snapshot.quantile(quantile.percent / 100) {
        output.append(value, scale: histogram.scale)
      } else {
        output.append("null")
      }
      output.append(0x7d)
    }
  }
}
