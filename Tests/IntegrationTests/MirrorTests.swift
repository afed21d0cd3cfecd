import MeshTesting
import Testing

/// Copies of requests (`request_mirror_policies`).
@Suite("Mirrors", .timeLimit(.minutes(2)))
struct MirrorTests {
  /// What a mirror has received, request by request.
  private final class Received: Sendable {
    let requests = Monitor<[RawRequest]>([])
    func add(_ request: RawRequest) { requests.change { $0.append(request) } }
  }

  private static func server(_ received: Received) throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        received.add(request)
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
      }
    }
  }

  private static func configuration(_ policies: String, main: UInt16, mirror: UInt16) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(clusters: [
      .init(name: "backend", endpoints: [("127.0.0.1", main)]),
      .init(name: "mirror", endpoints: [("127.0.0.1", mirror)]),
    ])
    configuration.listeners[0].routes = [
      """
      {match: {prefix: /}, request_headers_to_add: [{header: {key: x-added, value: "1"}}], \
      route: {cluster: backend, prefix_rewrite: /new/, request_mirror_policies: [\(policies)]}}
      """
    ]
    return configuration
  }

  @Test func aMirrorGetsWhatTheUpstreamGets() async throws {
    let original = Received()
    let copies = Received()
    let main = try Self.server(original)
    let mirror = try Self.server(copies)
    let proxy = try await RunningProxy.start(
      Self.configuration(
        "{cluster: mirror}, {cluster_header: x-to, disable_shadow_host_suffix_append: true}", main: main.port,
        mirror: mirror.port))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("GET /a?q=1 HTTP/1.1\r\nhost: shop.example:80\r\n\r\n")
      #expect(try client.receiveResponse().status == 200)
      let copy = try #require(copies.requests.wait(Deadline()) { $0.first })
      #expect(copy.target == "/new/a?q=1")
      #expect(copy.value("host") == "shop.example-shadow:80")
      #expect(copy.value("x-added") == "1")
      #expect(original.requests.read { $0.first?.value("host") } == "shop.example:80")
      // Length-delimited, chunked, with trailers; the second policy's header names a cluster now.
      try client.send(
        "POST /b HTTP/1.1\r\nhost: h\r\nx-to: mirror\r\ncontent-length: 5\r\n\r\nhello"
          + "POST /c HTTP/1.1\r\nhost: h\r\nx-to: nowhere\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-end: 1\r\n\r\n"
      )
      #expect(try client.receiveResponse().status == 200)
      #expect(try client.receiveResponse().status == 200)
      let all = try #require(copies.requests.wait(Deadline()) { $0.count == 4 ? $0 : nil })
      let hosts = all.dropFirst().map {
        "\($0.value("host") ?? "") \($0.target) \(String(decoding: $0.body, as: UTF8.self))"
      }.sorted()
      #expect(hosts == ["h /new/b hello", "h-shadow /new/b hello", "h-shadow /new/c abc"])
    }
    try await eventually("the mirror's answers are in") {
      try await proxy.stat("cluster.mirror.upstream_rq_completed") == 4
    }
    #expect(try await proxy.stat("cluster.mirror.upstream_rq_active") == 0)
    #expect(try await proxy.stat("cluster.backend.upstream_rq_total") == 3)
  }

  /// Neither a mirror that is gone, nor one that hangs, nor one that does not read changes anything for the client.
  @Test func aBadMirrorDisturbsNobody() async throws {
    let main = try Self.server(Received())
    let silent = try ScriptedServer { connection, _ in _ = try connection.receiveToEnd(within: Deadline(.seconds(60))) }
    let over = Gate()
    let deaf = try ScriptedServer { _, _ in try over.wait() }
    defer { over.open() }
    let gone = try ScriptedServer { _, _ in }
    let gonePort = gone.port
    gone.stop()
    for port in [silent.port, deaf.port, gonePort] {
      let proxy = try await RunningProxy.start(
        Self.configuration("{cluster: mirror}, {cluster: mirror}", main: main.port, mirror: port))
      let body = String(repeating: "x", count: 3_000_000)
      let listener = try proxy.port()
      try await blocking {
        let client = try RawConnection(port: listener)
        for _ in 0..<3 {
          try client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: \(body.utf8.count)\r\n\r\n" + body)
          #expect(try client.receiveResponse().status == 200)
        }
      }
    }
  }

  /// A client that leaves in the middle of its request takes the copy with it.
  @Test func aBrokenRequestIsABrokenCopy() async throws {
    let ended = Monitor<[Int]>([])
    let backend = try ScriptedServer { connection, _ in
      let bytes = try connection.receiveToEnd(within: Deadline(.seconds(30)))
      ended.change { $0.append(bytes.count) }
    }
    let proxy = try await RunningProxy.start(
      Self.configuration("{cluster: mirror}", main: backend.port, mirror: backend.port))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhello")
      try backend.waitForConnections(2)
      client.close()
      #expect(ended.wait(Deadline()) { $0.count == 2 ? true : nil } == true)
    }
    try await eventually("nothing is left") { try await proxy.stat("cluster.mirror.upstream_rq_active") == 0 }
  }

  @Test func aShareIsCopied() async throws {
    let copies = Received()
    let main = try Self.server(Received())
    let mirror = try Self.server(copies)
    let proxy = try await RunningProxy.start(
      Self.configuration(
        "{cluster: mirror, runtime_fraction: {default_value: {numerator: 50}}}", main: main.port, mirror: mirror.port))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      for _ in 0..<200 {
        try client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        #expect(try client.receiveResponse().status == 200)
      }
    }
    let count = try await proxy.stat("cluster.mirror.upstream_rq_total")
    #expect((60...140).contains(count))
  }

  /// A mirror that ends at some stage of its copy, while the request is still being sent and answered.
  @Test(arguments: ["accept", "head", "body", "answer", "reset", "early answer", "garbage"])
  func aMirrorDiesAtAnyStage(_ stage: String) async throws {
    let main = try Self.server(Received())
    let mirror = try ScriptedServer { connection, _ in
      switch stage {
      case "accept": return
      case "head": try connection.receive(through: "\r\n\r\n", within: Deadline(.seconds(30)))
      case "body":
        try connection.receive(through: "\r\n\r\n", within: Deadline(.seconds(30)))
        try connection.discard(count: 100_000)
      case "reset":
        try connection.receive(through: "\r\n\r\n", within: Deadline(.seconds(30)))
        return connection.reset()
      case "early answer":
        try connection.receive(through: "\r\n\r\n", within: Deadline(.seconds(30)))
        try connection.send("HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        _ = try? connection.receiveToEnd(within: Deadline(.seconds(30)))
      case "garbage":
        try connection.receive(through: "\r\n\r\n", within: Deadline(.seconds(30)))
        try connection.send("what?\r\n\r\n")
      default:
        _ = try connection.receiveRequest(within: Deadline(.seconds(30)))
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
      }
    }
    let proxy = try await RunningProxy.start(
      Self.configuration("{cluster: mirror}", main: main.port, mirror: mirror.port))
    let port = try proxy.port()
    let body = [UInt8](repeating: 120, count: 2_000_000)
    try await blocking {
      let client = try RawConnection(port: port)
      for _ in 0..<3 {
        try client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: \(body.count)\r\n\r\n")
        try client.send(body, within: Deadline(.seconds(30)))
        #expect(try client.receiveResponse(within: Deadline(.seconds(30))).text == "ok")
      }
    }
    try await eventually("nothing is left") { try await proxy.stat("cluster.mirror.upstream_rq_active") == 0 }
    #expect(try await proxy.stat("cluster.backend.upstream_rq_200") == 3)
    #expect(try await proxy.stat("cluster.mirror.circuit_breakers.default.rq_open") == 0)
  }

  /// The client has its answer long before the mirror has answered; the mirror's is still counted.
  @Test func aMirrorMayTakeItsTime() async throws {
    let gate = Gate()
    let main = try Self.server(Received())
    let mirror = try ScriptedServer { connection, _ in
      guard try connection.receiveRequest(within: Deadline(.seconds(30))) != nil else { return }
      try gate.wait()
      try connection.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
    }
    let proxy = try await RunningProxy.start(
      Self.configuration("{cluster: mirror}", main: main.port, mirror: mirror.port))
    #expect(try await proxy.get().status == 200)
    #expect(try await proxy.stat("cluster.mirror.upstream_rq_active") == 1)
    #expect(try await proxy.stat("http.main.downstream_rq_active") == 0)
    gate.open()
    try await eventually("the mirror has answered") { try await proxy.stat("cluster.mirror.upstream_rq_503") == 1 }
    #expect(try await proxy.stat("cluster.mirror.upstream_rq_active") == 0)
    #expect(try await proxy.stat("cluster.backend.upstream_rq_503") == 0)
  }
}
