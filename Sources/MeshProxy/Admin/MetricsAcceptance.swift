import MeshPrimitives

/// What a scraper takes (`Accept`, RFC 9110 §12.5.1): Prometheus prefers OpenMetrics, and its protocol buffers if it is told
/// to read its own kind of histograms. Without a preference, and for whatever else, it is the text format.
struct MetricsAcceptance {
  private(set) var exposition = MetricsReport.Exposition.text

  /// - Parameter accept: in lower case.
  init(_ accept: String) {
    var best = 0.0
    for range in accept.split(separator: ",").prefix(64) {
      let parts = range.split(separator: ";").map { Self.trimmed($0) }
      guard let type = parts.first else { continue }
      var parameters: [Substring: Substring] = [:]
      for part in parts.dropFirst() {
        let pair = part.split(separator: "=", maxSplits: 1)
        if pair.count == 2 { parameters[Self.trimmed(pair[0])] = Self.trimmed(pair[1]) }
      }
      let quality = parameters["q"].flatMap { Double($0) } ?? 1
      guard quality > best, quality <= 1, let offered = Self.exposition(type, parameters) else { continue }
      best = quality
      exposition = offered
    }
  }

  private static func exposition(
    _ type: Substring, _ parameters: [Substring: Substring]
  ) -> MetricsReport.Exposition? {
    switch type {
    case "application/openmetrics-text":
      switch parameters["version"] {
      case nil, "1.0.0", "0.0.1": .openMetrics
      default: nil
      }
    case "application/vnd.google.protobuf":
      parameters["proto"] == "io.prometheus.client.metricfamily" && parameters["encoding"] == "delimited"
        ? .protobuf : nil
    case "text/plain", "text/*", "*/*": .text
    default: nil
    }
  }

  private static func trimmed(_ text: Substring) -> Substring {
    var rest = text
    while let first = rest.first, first == " " || first == "\t" { rest.removeFirst() }
    while let last = rest.last, last == " " || last == "\t" { rest.removeLast() }
    return rest
  }
}
