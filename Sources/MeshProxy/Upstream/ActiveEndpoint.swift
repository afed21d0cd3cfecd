import MeshHTTP
import MeshPrimitives
import MeshRouting

/// An endpoint as one worker has it: with its own connections. Confined to the worker.
public final class ActiveEndpoint {
  private(set) var endpoint: Endpoint
  private(set) var weight: UInt32
  private(set) var isHealthy: Bool
  /// For requests of normal priority.
  let pool: ConnectionPool
  let stats: StatLane<EndpointStat>
  /// Ends with `ActiveCluster.drain`.
  private let cluster: ActiveCluster
  private var highPool: ConnectionPool?
  /// By the downstream connection that each belongs to, where the cluster is so configured.
  private var privatePools: [PrivateKey: ConnectionPool] = [:]

  private struct PrivateKey: Hashable {
    let connection: UInt64
    let priority: RoutePriority
  }

  init(_ configured: WeightedEndpoint, cluster: ActiveCluster) {
    endpoint = configured.endpoint
    weight = configured.weight
    isHealthy = configured.isHealthy
    self.cluster = cluster
    pool = ConnectionPool(cluster: cluster, endpoint: configured.endpoint, priority: .normal)
    stats = configured.endpoint.stats.lane(cluster.worker.index)
  }

  /// Takes what the configuration, or DNS, says of the same endpoint now. Connections stay.
  func update(_ configured: WeightedEndpoint) {
    endpoint = configured.endpoint
    weight = configured.weight
    isHealthy = configured.isHealthy
    forEachPool { $0.endpoint = configured.endpoint }
  }

  /// The pool for a request of this priority that came over this downstream connection.
  @inline(__always)
  func pool(_ priority: RoutePriority, downstream connection: UInt64) -> ConnectionPool {
    if priority == .normal, !cluster.hasPrivatePools { return pool }
    return otherPool(priority, connection)
  }

  @inline(never)
  private func otherPool(_ priority: RoutePriority, _ connection: UInt64) -> ConnectionPool {
    guard cluster.hasPrivatePools else {
      if let highPool { return highPool }
      let made = ConnectionPool(cluster: cluster, endpoint: endpoint, priority: priority)
      highPool = made
      return made
    }
    let key = PrivateKey(connection: connection, priority: priority)
    if let known = privatePools[key] { return known }
    let made = ConnectionPool(cluster: cluster, endpoint: endpoint, priority: priority)
    // Its downstream connection may be long gone: it lives as long as it has connections.
    made.whenEmpty = { [self] in privatePools[key] = nil }
    privatePools[key] = made
    return made
  }

  /// No new requests come; the connections end as they become free.
  func drain() { forEachPool { $0.drain() } }

  /// Connections made so far serve their request and no other.
  func replaceConnections() { forEachPool { $0.replaceConnections() } }

  private func forEachPool(_ body: (ConnectionPool) -> Void) {
    body(pool)
    if let highPool { body(highPool) }
    // Closing its last connection takes a pool out of the list.
    for pool in Array(privatePools.values) { body(pool) }
  }
}
