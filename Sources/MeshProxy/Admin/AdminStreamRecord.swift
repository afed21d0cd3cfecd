import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives

/// What the access log is told of a request to the admin interface.
final class AdminStreamRecord: SubstitutionSource {
  var info = StreamInfo()
  let requestHeaders: HeaderMap
  private weak var connection: HTTP1ServerConnection?

  init(_ server: AdminServer, _ connection: HTTP1ServerConnection, _ headers: HeaderMap) {
    requestHeaders = headers
    self.connection = connection
    info.startedAt = server.loop.now
    info.startedAtWallClock = server.loop.wallClock
    info.connection = connection.info
  }

  var responseHeaders: HeaderMap? { nil }
  var responseTrailers: HeaderMap? { nil }
  var downstreamWire: WireBytes { connection?.wire ?? WireBytes() }
  var downstreamRoundTrip: Nanoseconds? { connection?.roundTripTime }
  var localReplyBody: [UInt8] { [] }
  var listenerName: String { "admin" }
  var filterChainName: String { "" }
  var virtualClusterName: String { "" }
  func randomBits() -> (UInt64, UInt64) { (.random(in: .min ... .max), .random(in: .min ... .max)) }
  func metadata(_ source: SubstitutionMetadataSource) -> Metadata? { nil }
}
