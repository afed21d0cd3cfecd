import MeshTesting

/// Closed at first; opens once.
final class Gate: Sendable {
  private let isOpen = Monitor(false)

  func open() { isOpen.change { $0 = true } }

  /// Blocks until the gate is open.
  func wait(within deadline: Deadline = Deadline(.seconds(60))) throws {
    if isOpen.wait(deadline, { $0 ? true : nil }) == nil { throw TestFailure("the gate stays closed") }
  }
}
