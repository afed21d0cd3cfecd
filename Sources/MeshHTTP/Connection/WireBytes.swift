/// What one exchange moves over a connection: everything, and the field lines of the heads alone (without start line and
/// empty line).
public struct WireBytes: Sendable, Equatable {
  public var received: UInt64 = 0
  public var sent: UInt64 = 0
  /// Names and values and three bytes a line, which is how Envoy counts what it receives.
  public var headerReceived: UInt32 = 0
  /// Names and values and four bytes a line.
  public var headerSent: UInt32 = 0

  @inlinable @inline(__always)
  public init() {}

  @inlinable @inline(__always)
  public init(received: UInt64, sent: UInt64, headerReceived: UInt32, headerSent: UInt32) {
    self.received = received
    self.sent = sent
    self.headerReceived = headerReceived
    self.headerSent = headerSent
  }

  @inlinable @inline(__always)
  public mutating func add(_ other: WireBytes) {
    received &+= other.received
    sent &+= other.sent
    headerReceived &+= other.headerReceived
    headerSent &+= other.headerSent
  }
}
