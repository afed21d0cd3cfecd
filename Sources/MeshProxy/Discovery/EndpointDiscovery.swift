import MeshIO
import MeshPrimitives

/// Finds the endpoints of every cluster: at once where addresses are configured, by DNS where names are, again and
/// again. On the main thread.
final class EndpointDiscovery: TimerTarget {
  /// How long a configuration waits for the first answers of its names before it is used without them.
  static let initialPatience = Nanoseconds.seconds(5)

  /// A cluster's endpoints, or what is known of their health, changed after its configuration was put in place.
  var onChange: (String, HostSets) -> Void = { _, _ in }
  /// Hears of endpoints before everybody else.
  var health: HealthMonitor?
  /// The endpoints known now, by cluster.
  private(set) var all: [String: [WeightedEndpoint]] = [:]
  /// The same by priority and health, as the workers have it.
  private(set) var hosts: [String: HostSets] = [:]

  /// Names that fail do so again and again.
  private static let failures = RateLimitedLog(Log.dns, perSecond: 10)

  private let loop: EventLoop
  private let resolvers: Resolvers
  private let identities: Identities
  private let lane: Int
  private var random: Random
  private var clusters: [String: ClusterEndpoints] = [:]
  private var waiting: Set<String> = []
  /// The clusters whose first addresses are still waited for.
  var unresolved: [String] { waiting.sorted() }
  private var whenComplete: (() -> Void)?
  private var patience: Timer?

  init(loop: EventLoop, identities: Identities, mainLane: Int) {
    self.loop = loop
    self.identities = identities
    lane = mainLane
    resolvers = Resolvers(loop)
    random = Random(seed: UInt64.random(in: .min ... .max))
  }

  /// Takes the clusters of a new configuration. `ready` is called when each has its endpoints, or has been waited for.
  func update(_ configurations: [ClusterConfiguration], _ ready: @escaping () -> Void) {
    let names = Set(configurations.map(\.name))
    for name in clusters.keys where !names.contains(name) {
      clusters[name] = nil
      all[name] = nil
      hosts[name] = nil
      waiting.remove(name)
    }
    whenComplete = ready
    for configuration in configurations {
      let old = clusters[configuration.name]
      if let old, old.configuration.fingerprint == configuration.fingerprint { continue }
      let identity = identities.cluster(configuration.name, statName: configuration.statName)
      let endpoints = ClusterEndpoints(self, configuration, identity, known: old?.addresses ?? [:])
      clusters[configuration.name] = endpoints
      waiting.remove(configuration.name)
      if endpoints.hasNames { waiting.insert(configuration.name) } else { endpoints.publish() }
    }
    // Only now: `complete` is not called before all are known.
    for name in waiting { clusters[name]?.start(&random) }
    guard !waiting.isEmpty else { return complete() }
    patience = Timer(loop, self)
    patience?.arm(after: Self.initialPatience)
  }

  /// Forgets the identities of endpoints that no cluster has any more.
  func forgetOldEndpoints() {
    var kept: Set<ObjectIdentifier> = []
    for endpoints in all.values { for item in endpoints { kept.insert(ObjectIdentifier(item.endpoint.identity)) } }
    let inUse = clusters.mapValues(\.configuration.statName)
    identities.retain(clusters: inUse, endpoints: kept)
  }

  private func complete() {
    patience?.disarm()
    let ready = whenComplete
    whenComplete = nil
    ready?()
  }

  func timerFired(_ tag: UInt8) {
    guard !waiting.isEmpty else { return }
    Log.dns.warning("going on without the addresses of \(waiting.sorted().joined(separator: ", "))")
    waiting.removeAll()
    complete()
  }

  /// A cluster's names have all had their first answer, good or bad.
  private func answered(_ cluster: String) {
    guard waiting.remove(cluster) != nil, waiting.isEmpty else { return }
    complete()
  }

  /// Takes a cluster's endpoints. - Returns: whether they are others than before.
  private func publish(_ endpoints: [WeightedEndpoint], of cluster: ClusterEndpoints) -> Bool {
    let name = cluster.configuration.name
    let old = all.updateValue(endpoints, forKey: name)
    health?.take(endpoints, of: name)
    publishMembership(endpoints, cluster.stats)
    let before = Set((old ?? []).map { ObjectIdentifier($0.endpoint.identity) })
    if Set(endpoints.map { ObjectIdentifier($0.endpoint.identity) }) != before { cluster.stats.add(.membershipChange) }
    // Another configuration may make something else of the same endpoints.
    if old == endpoints, cluster.isPublished { return false }
    publishHosts(endpoints, of: cluster)
    return old != endpoints
  }

  private func publishMembership(_ endpoints: [WeightedEndpoint], _ stats: StatLane<ClusterStat>) {
    stats.set(.membershipTotal, Int64(endpoints.count))
    stats.set(.membershipHealthy, Int64(endpoints.count { $0.availability == .healthy }))
    stats.set(.membershipDegraded, Int64(endpoints.count { $0.availability == .degraded }))
    stats.set(.membershipExcluded, Int64(endpoints.count { $0.isExcluded }))
  }

  /// Sorts a cluster's endpoints by priority and health, for all workers.
  private func publishHosts(_ endpoints: [WeightedEndpoint], of cluster: ClusterEndpoints) {
    let name = cluster.configuration.name
    let new = HostSets(endpoints, cluster.configuration.balancing, previous: hosts[name], now: loop.now)
    hosts[name] = new
    cluster.isPublished = true
    cluster.hashStats?.note(new)
    onChange(name, new)
  }

  /// What has been found out about the health of some of a cluster's endpoints is news.
  func healthChanged(_ name: String) {
    guard let endpoints = all[name], let cluster = clusters[name] else { return }
    publishMembership(endpoints, cluster.stats)
    publishHosts(endpoints, of: cluster)
    if cluster.hasLost { cluster.publish() }
  }

  /// The endpoints of one cluster.
  private final class ClusterEndpoints: NameWatch.Listener {
    let configuration: ClusterConfiguration
    private unowned let discovery: EndpointDiscovery
    /// Keeps the lane below alive.
    private let identity: ClusterIdentity
    fileprivate let stats: StatLane<ClusterStat>
    /// What it chooses by hash with; nil if it does not.
    fileprivate let hashStats: HashStats?
    /// Workers have its endpoints as this configuration has them.
    fileprivate var isPublished = false
    private var watch: NameWatch?
    private var published: [WeightedEndpoint] = []

    init(
      _ discovery: EndpointDiscovery, _ configuration: ClusterConfiguration, _ identity: ClusterIdentity,
      known: [String: [IPAddress]]
    ) {
      self.discovery = discovery
      self.configuration = configuration
      self.identity = identity
      stats = identity.stats.lane(discovery.lane)
      hashStats = HashStats(configuration.balancing.policy, identity, lane: discovery.lane)
      let names = configuration.names
      if !names.isEmpty {
        watch = NameWatch(
          self, names: names, settings: configuration.dns, resolvers: discovery.resolvers, loop: discovery.loop,
          known: known)
      }
    }

    var hasNames: Bool { watch != nil }
    var addresses: [String: [IPAddress]] { watch?.addresses ?? [:] }

    func start(_ random: inout Random) { watch?.start(&random) }

    /// Whether the endpoints changed.
    @discardableResult
    func publish() -> Bool {
      var endpoints = configuration.resolved(watch?.addresses ?? [:], discovery.identities)
      if watch != nil { keepHealthy(&endpoints) }
      published = endpoints
      return discovery.publish(endpoints, of: self)
    }

    /// What active health checks find healthy stays, although DNS does not give it any more.
    private func keepHealthy(_ endpoints: inout [WeightedEndpoint]) {
      guard configuration.healthChecks != nil, !configuration.forgetsHealthyEndpoints else { return }
      let current = Set(endpoints.map { ObjectIdentifier($0.endpoint.identity) })
      for endpoint in endpoints { _ = endpoint.endpoint.identity.set(.pendingRemoval, false) }
      for old in published where !current.contains(ObjectIdentifier(old.endpoint.identity)) {
        guard old.health.receivesRequests, !old.check.isDisabled,
          !old.endpoint.identity.health.contains(.failedActiveHealthCheck)
        else { continue }
        _ = old.endpoint.identity.set(.pendingRemoval, true)
        endpoints.append(old)
      }
    }

    /// Some endpoints stayed only because they were healthy, and are so no longer.
    var hasLost: Bool {
      published.contains {
        $0.endpoint.identity.health.isSuperset(of: [.pendingRemoval, .failedActiveHealthCheck])
      }
    }

    // MARK: NameWatch.Listener

    func lookupBegan() { stats.add(.updateAttempt) }

    func lookupEnded(_ name: String, _ outcome: NameWatch.Outcome, isComplete: Bool) {
      var isSuccess = true
      switch outcome {
      case .addresses:
        stats.add(.updateSuccess)
      case .nothing where configuration.discovery == .strictDNS:
        // A definite answer: there are no such endpoints.
        stats.add(.updateSuccess)
        watch?.forget(name)
      case .nothing(let error), .failure(let error):
        // The one address of a `LOGICAL_DNS` cluster is kept whatever the failure, as in Envoy.
        isSuccess = false
        stats.add(.updateFailure)
        watch?.distrust(name)
        EndpointDiscovery.failures.warning("cluster \(configuration.name): \(error)")
      }
      // Before that, what is missing would look gone.
      guard isComplete else { return }
      if !publish(), isSuccess { stats.add(.updateNoRebuild) }
      discovery.answered(configuration.name)
    }
  }
}

extension ClusterConfiguration {
  /// The names among its endpoints.
  var names: Set<String> {
    Set(endpoints.compactMap { if case .name(let name, _) = $0.target { name } else { nil } })
  }

  /// Its endpoints, as far as the addresses of their names are known.
  func resolved(_ addresses: [String: [IPAddress]], _ identities: Identities) -> [WeightedEndpoint] {
    var result: [WeightedEndpoint] = []
    var seen: Set<SocketAddress> = []
    for configured in endpoints {
      switch configured.target {
      case .address(let address):
        if seen.insert(address).inserted { result.append(weighted(configured, address, "", identities)) }
      case .name(let name, let port):
        let known = (addresses[name] ?? []).map { SocketAddress($0, port: port) }
        // Two names, or one name twice, may lead to the same place.
        for address in discovery == .logicalDNS ? Array(known.prefix(1)) : known
        where seen.insert(address).inserted {
          result.append(weighted(configured, address, name, identities))
        }
      }
    }
    return result
  }

  private func weighted(
    _ configured: ConfiguredEndpoint, _ address: SocketAddress, _ name: String, _ identities: Identities
  ) -> WeightedEndpoint {
    let hostname = configured.hostname.isEmpty ? name : configured.hostname
    let endpoint = identities.endpoint(
      address, hostname: hostname, cluster: self.name, isLogical: discovery == .logicalDNS,
      metadata: configured.metadata, localityMetadata: configured.localityMetadata)
    return WeightedEndpoint(
      endpoint: endpoint, weight: configured.weight, health: configured.health, locality: configured.locality,
      check: configured.check, priority: configured.priority, localityWeight: configured.localityWeight)
  }
}
