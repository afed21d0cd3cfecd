import MeshPrimitives

// The statistics, in all their formats.

extension StatsReport: AdminReport {}
extension MetricsReport: AdminReport {}

extension AdminEndpoint {
  private static let usedOnly = Parameter(
    name: "usedonly", help: "Only include stats that have been written by system since restart", isFlag: true)
  private static let filter = Parameter(
    name: "filter", help: "Regular expression (Google re2) for filtering stats")
  private static let inverted = Parameter(name: "invert_filter", help: "Invert the filter regex", isFlag: true)

  static let stats = AdminEndpoint(
    "/stats", "print server stats",
    parameters: [
      usedOnly, filter, inverted,
      Parameter(name: "format", help: "Format to use", choices: ["text", "html", "json", "prometheus", "openmetrics"]),
      Parameter(
        name: "type", help: "Stat types to include.",
        choices: ["All", "Counters", "Gauges", "Histograms", "TextReadouts"]),
      Parameter(
        name: "histogram_buckets", help: "Histogram bucket display mode",
        choices: ["cumulative", "disjoint", "none", "summary", "detailed"]),
    ]
  ) { request, context in
    switch request.parameter("format") ?? "text" {
    case "text", "": report(request, context, .text, .text)
    case "html": report(request, context, .text, .html)
    case "json": report(request, context, .json, .json)
    case "prometheus": metrics(request, context, .text)
    case "openmetrics": metrics(request, context, .openMetrics)
    default: .text("usage: /stats?format=(html|json|prometheus|openmetrics|text)\n\n", status: 400)
    }
  }

  static let statsPrometheus = AdminEndpoint(
    "/stats/prometheus", "print server stats in prometheus format",
    parameters: [
      usedOnly,
      Parameter(
        name: "text_readouts",
        help: "Render text_readouts as new gaugues with value 0 (increases Prometheus data size)",
        isFlag: true), filter, inverted,
      Parameter(
        name: "histogram_buckets", help: "Histogram bucket display mode",
        choices: ["cumulative", "summary", "prometheusnative"]),
      Parameter(
        name: "format", help: "Format to use, whatever Accept says", choices: ["text", "openmetrics", "protobuf"]),
    ]
  ) { request, context in
    switch request.parameter("format") ?? "" {
    case "": metrics(request, context, MetricsAcceptance(request.accept).exposition)
    case "text": metrics(request, context, .text)
    case "openmetrics": metrics(request, context, .openMetrics)
    case "protobuf": metrics(request, context, .protobuf)
    default: .text("usage: /stats/prometheus?format=(text|openmetrics|protobuf)\n\n", status: 400)
    }
  }

  /// Envoy records which names are looked up while statistics are made; here no name is looked up after that.
  static let statsRecentLookups = AdminEndpoint(
    "/stats/recentlookups", "Show recent stat-name lookups"
  ) { _, _ in .text("Lookup tracking is not supported: statistics are not looked up by name.\n", status: 501) }

  /// What is shown of the statistics, or what is wrong with the question.
  private static func options(_ request: AdminRequest) -> Result<StatsOptions, AdminRefusal> {
    var options = StatsOptions(usedOnly: request.isSet("usedonly"))
    options.isInverted = request.isSet("invert_filter")
    if let pattern = request.parameter("filter"), !pattern.isEmpty {
      do { options.filter = try RegularExpression(pattern) } catch {
        return .failure(AdminRefusal("Invalid re2 regex: \(error)"))
      }
    }
    switch request.parameter("type") ?? "All" {
    case "All", "": break
    case "Counters": options.kinds = .counters
    case "Gauges": options.kinds = .gauges
    case "Histograms": options.kinds = .histograms
    // There are none, and the answer says so by being empty.
    case "TextReadouts": options.kinds = []
    default: return .failure(AdminRefusal("invalid &type= param"))
    }
    return .success(options)
  }

  private static func report(
    _ request: AdminRequest, _ context: any AdminContext, _ format: StatsReport.Format,
    _ contentType: AdminResponse.ContentType
  ) -> AdminResponse {
    let options: StatsOptions
    switch self.options(request) {
    case .failure(let refusal): return .text(refusal.text, status: 400)
    case .success(var shown):
      switch request.parameter("histogram_buckets") ?? "" {
      case "", "none": break
      case let name:
        guard let style = StatsOptions.Histograms(rawValue: name) else {
          return .text("usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|none|summary)\n", status: 400)
        }
        shown.histograms = style
      }
      options = shown
    }
    context.statisticsAsked()
    let stats = StatsReport(context.stats, format, options: options)
    return contentType == .html ? .report(.html, StatsPage(stats)) : .report(contentType, stats)
  }

  private static func metrics(
    _ request: AdminRequest, _ context: any AdminContext, _ exposition: MetricsReport.Exposition
  ) -> AdminResponse {
    let histograms: MetricsReport.Histograms
    switch request.parameter("histogram_buckets") ?? "" {
    case "", "none", "cumulative": histograms = .buckets
    case "summary": histograms = .quantiles
    case "prometheusnative":
      guard exposition == .protobuf else {
        return .text(
          "unsupported prometheusnative histogram type when not using protobuf exposition format", status: 400)
      }
      histograms = .native
    default: return .text("unsupported prometheus histogram bucket mode", status: 400)
    }
    switch options(request) {
    case .failure(let refusal): return .text(refusal.text, status: 400)
    case .success(let options):
      context.statisticsAsked()
      // From now on there is somebody who reads them.
      if exposition != .text { context.stats.keepsExemplars = true }
      let type: AdminResponse.ContentType =
        switch exposition {
        case .text: .text
        case .openMetrics: .openMetrics
        case .protobuf: .metricFamilies
        }
      return .report(type, MetricsReport(context.stats, exposition, histograms: histograms, options: options))
    }
  }
}

/// Why a question is not answered.
private struct AdminRefusal: Error {
  let text: String

  init(_ text: String) { self.text = text }
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
