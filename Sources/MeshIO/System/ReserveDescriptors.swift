internal import CLinux

/// Descriptors that are held for the moment in which there are no others: given up, they make room for one that matters.
/// Several, because other threads want what is given up too, and may be faster. Confined to one thread.
public final class ReserveDescriptors {
  private let count: Int
  private var held: [Int32] = []

  /// Takes as many as there are, at most `count`.
  public init(_ count: Int) {
    self.count = count
    restore()
  }

  deinit { while giveUp() {} }

  /// Closes one, so that another descriptor can be opened.
  /// - Returns: false if there was none.
  @discardableResult
  public func giveUp() -> Bool {
    guard let fd = held.popLast() else { return false }
    _ = clinux_close(fd)
    return true
  }

  /// Takes descriptors until all are held again, or there are none.
  public func restore() {
    while held.count < count {
      let fd = clinux_eventfd()
      if fd < 0 { return }
      held.append(fd)
    }
  }
}
