/// A body that is written in portions, so that a large answer neither holds the thread nor lies in memory as a whole.
protocol AdminReport {
  /// Adds the next portion to `output`: something, then more until about `softLimit` bytes were added.
  /// - Returns: whether there is more.
  mutating func write(into output: inout [UInt8], softLimit: Int) -> Bool
}

/// What an endpoint answers.
struct AdminResponse {
  enum Body {
    case bytes([UInt8])
    case report(any AdminReport)
  }

  enum ContentType {
    case text, json, html
    /// OpenMetrics 1.0.
    case openMetrics
    /// Messages of Prometheus, each behind its length.
    case metricFamilies

    var value: StaticString {
      switch self {
      case .text: "text/plain; charset=UTF-8"
      case .json: "application/json"
      case .html: "text/html; charset=UTF-8"
      case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
      case .metricFamilies:
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
      }
    }
  }

  var status = 200
  var contentType = ContentType.text
  var body: Body
  /// Done once the answer has been handed to the kernel.
  var afterwards: (() -> Void)?

  init(status: Int = 200, _ contentType: ContentType = .text, _ body: Body) {
    self.status = status
    self.contentType = contentType
    self.body = body
  }

  static func text(_ text: String, status: Int = 200) -> AdminResponse {
    AdminResponse(status: status, .text, .bytes(Array(text.utf8)))
  }

  static func json(_ writer: JSONWriter) -> AdminResponse { AdminResponse(.json, .bytes(writer.output)) }

  static func report(_ contentType: ContentType, _ report: some AdminReport) -> AdminResponse {
    AdminResponse(contentType, .report(report))
  }

  /// What a request that changed something is told.
  static var ok: AdminResponse { .text("OK\n") }
}
