import MeshHTTP
import MeshPrimitives
import Testing

@testable import MeshProxy

/// A connection manager whose work on a request's headers is looked at before any filter.
final class EdgeFixture {
  private let fixture: WorkerFixture

  /// - Parameter fields: fields of the connection manager, as YAML of one line each.
  init(_ fields: [String]) throws {
    fixture = try WorkerFixture(
      routes: "[{match: {prefix: /}, direct_response: {status: 200}}]",
      manager: fields.joined(separator: Self.lineBreak))
  }

  convenience init(_ fields: String...) throws { try self.init(fields) }

  /// To the next field of the mapping in the fixture's configuration.
  private static let lineBreak = "\n" + String(repeating: " ", count: 10)

  struct Result {
    /// The headers as the filters would see them; lines of one name are joined by `|`.
    var headers: [String: String] = [:]
    var response: CaughtResponse
    var goesOn: Bool
    /// The client with its port, and whoever is connected.
    var client = ""
    var peer = ""
    var isInternal = false
    var details: String?

    subscript(_ name: String) -> String? { headers[name] }
  }

  /// Puts a request in.
  func request(
    _ headers: [(String, String)] = [], path: String = "/", host: String? = "test",
    from peer: String = "127.0.0.1:1234",
    to local: String = "127.0.0.1:8080", isAbsoluteTarget: Bool = false
  ) throws -> Result {
    let map = fixture.worker.headerMaps.take()
    Self.add(map, ":method", "GET")
    Self.add(map, ":path", path)
    if let host { Self.add(map, "host", host) }
    for (name, value) in headers { Self.add(map, name, value) }
    let info = ConnectionInfo(
      remoteAddress: try #require(peer.hasPrefix("/") ? SocketAddress(unixPath: peer) : SocketAddress(peer)),
      localAddress: try #require(SocketAddress(local)), identifier: 1)
    var start = RequestStart(method: .get, expectsContinue: false, endStream: true)
    start.isAbsoluteTarget = isAbsoluteTarget
    let response = CaughtResponse()
    let stream = fixture.worker.takeStream()
    stream.begin(fixture.manager, response, info, map, start)
    var result = Result(
      response: response, goesOn: fixture.manager.prepareRequestHeaders(map, stream, info, start))
    result.details = stream.info.details?.text
    guard result.goesOn else { return result }
    map.forEach { _, name, value in
      result.headers[name.text] = (result.headers[name.text].map { $0 + "|" } ?? "") + value.text
    }
    result.client = stream.info.downstreamRemoteAddress?.description ?? ""
    result.peer = stream.info.directRemoteAddress?.description ?? ""
    result.isInternal = stream.info.isInternalRequest
    stream.sendLocalReply(LocalReply(status: 200, details: .init("test")))
    return result
  }

  func count(_ stat: ConnectionManagerStat) -> Int64 { fixture.count(stat) }

  private static func add(_ map: HeaderMap, _ name: String, _ value: String) {
    Array(value.utf8).withUnsafeBufferPointer { map.add(HeaderName(name), $0) }
  }
}
