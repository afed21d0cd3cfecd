/// What a response parser learned besides the fields. Meaningful after `.complete` only.
public struct HTTP1ResponseHead: Equatable, Sendable {
  /// Bytes to consume.
  public var headLength = 0
  /// Names and values and three bytes for each field line; see `WireBytes.headerReceived`.
  public var fieldBytes: UInt32 = 0
  /// 100...599. After a 1xx other than 101 another head follows.
  public var status = 0
  /// 0 or 1.
  public var minorVersion: UInt8 = 1
  public var framing = BodyFraming.none
  /// Whether the connection may be used again after the body (RFC 9112 §9.3).
  public var keepAlive = true
  /// Seconds of `Keep-Alive: timeout=`, at most 2^31 - 1: how long the server promises to wait for the next request.
  public var keepAliveTimeout: Int?

  /// A 101 that says by `Connection: upgrade` and an Upgrade field which protocol follows; the field stays in the map.
  public var upgrade = false

  @inlinable @inline(__always)
  public init() {}
}
