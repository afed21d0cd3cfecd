/// Decides how much is written of what can happen any number of times: of each cause so many in a second, of all causes
/// together so many more; the others are counted, and told of when the second is over. Bounded memory, whatever happens.
///
/// A second begins with the first thing that happens after the last one. It ends by itself, or, if anything was left out of it,
/// when the caller closes it, who is told once that something will have to be closed. A value without a clock of its own.
public struct LogThrottle<Cause: Hashable & Sendable, Sample: Sendable>: Sendable {
  public struct Limits: Sendable {
    /// How many are written of each cause, at least 1.
    public var perCause: Int
    /// How many are written of all causes together, at least 1.
    public var total: Int
    /// How many causes are told apart.
    public var causes: Int

    public init(perCause: Int = 3, total: Int = 20, causes: Int = 64) {
      self.perCause = max(1, perCause)
      self.total = max(1, total)
      self.causes = max(1, causes)
    }
  }

  public enum Verdict: Equatable, Sendable {
    case write
    /// - Parameter isFirst: nothing else has been left out of this second: the caller has `close` called when it is over.
    case leaveOut(isFirst: Bool)
  }

  /// What was left out.
  public struct Remainder: Sendable {
    /// Of each cause the first that was left out, and how many there were; the most frequent cause first.
    public var causes: [(sample: Sample, count: Int)] = []
    /// Of causes that there was no room to tell apart.
    public var others = 0
  }

  private struct Count {
    var written = 0
    var leftOut = 0
    var sample: Sample?
  }

  public static var span: Nanoseconds { .seconds(1) }

  private let limits: Limits
  private var endsAt = MonotonicTime(nanoseconds: 0)
  private var counts: [Cause: Count] = [:]
  private var written = 0
  private var others = 0
  private var hasLeftOut = false

  public init(_ limits: Limits = Limits()) { self.limits = limits }

  /// Something has happened.
  /// - Parameter sample: what is to be told of it if it is the first of its cause that is left out.
  public mutating func admit(_ cause: Cause, at now: MonotonicTime, sample: () -> Sample) -> Verdict {
    if !hasLeftOut, now >= endsAt { begin(now) }
    guard var count = counts[cause] ?? (counts.count < limits.causes ? Count() : nil) else {
      others += 1
      return leaveOut()
    }
    defer { counts[cause] = count }
    if count.written < limits.perCause, written < limits.total {
      count.written += 1
      written += 1
      return .write
    }
    if count.leftOut == 0 { count.sample = sample() }
    count.leftOut += 1
    return leaveOut()
  }

  private mutating func begin(_ now: MonotonicTime) {
    endsAt = now + Self.span
    if !counts.isEmpty { counts.removeAll(keepingCapacity: true) }
    written = 0
  }

  private mutating func leaveOut() -> Verdict {
    let isFirst = !hasLeftOut
    hasLeftOut = true
    return .leaveOut(isFirst: isFirst)
  }

  /// Ends the second, and tells what was left out of it.
  public mutating func close() -> Remainder {
    guard hasLeftOut else { return Remainder() }
    var remainder = Remainder()
    for count in counts.values where count.leftOut > 0 {
      if let sample = count.sample { remainder.causes.append((sample, count.leftOut)) }
    }
    remainder.causes.sort { $0.count > $1.count }
    remainder.others = others
    hasLeftOut = false
    others = 0
    endsAt = MonotonicTime(nanoseconds: 0)
    return remainder
  }
}
