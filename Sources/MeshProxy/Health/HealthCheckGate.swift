/// Bounds how many checks go on at once in the process; the others wait for their turn, in their order. Confined to the
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
  private var waiting: [Place] = []

  init(limit: Int = HealthCheckGate.limit) { self.limit = limit }

  func enter(_ waiter: any Waiter) {
    guard active < limit else { return waiting.append(Place(waiter: waiter)) }
    active += 1
    if !waiter.gateOpened() { leave() }
  }

  func leave() {
    active -= 1
    while active < limit, !waiting.isEmpty {
      guard let next = waiting.removeFirst().waiter else { continue }
      active += 1
      if next.gateOpened() { return }
      active -= 1
    }
  }
}
