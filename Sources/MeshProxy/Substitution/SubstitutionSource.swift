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
  /// The metadata that the configuration gives to one of the things this stream has met.
  func metadata(_ source: SubstitutionMetadataSource) -> Metadata?
}
