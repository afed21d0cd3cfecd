import MeshTesting

/// A server that says what it was asked: `NAME METHOD TARGET BODY-LENGTH`, followed by filler up to the size that the
/// target asks for (`/large…`).
final class EchoBackend: Sendable {
  static let largeBody = 65536

  let name: String
  private let server: ScriptedServer

  init(_ name: String = "echo", host: String = "127.0.0.1", port: UInt16 = 0) throws {
    self.name = name
    server = try ScriptedServer(host: host, port: port, backlog: 1024, Self.script(name))
  }

  /// On a Unix socket.
  init(_ name: String = "echo", unixPath path: String) throws {
    self.name = name
    server = try ScriptedServer(unixPath: path, Self.script(name))
  }

  private static func script(_ name: String) -> ScriptedServer.Script {
    { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(600))) {
        let body = Self.answer(name, request.method, request.target, request.body.count)
        try connection.sendResponse(body: body, within: Deadline(.seconds(60)))
      }
    }
  }

  var port: UInt16 { server.port }
  /// Connections that did not end between two requests.
  var failures: [String] { server.failures }
  var accepted: Int { server.accepted }
  func stop() { server.stop() }

  static func answer(_ name: String, _ method: String, _ target: String, _ bodyLength: Int) -> [UInt8] {
    let text = Array("\(name) \(method) \(target) \(bodyLength)\n".utf8)
    return target.hasPrefix("/large") ? text + [UInt8](repeating: 0x2e, count: largeBody - text.count) : text
  }
}
