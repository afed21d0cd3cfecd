import MeshTesting
import Testing

/// How a connection ends after its last response: at once, with FIN, and announced.
@Suite("Connection end", .timeLimit(.minutes(2)))
struct ConnectionEndTests {
  /// The last of the response is large enough to be handed to the kernel without being copied first.
  @Test(arguments: [1, 4095, 4096, 16384])
  func theLastBytesMayBeManyOrFew(_ last: Int) async throws {
    let gate = Gate()
    let server = try ScriptedServer { connection, _ in
      _ = try connection.receiveRequest()
      try connection.send(
        "HTTP/1.1 200 OK\r\ncontent-length: \(10000 + last)\r\n\r\n" + String(repeating: "a", count: 10000))
      try gate.wait()
      try connection.send(String(repeating: "b", count: last))
      _ = try connection.receiveToEnd(within: Deadline(.seconds(60)))
    }
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: server.port))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
      let head = try client.receive(through: "\r\n\r\n")
      #expect(head.contains("connection: close"))
      try client.receive(count: 10000)
      gate.open()
      try client.receive(count: last)
      #expect(try client.receiveToEnd(within: Deadline(.seconds(5))).isEmpty)
      #expect(client.receiveError == nil)
    }
  }

  /// An answer before the request is complete ends the connection, and says so.
  @Test func anEarlyAnswerAnnouncesTheEnd() async throws {
    var configuration = ProxyConfiguration(clusters: [])
    configuration.listeners[0].routes = [
      "{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: early}}}"
    ]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    try await blocking {
      for body in ["", "0123456789"] {
        let client = try RawConnection(port: port)
        try client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n" + body)
        let response = try client.receiveResponse()
        #expect(response.text == "early")
        #expect(response.value("connection") == "close")
        #expect(try client.receiveToEnd(within: Deadline(.seconds(5))).isEmpty)
        #expect(client.receiveError == nil)
      }
    }
  }
}
