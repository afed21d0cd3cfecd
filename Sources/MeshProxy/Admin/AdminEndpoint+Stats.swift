import MeshPrimitives

// The statistics, in three formats.

extension StatsReport: AdminReport {}

extension AdminEndpoint {
  private static let usedOnly = Parameter(
    name: "usedonly", help: "Only include stats that are not zero", isFlag: true)
  private static let filter = Parameter(
    name: "filter", help: "Regular expression for filtering stats, matched anywhere in the name")

  static let stats = AdminEndpoint(
    "/stats", "print server stats",
    parameters: [
      usedOnly, filter,
      Parameter(name: "format", help: "Format to use", choices: ["text", "json", "prometheus"]),
      Parameter(name: "type", help: "Stat types to include.", choices: ["All", "Counters", "Gauges", "Histograms"]),
    ]
  ) { request, context in
    switch request.parameter("format") ?? "text" {
    case "text", "": report(request, context, .text, .text)
    case "json": report(request, context, .json, .json)
    case "prometheus": report(request, context, .prometheus, .text)
    default: .text("usage: /stats?format=(json|prometheus|text)\n\n", status: 400)
    }
  }

  static let statsPrometheus = AdminEndpoint(
    "/stats/prometheus", "print server stats in prometheus format", parameters: [usedOnly, filter]
  ) { request, context in report(request, context, .prometheus, .text) }

  private static func report(
    _ request: AdminRequest, _ context: any AdminContext, _ format: StatsReport.Format,
    _ contentType: AdminResponse.ContentType
  ) -> AdminResponse {
    for name in ["invert_filter", "histogram_buckets"] where request.parameter(name) != nil {
      return .text("\(name) is not supported\n", status: 400)
    }
    var options = StatsOptions(usedOnly: request.isSet("usedonly"))
    if let pattern = request.parameter("filter"), !pattern.isEmpty {
      do { options.filter = try StatsFilter(pattern) } catch {
        return .text("Invalid regex: \(error): \(pattern)\n", status: 400)
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
    return .report(contentType, StatsReport(context.stats, format, options: options))
  }
}
