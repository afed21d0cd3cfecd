import MeshPrimitives

import func Glibc.pow

/// How an endpoint that is new, or healthy again, comes to its share of the load (`slow_start_config`). A value; any thread.
public struct SlowStart: Sendable {
  /// The time until it has its whole weight; more than 0.
  public var window: Nanoseconds
  /// How fast its weight grows, more than 0: 1 is evenly, more is faster at first.
  public var aggression = 1.0
  /// Overrides `aggression`.
  public var runtimeAggression: RuntimeValue?
  /// The least part of its weight, 0…1.
  public var leastShare = 0.1

  public init(window: Nanoseconds) { self.window = window }

  /// The part of its weight that an endpoint has, more than 0, at most 1.
  /// - Parameter since: when it became healthy.
  func share(since: MonotonicTime, now: MonotonicTime) -> Double {
    let passed = now.since(since)
    guard passed < window else { return 1 }
    // In whole milliseconds, of which there is at least one.
    let part = Double(max(1, passed.wholeMilliseconds)) / Double(max(1, window.wholeMilliseconds))
    let aggression = currentAggression
    let grown = aggression == 1 ? part : pow(part, 1 / aggression)
    // Whatever the numbers are, a turn comes some day.
    return max(min(1, grown), leastShare, 1e-9)
  }

  private var currentAggression: Double {
    let value = runtimeAggression?.double(or: aggression) ?? aggression
    return value > 0 ? value : 1
  }
}
