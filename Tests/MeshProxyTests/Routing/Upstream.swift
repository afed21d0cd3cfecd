import MeshTesting

@testable import MeshProxy

/// An upstream that remembers the requests it gets.
final class Upstream: Sendable {
  private let server: ScriptedServer
  private let received: Monitor<[RawRequest]>

  /// - Parameter headers: what its answers say.
  init(headers: [(String, String)] = []) throws {
    let received = Monitor<[RawRequest]>([])
    self.received = received
    server = try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        received.change { $0.append(request) }
        try connection.sendResponse(headers: headers)
      }
    }
  }

  deinit { server.stop() }

  /// A cluster that leads here, as YAML of one line.
  func cluster(_ name: String = "c", hostname: String = "") -> String {
    let name = "{name: \(name), type: STATIC, load_assignment: {cluster_name: \(name), endpoints: [{lb_endpoints: "
    return name + "[{endpoint: {hostname: \"\(hostname)\", address: {socket_address: "
      + "{address: 127.0.0.1, port_value: \(server.port)}}}}]}]}}"
  }

  /// The last request it got.
  var last: RawRequest? { received.read { $0.last } }
}

extension RawRequest {
  /// All values of a field, in order.
  func values(_ name: String) -> [String] { headers.filter { $0.name == name }.map(\.value) }
}

extension WorkerFixture {
  /// Sends a request and waits for the end of its response.
  func get(_ path: String = "/", _ headers: [(String, String)] = []) -> CaughtResponse {
    // Within a turn, at whose end outputs are flushed.
    var response: CaughtResponse?
    worker.loop.defer { response = self.open("GET", path, headers) }
    _ = turn { response?.isEnded == true || response?.isReset == true }
    return response ?? CaughtResponse()
  }
}
