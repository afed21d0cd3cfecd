import Glibc
import MeshTesting
import Testing

/// What Prometheus gets, and what it makes of it.
@Suite("Metrics for Prometheus", .timeLimit(.minutes(3)))
struct MetricsTests {
  private static let traced = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]

  @Test("every format says the same, to parsers of others, and exemplars lead to traces")
  func formats() async throws {
    let backend = try EchoBackend("echo")
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    // Nobody has asked: nothing is kept.
    #expect(try await proxy.get(headers: Self.traced).status == 200)
    let text = try await proxy.admin("/stats/prometheus?format=openmetrics").text
    #expect(!text.contains("trace_id") && text.hasSuffix("# EOF\n"))
    #expect(try await proxy.get(headers: Self.traced).status == 200)
    #expect(
      try await proxy.get(headers: [("traceparent", "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00")]).status
        == 200)
    let peer = try await PythonPeer.output("metrics_client.py", ["\(proxy.adminPort())"])
    for name in [
      "envoy_http_downstream_rq_total", "envoy_http_downstream_rq_time_bucket", "envoy_cluster_upstream_rq_time_bucket",
    ] {
      #expect(peer.contains("EXEMPLAR \(name) 0af7651916cd43dd8448eb211c80319c "), "\(peer)")
    }
    #expect(!peer.contains("80319d"))
    #expect(peer.contains("NATIVE envoy_cluster_upstream_rq_time 3 "), "\(peer)")
  }

  @Test("promtool finds nothing wrong but names")
  func promtool() async throws {
    let backend = try EchoBackend("echo")
    let directory = try TemporaryDirectory()
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    #expect(try await proxy.get().status == 200)
    try directory.write("metrics", try await proxy.admin("/stats/prometheus").text)
    let promtool = try RunningProgram(
      "/bin/sh", ["-c", "promtool check metrics < \(directory.file("metrics"))"])
    _ = try await promtool.waitForEnd(within: Deadline(.seconds(60)))
    let complaints = promtool.errorOutput.split(separator: "\n").map(String.init)
    #expect(!complaints.isEmpty)
    // Envoy's names, which only renaming would cure.
    let known = [
      "counter metrics should have \"_total\" suffix", "non-counter metrics should not have \"_total\" suffix",
      "non-histogram and non-summary metrics should not have \"_count\" suffix",
      "metric names should not contain abbreviated units", "use base unit \"seconds\" instead of \"days\"",
      "use base unit \"seconds\" instead of \"milliseconds\"",
    ]
    for complaint in complaints {
      #expect(known.contains { complaint.hasSuffix($0) }, "\(complaint)")
    }
  }

  /// By OpenMetrics, and by protocol buffers, which Prometheus asks for if it is to know its own kind of histograms.
  @Test("a real Prometheus scrapes, keeps exemplars and answers", arguments: [false, true])
  func prometheus(native: Bool) async throws {
    let backend = try EchoBackend("echo")
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    let directory = try TemporaryDirectory()
    try directory.write(
      "prometheus.yml",
      """
      global: {scrape_interval: 200ms, scrape_timeout: 200ms}
      scrape_configs:
      - job_name: martlet
        metrics_path: /stats/prometheus
        static_configs: [{targets: ["127.0.0.1:\(try proxy.adminPort())"]}]
      \(native ? """
      - job_name: native
        metrics_path: /stats/prometheus
        params: {histogram_buckets: [prometheusnative]}
        static_configs: [{targets: ["127.0.0.1:\(try proxy.adminPort())"]}]
      """ : "")

      """)
    let port = try ListenSocket.freePort()
    let prometheus = try RunningProgram(
      "prometheus",
      [
        "--config.file=\(directory.file("prometheus.yml"))", "--storage.tsdb.path=\(directory.file("data"))",
        "--web.listen-address=127.0.0.1:\(port)",
        "--enable-feature=exemplar-storage\(native ? ",native-histograms" : "")",
      ])
    func ask(_ target: String) async throws -> String {
      try await blocking {
        guard let connection = try? RawConnection(port: port) else { return "" }
        try connection.send("GET \(target) HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        return String(decoding: try connection.receiveToEnd(), as: UTF8.self)
      }
    }
    func wait(_ what: String, _ query: String, for answer: String) async throws {
      try await eventually(what, within: Deadline(.seconds(60)), every: .milliseconds(50)) {
        try await ask(query).contains(answer)
      }
    }
    try await wait("it scrapes", "/api/v1/query?query=up%7Bjob=%22martlet%22%7D", for: "\"1\"")
    for _ in 0..<3 { #expect(try await proxy.get(headers: Self.traced).status == 200) }
    let manager = "envoy_http_conn_manager_prefix=%22main%22"
    try await wait(
      "it knows of the requests",
      "/api/v1/query?query=envoy_http_downstream_rq_total%7B\(manager),job=%22martlet%22%7D", for: "\"3\"")
    try await wait(
      "it knows a trace", "/api/v1/query_exemplars?query=envoy_cluster_upstream_rq_time_bucket&start=0&end=9999999999",
      for: "0af7651916cd43dd8448eb211c80319c")
    if native {
      let histogram = "envoy_http_downstream_rq_time%7B\(manager),job=%22native%22%7D"
      try await wait("it knows a native histogram", "/api/v1/query?query=histogram_count(\(histogram))", for: "\"3\"")
      let quantile = try await ask("/api/v1/query?query=histogram_quantile(1,\(histogram))")
      #expect(quantile.contains("\"success\"") && !quantile.contains("NaN"), "\(quantile)")
    }
    let metadata = try await ask("/api/v1/metadata?metric=envoy_http_downstream_rq_time")
    #expect(metadata.contains("From the request's head to the end of the stream, in milliseconds."), "\(metadata)")
    _ = prometheus
  }
}
