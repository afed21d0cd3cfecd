import Glibc
import MeshTesting
import Testing

/// What the proxy does when memory runs short (`overload_manager`), and that it gets over it.
@Suite("Overload", .timeLimit(.minutes(3)))
struct OverloadTests {
  private static let types = "type.googleapis.com/envoy.extensions.resource_monitors"
  private static let mebibyte = 1 << 20

  private static func heap(_ mebibytes: Int) -> String {
    "{name: heap, typed_config: {\"@type\": \(types).fixed_heap.v3.FixedHeapConfig, "
      + "max_heap_size_bytes: \(mebibytes * mebibyte)}}"
  }

  private static func action(_ name: String, _ threshold: Double) -> String {
    "{name: envoy.overload_actions.\(name), triggers: [{name: heap, threshold: {value: \(threshold)}}]}"
  }

  /// Sends what it is allowed to send to each of its clients, of bodies without end.
  private final class Growth: Sendable {
    let server: ScriptedServer
    private let allowed: Monitor<Int>
    private let sent: Monitor<Int>

    init() throws {
      let allowed = Monitor(0)
      let total = Monitor(0)
      self.allowed = allowed
      sent = total
      server = try ScriptedServer { connection, _ in
        guard try connection.receiveRequest(within: Deadline(.seconds(100))) != nil else { return }
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
        let block = [UInt8](repeating: 120, count: mebibyte)
        var sent = 0
        while let limit = allowed.wait(Deadline(.seconds(100)), { $0 > sent || $0 < 0 ? $0 : nil }), limit >= 0 {
          try connection.send(block, within: Deadline(.seconds(100)))
          sent += 1
          total.change { $0 += 1 }
        }
      }
    }

    /// Waits until the proxy has taken so many mebibytes of all clients'; false if it does not any more.
    func waitUntilSent(_ mebibytes: Int) -> Bool {
      sent.wait(Deadline(.seconds(10))) { $0 >= mebibytes ? true : nil } ?? false
    }

    /// Every client is sent so many mebibytes in all; a negative number ends everything.
    func allow(_ mebibytes: Int) { allowed.change { $0 = mebibytes } }
  }

  private static func configuration(_ backend: UInt16, _ overload: String) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(backend: backend)
    configuration.listeners[0].fields = ["per_connection_buffer_limit_bytes: 1073741824"]
    configuration.listeners[0].routes = [
      "{match: {path: /small}, direct_response: {status: 200, body: {inline_string: ok}}}",
      "{match: {prefix: /}, route: {cluster: backend, timeout: 0s}}",
    ]
    configuration.clusters[0].fields = ["per_connection_buffer_limit_bytes: 1073741824"]
    if !overload.isEmpty { configuration.fields = ["overload_manager: {refresh_interval: 0.02s, \(overload)}"] }
    return configuration
  }

  private static func openGreedy(_ port: UInt16, _ count: Int) throws -> [RawConnection] {
    try (0..<count).map { _ in
      let client = try RawConnection(port: port)
      try client.send("GET /much HTTP/1.1\r\nhost: h\r\n\r\n")
      return client
    }
  }

  /// Clients that do not read make the proxy's memory grow, step by step. It gives things up in the order in which they
  /// matter least, and takes them up again when the memory is free.
  @Test func thingsAreGivenUpInOrder() async throws {
    let growth = try Growth()
    defer { growth.allow(-1) }
    let actions = [
      Self.action("disable_http_keepalive", 0.4), Self.action("stop_accepting_requests", 0.6),
      Self.action("reject_incoming_connections", 0.8),
    ]
    let proxy = try await RunningProxy.start(
      Self.configuration(
        growth.server.port, "resource_monitors: [\(Self.heap(160))], actions: [\(actions.joined(separator: ", "))]"))
    let port = try proxy.port()
    /// What becomes of a request on a new connection.
    @Sendable func look() throws -> String {
      do {
        let client = try RawConnection(port: port)
        try client.send("GET /small HTTP/1.1\r\nhost: h\r\n\r\n")
        let response = try client.receiveResponse()
        return "\(response.status) \(response.value("connection") ?? "stays")"
      } catch { return "closed" }
    }
    let seen = try await blocking {
      let greedy = try Self.openGreedy(port, 16)
      defer { for client in greedy { client.close() } }
      try growth.server.waitForConnections(16)
      var seen: [String] = []
      // 16 MiB a step, of which the kernel takes some.
      for step in 1...40 where seen.last != "closed" {
        growth.allow(step)
        let deadline = Deadline(.milliseconds(500))
        repeat {
          let now = try look()
          if now != seen.last { seen.append(now) }
        } while !deadline.hasPassed && seen.last != "closed"
      }
      return seen
    }
    #expect(seen == ["200 stays", "200 close", "503 close", "closed"])
    try await eventually("the memory is free") {
      try await proxy.stat("overload.envoy.overload_actions.disable_http_keepalive.active") == 0
    }
    try await eventually("all is as it was") { try await blocking { try look() } == "200 stays" }
    #expect(try await proxy.stat("http.main.downstream_rq_overload_close") > 0)
    #expect(try await proxy.stat("listener.main.downstream_cx_overload_reject") >= 0)
    #expect(proxy.count("envoy.overload_actions.stop_accepting_requests is active (heap ") == 1)
  }

  /// The process may have so much memory and no more; without the overload manager it dies of its clients.
  @Test(arguments: [true, false])
  func aLimitOfTheKernelIsNotReached(_ isGuarded: Bool) async throws {
    let growth = try Growth()
    growth.allow(8)
    defer { growth.allow(-1) }
    let overload =
      isGuarded
      ? "resource_monitors: [\(Self.heap(128))], actions: [\(Self.action("stop_accepting_requests", 0.5))]" : ""
    let proxy = try await RunningProxy.start(
      Self.configuration(growth.server.port, overload),
      wrapper: ["prlimit", "--core=0", "--data=\(320 * Self.mebibyte)"])
    let port = try proxy.port()
    try await blocking {
      var greedy: [RawConnection] = []
      defer { for client in greedy { client.close() } }
      var admitted = 0
      // Without its guard the proxy is gone before they are all served.
      for _ in 0..<60 {
        guard let client = try? Self.openGreedy(port, 1)[0] else { break }
        greedy.append(client)
        guard let head = try? client.receive(through: "\r\n\r\n", within: Deadline(.seconds(10))) else { break }
        guard head.contains(" 200 ") else { continue }
        admitted += 1
        if !growth.waitUntilSent(8 * admitted) { break }
      }
    }
    if isGuarded {
      try await eventually("it serves again") { (try? await proxy.get("/small"))?.status == 200 }
      #expect(try await proxy.stat("http.main.downstream_rq_overload_close") > 0)
    } else {
      try await eventually("it is gone") { proxy.program.ending != nil }
    }
  }

  /// Those streams are reset that hold much, and no others.
  @Test(arguments: ["h1", "h2"])
  func streamsThatHoldMuchAreReset(_ version: String) async throws {
    let growth = try Growth()
    growth.allow(16)
    defer { growth.allow(-1) }
    let directory = try TemporaryDirectory()
    try directory.write("pressure", "0")
    let monitor =
      "{name: test, typed_config: {\"@type\": \(Self.types).injected_resource.v3.InjectedResourceConfig, "
      + "filename: \"\(directory.file("pressure"))\"}}"
    var configuration = Self.configuration(
      growth.server.port,
      "buffer_factory_config: {minimum_account_to_track_power_of_two: 20}, resource_monitors: [\(monitor)], "
        + "actions: [{name: envoy.overload_actions.reset_high_memory_stream, "
        + "triggers: [{name: test, threshold: {value: 1}}]}]")
    let log = directory.file("access.log")
    configuration.listeners[0].accessLogs = [(log, "%PATH% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\\n")]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let much = try await blocking {
      if version == "h1" { return try Self.openGreedy(port, 1)[0] }
      // By HTTP/2 what is beyond the client's window of 64 KiB stays in the proxy.
      let client = try RawConnection(port: port)
      try client.send(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0])
      // HEADERS: GET, http, /much, localhost (RFC 7541: 2, 6, path literal, authority literal).
      let block: [UInt8] = [0x82, 0x86, 0x44, 5] + Array("/much".utf8) + [0x41, 1] + Array("h".utf8)
      try client.send([0, 0, UInt8(block.count), 1, 5, 0, 0, 0, 1] + block)
      return client
    }
    defer { much.close() }
    try await eventually("the proxy holds much") {
      try await proxy.stat("cluster.backend.upstream_cx_rx_bytes_total") > 12 * Self.mebibyte
    }
    let little = try await blocking {
      let little = try RawConnection(port: port)
      try little.send("POST /little HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhello")
      return little
    }
    try growth.server.waitForConnections(2)
    try directory.write("pressure", "1")
    try await eventually("the large stream is reset") {
      try await proxy.stat("envoy.overload_actions.reset_high_memory_stream.count") == 1
    }
    try await eventually("the log knows why") {
      TemporaryDirectory.contents(log).contains("/much OM overload")
    }
    #expect(try await proxy.stat("http.main.downstream_rq_active") == 1)
    little.close()
  }

  /// The overload manager changes with a reload like everything else.
  @Test func aReloadChangesIt() async throws {
    let directory = try TemporaryDirectory()
    try directory.write("pressure", "1")
    let monitor =
      "{name: test, typed_config: {\"@type\": \(Self.types).injected_resource.v3.InjectedResourceConfig, "
      + "filename: \"\(directory.file("pressure"))\"}}"
    func configuration(_ name: String) -> ProxyConfiguration {
      Self.configuration(
        1,
        "resource_monitors: [\(monitor)], actions: [{name: envoy.overload_actions.\(name), "
          + "triggers: [{name: test, threshold: {value: 1}}]}]")
    }
    let proxy = try await RunningProxy.start(configuration("stop_accepting_requests"))
    try await eventually("requests are refused") { try await proxy.get("/small").status == 503 }
    try proxy.directory.write("proxy.yaml", configuration("disable_http_keepalive").yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    let port = try proxy.port()
    try await eventually("requests are served, each on a connection") {
      let client = try await blocking { try RawConnection(port: port) }
      let response = try await client.exchange("GET /small HTTP/1.1\r\nhost: h\r\n\r\n")
      return response.status == 200 && response.value("connection") == "close"
    }
    #expect(try await proxy.admin("/stats?filter=stop_accepting_requests").text.isEmpty)
  }

  /// Everything at once, by whatever degree, changing all the time under load: nothing is lost that is not refused, and
  /// in the end all is as it was.
  @Test func pressureGoesUpAndDown() async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    try directory.write("pressure", "0")
    let monitor =
      "{name: test, typed_config: {\"@type\": \(Self.types).injected_resource.v3.InjectedResourceConfig, "
      + "filename: \"\(directory.file("pressure"))\"}}"
    let trigger = "triggers: [{name: test, scaled: {scaling_threshold: 0.1, saturation_threshold: 1}}]"
    let actions =
      [
        "stop_accepting_requests", "disable_http_keepalive", "stop_accepting_connections",
        "reject_incoming_connections", "shrink_heap", "reset_high_memory_stream",
      ].map { "{name: envoy.overload_actions.\($0), \(trigger)}" } + [
        """
        {name: envoy.overload_actions.reduce_timeouts, \(trigger), typed_config: {"@type": \
        type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig, timer_scale_factors: [\
        {timer: HTTP_DOWNSTREAM_CONNECTION_IDLE, min_timeout: 0.001s}, \
        {timer: HTTP_DOWNSTREAM_STREAM_IDLE, min_timeout: 0.02s}, \
        {timer: HTTP_DOWNSTREAM_STREAM_FLUSH, min_scale: {value: 1}}]}}
        """
      ]
    let points = [
      "tcp_listener_accept", "hcm_ondata_creating_codec", "http1_server_abort_dispatch",
      "http2_server_go_away_on_dispatch", "http2_server_go_away_and_close_on_dispatch",
      "http_connection_manager_decode_headers", "http_downstream_filter_check", "connection_pool_new_connection",
      "tcp_proxy_upstream_connect", "tcp_proxy_on_data",
    ].map { "{name: envoy.load_shed_points.\($0), \(trigger)}" }
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.fields = [
      "overload_manager: {refresh_interval: 0.002s, resource_monitors: [\(monitor)], "
        + "buffer_factory_config: {minimum_account_to_track_power_of_two: 10}, "
        + "actions: [\(actions.joined(separator: ", "))], loadshed_points: [\(points.joined(separator: ", "))]}"
    ]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let answers = Monitor<[Int: Int]>([:])
    let clients = Monitor((running: 6, isStopping: false))
    for number in 0..<6 {
      startThread {
        while !clients.read({ $0.isStopping }) {
          do {
            // Whatever becomes of one connection, there is the next.
            if number % 2 == 0 {
              let client = try RawConnection(port: port, within: Deadline(.seconds(5)))
              for _ in 0..<20 {
                try client.send("POST /large HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello")
                let status = try client.receiveResponse(within: Deadline(.seconds(5))).status
                answers.change { $0[status, default: 0] += 1 }
              }
            } else {
              let client = try HTTP2Client(port: port)
              for stream in try (0..<20).map({ _ in try client.request("/large") }) {
                let status = try client.wait(for: stream).status ?? 0
                answers.change { $0[status, default: 0] += 1 }
              }
              client.connection.close()
            }
          } catch { answers.change { $0[-1, default: 0] += 1 } }
        }
        clients.change { $0.running -= 1 }
      }
    }
    var random = SeededRandom(seed: 5)
    let end = Deadline(.seconds(3))
    while !end.hasPassed {
      // Mostly little, or there would be nothing but refusals.
      try directory.write("next", "0.\(random.next(below: 4) == 0 ? 9 : random.next(below: 4))")
      rename(directory.file("next"), directory.file("pressure"))
      // Until there is an answer or two to what it is now.
      let before = answers.read { $0.values.reduce(0, +) }
      _ = try await blocking {
        answers.wait(Deadline(.milliseconds(5))) { $0.values.reduce(0, +) > before + 2 ? true : nil }
      }
    }
    try directory.write("pressure", "0")
    clients.change { $0.isStopping = true }
    try await eventually("the clients end", within: Deadline(.seconds(30))) { clients.read { $0.running == 0 } }
    let seen = answers.read { $0 }
    #expect((seen[200] ?? 0) > 10, "\(seen)")
    #expect((seen[503] ?? 0) > 3, "\(seen)")
    try await eventually("all is as it was") { (try? await proxy.get())?.status == 200 }
    for name in [
      "http.main.downstream_rq_active", "http.main.downstream_cx_active", "cluster.backend.upstream_rq_active",
    ] {
      try await eventually("no \(name) is left") { try await proxy.stat(name) == 0 }
    }
  }

  /// A client of a TCP proxy that says something under pressure has said its last.
  @Test func aTCPClientIsNotHeard() async throws {
    let server = try ScriptedServer { connection, _ in
      while true {
        let bytes = try connection.receiveSome(within: Deadline(.seconds(60)))
        if bytes.isEmpty { break }
        try connection.send(bytes)
      }
    }
    let directory = try TemporaryDirectory()
    try directory.write("pressure", "0")
    let overload =
      "overload_manager: {refresh_interval: 0.02s, resource_monitors: [{name: test, typed_config: {\"@type\": "
      + "\(Self.types).injected_resource.v3.InjectedResourceConfig, filename: \"\(directory.file("pressure"))\"}}], "
      + "loadshed_points: [{name: envoy.load_shed_points.tcp_proxy_on_data, "
      + "triggers: [{name: test, threshold: {value: 1}}]}]}\n"
    try directory.write("proxy.yaml", TCPConfiguration(backend: server.port).yaml + overload)
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    let port = try proxy.port()
    let client = try await blocking {
      let client = try RawConnection(port: port)
      try client.send("hello")
      #expect(try client.receive(count: 5) == Array("hello".utf8))
      return client
    }
    try directory.write("pressure", "1")
    try await eventually("there is pressure") { try await proxy.stat("overload.test.pressure") == 100 }
    try await blocking {
      try client.send("more")
      #expect(try client.receiveToEnd(within: Deadline(.seconds(20))).isEmpty)
    }
    #expect(try await proxy.stat("tcp.tcp.downstream_cx_overload_close") == 1)
    #expect(try await proxy.stat("cluster.backend.upstream_cx_tx_bytes_total") == 5)
  }
}
