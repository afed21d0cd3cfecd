import MeshPrimitives

// The statistics, in four formats.

extension StatsReport: AdminReport {}

extension AdminEndpoint {
  private static let usedOnly = Parameter(
    name: "usedonly", help: "Only include stats that have been written by system since restart", isFlag: true)
  private static let filter = Parameter(
    name: "filter", help: "Regular expression (Google re2) for filtering stats")
  private static let buckets = Parameter(
    name: "histogram_buckets", help: "Histogram bucket display mode",
    choices: ["cumulative", "disjoint", "none", "summary", "detailed"])

  static let stats = AdminEndpoint(
    "/stats", "print server stats",
    parameters: [
      usedOnly, filter,
      Parameter(name: "format", help: "Format to use", choices: ["text", "html", "json", "prometheus"]),
      Parameter(
        name: "type", help: "Stat types to include.",
        choices: ["All", "Counters", "Gauges", "Histograms", "TextReadouts"]),
      buckets,
    ]
  ) { request, context in
    switch request.parameter("format") ?? "text" {
    case "text", "": report(request, context, .text, .text)
    case "html": report(request, context, .text, .html)
    case "json": report(request, context, .json, .json)
    case "prometheus": report(request, context, .prometheus, .text)
    default: .text("usage: /stats?format=(html|json|prometheus|text)\n\n", status: 400)
    }
  }

  static let statsPrometheus = AdminEndpoint(
    "/stats/prometheus", "print server stats in prometheus format",
    parameters: [
      usedOnly, filter,
      Parameter(
        name: "text_readouts",
        help: "Render text_readouts as new gaugues with value 0 (increases Prometheus data size)",
        isFlag: true), buckets,
    ]
  ) { request, context in report(request, context, .prometheus, .text) }

  /// Envoy records which names are looked up while statistics are made; here no name is looked up after that.
  static let statsRecentLookups = AdminEndpoint(
    "/stats/recentlookups", "Show recent stat-name lookups"
  ) { _, _ in .text("Lookup tracking is not supported: statistics are not looked up by name.\n", status: 501) }

  private static func report(
    _ request: AdminRequest, _ context: any AdminContext, _ format: StatsReport.Format,
    _ contentType: AdminResponse.ContentType
  ) -> AdminResponse {
    if request.parameter("invert_filter") != nil { return .text("invert_filter is not supported\n", status: 400) }
    var options = StatsOptions(usedOnly: request.isSet("usedonly"))
    if let pattern = request.parameter("filter"), !pattern.isEmpty {
      do { options.filter = try RegularExpression(pattern) } catch {
        return .text("Invalid re2 regex: \(error)", status: 400)
      }
    }
    switch request.parameter("type") ?? "All" {
    case "All", "": break
    case "Counters": options.kinds = .counters
    case "Gauges": options.kinds = .gauges
    case "Histograms": options.kinds = .histograms
    // There are none, and the answer says so by being empty.
    case "TextReadouts": options.kinds = []
    default: return .text("invalid &type= param", status: 400)
    }
    switch request.parameter("histogram_buckets") ?? "" {
    case "", "none": break
    case let name:
      guard let style = StatsOptions.Histograms(rawValue: name) else {
        return .text("usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|none|summary)\n", status: 400)
      }
      // Prometheus knows cumulative buckets only, which is what it gets in any case.
      if format == .prometheus, style == .disjoint || style == .detailed {
        return .text("unsupported prometheus histogram bucket mode", status: 400)
      }
      options.histograms = style
    }
    let stats = StatsReport(context.stats, format, options: options)
    return contentType == .html ? .report(.html, StatsPage(stats)) : .report(contentType, stats)
  }
}

/// Statistics as a page.
private struct StatsPage: AdminReport {
  private var stats: StatsReport
  private var text: [UInt8] = []
  private var hasBegun = false

  init(_ stats: StatsReport) { self.stats = stats }

  mutating func write(into output: inout [UInt8], softLimit: Int) -> Bool {
    if !hasBegun {
      hasBegun = true
      output.append(
        contentsOf: """
          <!DOCTYPE html>
          <html lang="en">
          <head><meta charset="utf-8"><title>Martlet statistics</title></head>
          <body>
          <pre>

          """.utf8)
    }
    text.removeAll(keepingCapacity: true)
    let hasMore = stats.write(into: &text, softLimit: softLimit)
    for byte in text {
      switch byte {
      case UInt8(ascii: "<"): output.append(contentsOf: "&lt;".utf8)
      case UInt8(ascii: ">"): output.append(contentsOf: "&gt;".utf8)
      case UInt8(ascii: "&"): output.append(contentsOf: "&amp;".utf8)
      default: output.append(byte)
      }
    }
    if !hasMore { output.append(contentsOf: "</pre>\n</body>\n</html>\n".utf8) }
    return hasMore
  }
}
