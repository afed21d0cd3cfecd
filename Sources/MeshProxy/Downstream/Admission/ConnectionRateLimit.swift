import MeshPrimitives

/// How many connections may begin in a time: `envoy.filters.network.local_ratelimit` and
/// `envoy.filters.listener.local_ratelimit`. Shared by all threads.
final class ConnectionRateLimit: Sendable {
  private let bucket: TokenBucket
  private let enabled: RuntimeFlag
  private let stats: StatBlock<ConnectionRateLimitStat>
  private let lease: StatsLease

  init(_ bucket: TokenBucket, enabled: RuntimeFlag, stats: StatBlock<ConnectionRateLimitStat>, lease: StatsLease) {
    self.bucket = bucket
    self.enabled = enabled
    self.stats = stats
    self.lease = lease
  }

  /// Takes a token for a new connection.
  func admits(_ worker: Worker) -> Bool {
    if !enabled.isOn || bucket.take(by: worker.loop) { return true }
    stats.lane(worker.index).add(.rateLimited)
    return false
  }
}
