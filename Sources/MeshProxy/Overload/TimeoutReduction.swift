import MeshPrimitives

/// How short one timeout becomes under pressure (`ScaleTimersOverloadActionConfig.ScaleTimer`). Pure.
struct TimeoutReduction: Sendable, Equatable {
  /// The timeouts that can become shorter.
  enum Kind: Int, CaseIterable, Sendable {
    case connectionIdle, streamIdle, transportSocketConnect, connectionMaximum, streamFlush
  }

  /// What is left under the strongest pressure.
  enum Least: Sendable, Equatable {
    case span(Nanoseconds)
    /// A share of the whole, 0 to 1.
    case share(Double)
  }

  let least: Least

  /// The timeout under a pressure: all of it at strength 0, the least at 1. Never longer than it is.
  func apply(to timeout: Nanoseconds, strength: Float) -> Nanoseconds {
    let least =
      switch self.least {
      case .span(let span): min(span, timeout)
      case .share(let share): Nanoseconds(rawValue: UInt64(Double(timeout.rawValue) * min(max(share, 0), 1)))
      }
    guard least < timeout else { return timeout }
    let left = Double(timeout.rawValue &- least.rawValue) * Double(1 - min(max(strength, 0), 1))
    return Nanoseconds(rawValue: min(least.rawValue &+ UInt64(left), timeout.rawValue))
  }
}
