import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Routing a request to an upstream")
struct RouterTests {
  private let all = #"[{match: {prefix: "/"}, route: {cluster: up, timeout: 5s}}]"#

  private func server(_ answer: String = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      while true {
        _ = try connection.receive(through: "\r\n\r\n")
        try connection.send(answer)
      }
    }
  }

  @Test("local replies: no route, no cluster, no endpoint, a direct response")
  func localReplies() throws {
    let fixture = try WorkerFixture(
      routes: """
        [{match: {path: /direct}, direct_response: {status: 203, body: {inline_string: d}}}, \
        {match: {path: /empty}, route: {cluster: empty}}]
        """, clusters: "[{name: empty, type: STATIC}]")
    let none = fixture.open("GET", "/none")
    #expect(none.status == 404)
    #expect(none.body.isEmpty)
    #expect(fixture.count(.routerNoRoute) == 1)
    let empty = fixture.open("GET", "/empty")
    #expect(empty.status == 503)
    #expect(empty.text == "no healthy upstream")
    #expect(fixture.open("GET", "/direct").text == "d")
    #expect(fixture.count(.routerDirectResponse) == 1)
    #expect(fixture.count(.requestActive) == 0)
    #expect(fixture.worker.clusters["empty"]?.stats.value(.requestActive) == 0)
  }

  @Test("a request reaches its upstream and the response comes back with the proxy's headers")
  func roundTrip() throws {
    let server = try server()
    defer { server.stop() }
    let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", server.port))]")
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded })
    #expect(response.status == 200)
    #expect(response.text == "ok")
    #expect(response.headers["server"] == "envoy")
    #expect(response.headers["date"]?.hasSuffix("GMT") == true)
    #expect(response.headers["x-envoy-upstream-service-time"] != nil)
    let stats = try #require(fixture.worker.clusters["up"]?.stats)
    #expect(stats.value(.requestTotal) == 1)
    #expect(stats.value(.requestCompleted) == 1)
    #expect(stats.value(.requestActive) == 0)
    #expect(stats.value(.connectionActive) == 1)
  }

  @Test("the second request uses the first one's connection")
  func reuse() throws {
    let server = try server()
    defer { server.stop() }
    let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", server.port))]")
    for _ in 0..<3 {
      let response = fixture.open()
      #expect(fixture.turn { response.isEnded })
    }
    #expect(fixture.worker.clusters["up"]?.stats.value(.connectionTotal) == 1)
  }

  @Test("requests over the limit are answered by 503 with x-envoy-overloaded")
  func breaker() throws {
    let server = try ScriptedServer { connection, _ in _ = try connection.receiveToEnd() }
    defer { server.stop() }
    let limits = "circuit_breakers: {thresholds: [{max_requests: 1}]},"
    let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", server.port, more: limits))]")
    let first = fixture.open()
    let second = fixture.open()
    #expect(second.status == 503)
    #expect(second.headers["x-envoy-overloaded"] == "true")
    #expect(
      second.text == "upstream connect error or disconnect/reset before headers. reset reason: overflow")
    first.stream?.requestReset(.connectionTermination)
    #expect(fixture.worker.clusters["up"]?.identity.breakers.normal.requests.current == 0)
  }

  @Test("requests that wait for a connection are limited too")
  func pending() throws {
    let server = try ScriptedServer { connection, _ in _ = try connection.receiveToEnd() }
    defer { server.stop() }
    let limits = "circuit_breakers: {thresholds: [{max_connections: 1, max_pending_requests: 1}]},"
    let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", server.port, more: limits))]")
    let first = fixture.open()
    let stats = try #require(fixture.worker.clusters["up"]?.stats)
    // The first has the only connection once it is established; the second waits; the third is too many.
    #expect(fixture.turn { stats.value(.requestPendingActive) == 0 })
    let second = fixture.open()
    let third = fixture.open()
    #expect(second.status == nil)
    #expect(third.status == 503)
    #expect(stats.value(.requestPendingOverflow) == 1)
    #expect(stats.value(.connectionOverflow) == 1)
    second.stream?.requestReset(.connectionTermination)
    first.stream?.requestReset(.connectionTermination)
    #expect(stats.value(.requestPendingActive) == 0)
    #expect(fixture.worker.clusters["up"]?.identity.breakers.normal.pendingRequests.current == 0)
  }

  @Test("a refused connection is answered by 503 that says so")
  func refused() throws {
    let server = try server()
    let port = server.port
    server.stop()
    let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", port))]")
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded })
    #expect(response.status == 503)
    #expect(response.text.hasSuffix("reset reason: remote connection failure"))
    #expect(fixture.worker.clusters["up"]?.stats.value(.connectionFail) == 1)
  }

  @Test("a connection whose request left before it was made is idle, and ends like one")
  func orphan() throws {
    let server = try ScriptedServer { connection, _ in _ = try connection.receiveToEnd() }
    defer { server.stop() }
    let options =
      "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {\"@type\": "
      + "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, "
      + "common_http_protocol_options: {idle_timeout: 0.05s}, explicit_http_config: {http_protocol_options: {}}}},"
    let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", server.port, more: options))]")
    fixture.open().stream?.requestReset(.connectionTermination)
    let stats = try #require(fixture.worker.clusters["up"]?.stats)
    #expect(stats.value(.connectionActive) == 1)
    #expect(fixture.turn { stats.value(.connectionActive) == 0 })
    #expect(stats.value(.connectionIdleTimeout) == 1)
  }

  @Test("a response that does not come in time is answered by 504")
  func timeout() throws {
    let server = try ScriptedServer { connection, _ in _ = try connection.receiveToEnd() }
    defer { server.stop() }
    let fixture = try WorkerFixture(
      routes: #"[{match: {prefix: "/"}, route: {cluster: up, timeout: 0.03s}}]"#,
      clusters: "[\(cluster("up", server.port))]")
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded })
    #expect(response.status == 504)
    #expect(response.text == "upstream request timeout")
    #expect(fixture.worker.clusters["up"]?.stats.value(.requestTimeout) == 1)
    #expect(fixture.worker.clusters["up"]?.stats.value(.connectionActive) == 0)
  }

  @Test("a reused connection that dies before a byte is tried once more, for what may be sent twice")
  func transparentRetry() throws {
    for (method, expected) in [("GET", 200), ("DELETE", 200), ("POST", 503)] {
      // The first connection answers one request and dies with the second; every later one answers.
      let server = try ScriptedServer { connection, number in
        _ = try connection.receive(through: "\r\n\r\n")
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        _ = try connection.receive(through: "\r\n\r\n")
        if number == 0 { return }
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
      }
      defer { server.stop() }
      let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", server.port))]")
      let first = fixture.open()
      #expect(fixture.turn { first.isEnded })
      let second = fixture.open(method)
      #expect(fixture.turn { second.isEnded })
      #expect(second.status == expected, "\(method)")
      #expect(fixture.worker.clusters["up"]?.stats.value(.requestRetry) == (expected == 200 ? 1 : 0))
    }
  }

  @Test("a truncated response is reset, never ended")
  func truncated() throws {
    let server = try ScriptedServer { connection, _ in
      _ = try connection.receive(through: "\r\n\r\n")
      try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    }
    defer { server.stop() }
    let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", server.port))]")
    let response = fixture.open()
    #expect(fixture.turn { response.isReset })
    #expect(!response.isEnded)
    #expect(fixture.count(.routerResetAfterResponseStarted) == 1)
  }

  @Test("bytes behind a response end the connection and answer nothing")
  func unsolicited() throws {
    let server = try ScriptedServer { connection, _ in
      _ = try connection.receive(through: "\r\n\r\n")
      try connection.send(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
      _ = try connection.receiveToEnd()
    }
    defer { server.stop() }
    let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", server.port))]")
    let first = fixture.open()
    #expect(fixture.turn { first.isEnded })
    #expect(first.text == "ok")
    let stats = try #require(fixture.worker.clusters["up"]?.stats)
    #expect(fixture.turn { stats.value(.connectionProtocolError) == 1 })
    #expect(stats.value(.connectionActive) == 0)
  }

  @Test("prefix_rewrite keeps the original path, and route headers are set")
  func rewrite() throws {
    let seen = Monitor("")
    let server = try ScriptedServer { connection, _ in
      let head = try connection.receive(through: "\r\n\r\n")
      seen.change { $0 = head }
      try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-secret: 1\r\n\r\n")
    }
    defer { server.stop() }
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /api}, route: {cluster: up, prefix_rewrite: /v2}, \
        request_headers_to_add: [{header: {key: x-team, value: blue}}], request_headers_to_remove: [x-drop], \
        response_headers_to_remove: [x-secret]}]
        """, clusters: "[\(cluster("up", server.port))]")
    let response = fixture.open("GET", "/api/things?q=1", [("x-drop", "1")])
    #expect(fixture.turn { response.isEnded })
    let head = seen.read { $0 }
    #expect(head.hasPrefix("GET /v2/things?q=1 HTTP/1.1\r\n"))
    #expect(head.contains("\r\nx-envoy-original-path: /api/things?q=1\r\n"))
    #expect(head.contains("\r\nx-team: blue\r\n"))
    #expect(!head.contains("x-drop"))
    #expect(response.headers["x-secret"] == nil)
  }

  @Test("trace headers: made where there are none, continued where there are")
  func trace() throws {
    let seen = Monitor("")
    let server = try ScriptedServer { connection, _ in
      while true {
        let head = try connection.receive(through: "\r\n\r\n")
        seen.change { $0 = head }
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
      }
    }
    defer { server.stop() }
    let fixture = try WorkerFixture(routes: all, clusters: "[\(cluster("up", server.port))]")
    func send(_ headers: [(String, String)]) -> String {
      let response = fixture.open("GET", "/", headers)
      #expect(fixture.turn { response.isEnded })
      return seen.read { $0 }
    }
    func field(_ name: String, _ head: String) -> String? {
      head.split(separator: "\r\n").first { $0.hasPrefix(name + ": ") }.map { String($0.dropFirst(name.count + 2)) }
    }
    let fresh = send([])
    #expect(field("traceparent", fresh)?.count == 55)
    #expect(field("x-b3-traceid", fresh) == nil)
    #expect(field("x-request-id", fresh)?.count == 36)

    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    let continued = send([("traceparent", parent), ("tracestate", "a=b")])
    let own = try #require(field("traceparent", continued))
    #expect(own.hasPrefix("00-0af7651916cd43dd8448eb211c80319c-"))
    #expect(!own.contains("b7ad6b7169203331"))
    #expect(own.hasSuffix("-01"))
    #expect(field("tracestate", continued) == "a=b")

    let b3 = send([
      ("x-b3-traceid", "463ac35c9f6413ad"), ("x-b3-spanid", "a2fb4a1d1a96d312"), ("x-b3-sampled", "0"),
    ])
    #expect(field("x-b3-traceid", b3) == "463ac35c9f6413ad")
    #expect(field("x-b3-parentspanid", b3) == "a2fb4a1d1a96d312")
    #expect(field("x-b3-sampled", b3) == "0")
    #expect(field("traceparent", b3) == nil)
    // The request identifier carries the same decision.
    let identifier = try #require(field("x-request-id", b3))
    #expect(Array(identifier)[14] == "4")

    let two = send([("traceparent", parent), ("traceparent", parent)])
    #expect(field("traceparent", two)?.contains("0af7651916cd43dd8448eb211c80319c") == false)
    let stray = send([("b3", "463ac35c9f6413ad-a2fb4a1d1a96d312-1"), ("tracestate", "a=b")])
    #expect(field("tracestate", stray) == nil)
    #expect(field("b3", stray)?.hasPrefix("463ac35c9f6413ad-") == true)
  }
}
