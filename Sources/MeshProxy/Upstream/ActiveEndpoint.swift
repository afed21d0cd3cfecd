import MeshHTTP
import MeshPrimitives
import MeshRouting

/// An endpoint as one worker has it: with its own connections. Confined to the worker.
public final class ActiveEndpoint {
  private(set) var endpoint: Endpoint
  private(set) var weight: UInt32
  /// 0 is the first choice.
  private(set) var priority: UInt32
  /// Counts while endpoints start slowly.
  var healthySince = MonotonicTime(nanoseconds: 0)
  /// For requests of normal priority, by the cluster's own version of HTTP.
  let pool: ConnectionPool
  let stats: StatLane<EndpointStat>
  /// Ends with `ActiveCluster.drain`.
  let cluster: ActiveCluster
  private var configured: WeightedEndpoint
  private var isHealthy: Bool
  /// What judges results; nil if nothing does.
  private var outliers: OutlierSettings?
  /// Whether responses are looked at: for outlier detection, or for what they say of health checks.
  private(set) var isWatched = false
  /// The TCP sessions with it, where they are to end when it becomes unhealthy.
  var leases: [ObjectIdentifier: TCPUpstreamLease] = [:]
  private var otherPools: [PoolKey: ConnectionPool] = [:]

  init(_ configured: WeightedEndpoint, cluster: ActiveCluster) {
    endpoint = configured.endpoint
    weight = configured.weight
    priority = configured.priority
    self.configured = configured
    isHealthy = configured.endpoint.identity.health.isDisjoint(with: .failed)
    self.cluster = cluster
    outliers = cluster.configuration.outliers
    isWatched = outliers != nil || cluster.configuration.healthChecks != nil
    pool = ConnectionPool(
      cluster: cluster, endpoint: configured.endpoint, key: PoolKey(codec: cluster.codec(for: .http11)))
    stats = configured.endpoint.stats.lane(cluster.worker.index)
  }

  /// Takes what is known of the same endpoint now. Connections stay, unless it has become unhealthy: when it returns it
  /// gets new ones, since those that are there may be the trouble.
  func update(_ configured: WeightedEndpoint) {
    endpoint = configured.endpoint
    weight = configured.weight
    priority = configured.priority
    self.configured = configured
    forEachPool { $0.endpoint = configured.endpoint }
    let wasHealthy = isHealthy
    isHealthy = configured.endpoint.identity.health.isDisjoint(with: .failed)
    if wasHealthy, !isHealthy { becameUnhealthy() }
  }

  private func becameUnhealthy() {
    replaceConnections()
    guard cluster.configuration.closesConnectionsOfUnhealthy else { return }
    for lease in Array(leases.values) { lease.whenUnhealthy?() }
  }

  /// Takes a changed configuration of the cluster.
  func configurationChanged() {
    outliers = cluster.configuration.outliers
    isWatched = outliers != nil || isChecked
    replaceConnections()
  }

  // MARK: Health

  /// Reports what has come of an attempt, for outlier detection.
  @inline(__always)
  func note(_ result: UpstreamResult) {
    if let outliers { outliers.note(result, endpoint.identity) }
  }

  /// Whether it is checked.
  var isChecked: Bool { cluster.configuration.healthChecks != nil }

  /// A response says that the endpoint wants to be left out, which counts where it is checked.
  func failHealthCheck() {
    let (identity, name) = (endpoint.identity, cluster.name)
    // Every response may say so.
    guard !identity.health.contains(.excludedByHealthCheck) else { return }
    cluster.configuration.healthChecks?.reports.post { $0.failedPassively(identity, of: name) }
  }

  /// Whether it may be sent a request though its ejection has only just ended.
  func admitsProbe(_ now: MonotonicTime) -> Bool {
    let found = endpoint.identity.health
    return found.contains(.onProbation) && found.isDisjoint(with: .failed)
      && configured.health.receivesRequests && endpoint.identity.probes.enter(now)
  }

  // MARK: Connections

  /// The pool for a request with these headers and this priority that came by this version of HTTP over this downstream
  /// connection.
  @inline(__always)
  func pool(
    _ priority: RoutePriority, _ version: HTTPVersion, downstream connection: UInt64, _ headers: HeaderMap? = nil
  ) -> ConnectionPool {
    if priority == .normal, cluster.hasOnePool { return pool }
    return otherPool(
      PoolKey(
        priority: priority, codec: cluster.codec(for: version), connection: cluster.hasPrivatePools ? connection : 0,
        host: headers.flatMap { cluster.tls?.host(of: $0) } ?? ""))
  }

  /// The pool for the bytes of a tunnel that ends here.
  func tunnelPool(_ priority: RoutePriority, downstream connection: UInt64) -> ConnectionPool {
    otherPool(PoolKey(priority: priority, codec: .tcp, connection: cluster.hasPrivatePools ? connection : 0))
  }

  @inline(never)
  private func otherPool(_ key: PoolKey) -> ConnectionPool {
    if key == pool.key { return pool }
    if let known = otherPools[key] { return known }
    let made = ConnectionPool(cluster: cluster, endpoint: endpoint, key: key)
    // What it is for may be long gone: it lives as long as it has connections.
    if key.isPassing { made.whenEmpty = { [self] in otherPools[key] = nil } }
    otherPools[key] = made
    return made
  }

  /// There are connections, or requests that wait for one.
  var isInUse: Bool { pool.isInUse || otherPools.values.contains { $0.isInUse } }

  /// No new requests come; the connections end as they become free.
  func drain() { forEachPool { $0.drain() } }

  /// Connections made so far serve their request and no other.
  func replaceConnections() { forEachPool { $0.replaceConnections() } }

  private func forEachPool(_ body: (ConnectionPool) -> Void) {
    body(pool)
    // Closing its last connection may take a pool out of the list.
    for pool in Array(otherPools.values) { body(pool) }
  }
}
