import MeshIO
import MeshPrimitives

/// The buckets that belong to clients' connections (`local_rate_limit_per_downstream_connection`): made at a connection's
/// first request, gone with it. Confined to the worker.
struct ConnectionLimiters {
  private var limiters: [UInt64: [LocalRateLimitRecipe: LocalRateLimiter]] = [:]

  /// The buckets of a connection that a recipe says; full when they are asked for first.
  mutating func limiter(of connection: UInt64, _ recipe: LocalRateLimitRecipe, _ loop: EventLoop) -> LocalRateLimiter {
    if let limiter = limiters[connection]?[recipe] { return limiter }
    let limiter = LocalRateLimiter(recipe, nil, now: loop.now)
    limiters[connection, default: [:]][recipe] = limiter
    return limiter
  }

  /// A connection is closed.
  @inline(__always)
  mutating func forget(_ connection: UInt64) { if !limiters.isEmpty { limiters[connection] = nil } }
}
