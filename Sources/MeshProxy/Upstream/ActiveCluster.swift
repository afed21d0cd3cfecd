import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// A cluster as one worker has it: its endpoints, their connection pools and the balancer. Confined to the worker.
public final class ActiveCluster {
  public let identity: ClusterIdentity
  public private(set) var configuration: ClusterConfiguration
  let stats: StatLane<ClusterStat>
  let responseCodes: ResponseCodeLane
  let requestTime: HistogramLane
  let connectTime: HistogramLane
  /// How long connections lived, and how many requests each had; made when the first one ends.
  private var lifetimes: ConnectionLifetimes?
  /// Made with the first connection of HTTP/2; the block keeps the lane alive.
  private var http2Stats: StatBlock<HTTP2Stat>?
  private var http2Lane: StatLane<HTTP2Stat>?
  /// What Envoy shows of the responses by itself.
  var parts = ClusterResponseParts()
  /// No configuration has it any more.
  private(set) var isGone = false
  let breakers: ByPriority<CircuitBreaker>
  private(set) var limits: ByPriority<CircuitBreaker.Limits>
  /// Each downstream connection has upstream connections of its own.
  private(set) var hasPrivatePools: Bool
  /// All requests of one priority share connections.
  private(set) var hasOnePool: Bool
  /// Connections have TLS.
  private(set) var hasTLS: Bool
  /// The endpoint's address may change under its connections (`LOGICAL_DNS`).
  private(set) var isLogical: Bool
  /// See `ClusterConfiguration`.
  private(set) var maximumStreamDuration: Nanoseconds?
  private(set) var endpoints: [ActiveEndpoint] = []
  private var known: [WeightedEndpoint] = []
  private var balancer = LoadBalancer()
  /// The endpoints, if they are where clients were going; nil in every other cluster.
  private(set) var originalDestinations: OriginalDestinations?
  let worker: Worker

  public var name: String { identity.name }

  init(worker: Worker, identity: ClusterIdentity, configuration: ClusterConfiguration) {
    self.worker = worker
    self.identity = identity
    self.configuration = configuration
    stats = identity.stats.lane(worker.index)
    responseCodes = identity.responseCodes.lane(worker.index)
    requestTime = identity.requestTime.lane(worker.index)
    connectTime = identity.connectTime.lane(worker.index)
    breakers = identity.breakers
    limits = configuration.limits
    hasPrivatePools = configuration.pool.isPerDownstreamConnection
    hasOnePool = configuration.hasOnePool
    hasTLS = configuration.tls != nil
    isLogical = configuration.discovery == .logicalDNS
    maximumStreamDuration = configuration.maximumStreamDuration
    takeOriginalDestinations()
  }

  private func takeOriginalDestinations() {
    originalDestinations?.drain()
    originalDestinations = nil
    if case .originalDestination(let settings) = configuration.discovery {
      originalDestinations = OriginalDestinations(self, settings)
    }
  }

  /// A connection has ended.
  func countLifetime(openedAt: MonotonicTime, requests: UInt32) {
    let lifetimes = lifetimes ?? identity.lifetimes()
    self.lifetimes = lifetimes
    lifetimes.add(
      microseconds: worker.loop.now.since(openedAt).rawValue / 1000, requests: UInt64(requests), lane: worker.index)
  }

  /// Where a connection of HTTP/2 counts.
  var http2: StatLane<HTTP2Stat> {
    if let http2Lane { return http2Lane }
    let block = identity.http2Stats
    http2Stats = block
    let lane = block.lane(worker.index)
    http2Lane = lane
    return lane
  }

  /// The worker's lane of statistics.
  var lane: Int { worker.index }

  /// Takes new endpoints. Connections to those that stay are kept; those to the others end when their request does.
  func update(endpoints new: [WeightedEndpoint]) {
    if new == known { return }
    known = new
    var old: [ObjectIdentifier: ActiveEndpoint] = [:]
    for endpoint in endpoints { old[ObjectIdentifier(endpoint.endpoint.identity)] = endpoint }
    endpoints = new.map { configured in
      if let kept = old.removeValue(forKey: ObjectIdentifier(configured.endpoint.identity)) {
        kept.update(configured)
        return kept
      }
      return ActiveEndpoint(configured, cluster: self)
    }
    for gone in old.values { gone.drain() }
    balancer.update(endpoints, configuration.balancing, &worker.random)
  }

  /// What has been found out about the health of some endpoints is news.
  func healthChanged() {
    for endpoint in endpoints { endpoint.healthChanged() }
    balancer.update(endpoints, configuration.balancing, &worker.random)
  }

  /// Takes a changed configuration under the same name. New connections follow it; those in use finish as they are.
  func update(configuration new: ClusterConfiguration) {
    configuration = new
    limits = new.limits
    hasPrivatePools = new.pool.isPerDownstreamConnection
    hasOnePool = new.hasOnePool
    hasTLS = new.tls != nil
    isLogical = new.discovery == .logicalDNS
    maximumStreamDuration = new.maximumStreamDuration
    takeOriginalDestinations()
    for endpoint in endpoints { endpoint.replaceConnections() }
    balancer.update(endpoints, new.balancing, &worker.random)
  }

  /// TLS with the endpoints; nil for plaintext.
  var tls: UpstreamTLS? { configuration.tls }

  /// What connections speak for a request that came by this version of HTTP.
  func codec(for version: HTTPVersion) -> PoolKey.Codec {
    switch configuration.pool.codec {
    case .always(let codec): codec
    case .asDownstream: version == .http2 ? .http2 : .http1
    }
  }

  /// The endpoint for the next request; nil if none is healthy.
  @inline(__always)
  func pickEndpoint() -> ActiveEndpoint? { balancer.pick(&worker.random) }

  /// `pickEndpoint()` is enough: nothing about a request changes the choice.
  @inline(__always)
  var picksPlainly: Bool { originalDestinations == nil }

  /// The same, for a request or a connection; nil also if nothing says where it was going.
  func pickEndpoint(_ choice: EndpointChoice) -> ActiveEndpoint? {
    guard let originalDestinations else { return pickEndpoint() }
    return originalDestinations.endpoint(for: choice.connection, choice.headers)
  }

  /// Takes a permit for one active request; whoever gets it owes one `leave`.
  @inline(__always)
  func admitRequest(_ priority: RoutePriority) -> Bool {
    if priority == .normal { return breakers.normal.requests.enter(limit: limits.normal.requests) }
    return breakers.high.requests.enter(limit: limits.high.requests)
  }

  /// How many requests may be sent once more at the same time.
  func retryLimit(_ priority: RoutePriority) -> Int {
    let limits = limits[priority]
    guard let budget = limits.retryBudget else { return limits.retries }
    return budget.limit(active: breakers[priority].requests.current)
  }

  /// What the runtime says of retries.
  var retrySettings: RetrySettings { configuration.retries }

  /// No new requests come; the connections end as they become free.
  func drain() {
    isGone = true
    originalDestinations?.drain()
    for endpoint in endpoints { endpoint.drain() }
    // Ends the cycle of cluster and pools; a pool lives as long as its connections.
    endpoints = []
    known = []
    balancer = LoadBalancer()
  }
}
