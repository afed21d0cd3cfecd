import MeshIO
import MeshPrimitives
import Synchronization

/// How many tokens a bucket holds and how fast they come (`envoy.type.v3.TokenBucket`).
struct TokenRate: Hashable, Sendable {
  /// What a full bucket holds. At least 1.
  let maximum: UInt32
  /// Tokens that come in each `interval`, evenly. At least 1.
  let tokens: UInt32
  let interval: Nanoseconds

  var perSecond: Double { Double(tokens) * 1e9 / Double(max(interval.rawValue, 1)) }
}

/// A bucket of tokens that all threads take from: full at first, and filled all the time. Exact: in any time `t` it gives
/// at most what it holds and `rate · t`, whoever asks, and no less where it is asked often enough. Taking a token is one
/// atomic exchange, refusing one is one load; nothing runs in between.
///
/// What is kept is no number of tokens but a time: that at which the bucket would have been empty, had it been filled from
/// there on until now. Taking a token moves it later by what a token takes to come. (Known as the generic cell rate
/// algorithm; Envoy's `AtomicTokenBucketImpl` is one, too.)
final class TokenBucket: Sendable {
  let rate: TokenRate
  /// Times are counted from here, in units of `1 << scale` of a nanosecond; what a full bucket takes to fill lies before.
  private let epoch: UInt64
  private let scale: Int
  /// What a token takes to come, and what a full bucket does.
  private let token: UInt64
  private let full: UInt64
  private let emptyAt: Atomic<UInt64>

  /// - Parameter now: the bucket is full then.
  init(_ rate: TokenRate, now: MonotonicTime) {
    self.rate = rate
    epoch = now.nanoseconds
    (scale, token, full) = Self.measures(rate)
    emptyAt = Atomic(0)
  }

  /// Finer units than nanoseconds make the error of a token's whole number of them small, however fast they come; coarser
  /// ones make room for buckets that take centuries to fill.
  private static func measures(_ rate: TokenRate) -> (scale: Int, token: UInt64, full: UInt64) {
    let longest: UInt64 = 1 << 60
    var scale = 6
    while true {
      let token = Self.token(rate, scale: scale)
      let (full, overflow) = token.multipliedReportingOverflow(by: UInt64(rate.maximum))
      if !overflow, full <= longest { return (scale, token, full) }
      if scale == -30 { return (scale, min(token, longest), longest) }
      scale -= 1
    }
  }

  /// Rounded up, so that never more is given than is due.
  private static func token(_ rate: TokenRate, scale: Int) -> UInt64 {
    let interval = rate.interval.rawValue
    let tokens = UInt64(max(rate.tokens, 1))
    if scale < 0 {
      let divisor = tokens << UInt64(-scale)
      return max(interval / divisor + (interval % divisor == 0 ? 0 : 1), 1)
    }
    let (high, low) = interval.multipliedFullWidth(by: 1 << UInt64(scale))
    guard high < tokens else { return .max }
    let (quotient, remainder) = tokens.dividingFullWidth((high, low))
    return max(quotient + (remainder == 0 ? 0 : 1), 1)
  }

  /// The time now; that of a full bucket's beginning is 0.
  @inline(__always)
  private func time(_ now: MonotonicTime) -> UInt64 {
    let elapsed = now.nanoseconds > epoch ? now.nanoseconds &- epoch : 0
    let units = scale >= 0 ? min(elapsed, 1 << 57) << UInt64(scale) : elapsed >> UInt64(-scale)
    return units &+ full
  }

  /// Takes tokens: all of them or none.
  /// - Parameters:
  ///   - count: 0 takes nothing, and succeeds.
  ///   - now: not ahead of the clock. If it is behind, tokens that have come since are not seen.
  @inline(__always)
  func take(_ count: UInt64 = 1, now: MonotonicTime) -> Bool {
    let time = time(now)
    let (cost, overflow) = count.multipliedReportingOverflow(by: token)
    guard !overflow, cost <= full else { return false }
    var old = emptyAt.load(ordering: .relaxed)
    while true {
      // A full bucket overflows.
      let start = max(old, time &- full)
      guard time >= start, time &- start >= cost else { return false }
      let (exchanged, original) = emptyAt.weakCompareExchange(
        expected: old, desired: start &+ cost, ordering: .relaxed)
      if exchanged { return true }
      old = original
    }
  }

  /// Takes tokens, and refuses only by the clock itself: a loop's time is that of the beginning of its turn.
  @inline(__always)
  func take(_ count: UInt64 = 1, by loop: EventLoop) -> Bool {
    take(count, now: loop.now) || take(count, now: ProcessClock.monotonic())
  }

  /// Whole tokens that are in the bucket.
  func remaining(now: MonotonicTime) -> UInt64 {
    let time = time(now)
    let start = max(emptyAt.load(ordering: .relaxed), time &- full)
    return time > start ? (time &- start) / token : 0
  }

  /// Whole seconds, rounded up, until there is a token; 0 if there is one.
  func secondsUntilToken(now: MonotonicTime) -> UInt64 {
    let time = time(now)
    let start = max(emptyAt.load(ordering: .relaxed), time &- full)
    let filled = time > start ? time &- start : 0
    let debt = start > time ? start &- time : 0
    guard filled < token else { return 0 }
    let units = Double(token &- filled &+ debt)
    let nanoseconds = scale >= 0 ? units / Double(1 << scale) : units * Double(1 << -scale)
    return UInt64(min((nanoseconds / 1e9).rounded(.up), 1e15))
  }
}
