/// What one peer may make the codec hold or do. Every limit is inclusive: a value equal to it passes.
public struct HTTP1Limits: Sendable {
  /// Bytes of a request head, from its first line to its empty line (431). Envoy: `max_request_headers_kb`.
  public var maxHeadBytes = 60 * 1024
  /// Bytes of a response head. Envoy: 80 KiB for HTTP/1.
  public var maxResponseHeadBytes = 80 * 1024
  /// Fields of a head (431). Envoy: `common_http_protocol_options.max_headers_count`.
  public var maxFields = 100
  /// Bytes of a request target (414). RFC 9112 §3 recommends to take at least 8000.
  public var maxTargetBytes = 16 * 1024
  /// Bytes of a method (501).
  public var maxMethodBytes = 32
  /// Empty lines before a request line (RFC 9112 §2.2 asks for at least one).
  public var maxEmptyLines = 4
  /// Bytes of the extensions of one chunk.
  public var maxChunkExtensionBytes = 4 * 1024
  /// Bytes of all chunk extensions of one message.
  public var maxMessageExtensionBytes = 16 * 1024
  /// Bytes of a trailer section.
  public var maxTrailerBytes = 60 * 1024
  /// Fields of a trailer section, dropped ones included.
  public var maxTrailerFields = 100

  public init() {}
}
