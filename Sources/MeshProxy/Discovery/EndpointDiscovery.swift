import MeshIO
import MeshPrimitives

/// Finds the endpoints of every cluster: at once where addresses are configured, by DNS where names are, again and again
/// (`STRICT_DNS`). Addresses that once were good are kept while DNS fails. On the main thread.
final class EndpointDiscovery: TimerTarget {
  /// How long a configuration waits for the first answers of its names before it is used without them.
  static let initialPatience = Nanoseconds.seconds(5)

  /// A cluster's endpoints changed after its configuration was put in place.
  var onChange: (String, [WeightedEndpoint]) -> Void = { _, _ in }
  /// The endpoints known now, by cluster.
  private(set) var all: [String: [WeightedEndpoint]] = [:]

  let loop: EventLoop
  let resolver: Resolver
  private let identities: Identities
  private let lane: Int
  private var watched: [String: NameWatch] = [:]
  private var clusters: [String: ClusterConfiguration] = [:]
  private var waiting: Set<String> = []
  /// The clusters whose first addresses are still waited for.
  var unresolved: [String] { waiting.sorted() }
  private var whenComplete: (() -> Void)?
  private var patience: Timer?

  init(loop: EventLoop, identities: Identities, mainLane: Int) throws {
    self.loop = loop
    self.identities = identities
    lane = mainLane
    resolver = try Resolver(loop)
  }

  /// Takes the clusters of a new configuration. `ready` is called when each has its endpoints, or has been waited for.
  func update(_ configurations: [ClusterConfiguration], _ ready: @escaping () -> Void) {
    let names = Set(configurations.map(\.name))
    for name in clusters.keys where !names.contains(name) {
      clusters[name] = nil
      all[name] = nil
      watched[name] = nil
      waiting.remove(name)
    }
    whenComplete = ready
    for configuration in configurations {
      let old = clusters.updateValue(configuration, forKey: configuration.name)
      if let old, old.fingerprint == configuration.fingerprint { continue }
      switch configuration.discovery {
      case .staticAddresses:
        watched[configuration.name] = nil
        publish(configuration, addresses: [:])
      case .strictDNS:
        // What was known of the names stays known until they are resolved anew.
        let known = watched[configuration.name]?.addresses ?? [:]
        watched[configuration.name] = NameWatch(self, configuration, known: known)
        waiting.insert(configuration.name)
      }
    }
    // Only now: names that are addresses are resolved at once.
    for name in waiting { watched[name]?.start() }
    guard !waiting.isEmpty else { return complete() }
    patience = Timer(loop, self)
    patience?.arm(after: Self.initialPatience)
  }

  /// Forgets the identities of endpoints that no cluster has any more.
  func forgetOldEndpoints() {
    var kept: Set<ObjectIdentifier> = []
    for endpoints in all.values { for item in endpoints { kept.insert(ObjectIdentifier(item.endpoint)) } }
    identities.retain(clusters: Set(clusters.keys), endpoints: kept)
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

  /// A name watch has its first complete answer, good or bad.
  fileprivate func answered(_ cluster: String) {
    guard waiting.remove(cluster) != nil, waiting.isEmpty else { return }
    complete()
  }

  /// Makes the endpoint list of a cluster and publishes it if it is another than before.
  fileprivate func publish(_ configuration: ClusterConfiguration, addresses: [String: [IPAddress]]) {
    var endpoints: [WeightedEndpoint] = []
    var seen: Set<SocketAddress> = []
    for configured in configuration.endpoints {
      let isName = IPAddress(configured.host) == nil
      let resolved = IPAddress(configured.host).map { [$0] } ?? addresses[configured.host] ?? []
      for address in resolved {
        let socket = SocketAddress(address, port: configured.port)
        // Two names, or one name twice, may lead to the same place.
        guard seen.insert(socket).inserted else { continue }
        let hostname = configured.hostname.isEmpty && isName ? configured.host : configured.hostname
        endpoints.append(
          WeightedEndpoint(
            endpoint: identities.endpoint(socket, hostname: hostname, cluster: configuration.name),
            weight: configured.weight, isHealthy: configured.isHealthy, locality: configured.locality))
      }
    }
    let old = all.updateValue(endpoints, forKey: configuration.name)
    let stats = identities.cluster(configuration.name, statName: configuration.statName).stats.lane(lane)
    stats.set(.membershipTotal, Int64(endpoints.count))
    stats.set(.membershipHealthy, Int64(endpoints.filter(\.isHealthy).count))
    if let old, old == endpoints { return }
    stats.add(.membershipChange)
    onChange(configuration.name, endpoints)
  }

  fileprivate func stats(_ configuration: ClusterConfiguration) -> StatLane<ClusterStat> {
    identities.cluster(configuration.name, statName: configuration.statName).stats.lane(lane)
  }
}

extension WeightedEndpoint: Equatable {
  /// The same endpoint, configured the same.
  public static func == (a: Self, b: Self) -> Bool {
    a.endpoint === b.endpoint && a.weight == b.weight && a.isHealthy == b.isHealthy && a.locality == b.locality
  }
}

/// The names of one `STRICT_DNS` cluster: asks for all of them, publishes when all have answered, asks again after
/// `dns_refresh_rate`.
private final class NameWatch: TimerTarget {
  private unowned let discovery: EndpointDiscovery
  private let configuration: ClusterConfiguration
  private let names: [String]
  /// Addresses as they were last known; kept while DNS fails.
  private(set) var addresses: [String: [IPAddress]]
  private var outstanding = 0
  private var failures: [String] = []
  private var timer: Timer?

  init(_ discovery: EndpointDiscovery, _ configuration: ClusterConfiguration, known: [String: [IPAddress]]) {
    self.discovery = discovery
    self.configuration = configuration
    let names = Set(configuration.endpoints.map(\.host).filter { IPAddress($0) == nil })
    self.names = names.sorted()
    addresses = known.filter { names.contains($0.key) }
  }

  func start() {
    guard timer == nil else { return }
    timer = Timer(discovery.loop, self)
    timerFired(0)
  }

  func timerFired(_ tag: UInt8) {
    discovery.stats(configuration).add(.updateAttempt)
    failures = []
    guard !names.isEmpty else {
      // Nothing but addresses: there is nothing to ask, now or later.
      discovery.publish(configuration, addresses: [:])
      discovery.stats(configuration).add(.updateSuccess)
      return discovery.answered(configuration.name)
    }
    outstanding = names.count
    for name in names {
      discovery.resolver.resolve(name, family: configuration.dnsLookupFamily) { [weak self] result in
        self?.answered(name, result)
      }
    }
  }

  private func answered(_ name: String, _ result: Result<ResolvedAddresses, ResolveError>) {
    switch result {
    case .success(let answer):
      addresses[name] = answer.addresses
    case .failure(let error):
      failures.append("\(error)")
      if error.kind == .notFound {
        addresses[name] = []
        discovery.stats(configuration).add(.updateEmpty)
      }
    }
    outstanding -= 1
    guard outstanding == 0 else { return }
    discovery.stats(configuration).add(failures.isEmpty ? .updateSuccess : .updateFailure)
    if !failures.isEmpty {
      Log.dns.warning("cluster \(configuration.name): \(failures.joined(separator: "; "))")
    }
    discovery.publish(configuration, addresses: addresses)
    discovery.answered(configuration.name)
    timer?.arm(after: configuration.dnsRefreshRate)
  }
}
