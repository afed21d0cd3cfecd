/// How the end of a message's body is found (RFC 9112 §6.3).
public enum BodyFraming: Equatable, Sendable {
  /// There is no body, whatever the fields say.
  case none
  /// So many bytes; at most 2^63 - 1.
  case length(UInt64)
  /// Chunks, up to one of size zero and the trailers.
  case chunked
  /// Everything until the peer closes. Responses only.
  case untilClose
}
