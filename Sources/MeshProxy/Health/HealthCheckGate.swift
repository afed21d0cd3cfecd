/// Bounds how many checks of a cluster go on at once; the others wait for their turn, in their order. Confined to the
/// main thread.
final class HealthCheckGate {
  protocol Waiter: AnyObject {
    /// Its turn has come; false if it wants no more. It owes one `leave` for true.
    func gateOpened() -> Bool
  }

  /// Each check has a socket and some state for as long as its endpoint takes to answer.
  static let limit = 256

  private struct Place {
    weak var waiter: (any Waiter)?
  }

  private let limit: Int
  private(set) var active = 0
  /// From `first` on.
  private var waiting: [Place] = []
  private var first = 0

  init(limit: Int = HealthCheckGate.limit) { self.limit = limit }

  func enter(_ waiter: any Waiter) {
    guard active < limit else { return waiting.append(Place(waiter: waiter)) }
    active += 1
    if !waiter.gateOpened() { leave() }
  }

  func leave() {
    active -= 1
    while active < limit, let next = next() {
      active += 1
      if next.gateOpened() { return }
      active -= 1
    }
  }

  private func next() -> (any Waiter)? {
    while first < waiting.count {
      let waiter = waiting[first].waiter
      first += 1
      if let waiter { return waiter }
    }
    // Only when all have had their turn: taking one out at a time would move all that are behind it.
    waiting.removeAll(keepingCapacity: false)
    first = 0
    return nil
  }
}
