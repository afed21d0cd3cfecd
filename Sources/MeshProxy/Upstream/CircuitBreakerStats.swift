import MeshPrimitives
import MeshRouting

/// `cluster.<name>.circuit_breakers.<priority>.remaining_…`: what is left of the limits; with `track_remaining`.
enum CircuitBreakerRemainder: Int, StatSet {
  case connections, pools, pending, requests, retries
  case highConnections, highPools, highPending, highRequests, highRetries

  var definition: StatDefinition {
    switch self {
    case .connections: .gauge("circuit_breakers.default.remaining_cx")
    case .pools: .gauge("circuit_breakers.default.remaining_cx_pools")
    case .pending: .gauge("circuit_breakers.default.remaining_pending")
    case .requests: .gauge("circuit_breakers.default.remaining_rq")
    case .retries: .gauge("circuit_breakers.default.remaining_retries")
    case .highConnections: .gauge("circuit_breakers.high.remaining_cx")
    case .highPools: .gauge("circuit_breakers.high.remaining_cx_pools")
    case .highPending: .gauge("circuit_breakers.high.remaining_pending")
    case .highRequests: .gauge("circuit_breakers.high.remaining_rq")
    case .highRetries: .gauge("circuit_breakers.high.remaining_retries")
    }
  }
}

extension ClusterIdentity {
  /// Brings the statistics of the circuit breakers up to date. Nobody counts them while requests run: they are read off
  /// the breakers when statistics are asked for.
  /// - Parameter lane: the caller's.
  func publishBreakers(_ limits: ByPriority<CircuitBreaker.Limits>, lane: Int) {
    let stats = stats.lane(lane)
    func show(_ stat: ClusterStat, _ gate: CircuitBreaker.Gate, _ limit: Int) {
      stats.set(stat, gate.current >= limit ? 1 : 0)
    }
    let (normal, high) = (breakers.normal, breakers.high)
    show(.breakerConnectionsOpen, normal.connections, limits.normal.connections)
    show(.breakerPoolsOpen, normal.pools, limits.normal.pools)
    show(.breakerRequestsOpen, normal.requests, limits.normal.requests)
    show(.breakerPendingOpen, normal.pendingRequests, limits.normal.pendingRequests)
    show(.breakerRetriesOpen, normal.retries, retryLimit(limits.normal, normal))
    show(.highBreakerConnectionsOpen, high.connections, limits.high.connections)
    show(.highBreakerPoolsOpen, high.pools, limits.high.pools)
    show(.highBreakerRequestsOpen, high.requests, limits.high.requests)
    show(.highBreakerPendingOpen, high.pendingRequests, limits.high.pendingRequests)
    show(.highBreakerRetriesOpen, high.retries, retryLimit(limits.high, high))
    if limits.normal.tracksRemaining || limits.high.tracksRemaining { publishRemainders(limits, lane) }
  }

  /// How many requests may be sent once more now.
  private func retryLimit(_ limits: CircuitBreaker.Limits, _ breaker: CircuitBreaker) -> Int {
    limits.retryBudget?.limit(active: breaker.requests.current) ?? limits.retries
  }

  private func publishRemainders(_ limits: ByPriority<CircuitBreaker.Limits>, _ lane: Int) {
    let remainders = remainders.lane(lane)
    func show(_ stat: CircuitBreakerRemainder, _ gate: CircuitBreaker.Gate, _ limit: Int) {
      remainders.set(stat, Int64(max(0, limit - gate.current)))
    }
    let (normal, high) = (breakers.normal, breakers.high)
    if limits.normal.tracksRemaining {
      show(.connections, normal.connections, limits.normal.connections)
      show(.pools, normal.pools, limits.normal.pools)
      show(.pending, normal.pendingRequests, limits.normal.pendingRequests)
      show(.requests, normal.requests, limits.normal.requests)
      show(.retries, normal.retries, retryLimit(limits.normal, normal))
    }
    if limits.high.tracksRemaining {
      show(.highConnections, high.connections, limits.high.connections)
      show(.highPools, high.pools, limits.high.pools)
      show(.highPending, high.pendingRequests, limits.high.pendingRequests)
      show(.highRequests, high.requests, limits.high.requests)
      show(.highRetries, high.retries, retryLimit(limits.high, high))
    }
  }
}
