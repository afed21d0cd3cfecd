import MeshPrimitives

/// How fast a response may go: so many bytes a second, and what was saved up meanwhile, a second's worth at most. Pure.
struct ResponsePace {
  /// How often bytes go on while some wait.
  static let interval = Nanoseconds.milliseconds(50)
  private static let fastest: UInt64 = 1 << 40

  /// Unit: bytes per second.
  private let rate: Double
  private var saved: Double
  private var last: MonotonicTime

  /// - Parameter kibibytes: per second; at least 1.
  init(kibibytes: UInt64, now: MonotonicTime) {
    rate = Double(min(max(kibibytes, 1), Self.fastest) * 1024)
    // As in Envoy the first bytes are those of one interval.
    saved = rate * 0.05
    last = now
  }

  /// Takes what may go now, at most `wanted` bytes.
  mutating func take(_ wanted: Int, now: MonotonicTime) -> Int {
    saved = min(rate, saved + rate * Double(now.since(last).rawValue) / 1e9)
    last = now
    let count = min(wanted, Int(saved))
    saved -= Double(count)
    return count
  }
}
