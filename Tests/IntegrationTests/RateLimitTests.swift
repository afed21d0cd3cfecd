import Glibc
import MeshTesting
import Testing

/// Limits of rates as clients meet them, with two workers.
@Suite("Rate limits", .timeLimit(.minutes(3)), .serialized)
struct RateLimitTests {
  private static let all = "{default_value: {numerator: 100}}"

  private static func local(_ fields: String) -> String {
    ProxyConfiguration.typed(
      "limit", "filters.http.local_ratelimit.v3.LocalRateLimit",
      ["stat_prefix: limit", "filter_enabled: \(all)", "filter_enforced: \(all)", fields])
  }

  private static func network(_ type: String, _ fields: String) -> String {
    ProxyConfiguration.typed("limit", "filters.network.\(type)", ["stat_prefix: limit", fields])
  }

  /// A listener that answers by itself.
  private func configuration(filter: String, chain: [String] = []) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(clusters: [])
    configuration.listeners[0].routes = ["{match: {prefix: /}, direct_response: {status: 200}}"]
    configuration.listeners[0].filters = filter.isEmpty ? [] : [filter]
    configuration.listeners[0].networkFilters = chain
    return configuration
  }

  // MARK: Exactness

  private struct Count: Sendable {
    var accepted = 0
    var refused = 0
    var running = 0
    var failures: [String] = []
  }

  @Test("two workers give together what one bucket holds, and all of it")
  func exact() async throws {
    let burst = 40.0
    let rate = 250.0
    var configuration = configuration(
      filter: Self.local("token_bucket: {max_tokens: \(Int(burst)), tokens_per_fill: 25, fill_interval: 0.1s}"))
    configuration.listeners[0].fields = ["stat_prefix: front"]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let clients = 8
    let count = Monitor(Count(running: clients))
    let clock = ContinuousClock()
    let began = clock.now
    let end = began + .seconds(3)
    for _ in 0..<clients {
      startThread {
        do {
          let connection = try RawConnection(port: port)
          while clock.now < end {
            try connection.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            let response = try connection.receiveResponse(within: Deadline(.seconds(30)))
            count.change { if response.status == 200 { $0.accepted += 1 } else { $0.refused += 1 } }
          }
        } catch { count.change { $0.failures.append("\(error)") } }
        count.change { $0.running -= 1 }
      }
    }
    let total = try #require(
      try await blocking { count.wait(Deadline(.seconds(60))) { $0.running == 0 ? $0 : nil } })
    let spent = clock.now - began
    let most = burst + rate * Self.seconds(spent)
    let least = burst + rate * 3
    #expect(total.failures.isEmpty, "\(total.failures)")
    #expect(total.refused > total.accepted / 10, "\(total): not enough demand to show anything")
    #expect(Double(total.accepted) <= most, "\(total) of \(most)")
    #expect(Double(total.accepted) >= least * 0.98, "\(total) of \(least)")
    let workers = try await [
      proxy.stat("listener.front.worker_0.downstream_cx_total"),
      proxy.stat("listener.front.worker_1.downstream_cx_total"),
    ]
    #expect(workers.allSatisfy { $0 > 0 }, "\(workers)")
    #expect(try await proxy.stat("limit.http_local_rate_limit.ok") == total.accepted)
    #expect(try await proxy.stat("limit.http_local_rate_limit.enforced") == total.refused)
  }

  private static func seconds(_ span: Duration) -> Double {
    Double(span.components.seconds) + Double(span.components.attoseconds) / 1e18
  }

  @Test("a bucket keeps its fill over a reload that does not change it, and another one is full")
  func reload() async throws {
    func text(_ tokens: Int, _ body: String) -> String {
      var configuration = configuration(
        filter: Self.local("token_bucket: {max_tokens: \(tokens), fill_interval: 3600s}, status: {code: \(body)}"))
      configuration.listeners[0].managerFields = ["server_name: \"\(body)\""]
      return configuration.yaml
    }
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", text(2, "429"))
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    #expect(try await proxy.get().status == 200)
    #expect(try await proxy.get().status == 200)
    #expect(try await proxy.get().status == 429)
    var reloads = 0
    for (tokens, status, answers) in [(2, "503", [503, 503]), (1, "503", [200, 503]), (1, "429", [429])] {
      try directory.write("proxy.yaml", text(tokens, status))
      reloads += 1
      proxy.program.signal(SIGHUP)
      try await proxy.waitForLog("the new configuration is in use", times: reloads)
      for answer in answers { #expect(try await proxy.get().status == answer, "\(tokens) \(status)") }
    }
  }

  // MARK: The service

  @Test("a real rate limit service")
  func service() async throws {
    let service = try await PythonPeer.serve("rate_limit_server.py")
    let backend = try EchoBackend("echo")
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.clusters.append(
      ProxyConfiguration.Cluster(
        name: "limits", endpoints: [("127.0.0.1", service.port)], fields: [StreamPeerTests.options]))
    configuration.listeners[0].routes = [
      "{match: {prefix: /}, route: {cluster: backend, rate_limits: ["
        + "{actions: [{query_parameters: {query_parameter_name: do, descriptor_key: do}}]}, "
        + "{apply_on_stream_done: true, actions: [{query_parameters: {query_parameter_name: end, descriptor_key: end}}]}"
        + "]}}"
    ]
    func filter(_ name: String, _ fields: String) -> String {
      ProxyConfiguration.typed(
        name, "filters.http.ratelimit.v3.RateLimit",
        [
          "domain: shop", "rate_limit_service: {grpc_service: {envoy_grpc: {cluster_name: limits}}}",
          "enable_x_ratelimit_headers: DRAFT_VERSION_03", fields,
        ])
    }
    configuration.listeners[0].filters = [filter("limit", "timeout: 10s")]
    var strict = configuration.listeners[0]
    strict.name = "strict"
    strict.filters = [filter("limit", "timeout: 0.2s, failure_mode_deny: true")]
    configuration.listeners.append(strict)
    let proxy = try await RunningProxy.start(configuration)

    let passed = try await proxy.get("/a?do=pass")
    #expect(passed.status == 200)
    #expect(passed.value("x-ratelimit-limit") == "10, 10;w=60")
    #expect(passed.value("x-ratelimit-remaining") == "7")
    #expect(passed.value("x-ratelimit-reset") == "30")
    #expect(try await proxy.get("/a?do=unknown").status == 200)

    let over = try await proxy.get("/a?do=over")
    #expect(over.status == 429)
    #expect(over.text == "enough")
    #expect(over.value("x-service") == "said so")
    #expect(over.value("content-length") == "6")
    #expect(over.value("x-envoy-ratelimited") == "true")
    #expect(over.value("x-ratelimit-remaining") == "0")

    for ending in ["fail", "hang", "large"] {
      if ending != "hang" { #expect(try await proxy.get("/a?do=\(ending)").status == 200, "\(ending)") }
      let strict = try await proxy.get("/a?do=\(ending)", listener: "strict")
      #expect(strict.status == 500 && strict.text.isEmpty, "\(ending)")
    }
    #expect(try await proxy.get("/a?do=pass", listener: "strict").status == 200)

    #expect(try await proxy.get("/a?end=over").status == 200)
    try await service.program.waitForOutput("ASKED shop end=over -")
    #expect(try await proxy.get("/a").status == 200)

    #expect(try await proxy.stat("cluster.backend.ratelimit.ok") == 3)
    #expect(try await proxy.stat("cluster.backend.ratelimit.over_limit") == 1)
    #expect(try await proxy.stat("cluster.backend.ratelimit.error") == 5)
    #expect(try await proxy.stat("cluster.backend.ratelimit.failure_mode_allowed") == 2)
    #expect(proxy.count("rate limit service limits: grpc-status") >= 1)

    // The service goes and comes back.
    try await service.program.killAndWait()
    #expect(try await proxy.get("/a?do=pass").status == 200)
    #expect(try await proxy.get("/a?do=pass", listener: "strict").status == 500)
    let again = try await PythonPeer.serve("rate_limit_server.py", ["\(service.port)"])
    try await eventually("the service is asked again") {
      try await proxy.get("/a?do=over", listener: "strict").status == 429
    }
    try await eventually("no call is left") { try await proxy.stat("cluster.limits.upstream_rq_active") == 0 }
    _ = again
  }

  @Test("a client that leaves while the service is asked")
  func clientLeaves() async throws {
    let service = try await PythonPeer.serve("rate_limit_server.py")
    var configuration = ProxyConfiguration(backend: 9)
    configuration.clusters.append(
      ProxyConfiguration.Cluster(
        name: "limits", endpoints: [("127.0.0.1", service.port)], fields: [StreamPeerTests.options]))
    configuration.listeners[0].filters = [
      ProxyConfiguration.typed(
        "limit", "filters.http.ratelimit.v3.RateLimit",
        [
          "domain: d", "timeout: 0s", "rate_limit_service: {grpc_service: {envoy_grpc: {cluster_name: limits}}}",
          "rate_limits: [{actions: [{generic_key: {descriptor_value: hang}}]}]",
        ])
    ]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let clients = try await blocking {
      try (0..<5).map { _ in
        let client = try RawConnection(port: port)
        try client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf")
        return client
      }
    }
    try await eventually("all wait") { try await proxy.stat("cluster.limits.upstream_rq_active") == 5 }
    for client in clients { client.close() }
    try await eventually("no call is left") { try await proxy.stat("cluster.limits.upstream_rq_active") == 0 }
    #expect(try await proxy.stat("http.main.downstream_rq_active") == 0)
  }

  // MARK: Connections

  @Test("so many connections may be open, on two workers, also over a reload")
  func openConnections() async throws {
    let limit = Self.network("connection_limit.v3.ConnectionLimit", "max_connections: 6")
    let text = configuration(filter: "", chain: [limit]).yaml
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", text)
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    let port = try proxy.port()
    func open(_ count: Int) async throws -> [RawConnection] {
      try await blocking {
        try (0..<count).compactMap { _ in
          let connection = try RawConnection(port: port)
          try? connection.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
          guard (try? connection.receiveResponse(within: Deadline(.seconds(30))))?.status == 200 else { return nil }
          return connection
        }
      }
    }
    var connections = try await open(12)
    #expect(connections.count == 6)
    try await eventually("those that are refused are gone") {
      try await proxy.stat("connection_limit.limit.active_connections") == 6
    }
    #expect(try await proxy.stat("connection_limit.limit.limited_connections") == 6)
    connections.removeLast().close()
    connections.removeLast().close()
    try await eventually("two are gone") {
      try await proxy.stat("connection_limit.limit.active_connections") == 4
    }
    try directory.write("proxy.yaml", text.replacing("max_connections: 6", with: "max_connections: 5"))
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    let more = try await open(3)
    #expect(more.count == 1)
    for connection in connections + more { connection.close() }
    try await eventually("all are gone") {
      try await proxy.stat("connection_limit.limit.active_connections") == 0
    }
  }

  @Test("a connection that is refused later is let go of when its client leaves")
  func delayed() async throws {
    let limit = Self.network("connection_limit.v3.ConnectionLimit", "max_connections: 1, delay: 3600s")
    let log = try TemporaryDirectory()
    var configuration = configuration(filter: "", chain: [limit])
    configuration.listeners[0].fields = [
      "access_log: [{name: log, typed_config: {\"@type\": "
        + "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: \(log.file("log")), "
        + "log_format: {text_format_source: {inline_string: \"%DOWNSTREAM_LOCAL_CLOSE_REASON%\\n\"}}}}]"
    ]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let (first, second) = try await blocking {
      let first = try RawConnection(port: port)
      try first.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
      _ = try first.receiveResponse(within: Deadline(.seconds(30)))
      let second = try RawConnection(port: port)
      try second.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
      return (first, second)
    }
    try await eventually("both are open") {
      try await proxy.stat("connection_limit.limit.active_connections") == 2
    }
    second.close()
    try await eventually("one is open") {
      try await proxy.stat("connection_limit.limit.active_connections") == 1
    }
    try await eventually("the log says why") { log.read("log").contains("over_connection_limit") }
    // It did not take the place of another.
    first.close()
    try await eventually("none is open") {
      try await proxy.stat("connection_limit.limit.active_connections") == 0
    }
    #expect(try await proxy.get().status == 200)
  }
}
