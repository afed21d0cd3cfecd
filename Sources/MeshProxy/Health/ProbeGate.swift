import MeshPrimitives
import Synchronization

/// Lets one request at a time through to an endpoint that is on probation. Nobody has to give a permit back: a success
/// opens the gate for good, and a probe that comes to no verdict (its client has gone) keeps it closed for `patience`.
/// Threads: any.
struct ProbeGate: ~Copyable, Sendable {
  /// For how long a probe keeps the others away.
  static let patience = Nanoseconds.seconds(1)

  /// When the next probe may go, in nanoseconds of the machine's clock.
  private let opensAt = Atomic<UInt64>(0)
  /// In place of a time: everybody may go.
  private static let wideOpen = UInt64.max

  /// Whether the caller may send its request. Of several at the same time, one may.
  func enter(_ now: MonotonicTime) -> Bool {
    let opens = opensAt.load(ordering: .relaxed)
    if opens == Self.wideOpen { return true }
    guard now.nanoseconds >= opens else { return false }
    return opensAt.compareExchange(
      expected: opens, desired: (now + Self.patience).nanoseconds, ordering: .relaxed
    ).exchanged
  }

  /// The next probe may go at once.
  func reset() { opensAt.store(0, ordering: .relaxed) }

  /// A probe has succeeded: whoever comes before all workers know of it may go.
  func open() { opensAt.store(Self.wideOpen, ordering: .relaxed) }
}
