import Glibc
import MeshTesting
import Testing

/// What the process takes, it gives back.
@Suite("Resources", .serialized, .timeLimit(.minutes(5)))
struct ResourceTests {
  /// Upstream connections end soon, so that what is left can be told from what is kept.
  private static let shortIdle = """
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": \
    type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, common_http_protocol_options: \
    {idle_timeout: 0.2s}, explicit_http_config: {http_protocol_options: {}}}}
    """

  private func expectNothingOpen(_ proxy: RunningProxy) async throws {
    let gauges = [
      "http.main.downstream_cx_active", "http.main.downstream_rq_active", "cluster.backend.upstream_cx_active",
      "cluster.backend.upstream_rq_active", "cluster.backend.upstream_rq_pending_active",
    ]
    do {
      try await eventually("gauges are back at zero", within: Deadline(.seconds(30))) {
        for gauge in gauges where try await proxy.stat(gauge) != 0 { return false }
        return true
      }
    } catch {
      for gauge in gauges { print("\(gauge): \(try await proxy.stat(gauge))") }
      throw error
    }
  }

  @Test func descriptorsAndMemoryComeBack() async throws {
    let backend = try EchoBackend()
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.clusters[0].fields = [Self.shortIdle]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let start = proxy.openDescriptors
    let load = Load(port: port, keepAlive: 2, new: 1)
    var memory: [Int] = []
    for round in 0..<4 {
      try await blocking {
        var random = SeededRandom(seed: UInt64(round))
        for _ in 0..<25 { for way in Rude.allCases { try way.act(port, &random) } }
      }
      memory.append(proxy.memory.now)
    }
    try await load.waitForMore(100)
    let tally = try await load.stop()
    #expect(tally.failures.isEmpty)
    try await expectNothingOpen(proxy)
    try await eventually("descriptors are back at \(start)", within: Deadline(.seconds(30))) {
      proxy.openDescriptors == start
    }
    print("resources: \(tally.answered) requests and \(100 * Rude.allCases.count) rude ones, resident KiB: \(memory)")
    #expect(memory[3] < memory[0] + 8192, "resident KiB: \(memory)")
  }

  // MARK: Large bodies

  private static let gibibyte = 1 << 30
  private static let block = [UInt8](repeating: 0x61, count: 1 << 18)
  private static let limit = 64 << 10

  private var patient: ProxyConfiguration {
    var configuration = ProxyConfiguration(clusters: [])
    configuration.listeners[0].routes = ["{match: {prefix: /}, route: {cluster: backend, timeout: 0s}}"]
    return configuration
  }

  @Test func aGibibyteThroughASlowReader() async throws {
    let backend = try ScriptedServer { connection, _ in
      _ = try connection.receiveRequest()
      try connection.send("HTTP/1.1 200 OK\r\ncontent-length: \(Self.gibibyte)\r\n\r\n")
      for _ in 0..<(Self.gibibyte / Self.block.count) {
        try connection.send(Self.block, within: Deadline(.seconds(120)))
      }
      _ = try connection.receiveToEnd(within: Deadline(.seconds(60)))
    }
    var configuration = patient
    configuration.clusters = [.init(endpoints: [("127.0.0.1", backend.port)])]
    let proxy = try await RunningProxy.start(configuration)
    let client = try RawConnection(port: proxy.port())
    try client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
    try await eventually("the upstream has to wait", within: Deadline(.seconds(60))) {
      try await proxy.stat("cluster.backend.upstream_flow_control_paused_reading_total") > 0
    }
    try await blocking {
      try client.receive(through: "\r\n\r\n")
      // Less at a time than the proxy handles at a time, so that it goes on to be the one who waits.
      try client.discard(count: Self.gibibyte, piece: 4096, within: Deadline(.seconds(120)))
    }
    print("resources: 1 GiB down, at most \(proxy.memory.peak) KiB resident")
    #expect(proxy.memory.peak < Self.limit)
    #expect(backend.failures.isEmpty)
  }

  @Test func aGibibyteToASlowReader() async throws {
    let gate = Gate()
    let backend = try ScriptedServer { connection, _ in
      try connection.receive(through: "\r\n\r\n")
      try gate.wait(within: Deadline(.seconds(120)))
      try connection.discard(count: Self.gibibyte, piece: 4096, within: Deadline(.seconds(120)))
      try connection.sendResponse(body: Array("done".utf8))
      _ = try connection.receiveToEnd(within: Deadline(.seconds(60)))
    }
    var configuration = patient
    configuration.clusters = [.init(endpoints: [("127.0.0.1", backend.port)])]
    let proxy = try await RunningProxy.start(configuration)
    let client = try RawConnection(port: proxy.port())
    async let answer = blocking {
      try client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: \(Self.gibibyte)\r\n\r\n")
      for _ in 0..<(Self.gibibyte / Self.block.count) {
        try client.send(Self.block, within: Deadline(.seconds(120)))
      }
      return try client.receiveResponse(within: Deadline(.seconds(60)))
    }
    try await eventually("the client has to wait", within: Deadline(.seconds(60))) {
      try await proxy.stat("http.main.downstream_flow_control_paused_reading_total") > 0
    }
    gate.open()
    #expect(try await answer.text == "done")
    print("resources: 1 GiB up, at most \(proxy.memory.peak) KiB resident")
    #expect(proxy.memory.peak < Self.limit)
    #expect(backend.failures.isEmpty)
  }

  // MARK: Too many connections

  /// Out of descriptors, the proxy waits; it neither spins nor forgets those who wait in its queue.
  @Test func withoutDescriptorsItWaits() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(
      ProxyConfiguration(backend: backend.port), wrapper: ["prlimit", "--nofile=64:64"])
    let port = try proxy.port()
    let start = proxy.openDescriptors
    let started = (proxy.processorTime, ContinuousClock.now)
    let connections = try await blocking { try (0..<300).map { _ in try RawConnection(port: port) } }
    try await proxy.waitForLog("Too many open files")
    // Those that were accepted are served when others have left; those that were not, as soon as there is room.
    try await blocking {
      for connection in connections.dropLast() { connection.close() }
      let last = connections[connections.count - 1]
      try last.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n")
      let response = try last.receiveResponse(within: Deadline(.seconds(30)))
      guard response.status == 200 else { throw TestFailure("\(response)") }
    }
    let used = proxy.processorTime - started.0
    let elapsed = ContinuousClock.now - started.1
    print("resources: out of descriptors for \(elapsed), \(used) clock ticks used")
    #expect(used < 50)
    #expect(proxy.count("Too many open files") <= 2 + Int(elapsed.components.seconds))
    #expect(try await proxy.get("/x").status == 200)
    connections[connections.count - 1].close()
    try await eventually("descriptors are back", within: Deadline(.seconds(30))) {
      proxy.openDescriptors <= start + 2
    }
  }

  /// While clients have every descriptor, requests that need an upstream are answered clearly, the admin interface
  /// answers, and lines still reach the log; afterwards everything is as before.
  @Test func withoutDescriptorsItSaysSo() async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].accessLogs = [
      (directory.file("log"), "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\\n")
    ]
    let proxy = try await RunningProxy.start(configuration, wrapper: ["prlimit", "--nofile=64:64"])
    let port = try proxy.port()
    let connections = try await blocking { try (0..<100).map { _ in try RawConnection(port: port) } }
    try await proxy.waitForLog("Too many open files")
    // One of those that were accepted (which, depends on the workers); there is no descriptor left for its upstream.
    let response = try await blocking {
      for connection in connections { try connection.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n") }
      return try RawConnection.firstToHear(connections).receiveResponse()
    }
    #expect(response.status == 503)
    #expect(response.text.contains("local connection failure"), "\(response.text)")
    try await eventually("the log has it") {
      directory.read("log").contains(
        "503 UF upstream_reset_before_response_started{local_connection_failure|immediate_connect_error:_Too_many_open_files}"
      )
    }
    for _ in 0..<10 {
      #expect(try await proxy.admin("/ready").status == 200)
      #expect(try await proxy.stat("listener.127.0.0.1_0.downstream_cx_accept_failure") > 0)
    }
    for connection in connections { connection.close() }
    try await eventually("requests are served again", within: Deadline(.seconds(30))) {
      try await proxy.get("/x").status == 200
    }
  }

  // MARK: Full disks

  /// A log that has reached its greatest size, as if the disk were full: the proxy serves on, keeps what it can, counts
  /// what it cannot write, and writes again when there is room.
  @Test func withoutRoomForTheLogItServes() async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].accessLogs = [
      (directory.file("log"), "%REQ(:PATH)% \(String(repeating: "x", count: 1000))\\n")
    ]
    let proxy = try await RunningProxy.start(configuration, wrapper: ["prlimit", "--fsize=8192"])
    for number in 0..<20 { #expect(try await proxy.get("/first/\(number)").status == 200) }
    try await eventually("a write has failed") { try await proxy.stat("filesystem.write_failed") > 0 }
    #expect(try await proxy.get("/while-full").status == 200)
    #expect(directory.read("log").utf8.count == 8192)
    #expect(proxy.count("cannot be written") == 1)
    // There is room again: what was kept comes, whole and in order.
    truncate(directory.file("log"), 0)
    try await eventually("the kept lines come") { directory.read("log").utf8.count == 8192 }
    truncate(directory.file("log"), 0)
    try await eventually("the last line comes") { directory.read("log").contains("/while-full ") }
    #expect(try await proxy.get("/after").status == 200)
    try await eventually("later lines come") { directory.read("log").contains("/after ") }
    #expect(try await proxy.stat("filesystem.write_dropped") == 0)
  }

  /// A device that is always full.
  @Test func aLogThatCannotBeWrittenHarmsNobody() async throws {
    let backend = try EchoBackend()
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].accessLogs = [("/dev/full", nil)]
    let proxy = try await RunningProxy.start(configuration)
    for _ in 0..<20 { #expect(try await proxy.get("/x").status == 200) }
    try await eventually("writes fail") { try await proxy.stat("filesystem.write_failed") > 1 }
    #expect(proxy.count("cannot be written") == 1)
  }

  /// Silent connections cost memory and nothing else, and do not disturb the others.
  @Test func tenThousandIdleConnections() async throws {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    let count = min(10_000, Int(limit.rlim_max) - 2000)
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    let port = try proxy.port()
    #expect(try await proxy.get("/x").status == 200)
    let before = (proxy.memory.now, proxy.openDescriptors)
    let connections = try await blocking {
      try (0..<count).map { _ in try RawConnection(port: port, within: Deadline(.seconds(30))) }
    }
    try await eventually("all are accepted", within: Deadline(.seconds(30))) {
      try await proxy.stat("http.main.downstream_cx_active") == count
    }
    #expect(try await proxy.get("/x").status == 200)
    print("resources: \(count) idle connections, \(proxy.memory.now - before.0) KiB more")
    #expect(proxy.memory.now - before.0 < 4 * count, "more than 4 KiB for each")
    try await expectIdle(proxy)
    try await blocking { for connection in connections { connection.close() } }
    try await eventually("all are gone", within: Deadline(.seconds(30))) {
      try await proxy.stat("http.main.downstream_cx_active") == 0
    }
    try await expectIdle(proxy)
  }
}

/// Expects that the proxy does nothing while nothing happens. Not an event, so it takes a moment; a busy loop would use
/// all of it.
func expectIdle(_ proxy: RunningProxy) async throws {
  let before = proxy.processorTime
  try await Task.sleep(for: .milliseconds(500))
  let used = proxy.processorTime - before
  #expect(used < 20, "\(used) clock ticks used in half a second of silence")
}
