import MeshPrimitives

/// When a connection sends a PING, and when one has waited too long for its answer (`connection_keepalive`).
struct HTTP2PingClock {
  enum Verdict { case none, send, dead }

  private let options: HTTP2Options.KeepAlive?
  private var nextAt = MonotonicTime.never
  private var answerBy = MonotonicTime.never
  private var heardAt: MonotonicTime
  private var random: Random

  /// - Parameter seed: what makes this clock's jitter different from others'.
  init(_ options: HTTP2Options.KeepAlive?, seed: UInt64, now: MonotonicTime) {
    self.options = options
    heardAt = now
    random = Random(seed: seed ^ now.nanoseconds)
    if let options, let interval = options.interval { nextAt = now + jittered(interval, options) }
  }

  private mutating func jittered(_ interval: Nanoseconds, _ options: HTTP2Options.KeepAlive) -> Nanoseconds {
    let share = min(UInt64(options.jitterPercent), 100)
    let most = interval.rawValue / 100 &* share
    return most == 0 ? interval : Nanoseconds(rawValue: interval.rawValue &+ random.next() % most)
  }

  /// When `check` is to be called next.
  var deadline: MonotonicTime { min(nextAt, answerBy) }

  /// Bytes of the peer came.
  @inline(__always)
  mutating func heard(_ now: MonotonicTime) { heardAt = now }

  mutating func answered() { answerBy = .never }

  mutating func check(_ now: MonotonicTime) -> Verdict {
    guard let options else { return .none }
    if now >= answerBy { return .dead }
    guard now >= nextAt, let interval = options.interval else { return .none }
    nextAt = now + jittered(interval, options)
    guard answerBy == .never else { return .none }
    answerBy = now + options.timeout
    return .send
  }

  /// A request is to go over a connection that has been silent. Returns whether a PING goes before it.
  mutating func beforeRequest(_ now: MonotonicTime) -> Bool {
    guard let options, let limit = options.idleInterval, answerBy == .never, now >= heardAt + limit else {
      return false
    }
    answerBy = now + options.timeout
    return true
  }
}
