import Glibc
import MeshTesting
import Testing

/// The admin interface of a process that serves.
@Suite("Admin interface", .timeLimit(.minutes(2)))
struct AdminTests {
  private static let request = "GET /x HTTP/1.1\r\nhost: test\r\n\r\n"

  @Test func listenersAreDrained() async throws {
    let backend = try EchoBackend()
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].port = try ListenSocket.freePort()
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let established = try RawConnection(port: port)
    #expect(try await established.exchange(Self.request).status == 200)
    #expect(try await proxy.admin("/drain_listeners", method: "POST").status == 200)
    try await eventually("connections are refused", within: Deadline(.seconds(60))) {
      (try? RawConnection(port: port)) == nil
    }
    let last = try await established.exchange(Self.request)
    #expect(last.status == 200)
    #expect(last.value("connection") == "close")
    // The process goes on, and has its listener back with the next configuration.
    #expect(try await proxy.admin("/ready").status == 200)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    let response = try await proxy.get("/x")
    #expect(response.status == 200)
  }

  @Test func listenersAreDrainedGracefully() async throws {
    let backend = try EchoBackend()
    // Long enough for what comes before its end, however busy the machine is.
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port), drain: 6)
    let port = try proxy.port()
    let established = try RawConnection(port: port)
    #expect(try await established.exchange(Self.request).value("connection") == nil)
    #expect(try await proxy.admin("/drain_listeners?graceful", method: "POST").status == 200)
    for connection in [established, try RawConnection(port: port)] {
      let response = try await connection.exchange(Self.request)
      #expect(response.status == 200)
      #expect(response.value("connection") == "close")
    }
    try await eventually("connections are refused", within: Deadline(.seconds(60))) {
      (try? RawConnection(port: port)) == nil
    }
    #expect(try await proxy.admin("/ready").status == 200)
  }

  /// Only responses say that connections end; the listeners stay.
  @Test func connectionsAreDrained() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    #expect(try await proxy.admin("/drain_listeners?skip_exit", method: "POST").status == 200)
    for _ in 0..<3 {
      let response = try await RawConnection(port: proxy.port()).exchange(Self.request)
      #expect(response.status == 200)
      #expect(response.value("connection") == "close")
    }
  }

  @Test func healthCheckFailsAndPasses() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    #expect(try await proxy.admin("/healthcheck/fail", method: "POST").status == 200)
    #expect(try await proxy.admin("/ready").status == 503)
    #expect(try await proxy.get("/x").status == 200)
    #expect(try await proxy.admin("/healthcheck/ok", method: "POST").status == 200)
    #expect(try await proxy.admin("/ready").status == 200)
  }

  @Test func itQuits() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    #expect(try await proxy.admin("/quitquitquit", method: "POST").status == 200)
    #expect(try await proxy.program.waitForEnd() == .exited(0))
  }

  /// Whatever is sent to it, it goes on to answer, and traffic does not notice.
  @Test func garbageDoesNotStopIt() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    let port = try proxy.adminPort()
    let start = proxy.openDescriptors
    let load = Load(port: try proxy.port(), keepAlive: 1, new: 1)
    try await blocking {
      var random = SeededRandom(seed: 7)
      for _ in 0..<30 { for way in Rude.allCases { try way.act(port, &random) } }
    }
    let silent = try await blocking { try (0..<400).map { _ in try RawConnection(port: port) } }
    // Silent ones give way, after a second.
    try await eventually("it answers") { (try? await proxy.admin("/ready").status) == 200 }
    for connection in silent { connection.close() }
    #expect(try await proxy.admin("/stats").status == 200)
    try await load.waitForMore(20)
    #expect(try await load.stop().failures.isEmpty)
    try await eventually("descriptors are back", within: Deadline(.seconds(30))) {
      // The upstream's connections are kept for a while.
      proxy.openDescriptors <= start + 4
    }
    try await expectIdle(proxy)
  }

  /// Ten thousand clusters: whoever reads what there is of them slowly, or not at all, holds up neither the other clients
  /// of the admin interface nor traffic, and what he has not read does not lie in memory.
  @Test func longAnswersHoldUpNobody() async throws {
    var configuration = ProxyConfiguration(
      clusters: (0..<10_000).map { .init(name: "cluster-\($0)", endpoints: [("127.0.0.1", 1)]) })
    configuration.listeners[0].routes = ["{match: {prefix: /}, direct_response: {status: 200}}"]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.adminPort()
    let before = proxy.memory.now
    var readers: [RawConnection] = []
    for target in ["/stats", "/stats/prometheus", "/config_dump", "/stats?format=json", "/clusters"] {
      let reader = try RawConnection(port: port)
      try await blocking {
        try reader.send("GET \(target) HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        try reader.receive(through: "\r\n\r\n", within: Deadline(.seconds(60)))
      }
      // The reader has its first portion and stops: the others are answered as ever.
      for _ in 0..<20 {
        #expect(try await proxy.admin("/ready").status == 200)
        #expect(try await proxy.get().status == 200)
      }
      readers.append(reader)
    }
    let grown = proxy.memory.peak - before
    print("admin: 10,000 clusters, \(before) KiB resident, \(grown) KiB more while five clients read")
    // All of it would be some 140 MiB.
    #expect(grown < 28 << 10, "\(grown) KiB more")
    // The last one goes on and gets everything.
    let last = readers[readers.count - 1]
    let rest = try await blocking { try last.receiveToEnd(within: Deadline(.seconds(60))) }
    #expect(rest.suffix(5) == Array("0\r\n\r\n".utf8)[...])
    #expect(firstRange(of: Array("cluster-9999".utf8), in: rest) != nil)
    for reader in readers { reader.close() }
    #expect(try await proxy.admin("/ready").status == 200)
  }
}

/// What the bootstrap says about the admin interface and about all statistics.
@Suite("Admin interface, configured", .timeLimit(.minutes(2)))
struct AdminConfigurationTests {
  private func configuration(_ fields: [String] = [], admin: [String] = []) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(clusters: [])
    configuration.fields = fields
    configuration.adminFields = admin
    configuration.listeners[0].routes = ["{match: {prefix: /}, direct_response: {status: 200}}"]
    return configuration
  }

  @Test func requestsAreLogged() async throws {
    let directory = try TemporaryDirectory()
    let format =
      "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %BYTES_SENT% %PROTOCOL% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\\n"
    let log = """
      access_log: [{name: log, typed_config: {"@type": \
      type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: \(directory.file("log")), \
      log_format: {text_format_source: {inline_string: "\(format)"}}}}]
      """
    let proxy = try await RunningProxy.start(configuration(admin: [log]))
    _ = try await proxy.admin("/ready")
    _ = try await proxy.admin("/nothing")
    let stats = try await proxy.admin("/stats")
    _ = try await proxy.admin("/reset_counters", method: "POST")
    try await eventually("four lines") { occurrences(of: "\n", in: directory.read("log")) == 4 }
    let lines = directory.read("log").split(separator: "\n")
    #expect(lines[0] == "GET /ready 200 5 HTTP/1.1 127.0.0.1")
    #expect(lines[1].hasPrefix("GET /nothing 404 "))
    #expect(lines[2] == "GET /stats 200 \(stats.body.count) HTTP/1.1 127.0.0.1")
    #expect(lines[3] == "POST /reset_counters 200 3 HTTP/1.1 127.0.0.1")
  }

  @Test func pathsCanBeForbidden() async throws {
    let proxy = try await RunningProxy.start(
      configuration(admin: ["allow_paths: [{exact: /ready}, {prefix: /stats}]", "ignore_global_conn_limit: true"]))
    #expect(try await proxy.admin("/ready").status == 200)
    #expect(try await proxy.admin("/stats?usedonly").status == 200)
    for path in ["/", "/ready?x", "/quitquitquit"] {
      let response = try await proxy.admin(path, method: path == "/quitquitquit" ? "POST" : "GET")
      #expect(response.status == 403)
      #expect(response.text == "request to path \(path) not allowed")
    }
  }

  @Test func statisticsAreChosenByTheConfiguration() async throws {
    func names(_ matcher: String, _ query: String = "") async throws -> [Substring] {
      let proxy = try await RunningProxy.start(configuration(["stats_config: {stats_matcher: {\(matcher)}}"]))
      return try await proxy.admin("/stats\(query)").text.split(separator: "\n")
    }
    #expect(try await names("reject_all: true") == [])
    #expect(try await names("reject_all: true", "?format=prometheus") == [])
    let included = try await names(
      #"inclusion_list: {patterns: [{prefix: server.}, {safe_regex: {regex: ".*rq_\\dxx"}}]}"#)
    #expect(
      included.contains { $0.hasPrefix("server.live: ") }
        && included.contains { $0.hasPrefix("http.main.downstream_rq_2xx: ") })
    #expect(included.allSatisfy { $0.hasPrefix("server.") || $0.contains("xx: ") })
    let excluded = try await names("exclusion_list: {patterns: [{contains: DOWNSTREAM, ignore_case: true}]}")
    #expect(!excluded.isEmpty && !excluded.contains { $0.contains("downstream") })
    let prometheus = try await names("inclusion_list: {patterns: [{exact: server.live}]}", "/prometheus")
    #expect(
      prometheus == [
        "# HELP envoy_server_live 1 while the process serves and is not ending.", "# TYPE envoy_server_live gauge",
        "envoy_server_live{} 1",
      ])
  }

  @Test func boundsOfHistogramsAreChosenByTheConfiguration() async throws {
    let proxy = try await RunningProxy.start(
      configuration([
        "stats_config: {histogram_bucket_settings: [{match: {suffix: rq_time}, buckets: [60000, 0.25]}]}"
      ]))
    _ = try await proxy.get()
    let buckets = try await proxy.admin("/stats/prometheus?filter=rq_time").text.split(separator: "\n")
      .filter { $0.contains("_bucket") }
    #expect(buckets.count == 3)
    #expect(buckets[0].contains(#"le="0.25"} "#) && buckets[1].hasSuffix(#"le="60000"} 1"#))
    let text = try await proxy.admin("/stats?filter=rq_time$&histogram_buckets=cumulative").text
    #expect(text.hasPrefix("http.main.downstream_rq_time: B0.25(0,") && text.hasSuffix(" B60000(0,1)\n"))
  }

  @Test func whatIsWrongIsNamed() async throws {
    let directory = try TemporaryDirectory()
    let text = configuration(
      [
        "stats_config: {stats_matcher: {inclusion_list: {patterns: [{safe_regex: {regex: \"(\"}}]}}, "
          + "histogram_bucket_settings: [{match: {exact: a}, buckets: [1, 1]}]}"
      ], admin: ["allow_paths: [{safe_regex: {regex: \"*\"}}]"])
    let path = try directory.write("proxy.yaml", text.yaml)
    let program = try RunningProgram(RunningProxy.path, ["--mode", "validate", "-c", path])
    #expect(try await program.waitForEnd() == .exited(1))
    _ = try? await program.waitForOutput("\u{0}")
    for place in [
      "stats_config.stats_matcher.inclusion_list.patterns[0]",
      "stats_config.histogram_bucket_settings[0].buckets[1]: is given twice", "admin.allow_paths[0]",
    ] { #expect(program.errorOutput.contains(place), "\(place): \(program.errorOutput)") }
  }
}
