import MeshPrimitives
import Synchronization

/// Lets one request at a time through to an endpoint that is on probation. Nobody has to give a permit back: whoever
/// comes to a verdict opens the gate for the next, and a probe without one (its client has gone) for `patience` only.
/// Threads: any.
struct ProbeGate: ~Copyable, Sendable {
  /// For how long a probe keeps the others away.
  static let patience = Nanoseconds.seconds(1)

  /// When the next probe may go, in nanoseconds of the machine's clock.
  private let opensAt = Atomic<UInt64>(0)

  /// Whether the caller may send its request. Of several at the same time, one may.
  func enter(_ now: MonotonicTime) -> Bool {
    let opens = opensAt.load(ordering: .relaxed)
    guard now.nanoseconds >= opens else { return false }
    return opensAt.compareExchange(
      expected: opens, desired: (now + Self.patience).nanoseconds, ordering: .relaxed
    ).exchanged
  }

  /// The next probe may go at once.
  func open() { opensAt.store(0, ordering: .relaxed) }
}
