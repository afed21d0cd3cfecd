import MeshTesting
import Testing

/// Streams that become tunnels: upgrades of HTTP/1.1 and CONNECT, byte by byte.
@Suite("Tunnels", .timeLimit(.minutes(2)))
struct TunnelTests {
  private static let upgrade =
    "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\nx-a: b\r\n\r\n"
  private static let granted =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-c: d\r\n\r\n"
  private static let connect = "CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n"

  /// A proxy that serves WebSocket (but under `/no`), `foo` under `/foo`, and CONNECT: passed on with `x-pass`, ended here
  /// without.
  private func proxy(_ port: UInt16, log: TemporaryDirectory? = nil, drain: Int = 20) async throws -> RunningProxy {
    var configuration = ProxyConfiguration(backend: port)
    configuration.listeners[0].managerFields = ["upgrade_configs: [{upgrade_type: websocket}]"]
    configuration.listeners[0].routes = [
      "{match: {connect_matcher: {}, headers: [{name: x-pass, present_match: true}]}, "
        + "route: {cluster: backend, upgrade_configs: [{upgrade_type: CONNECT}]}}",
      "{match: {connect_matcher: {}}, "
        + "route: {cluster: backend, upgrade_configs: [{upgrade_type: connect, connect_config: {}}]}}",
      "{match: {prefix: /no}, route: {cluster: backend, upgrade_configs: [{upgrade_type: websocket, enabled: false}]}}",
      "{match: {prefix: /foo}, route: {cluster: backend, upgrade_configs: [{upgrade_type: FOO}]}}",
      "{match: {prefix: /quick}, route: {cluster: backend, timeout: 0.2s}}",
      "{match: {prefix: /idle}, route: {cluster: backend, timeout: 0.2s, idle_timeout: 0.5s}}",
      "{match: {prefix: /post}, "
        + "route: {cluster: backend, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: true}}]}}",
      "{match: {prefix: /}, route: {cluster: backend}}",
    ]
    if let log {
      configuration.listeners[0].accessLogs = [
        (
          log.file("log"),
          "%REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT%\\n"
        )
      ]
    }
    return try await RunningProxy.start(configuration, drain: drain)
  }

  /// An upstream that hands each of its connections to the test.
  private func upstream(_ connections: Monitor<[RawConnection]>, until ended: Monitor<Bool>) throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      connections.change { $0.append(connection) }
      _ = ended.wait(Deadline(.seconds(100))) { $0 ? true : nil }
    }
  }

  /// Runs a test between a client and an upstream that are connected by the proxy; nobody else uses it.
  private func between(
    log: TemporaryDirectory? = nil, drain: Int = 20,
    _ body: @escaping @Sendable (_ proxy: RunningProxy, _ next: () throws -> RawConnection) async throws -> Void
  ) async throws {
    let connections = Monitor<[RawConnection]>([])
    let ended = Monitor(false)
    defer { ended.change { $0 = true } }
    let server = try upstream(connections, until: ended)
    let proxy = try await proxy(server.port, log: log, drain: drain)
    try await blockingParts {
      try await body(proxy) {
        guard let connection = connections.wait(Deadline(), { $0.first }) else { throw TestFailure("no connection") }
        connections.change { _ = $0.removeFirst() }
        return connection
      }
    }
  }

  // MARK: Upgrades

  @Test("bytes pass both ways once the upstream has agreed, those that came with the heads included")
  func upgradePasses() async throws {
    let log = try TemporaryDirectory()
    try await between(log: log) { proxy, next in
      let port = try proxy.port()
      let client = try RawConnection(port: port)
      try client.send(Self.upgrade + "early")
      let server = try next()
      let head = try server.receive(through: "\r\n\r\n")
      #expect(head.hasPrefix("GET /chat HTTP/1.1\r\nhost: test\r\nupgrade: WebSocket\r\nx-a: b\r\n"))
      #expect(head.hasSuffix("\r\nconnection: Upgrade\r\n\r\n"))
      #expect(!head.contains("transfer-encoding") && !head.contains("content-length"))
      // What the client says before it has an answer is nobody's yet.
      #expect(!server.hasSomething(within: .milliseconds(100)))
      try server.send(Self.granted + "hello")
      let answer = try client.receive(through: "\r\n\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nx-c: d\r\n"))
      #expect(answer.hasSuffix("\r\nconnection: Upgrade\r\n\r\n"))
      #expect(!answer.contains("transfer-encoding") && !answer.contains("content-length"))
      #expect(try client.receive(count: 5) == Array("hello".utf8))
      #expect(try server.receive(count: 5) == Array("early".utf8))
      // What looks like HTTP is none.
      try client.send("GET / HTTP/1.1\r\n\r\n")
      try server.receive(through: "GET / HTTP/1.1\r\n\r\n")
      #expect(try await proxy.stat("http.main.downstream_cx_upgrades_active") == 1)
      // Each direction ends for itself.
      client.halfClose()
      #expect(try server.receiveToEnd().isEmpty)
      try server.send("more")
      #expect(try client.receive(count: 4) == Array("more".utf8))
      server.close()
      #expect(try client.receiveToEnd().isEmpty && client.receiveError == nil)
      try await eventually("the tunnel is over") {
        try await proxy.stat("http.main.downstream_cx_upgrades_active") == 0
      }
      #expect(try await proxy.stat("http.main.downstream_cx_upgrades_total") == 1)
      #expect(try await proxy.stat("cluster.backend.upstream_cx_active") == 0)
      #expect(try await proxy.stat("cluster.backend.upstream_rq_101") == 1)
      try await eventually("its line is in the log") { log.read("log") == "GET 101 - via_upstream 23 9\n" }
    }
  }

  @Test("an upstream may end its direction first")
  func upstreamEndsFirst() async throws {
    try await between { proxy, next in
      let client = try RawConnection(port: try proxy.port())
      try client.send(Self.upgrade)
      let server = try next()
      try server.receive(through: "\r\n\r\n")
      try server.send(Self.granted + "bye")
      server.halfClose()
      try client.receive(through: "\r\n\r\n")
      #expect(try client.receiveToEnd() == Array("bye".utf8))
      try client.send("and more")
      #expect(try server.receive(count: 8) == Array("and more".utf8))
      client.close()
      #expect(try server.receiveToEnd().isEmpty && server.receiveError == nil)
    }
  }

  @Test("a reset on one side is a reset on the other")
  func resets() async throws {
    try await between { proxy, next in
      let port = try proxy.port()
      let client = try RawConnection(port: port)
      try client.send(Self.upgrade)
      let server = try next()
      try server.receive(through: "\r\n\r\n")
      try server.send(Self.granted)
      try client.receive(through: "\r\n\r\n")
      server.reset()
      #expect(try client.receiveToEnd().isEmpty && client.receiveError == 104)

      let second = try RawConnection(port: port)
      try second.send(Self.upgrade)
      let other = try next()
      try other.receive(through: "\r\n\r\n")
      try other.send(Self.granted)
      try second.receive(through: "\r\n\r\n")
      second.reset()
      #expect(try other.receiveToEnd().isEmpty)
    }
  }

  @Test("any other answer is an ordinary response, and the connection's last")
  func notGranted() async throws {
    try await between { proxy, next in
      let client = try RawConnection(port: try proxy.port())
      try client.send(Self.upgrade + "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n")
      let server = try next()
      try server.receive(through: "\r\n\r\n")
      try server.send("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno")
      let response = try client.receiveResponse()
      #expect(response.status == 401)
      #expect(response.value("connection") == "close")
      #expect(response.text == "no")
      #expect(try client.receiveToEnd().isEmpty)
      // Nothing that came for the tunnel has reached the upstream.
      #expect(try server.receiveToEnd().isEmpty)
    }
  }

  @Test(
    "an answer that switches to something else is a mistake of the upstream",
    arguments: [
      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nupgrade: other\r\n\r\n",
    ])
  func wrongAnswer(_ answer: String) async throws {
    try await between { proxy, next in
      let client = try RawConnection(port: try proxy.port())
      try client.send(Self.upgrade)
      let server = try next()
      try server.receive(through: "\r\n\r\n")
      try server.send(answer)
      #expect(try client.receiveResponse().status == 502)
      #expect(try client.receiveToEnd().isEmpty)
      #expect(try server.receiveToEnd().isEmpty)
    }
  }

  @Test("what is not allowed is refused, with the end of the connection")
  func refused() async throws {
    let log = try TemporaryDirectory()
    try await between(log: log) { proxy, _ in
      let port = try proxy.port()
      let requests = [
        Self.upgrade.replacing("WebSocket", with: "other"), Self.upgrade.replacing("/chat", with: "/no"),
        Self.upgrade.replacing("upgrade: WebSocket", with: "upgrade: websocket\r\nupgrade: foo"),
      ]
      for request in requests {
        let client = try RawConnection(port: port)
        try client.send(request + "GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        let response = try client.receiveResponse()
        #expect(response.status == 403)
        #expect(response.value("connection") == "close")
        #expect(try client.receiveToEnd().isEmpty)
      }
      #expect(try await proxy.stat("http.main.downstream_rq_ws_on_non_ws_route") == requests.count)
      #expect(try await proxy.stat("http.main.downstream_cx_upgrades_total") == 0)
      try await eventually("their lines are in the log") {
        log.read("log") == String(repeating: "GET 403 - upgrade_failed 0 0\n", count: requests.count)
      }
    }
  }

  @Test("an upgrade to HTTP/2 is never made: the request is an ordinary one")
  func cleartextHTTP2() async throws {
    try await between { proxy, next in
      let client = try RawConnection(port: try proxy.port())
      try client.send(
        "GET / HTTP/1.1\r\nhost: test\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n\r\n"
      )
      let server = try next()
      let head = try server.receive(through: "\r\n\r\n")
      #expect(!head.contains("upgrade") && !head.contains("http2"))
      try server.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
      let response = try client.receiveResponse()
      #expect(response.status == 200)
      #expect(response.value("connection") == nil)
    }
  }

  @Test("a route's timeout bounds the answer to a request for a tunnel, not the tunnel; its idle timeout does")
  func timeouts() async throws {
    let log = try TemporaryDirectory()
    try await between(log: log) { proxy, next in
      let port = try proxy.port()
      let late = try RawConnection(port: port)
      try late.send(Self.upgrade.replacing("/chat", with: "/quick"))
      #expect(try late.receiveResponse().status == 504)
      #expect(try late.receiveToEnd().isEmpty)
      _ = try next()

      let idle = try RawConnection(port: port)
      try idle.send(Self.upgrade.replacing("/chat", with: "/idle"))
      let server = try next()
      try server.receive(through: "\r\n\r\n")
      try server.send(Self.granted)
      try idle.receive(through: "\r\n\r\n")
      #expect(try server.receiveToEnd().isEmpty)
      #expect(try idle.receiveToEnd().isEmpty && idle.receiveError == 104)
      try await eventually("both lines are in the log") {
        log.read("log") == "GET 504 UT response_timeout 0 24\nGET 101 SI stream_idle_timeout 0 0\n"
      }
    }
  }

  @Test("whoever does not read holds the other side up, and costs no more than the buffers")
  func backPressure() async throws {
    try await between { proxy, next in
      let client = try RawConnection(port: try proxy.port())
      try client.send(Self.upgrade)
      let server = try next()
      try server.receive(through: "\r\n\r\n")
      try server.send(Self.granted)
      try client.receive(through: "\r\n\r\n")
      let total = 64 * 1024 * 1024
      let before = proxy.memory.peak
      for (from, to) in [(client, server), (server, client)] {
        let sending = Task {
          try await blocking {
            let piece = [UInt8](repeating: 0x61, count: 1024 * 1024)
            for _ in 0..<(total / piece.count) { try from.send(piece, within: Deadline(.seconds(60))) }
          }
        }
        // Nobody reads, until the proxy has stopped, too.
        try await eventually("the sender has to wait") {
          let received = try await proxy.stat("http.main.downstream_cx_rx_bytes_total")
          let sent = try await proxy.stat("http.main.downstream_cx_tx_bytes_total")
          return received + sent > 1024 * 1024
        }
        try await blocking { try to.discard(count: total, within: Deadline(.seconds(60))) }
        try await sending.value
      }
      #expect(proxy.memory.peak - before < 24 * 1024)
    }
  }

  @Test("a tunnel survives that the proxy drains, for as long as that may take")
  func drain() async throws {
    try await between(drain: 2) { proxy, next in
      let client = try RawConnection(port: try proxy.port())
      try client.send(Self.upgrade)
      let server = try next()
      try server.receive(through: "\r\n\r\n")
      try server.send(Self.granted)
      try client.receive(through: "\r\n\r\n")
      proxy.program.signal(15)
      try await proxy.waitForLog("drain")
      try client.send("still")
      #expect(try server.receive(count: 5) == Array("still".utf8))
      try server.send("here")
      #expect(try client.receive(count: 4) == Array("here".utf8))
      #expect(try server.receiveToEnd().isEmpty)
      #expect(try await proxy.program.waitForEnd() == .exited(0))
    }
  }

  // MARK: CONNECT

  @Test("a CONNECT that ends here is a TCP connection to the cluster")
  func connectEndsHere() async throws {
    let log = try TemporaryDirectory()
    try await between(log: log) { proxy, next in
      let client = try RawConnection(port: try proxy.port())
      try client.send(Self.connect + "early")
      let server = try next()
      let answer = try client.receive(through: "\r\n\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
      #expect(!answer.contains("content-length") && !answer.contains("transfer-encoding"))
      #expect(try server.receive(count: 5) == Array("early".utf8))
      try server.send("banner")
      #expect(try client.receive(count: 6) == Array("banner".utf8))
      client.halfClose()
      #expect(try server.receiveToEnd().isEmpty)
      try server.send("last")
      server.close()
      #expect(try client.receiveToEnd() == Array("last".utf8) && client.receiveError == nil)
      try await eventually("its line is in the log") { log.read("log") == "CONNECT 200 - via_upstream 5 10\n" }
      #expect(try await proxy.stat("cluster.backend.upstream_cx_total") == 1)
      #expect(try await proxy.stat("cluster.backend.upstream_rq_total") == 1)
      #expect(try await proxy.stat("http.main.downstream_cx_upgrades_total") == 1)
    }
  }

  @Test("a CONNECT that is passed on asks the next proxy")
  func connectIsPassedOn() async throws {
    try await between { proxy, next in
      let port = try proxy.port()
      let request = Self.connect.replacing("host:", with: "x-pass: 1\r\nhost:")
      let client = try RawConnection(port: port)
      try client.send(request + "early")
      let server = try next()
      let head = try server.receive(through: "\r\n\r\n")
      #expect(head.hasPrefix("CONNECT example.com:443 HTTP/1.1\r\n"))
      #expect(head.contains("host: example.com:443\r\n"))
      #expect(!server.hasSomething(within: .milliseconds(100)))
      // RFC 9110 §9.3.6: framing in a successful answer means nothing.
      try server.send("HTTP/1.1 200 Connection established\r\ncontent-length: 3\r\n\r\nhello")
      let answer = try client.receive(through: "\r\n\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && !answer.contains("content-length"))
      #expect(try client.receive(count: 5) == Array("hello".utf8))
      #expect(try server.receive(count: 5) == Array("early".utf8))

      let refused = try RawConnection(port: port)
      try refused.send(request)
      let other = try next()
      try other.receive(through: "\r\n\r\n")
      try other.send("HTTP/1.1 407 Who are you\r\ncontent-length: 2\r\n\r\nno")
      let response = try refused.receiveResponse()
      #expect(response.status == 407)
      #expect(response.text == "no")
      #expect(try refused.receiveToEnd().isEmpty)
    }
  }

  @Test("a POST may be served as a CONNECT is")
  func post() async throws {
    try await between { proxy, next in
      let client = try RawConnection(port: try proxy.port())
      try client.send("POST /post HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nping")
      let server = try next()
      #expect(try server.receive(count: 4) == Array("ping".utf8))
      try server.send("pong")
      #expect(try server.receiveToEnd().isEmpty)
      server.close()
      let response = try client.receiveResponse()
      #expect(response.status == 200)
      #expect(response.text == "pong")
    }
  }

  @Test("nobody listens where a CONNECT leads")
  func nobodyListens() async throws {
    let server = try ScriptedServer { _, _ in }
    let port = server.port
    server.stop()
    let proxy = try await proxy(port)
    let response = try await RawConnection(port: proxy.port()).exchange(Self.connect)
    #expect(response.status == 503)
  }
}

extension String {
  /// With every `text` replaced.
  fileprivate func replacing(_ text: String, with other: String) -> String {
    var result = ""
    var rest = self[...]
    while let at = rest.indices.first(where: { rest[$0...].hasPrefix(text) }) {
      result += rest[..<at] + other
      rest = rest[at...].dropFirst(text.count)
    }
    return result + rest
  }
}
