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
  /// In the order of `hosts.hosts`.
  private(set) var endpoints: [ActiveEndpoint] = []
  private var balancer: LoadBalancer
  /// Its endpoints are those of other clusters; nil in every other one.
  private(set) var aggregate: AggregateBalancer?
  /// `pickEndpoint()` is enough: nothing about a request changes the choice.
  private(set) var picksPlainly = true
  /// Ejected endpoints have returned that nobody has had an answer of since: they get a request now and then.
  private var hasProbation = false
  /// The router has something to see to before it sends a request here.
  private(set) var isSpecial = false
  /// The router has something to note of each connection that a request gets.
  private(set) var notesConnections = false
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
    balancer = LoadBalancer(identity, lane: worker.index)
    takeDiscovery()
  }

  /// Takes from the configuration what follows from where endpoints come from, and how they are chosen.
  private func takeDiscovery() {
    originalDestinations?.drain()
    originalDestinations = nil
    aggregate = nil
    switch configuration.discovery {
    case .originalDestination(let settings): originalDestinations = OriginalDestinations(self, settings)
    case .aggregate(let clusters):
      aggregate = AggregateBalancer(clusters, configuration.balancing, worker)
      hasOnePool = false
    case .staticAddresses, .strictDNS, .logicalDNS: break
    }
    noteChoice()
    notesConnections = isLogical || aggregate != nil
  }

  /// What there is to know of a request before an endpoint is chosen for it.
  private func noteChoice() {
    let isPlain = originalDestinations == nil && aggregate == nil && !configuration.balancing.usesHash
    picksPlainly = isPlain && !hasProbation
    isSpecial = hasTLS || !isPlain || configuration.dropOverload != nil
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

  /// Its endpoints by priority and health.
  var hosts: HostSets { balancer.sets }

  /// Takes endpoints, or what is new of their health. Connections to those that stay are kept; those to the others end when
  /// their request does.
  func update(_ new: HostSets) {
    var old: [ObjectIdentifier: ActiveEndpoint] = [:]
    for endpoint in endpoints { old[ObjectIdentifier(endpoint.endpoint.identity)] = endpoint }
    endpoints = new.hosts.enumerated().map { index, configured in
      let endpoint: ActiveEndpoint
      if let kept = old.removeValue(forKey: ObjectIdentifier(configured.endpoint.identity)) {
        kept.update(configured)
        endpoint = kept
      } else {
        endpoint = ActiveEndpoint(configured, cluster: self)
      }
      if !new.healthySince.isEmpty { endpoint.healthySince = new.healthySince[index] }
      return endpoint
    }
    for gone in old.values { gone.drain() }
    hasProbation = endpoints.contains { $0.endpoint.identity.health.contains(.onProbation) }
    noteChoice()
    balancer.update(endpoints, new, &worker.random, worker.loop.now)
    worker.hostsChanged()
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
    takeDiscovery()
    for endpoint in endpoints { endpoint.configurationChanged() }
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

  /// The endpoint for the next request; nil if there is none that may have it.
  @inline(__always)
  func pickEndpoint() -> ActiveEndpoint? {
    guard picksPlainly else { return pickEndpoint(EndpointChoice()) }
    return balancer.pick(&worker.random, worker.loop.now)
  }

  /// The same, for a request or a connection of which something is known.
  @inline(never)
  func pickEndpoint(_ choice: EndpointChoice) -> ActiveEndpoint? {
    if let originalDestinations {
      return originalDestinations.endpoint(for: choice.connection, choice.headers)
    }
    if let aggregate { return aggregate.pick(choice) }
    if hasProbation, let probe = pickProbe(choice) { return probe }
    return balancer.pick(choice, &worker.random, worker.loop.now)
  }

  /// The endpoint for a request that goes to one place of the cluster; nil if there is none.
  func pickEndpoint(_ choice: EndpointChoice, at place: PriorityLoad.Place) -> ActiveEndpoint? {
    let number = choice.hash ?? worker.random.next()
    return balancer.pick(place, number, choice.refusals, &worker.random, worker.loop.now)
  }

  /// An endpoint on probation that may be tried now. For the balancer such an endpoint is not healthy, so that all other
  /// requests go elsewhere, whatever the policy is.
  func pickProbe(_ choice: EndpointChoice) -> ActiveEndpoint? {
    // A request that has been refused one goes elsewhere, too.
    guard hasProbation, choice.refusals == 0, choice.triedPriorities.isEmpty else { return nil }
    return endpoints.first { $0.admitsProbe(worker.loop.now) }
  }

  /// Requests with the same hash go to the same endpoint.
  var usesHash: Bool { aggregate?.usesHash ?? configuration.balancing.usesHash }

  /// The priority of an endpoint, as `EndpointChoice.triedPriorities` counts.
  func priority(of endpoint: ActiveEndpoint) -> UInt32 { aggregate?.priority(of: endpoint) ?? endpoint.priority }

  /// How many priorities there are, as `priority(of:)` counts.
  var priorityCount: Int { aggregate?.priorityCount ?? hosts.levels.count }

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

  /// A request that finds no idle connection may wait for one.
  func hasRoom(_ priority: RoutePriority) -> Bool {
    breakers[priority].pendingRequests.current < max(1, limits[priority].pendingRequests)
  }

  /// No new requests come; the connections end as they become free.
  func drain() {
    isGone = true
    originalDestinations?.drain()
    for endpoint in endpoints { endpoint.drain() }
    // Ends the cycle of cluster and pools; a pool lives as long as its connections.
    endpoints = []
    balancer = LoadBalancer()
    aggregate = nil
    worker.hostsChanged()
  }
}
