/// Streams that have ended, as far back as matters: what still comes for them is an error, or was on its way when we ended
/// them (RFC 9113 §5.1).
struct HTTP2ClosedStreams {
  enum Ending: UInt64 {
    /// Both sides have said their last.
    case complete
    /// The peer gave it up.
    case resetByPeer
    /// We gave it up: the peer may not have known yet.
    case resetByUs
  }

  private static let size = 64
  /// Identifier << 2 | ending.
  private var entries = [UInt64](repeating: 0, count: size)
  private var next = 0
  /// The highest stream that we gave up and do not remember.
  private var forgotten: Int32 = 0

  mutating func add(_ identifier: Int32, _ ending: Ending) {
    let old = entries[next]
    if old & 3 == Ending.resetByUs.rawValue { forgotten = max(forgotten, Int32(truncatingIfNeeded: old >> 2)) }
    entries[next] = UInt64(identifier) << 2 | ending.rawValue
    next = (next + 1) % Self.size
  }

  /// How this stream ended; nil if it never was, or is forgotten and frames for it may have been on their way.
  func ending(of identifier: Int32) -> Ending? {
    for entry in entries where entry >> 2 == UInt64(identifier) { return Ending(rawValue: entry & 3) }
    return identifier <= forgotten ? .resetByUs : nil
  }
}
