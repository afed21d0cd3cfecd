import MeshPrimitives
import MeshRouting

/// `cluster.<name>.circuit_breakers.default.remaining_…`: what is left of the limits; with `track_remaining`.
enum CircuitBreakerRemainder: Int, StatSet {
  case connections, pools, pending, requests, retries

  var definition: StatDefinition {
    switch self {
    case .connections: .gauge("circuit_breakers.default.remaining_cx", "What is left of max_connections.")
    case .pools: .gauge("circuit_breakers.default.remaining_cx_pools", "What is left of max_connection_pools.")
    case .pending: .gauge("circuit_breakers.default.remaining_pending", "What is left of max_pending_requests.")
    case .requests: .gauge("circuit_breakers.default.remaining_rq", "What is left of max_requests.")
    case .retries: .gauge("circuit_breakers.default.remaining_retries", "What is left of max_retries.")
    }
  }
}

/// The same of the priority `HIGH`, in the same order. Apart, because what is not tracked would read as nothing left.
enum HighCircuitBreakerRemainder: Int, StatSet {
  case connections, pools, pending, requests, retries

  var definition: StatDefinition {
    switch self {
    case .connections:
      .gauge("circuit_breakers.high.remaining_cx", "What is left of max_connections of the priority HIGH.")
    case .pools:
      .gauge("circuit_breakers.high.remaining_cx_pools", "What is left of max_connection_pools of the priority HIGH.")
    case .pending:
      .gauge("circuit_breakers.high.remaining_pending", "What is left of max_pending_requests of the priority HIGH.")
    case .requests: .gauge("circuit_breakers.high.remaining_rq", "What is left of max_requests of the priority HIGH.")
    case .retries:
      .gauge("circuit_breakers.high.remaining_retries", "What is left of max_retries of the priority HIGH.")
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
    if limits.normal.tracksRemaining {
      let remainders: StatBlock<CircuitBreakerRemainder> = self.remainders()
      publish(normal, limits.normal) { remainders.lane(lane).set($0, $1) }
    }
    if limits.high.tracksRemaining {
      let remainders: StatBlock<HighCircuitBreakerRemainder> = self.remainders()
      publish(high, limits.high) { stat, left in
        if let stat = HighCircuitBreakerRemainder(rawValue: stat.rawValue) { remainders.lane(lane).set(stat, left) }
      }
    }
  }

  /// How many requests may be sent once more now.
  private func retryLimit(_ limits: CircuitBreaker.Limits, _ breaker: CircuitBreaker) -> Int {
    limits.retryBudget?.limit(active: breaker.requests.current) ?? limits.retries
  }

  private func publish(
    _ breaker: CircuitBreaker, _ limits: CircuitBreaker.Limits, _ set: (CircuitBreakerRemainder, Int64) -> Void
  ) {
    func show(_ stat: CircuitBreakerRemainder, _ gate: CircuitBreaker.Gate, _ limit: Int) {
      set(stat, Int64(max(0, limit - gate.current)))
    }
    show(.connections, breaker.connections, limits.connections)
    show(.pools, breaker.pools, limits.pools)
    show(.pending, breaker.pendingRequests, limits.pendingRequests)
    show(.requests, breaker.requests, limits.requests)
    show(.retries, breaker.retries, retryLimit(limits, breaker))
  }
}
