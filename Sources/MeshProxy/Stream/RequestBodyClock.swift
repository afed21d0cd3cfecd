import MeshPrimitives

/// How long the rest of a request may take: all of it (`request_timeout`), and each window of its body
/// (`MinimumBodyRate`). Time in which the proxy itself did not read is the upstream's fault, not the client's, and is not
/// judged.
struct RequestBodyClock {
  enum Verdict { case goesOn, timeout, tooSlow }

  /// When to look again; `.never` once the request is complete.
  private(set) var deadline: MonotonicTime = .never
  private var timeoutAt: MonotonicTime = .never
  private var windowBegan: MonotonicTime = .never
  private var bytesBefore: UInt64 = 0
  /// How many want the client to wait.
  private var pauses = 0
  private var wasPaused = false

  /// The head is complete, a body follows.
  mutating func begin(_ now: MonotonicTime, timeout: Nanoseconds?, rate: MinimumBodyRate) {
    self = RequestBodyClock()
    timeoutAt = timeout.map { now + $0 } ?? .never
    startWindow(now, 0, rate)
  }

  mutating func pause(_ pause: Bool) {
    pauses += pause ? 1 : -1
    wasPaused = true
  }

  /// The deadline has passed.
  mutating func check(_ now: MonotonicTime, received: UInt64, rate: MinimumBodyRate) -> Verdict {
    if now >= timeoutAt {
      self = RequestBodyClock()
      return .timeout
    }
    if windowBegan != .never, !wasPaused, pauses == 0,
      rate.isBelow(received &- bytesBefore, in: now.since(windowBegan))
    {
      self = RequestBodyClock()
      return .tooSlow
    }
    startWindow(now, received, rate)
    return .goesOn
  }

  private mutating func startWindow(_ now: MonotonicTime, _ received: UInt64, _ rate: MinimumBodyRate) {
    wasPaused = pauses > 0
    bytesBefore = received
    guard let window = rate.window else {
      windowBegan = .never
      deadline = timeoutAt
      return
    }
    windowBegan = now
    deadline = min(timeoutAt, now + window)
  }
}
