import MeshPrimitives
import MeshRouting

/// `cluster.<name>.circuit_breakers.<priority>.…`: whether a limit is reached.
public enum CircuitBreakerStat: Int, StatSet {
  case connectionsOpen, poolsOpen, requestsOpen, pendingOpen, retriesOpen

  public var definition: StatDefinition {
    switch self {
    case .connectionsOpen: .gauge("cx_open")
    case .poolsOpen: .gauge("cx_pool_open")
    case .requestsOpen: .gauge("rq_open")
    case .pendingOpen: .gauge("rq_pending_open")
    case .retriesOpen: .gauge("rq_retry_open")
    }
  }
}

/// The same, with `track_remaining`: what is left.
public enum CircuitBreakerRemainder: Int, StatSet {
  case connections, pools, pending, requests, retries

  public var definition: StatDefinition {
    switch self {
    case .connections: .gauge("remaining_cx")
    case .pools: .gauge("remaining_cx_pools")
    case .pending: .gauge("remaining_pending")
    case .requests: .gauge("remaining_rq")
    case .retries: .gauge("remaining_retries")
    }
  }
}

/// The statistics of a cluster's circuit breakers. Nobody counts them while requests run: they are read off the breakers
/// when statistics are asked for. On the main thread.
struct CircuitBreakerGauges: Sendable {
  private let open: ByPriority<StatBlock<CircuitBreakerStat>>
  private let store: StatsStore
  private let statName: String
  private let leases: [StatsLease]

  init(statName: String, store: StatsStore) {
    self.statName = statName
    self.store = store
    leases = RoutePriority.allCases.map { store.lease(Self.scope(statName, $0)) }
    func block(_ priority: RoutePriority) -> StatBlock<CircuitBreakerStat> {
      store.scope(Self.scope(statName, priority), prometheus: Self.prometheus(statName, priority))
    }
    open = ByPriority(normal: block(.normal), high: block(.high))
  }

  /// Brings them up to date. - Parameter lane: the caller's.
  func publish(_ breakers: ByPriority<CircuitBreaker>, _ limits: ByPriority<CircuitBreaker.Limits>, lane: Int) {
    for priority in RoutePriority.allCases {
      let breaker = breakers[priority]
      let limit = limits[priority]
      let counts: [(gate: CircuitBreaker.Gate, limit: Int, CircuitBreakerStat, CircuitBreakerRemainder)] = [
        (breaker.connections, limit.connections, .connectionsOpen, .connections),
        (breaker.pools, limit.pools, .poolsOpen, .pools),
        (breaker.requests, limit.requests, .requestsOpen, .requests),
        (breaker.pendingRequests, limit.pendingRequests, .pendingOpen, .pending),
        (breaker.retries, limit.retries, .retriesOpen, .retries),
      ]
      let gauges = open[priority].lane(lane)
      for (gate, limit, stat, _) in counts { gauges.set(stat, gate.current >= limit ? 1 : 0) }
      guard limit.tracksRemaining else { continue }
      let block: StatBlock<CircuitBreakerRemainder> = store.scope(
        Self.scope(statName, priority), prometheus: Self.prometheus(statName, priority))
      let remainders = block.lane(lane)
      for (gate, limit, _, remainder) in counts { remainders.set(remainder, Int64(max(0, limit - gate.current))) }
    }
  }

  private static func name(_ priority: RoutePriority) -> String { priority == .normal ? "default" : "high" }

  private static func scope(_ statName: String, _ priority: RoutePriority) -> String {
    "cluster.\(statName).circuit_breakers.\(name(priority))"
  }

  private static func prometheus(_ statName: String, _ priority: RoutePriority) -> PrometheusScope {
    PrometheusScope(
      "envoy_cluster_circuit_breakers_\(name(priority))", labels: [("envoy_cluster_name", statName)])
  }
}
