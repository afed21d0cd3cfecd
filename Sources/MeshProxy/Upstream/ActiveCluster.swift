import MeshHTTP
import MeshIO
import MeshPrimitives

/// An endpoint as one worker has it: with its own connections.
public final class ActiveEndpoint {
  let endpoint: Endpoint
  var weight: UInt32
  var isHealthy: Bool
  let pool: ConnectionPool
  let stats: StatLane<EndpointStat>

  init(_ configured: WeightedEndpoint, pool: ConnectionPool, lane: Int) {
    endpoint = configured.endpoint
    weight = configured.weight
    isHealthy = configured.isHealthy
    self.pool = pool
    stats = configured.endpoint.stats.lane(lane)
  }
}

/// A cluster as one worker has it: its endpoints, their connection pools and the balancer. Confined to the worker.
public final class ActiveCluster {
  public let identity: ClusterIdentity
  public private(set) var configuration: ClusterConfiguration
  let stats: StatLane<ClusterStat>
  let responseCodes: ResponseCodeLane
  let requestTime: HistogramLane
  let connectTime: HistogramLane
  /// What Envoy shows of the responses by itself.
  var parts = ClusterResponseParts()
  /// No configuration has it any more.
  private(set) var isGone = false
  let breaker: CircuitBreaker
  private(set) var limits: CircuitBreaker.Limits
  private(set) var endpoints: [ActiveEndpoint] = []
  private var known: [WeightedEndpoint] = []
  private var balancer = RoundRobinBalancer()
  private let worker: Worker

  public var name: String { identity.name }

  init(worker: Worker, identity: ClusterIdentity, configuration: ClusterConfiguration) {
    self.worker = worker
    self.identity = identity
    self.configuration = configuration
    stats = identity.stats.lane(worker.index)
    responseCodes = identity.responseCodes.lane(worker.index)
    requestTime = identity.requestTime.lane(worker.index)
    connectTime = identity.connectTime.lane(worker.index)
    breaker = identity.breaker
    limits = configuration.limits
  }

  /// Takes new endpoints. Connections to those that stay are kept; those to the others end when their request does.
  func update(endpoints new: [WeightedEndpoint]) {
    if new == known { return }
    known = new
    var old: [ObjectIdentifier: ActiveEndpoint] = [:]
    for endpoint in endpoints { old[ObjectIdentifier(endpoint.endpoint)] = endpoint }
    endpoints = new.map { configured in
      if let kept = old.removeValue(forKey: ObjectIdentifier(configured.endpoint)) {
        kept.weight = configured.weight
        kept.isHealthy = configured.isHealthy
        return kept
      }
      let pool = ConnectionPool(worker: worker, cluster: self, endpoint: configured.endpoint)
      return ActiveEndpoint(configured, pool: pool, lane: worker.index)
    }
    for gone in old.values { gone.pool.drain() }
    balancer.update(endpoints, random: worker.random.next())
  }

  /// Takes a changed configuration under the same name. New connections follow it; those in use finish as they are.
  func update(configuration new: ClusterConfiguration) {
    configuration = new
    limits = new.limits
    for endpoint in endpoints { endpoint.pool.replaceConnections() }
  }

  /// The endpoint for the next request; nil if none is healthy.
  @inline(__always)
  func pickEndpoint() -> ActiveEndpoint? { balancer.pick() }

  /// No new requests come; the connections end as they become free.
  func drain() {
    isGone = true
    for endpoint in endpoints { endpoint.pool.drain() }
    // Ends the cycle of cluster and pools; a pool lives as long as its connections.
    endpoints = []
    known = []
    balancer.update([], random: 0)
  }
}
