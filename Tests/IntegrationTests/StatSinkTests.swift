import Glibc
import MeshTesting
import Testing

/// Statistics that are sent: to services, to receivers of statsd, and to those who do not want them.
@Suite("Sinks of statistics", .timeLimit(.minutes(3)))
struct StatSinkTests {
  private static func sink(_ type: String, _ fields: String) -> String {
    "{name: sink, typed_config: {\"@type\": type.googleapis.com/envoy.config.metrics.v3.\(type), \(fields)}}"
  }

  private static func service(_ fields: String = "emit_tags_as_labels: true, histogram_emit_mode: HISTOGRAM") -> String
  {
    sink(
      "MetricsServiceConfig",
      "grpc_service: {envoy_grpc: {cluster_name: metrics}}, transport_api_version: V3, \(fields)")
  }

  private static func configuration(
    backend: UInt16, metrics: UInt16, _ sinks: [String], interval: String = "0.05s"
  ) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(backend: backend)
    configuration.clusters.append(
      ProxyConfiguration.Cluster(
        name: "metrics", endpoints: [("127.0.0.1", metrics)], fields: [StreamPeerTests.options]))
    configuration.fields = [
      "node: {id: node-1, cluster: shop}", "stats_flush_interval: \(interval)",
      "stats_sinks: [\(sinks.joined(separator: ", "))]",
    ]
    return configuration
  }

  /// Waits until some line of a peer's output has all the words.
  private func wait(
    _ peer: RunningProgram, for words: String..., location: SourceLocation = #_sourceLocation
  ) async throws {
    do {
      _ = try await peer.waitForOutput(words.joined(separator: " … "), within: Deadline(.seconds(30))) { output in
        output.split(separator: "\n").contains { line in words.allSatisfy { line.contains($0) } } ? () : nil
      }
    } catch { throw TestFailure("\(error)") }
  }

  // MARK: The metrics service

  @Test("a real metrics service is told what changes, and once where it begins")
  func metricsService() async throws {
    let backend = try EchoBackend("echo")
    let service = try await PythonPeer.serve("metrics_server.py")
    let proxy = try await RunningProxy.start(
      Self.configuration(backend: backend.port, metrics: service.port, [Self.service()]))
    try await wait(service.program, for: #""event": "stream""#, #""x-envoy-internal": "true""#)
    try await wait(service.program, for: #""node": {"id": "node-1", "cluster": "shop""#, "cluster.membership_total")
    #expect(try await proxy.get().status == 200)
    try await wait(
      service.program, for: #""name": "cluster.upstream_rq_total", "type": "COUNTER""#,
      #"{"labels": {"envoy.cluster_name": "backend"}"#)
    try await wait(
      service.program, for: #""name": "cluster.upstream_rq", "type": "COUNTER""#,
      #""envoy.response_code": "200", "envoy.cluster_name": "backend""#)
    try await wait(service.program, for: #""name": "cluster.upstream_rq_time", "type": "HISTOGRAM""#, #""start": 1"#)
    let output = service.program.output
    #expect(!output.contains("SUMMARY"))
    let lines = output.split(separator: "\n")
    #expect(lines.filter { $0.contains(#""node": {"#) }.count == 1)
    // Said once: nothing of it has changed since.
    #expect(lines.filter { $0.contains("cluster.membership_total") }.count == 1)
    // It goes, and comes back at the same place: who begins, hears all.
    try await service.program.killAndWait()
    try await proxy.waitForLog("metrics service metrics: the stream ended with grpc-status 14")
    let again = try await PythonPeer.serve("metrics_server.py", ["\(service.port)"])
    try await wait(
      again.program, for: #""node": {"id": "node-1""#, "cluster.membership_total", "cluster.upstream_rq_total")
    #expect(try await proxy.stat("metrics_service.stream_failures") >= 1)
    #expect(try await proxy.stat("metrics_service.streams") >= 2)
    #expect(try await proxy.stat("cluster.metrics.upstream_rq_active") == 1)
    // The process ends without waiting for the service.
    proxy.program.signal(SIGTERM)
    #expect(try await proxy.program.waitForEnd() == .exited(0))
  }

  @Test("names, quantiles, deltas and small messages")
  func forms() async throws {
    let backend = try EchoBackend("echo")
    let service = try await PythonPeer.serve("metrics_server.py")
    let proxy = try await RunningProxy.start(
      Self.configuration(
        backend: backend.port, metrics: service.port,
        [Self.service("histogram_emit_mode: SUMMARY, report_counters_as_deltas: true, batch_size: 3")]))
    for _ in 0..<2 {
      #expect(try await proxy.get().status == 200)
      try await wait(
        service.program, for: #""name": "cluster.backend.upstream_rq_200", "type": "COUNTER""#, #""value": 1.0"#)
    }
    try await wait(service.program, for: #""name": "cluster.backend.upstream_rq_time", "type": "SUMMARY""#, "[0.995, ")
    for line in service.program.output.split(separator: "\n") where line.contains(#""event": "message""#) {
      #expect(line.ranges(of: #""labels""#).count <= 3)
    }
    #expect(!service.program.output.contains(#""value": 2.0, "start""#))
  }

  @Test("services that refuse, break off, finish, or are none", arguments: ["refuse", "reset", "finish", "large"])
  func badServices(_ behaviour: String) async throws {
    let backend = try EchoBackend("echo")
    let service = try await PythonPeer.serve("metrics_server.py", ["0", behaviour])
    let proxy = try await RunningProxy.start(
      Self.configuration(backend: backend.port, metrics: service.port, [Self.service()]))
    let status =
      ["refuse": "14 (not now)", "reset": "13 (broken)", "finish": "0", "large": "8 (a message is too large)"][
        behaviour] ?? ""
    try await proxy.waitForLog("the stream ended with grpc-status \(status)", times: 2)
    #expect(try await proxy.get().status == 200)
    try await eventually("no call is left") { try await proxy.stat("cluster.metrics.upstream_rq_active") <= 1 }
    #expect(try await proxy.stat("metrics_service.streams") >= 2)
  }

  @Test("a service that reads nothing costs flushes, not memory")
  func deafService() async throws {
    let backend = try EchoBackend("echo")
    let service = try await PythonPeer.serve("metrics_server.py", ["0", "hang"])
    var configuration = Self.configuration(
      backend: backend.port, metrics: service.port, [Self.service("emit_tags_as_labels: false")], interval: "0.01s")
    // Enough to fill every window.
    for index in 0..<300 {
      configuration.clusters.append(
        ProxyConfiguration.Cluster(
          name: "cluster-\(index)-\(String(repeating: "x", count: 200))", endpoints: [("127.0.0.1", 1)]))
    }
    let proxy = try await RunningProxy.start(configuration)
    try await eventually("flushes are left out", within: Deadline(.seconds(60))) {
      try await proxy.stat("metrics_service.flushes_skipped") > 20
    }
    #expect(try await proxy.get().status == 200)
    let before = try await proxy.stat("server.memory_allocated")
    let skipped = try await proxy.stat("metrics_service.flushes_skipped")
    try await eventually("more are left out", within: Deadline(.seconds(60))) {
      try await proxy.stat("metrics_service.flushes_skipped") > skipped + 100
    }
    #expect(try await proxy.stat("server.memory_allocated") < before + 2_000_000)
  }

  @Test("what is no service of gRPC")
  func noService() async throws {
    let backend = try EchoBackend("echo")
    // Says nothing, says nonsense, closes at once.
    let silent = try ScriptedServer { connection, _ in _ = try? connection.receiveToEnd() }
    let nonsense = try ScriptedServer { connection, _ in try connection.send("HTTP/1.1 400 Bad Request\r\n\r\n") }
    let closing = try ScriptedServer { _, _ in }
    var configuration = Self.configuration(backend: backend.port, metrics: silent.port, [])
    var sinks: [String] = []
    for (name, server) in [("silent", silent), ("nonsense", nonsense), ("closing", closing)] {
      configuration.clusters.append(
        ProxyConfiguration.Cluster(
          name: name, endpoints: [("127.0.0.1", server.port)], fields: [StreamPeerTests.options]))
      sinks.append(Self.sink("MetricsServiceConfig", "grpc_service: {envoy_grpc: {cluster_name: \(name)}}"))
    }
    configuration.fields[2] = "stats_sinks: [\(sinks.joined(separator: ", "))]"
    let proxy = try await RunningProxy.start(configuration)
    try await eventually("they fail", within: Deadline(.seconds(30))) {
      try await proxy.stat("metrics_service.stream_failures") >= 4
    }
    for _ in 0..<20 { #expect(try await proxy.get().status == 200) }
    // A service that is answered by HTTP/1.1 is none either.
    #expect(try await proxy.stat("metrics_service.streams") < 100)
  }

  @Test("sinks change with the configuration, and an interval may be a question")
  func reload() async throws {
    let backend = try EchoBackend("echo")
    let service = try await PythonPeer.serve("metrics_server.py")
    let directory = try TemporaryDirectory()
    var configuration = Self.configuration(backend: backend.port, metrics: service.port, [])
    try directory.write("proxy.yaml", configuration.yaml)
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    configuration.fields = [
      "node: {id: node-1, cluster: shop}", "stats_flush_on_admin: true", "stats_sinks: [\(Self.service())]",
    ]
    try directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await proxy.get().status == 200)
    #expect(!service.program.output.contains("stream"))
    _ = try await proxy.admin("/stats/prometheus")
    try await wait(service.program, for: #""node": {"id": "node-1""#, "cluster.upstream_rq_total")
    // The cluster changes: the stream is begun anew over its new connections.
    configuration.clusters[1].fields.append("connect_timeout: 7s")
    try directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use", times: 2)
    try await eventually("another stream") {
      service.program.output.ranges(of: #""event": "stream""#).count == 2
    }
    configuration.fields = []
    try directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(SIGHUP)
    try await eventually("both streams have ended") {
      service.program.output.ranges(of: #""event": "end""#).count == 2
    }
  }

  // MARK: statsd

  @Test("statsd and DogStatsD by datagrams")
  func datagrams() async throws {
    let backend = try EchoBackend("echo")
    let plain = try await PythonPeer.serve("statsd_server.py")
    let directory = try TemporaryDirectory()
    let tagged = try await PythonPeer.serve("statsd_server.py", [directory.file("dog")])
    let proxy = try await RunningProxy.start(
      Self.configuration(
        backend: backend.port, metrics: 9,
        [
          Self.sink("StatsdSink", "address: {socket_address: {address: 127.0.0.1, port_value: \(plain.port)}}"),
          Self.sink(
            "DogStatsdSink",
            "address: {pipe: {path: \"\(directory.file("dog"))\"}}, prefix: mesh, max_bytes_per_datagram: 512"),
        ]))
    #expect(try await proxy.get().status == 200)
    for line in [
      "envoy.cluster.backend.upstream_rq_total:1|c", "envoy.cluster.backend.upstream_rq_total:0|c",
      "envoy.cluster.backend.membership_total:1|g", "envoy.cluster.backend.upstream_rq_200:1|c",
      "envoy.server.live:1|g",
    ] {
      try await wait(plain.program, for: "{\"datagram\": \"\(line)\"}")
    }
    try await wait(plain.program, for: "envoy.cluster.backend.upstream_rq_time:", "|ms\"}")
    for words in [
      "mesh.cluster.upstream_rq_total:1|c|#envoy.cluster_name:backend",
      "mesh.cluster.upstream_rq:1|c|#envoy.response_code:200,envoy.cluster_name:backend",
      "mesh.http.downstream_rq_total:1|c|#envoy.http_conn_manager_prefix:main",
      "mesh.listener.downstream_cx_total:1|c|#envoy.listener_address:",
      "mesh.listener.worker_downstream_cx_total:1|c|#envoy.worker_id:",
    ] {
      try await wait(tagged.program, for: words)
    }
    let datagrams = tagged.program.output.split(separator: "\n").filter { $0.contains("datagram") }
    #expect(datagrams.contains { $0.contains("\\n") })
    #expect(datagrams.allSatisfy { $0.utf8.count <= 512 + 60 })
    // Nobody listens any more.
    try await plain.program.killAndWait()
    try await tagged.program.killAndWait()
    try await eventually("it is noticed") { try await proxy.stat("statsd.write_failures") > 0 }
    #expect(try await proxy.get().status == 200)
  }

  @Test("what was counted at the end is said")
  func lastWords() async throws {
    let backend = try EchoBackend("echo")
    let receiver = try await PythonPeer.serve("statsd_server.py")
    let service = try await PythonPeer.serve("metrics_server.py")
    var configuration = Self.configuration(
      backend: backend.port, metrics: service.port,
      [
        Self.sink("StatsdSink", "address: {socket_address: {address: 127.0.0.1, port_value: \(receiver.port)}}"),
        Self.sink("StatsdSink", "tcp_cluster_name: statsd"), Self.service(),
      ], interval: "1s")
    configuration.clusters.append(
      ProxyConfiguration.Cluster(name: "statsd", endpoints: [("127.0.0.1", receiver.port)]))
    let proxy = try await RunningProxy.start(configuration)
    try await wait(service.program, for: "cluster.membership_total")
    try await wait(receiver.program, for: #"{"line": "envoy.cluster.backend.membership_total:1|g"}"#)
    for _ in 0..<7 { #expect(try await proxy.get().status == 200) }
    proxy.program.signal(SIGTERM)
    #expect(try await proxy.program.waitForEnd() == .exited(0))
    try await wait(service.program, for: #""event": "end", "half_closed": true"#)
    try await wait(
      service.program, for: #""name": "cluster.upstream_rq_total""#, #"{"envoy.cluster_name": "backend"}, "timestamp""#,
      #""value": 7.0"#)
    // All that was sent of it, in however many flushes.
    for kind in ["datagram", "line"] {
      let start = "{\"\(kind)\": \"envoy.cluster.backend.upstream_rq_total:"
      func told() -> Int {
        receiver.program.output.split(separator: "\n").filter { $0.hasPrefix(start) }
          .compactMap { Int($0.dropFirst(start.utf8.count).prefix { $0 != "|" }) }.reduce(0, +)
      }
      try await eventually("all \(kind)s have come") { told() == 7 }
    }
  }

  @Test("statsd over TCP, which may be away for a while")
  func lines() async throws {
    let backend = try EchoBackend("echo")
    let receiver = try await PythonPeer.serve("statsd_server.py")
    var configuration = Self.configuration(
      backend: backend.port, metrics: receiver.port, [Self.sink("StatsdSink", "tcp_cluster_name: metrics, prefix: p")])
    configuration.clusters[1].fields = []
    let proxy = try await RunningProxy.start(configuration)
    #expect(try await proxy.get().status == 200)
    try await wait(receiver.program, for: #"{"line": "p.cluster.backend.upstream_rq_total:1|c"}"#)
    try await receiver.program.killAndWait()
    try await proxy.waitForLog("statsd: cluster metrics:")
    #expect(try await proxy.get().status == 200)
    #expect(try await proxy.stat("statsd.write_failures") >= 1)
    #expect(try await proxy.stat("cluster.metrics.upstream_rq_active") <= 1)
  }

  @Test("a receiver of statsd that reads nothing")
  func deafReceiver() async throws {
    let backend = try EchoBackend("echo")
    let gate = Gate()
    let receiver = try ScriptedServer { _, _ in try gate.wait(within: Deadline(.seconds(170))) }
    defer { gate.open() }
    var configuration = Self.configuration(
      backend: backend.port, metrics: receiver.port, [Self.sink("StatsdSink", "tcp_cluster_name: metrics")],
      interval: "0.002s")
    configuration.clusters[1].fields = ["per_connection_buffer_limit_bytes: 65536"]
    for index in 0..<100 {
      configuration.clusters.append(
        ProxyConfiguration.Cluster(
          name: "cluster-\(index)-\(String(repeating: "x", count: 200))", endpoints: [("127.0.0.1", 1)]))
    }
    let proxy = try await RunningProxy.start(configuration)
    try await eventually("flushes are left out", within: Deadline(.seconds(100))) {
      try await proxy.stat("statsd.cx_overflow") > 100
    }
    #expect(try await proxy.get().status == 200)
    let before = try await proxy.stat("server.memory_allocated")
    let skipped = try await proxy.stat("statsd.cx_overflow")
    try await eventually("more are left out", within: Deadline(.seconds(60))) {
      try await proxy.stat("statsd.cx_overflow") > skipped + 200
    }
    #expect(try await proxy.stat("server.memory_allocated") < before + 2_000_000)
  }
}
