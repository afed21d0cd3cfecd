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
    configuration.listeners[0].port = try ListenSocket().port
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let established = try RawConnection(port: port)
    #expect(try await established.exchange(Self.request).status == 200)
    #expect(try await proxy.admin("/drain_listeners", method: "POST").status == 200)
    try await eventually("connections are refused") { (try? RawConnection(port: port)) == nil }
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
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port), drain: 1)
    let port = try proxy.port()
    let established = try RawConnection(port: port)
    #expect(try await established.exchange(Self.request).value("connection") == nil)
    #expect(try await proxy.admin("/drain_listeners?graceful", method: "POST").status == 200)
    for connection in [established, try RawConnection(port: port)] {
      let response = try await connection.exchange(Self.request)
      #expect(response.status == 200)
      #expect(response.value("connection") == "close")
    }
    try await eventually("connections are refused") { (try? RawConnection(port: port)) == nil }
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
}
