import MeshAPI
import MeshHTTP
import MeshPrimitives

/// What a format is filled in from: a stream, or whatever stands for one. Confined to the worker.
protocol SubstitutionSource: AnyObject {
  var info: StreamInfo { get }
  var requestHeaders: HeaderMap { get }
  var responseHeaders: HeaderMap? { get }
  var responseTrailers: HeaderMap? { get }
  /// What has crossed the client's connection for this stream.
  var downstreamWire: WireBytes { get }
  /// The kernel's estimate of the round trip to the client.
  var downstreamRoundTrip: Nanoseconds? { get }
  /// The body of the answer that is being formatted.
  var localReplyBody: [UInt8] { get }
  var listenerName: String { get }
  var filterChainName: String { get }
  var virtualClusterName: String { get }
  /// 128 random bits.
  func randomBits() -> (UInt64, UInt64)
  /// It is a connection, not a request: of HTTP nothing is known.
  var isConnection: Bool { get }
  /// How the connections ended: `Normal`, `RemoteReset`, `LocalReset`.
  var downstreamCloseType: StaticString { get }
  /// nil: there was none.
  var upstreamCloseType: StaticString? { get }
  /// Why this side closed the connection; nil if it was the other, or ended as it should.
  var localCloseReason: StaticString? { get }
  /// The metadata that the configuration gives to one of the things this stream has met.
  func metadata(_ source: SubstitutionMetadataSource) -> Metadata?
}

/// A stream ends before its connection does.
extension SubstitutionSource {
  var isConnection: Bool { false }
  var downstreamCloseType: StaticString { "Normal" }
  var upstreamCloseType: StaticString? { info.connectedEndpoint == nil ? nil : "Normal" }
  var localCloseReason: StaticString? { nil }
}
