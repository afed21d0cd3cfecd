import Glibc
import MeshTesting
import Testing

/// How a process ends.
@Suite("Shutdown", .timeLimit(.minutes(3)))
struct ShutdownTests {
  private static let request = "GET /x HTTP/1.1\r\nhost: test\r\n\r\n"

  /// A server that answers `/x` at once and anything else when the gate opens.
  private func gated(_ gate: Gate) throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(600))) {
        if request.target != "/x" { try gate.wait() }
        try connection.sendResponse(body: Array(request.target.utf8))
      }
    }
  }

  @Test func theLameDuckAcceptsAndSaysGoodbye() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port), lameDuck: 600, drain: 600)
    let port = try proxy.port()
    #expect(try await proxy.admin("/ready").status == 200)
    let established = try RawConnection(port: port)
    let first = try await established.exchange(Self.request)
    #expect(first.status == 200)
    #expect(first.value("connection") == nil)
    let silent = try RawConnection(port: port)

    proxy.program.signal(SIGTERM)
    try await proxy.waitForLog("draining")
    let ready = try await proxy.admin("/ready")
    #expect(ready.status == 503)
    #expect(ready.text == "DRAINING\n")
    for connection in [established, silent, try RawConnection(port: port)] {
      let response = try await connection.exchange(Self.request)
      #expect(response.status == 200)
      #expect(response.value("connection") == "close")
      #expect(try await blocking { try connection.receiveToEnd() }.isEmpty)
      #expect(connection.receiveError == nil)
    }

    // Asked again, it ends at once.
    proxy.program.signal(SIGTERM)
    #expect(try await proxy.program.waitForEnd() == .exited(0))
    #expect(proxy.count("told to stop again") == 1)
  }

  @Test func requestsInFlightFinish() async throws {
    let gate = Gate()
    let backend = try gated(gate)
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    let port = try proxy.port()
    let idle = try RawConnection(port: port)
    #expect(try await idle.exchange(Self.request).status == 200)
    let inFlight = try RawConnection(port: port)
    try inFlight.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n")
    let half = try RawConnection(port: port)
    try half.send("POST /x HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n01234")
    try await eventually("both requests are with the proxy") {
      try await proxy.stat("http.main.downstream_rq_active") == 2
    }

    proxy.program.signal(SIGTERM)
    try await eventually("nobody listens") { (try? RawConnection(port: port)) == nil }
    // A connection that was idle when the listener closed still serves the request that may be on its way.
    let late = try await idle.exchange(Self.request)
    #expect(late.status == 200)
    #expect(late.value("connection") == "close")
    try half.send("56789")
    let completed = try await blocking { try half.receiveResponse() }
    #expect(completed.status == 200)
    #expect(completed.value("connection") == "close")
    gate.open()
    let finished = try await blocking { try inFlight.receiveResponse() }
    #expect(finished.text == "/slow")
    #expect(finished.value("connection") == "close")
    #expect(try await proxy.program.waitForEnd() == .exited(0))
    #expect(proxy.count("] drained") == 1, "\(proxy.program.logs)")
    #expect(backend.failures.isEmpty)
  }

  @Test func theDeadlineEndsWhatIsStuck() async throws {
    let gate = Gate()
    let backend = try gated(gate)
    var configuration = ProxyConfiguration(backend: backend.port)
    let directory = try TemporaryDirectory()
    configuration.listeners[0].accessLogs = [(directory.file("access.log"), "%REQ(:PATH)% %RESPONSE_FLAGS%\\n")]
    let proxy = try await RunningProxy.start(configuration, drain: 1)
    let stuck = try RawConnection(port: proxy.port())
    try stuck.send("GET /stuck HTTP/1.1\r\nhost: test\r\n\r\n")
    try await eventually("the request is with the proxy") {
      try await proxy.stat("http.main.downstream_rq_active") == 1
    }
    proxy.program.signal(SIGTERM)
    #expect(try await proxy.program.waitForEnd() == .exited(0))
    #expect(proxy.count("the drain time is over") == 1)
    #expect(try await blocking { try stuck.receiveToEnd() }.isEmpty)
    // Even this request has its line.
    #expect(directory.read("access.log").contains("/stuck"), "\(directory.read("access.log"))")
    gate.open()
  }

  /// The drain time bounds the whole, also where it is shorter than the lame-duck time, and where clients hang on.
  @Test func theDrainTimeMayBeShorterThanTheLameDuckTime() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port), lameDuck: 600, drain: 1)
    let idle = try RawConnection(port: proxy.port())
    #expect(try await idle.exchange(Self.request).status == 200)
    proxy.program.signal(SIGTERM)
    #expect(try await proxy.program.waitForEnd() == .exited(0))
  }

  /// Ctrl-C waits for requests, not for clients that might send some, and not for load balancers to notice.
  @Test func interruptIsPrompt() async throws {
    let gate = Gate()
    let backend = try gated(gate)
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port), lameDuck: 600, drain: 600)
    let port = try proxy.port()
    let idle = try RawConnection(port: port)
    #expect(try await idle.exchange(Self.request).status == 200)
    let inFlight = try RawConnection(port: port)
    try inFlight.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n")
    try await eventually("the request is with the proxy") {
      try await proxy.stat("http.main.downstream_rq_active") == 1
    }
    proxy.program.signal(SIGINT)
    // Well before the drain timeout of idle connections, which is five seconds.
    #expect(try await blocking { try idle.receiveToEnd(within: Deadline(.seconds(4))) }.isEmpty)
    gate.open()
    #expect(try await blocking { try inFlight.receiveResponse() }.text == "/slow")
    #expect(try await proxy.program.waitForEnd() == .exited(0))
  }

  @Test func aSecondProcessIsToldWhoIsThere() async throws {
    let backend = try EchoBackend()
    let first = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].port = try first.port()
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", configuration.yaml)
    let second = try RunningProxy(directory)
    #expect(try await second.program.waitForEnd() == .exited(1))
    let message = "127.0.0.1:\(configuration.listeners[0].port) is in use by martlet-proxy pid \(first.program.id)"
    #expect(second.count(message) == 1, "\(second.program.logs)")
    #expect(try await first.get("/x").status == 200)
  }

  /// Nothing is left behind that would keep a successor from starting.
  @Test func itStartsAgainAfterBeingKilled() async throws {
    let backend = try EchoBackend()
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].port = try ListenSocket.freePort()
    for _ in 0..<5 {
      let proxy = try await RunningProxy.start(configuration)
      let client = try RawConnection(port: proxy.port())
      #expect(try await client.exchange(Self.request).status == 200)
      try await proxy.program.killAndWait()
      #expect(proxy.program.ending == .killed(signal: SIGKILL))
    }
  }

  /// The promise is 100 ms; a busy machine is given ten times as much.
  @Test func itIsReadySoon() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port))
    let milliseconds: Int? = try await proxy.program.waitForOutput("ready after") { output in
      guard let line = output.split(separator: "\n").first(where: { $0.contains("ready after ") }) else { return nil }
      return .some(line.split(separator: " ").dropLast().last.flatMap { Int($0) })
    }
    print("ready after \(milliseconds ?? -1) ms")
    #expect(milliseconds ?? .max < 1000)
  }

  /// Told to stop while it starts (its cluster's name is being resolved), it stops.
  @Test(.enabled(if: NameServer.isPossible), arguments: [SIGTERM, SIGINT])
  func itStopsWhileStarting(_ signal: Int32) async throws {
    let directory = try TemporaryDirectory()
    var configuration = ProxyConfiguration(backend: 1)
    configuration.clusters[0].type = "STRICT_DNS"
    configuration.clusters[0].endpoints = [("name.test", 1)]
    // However busy the machine is, the lookup outlasts the question below.
    configuration.clusters[0].fields = [
      "typed_dns_resolver_config: "
        + ProxyConfiguration.typed(
          "cares", "network.dns_resolver.cares.v3.CaresDnsResolverConfig", ["query_timeout_seconds: 120"])
    ]
    try directory.write("proxy.yaml", configuration.yaml)
    let names = try NameServer { _ in .silence }
    let began = ContinuousClock.now
    let proxy = try RunningProxy(directory, wrapper: names.wrapper)
    try await proxy.waitForLog("admin interface on")
    let status = try await proxy.admin("/ready").status
    // After five seconds it serves without the name, and a busy machine may need these to ask.
    #expect(status == 503 || ContinuousClock.now - began > .seconds(5))
    proxy.program.signal(signal)
    #expect(try await proxy.program.waitForEnd() == .exited(0))
  }
}
