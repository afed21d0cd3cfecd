/// How a request names its target (RFC 9112 §3.2).
public enum HTTP1TargetForm: UInt8, Equatable, Sendable {
  case origin, absolute, authority, asterisk
}

/// What a request parser learned besides the fields. Meaningful after `.complete` only.
public struct HTTP1RequestHead: Equatable, Sendable {
  /// Bytes to consume: the head, and the empty lines before it.
  public var headLength = 0
  /// Names and values and three bytes for each field line; see `WireBytes.headerReceived`.
  public var fieldBytes: UInt32 = 0
  public var method = HTTPMethod.other
  /// 1, or 0 if HTTP/1.0 is accepted.
  public var minorVersion: UInt8 = 1
  public var targetForm = HTTP1TargetForm.origin
  /// `.none`, `.length` or `.chunked`.
  public var framing = BodyFraming.none
  /// Whether the client leaves the connection open (RFC 9112 §9.3).
  public var keepAlive = true
  /// Whether the client waits for a 100 before it sends its body (RFC 9110 §10.1.1).
  public var expectsContinue = false
  /// A CONNECT, or a request for another protocol: `Connection: upgrade` with an Upgrade field, which then stays in the map.
  public var tunnel = TunnelKind.none

  @inlinable @inline(__always)
  public init() {}
}
