import MeshPrimitives

/// What outlives a configuration, by name: statistics and breaker counts of clusters, listeners and endpoints, and the
/// access logs' files. Confined to the main thread; what it hands out is shared.
final class Identities {
  struct EndpointKey: Hashable {
    let cluster: String
    let address: SocketAddress
    let hostname: String
  }

  let store: StatsStore
  let accessLogFiles: AccessLogFiles
  /// The runtime's values: whoever compiles a configuration takes the ones it names from here.
  let runtime = Runtime()
  /// All connections from clients together.
  let connectionLimit: ConnectionLimit
  /// The statistics of the codec.
  private let codecStats: StatBlock<HTTP1Stat>
  private var listenerLimits: [String: Weak<ConnectionLimit>] = [:]
  private var clusters: [String: ClusterIdentity] = [:]
  /// Kept by the listeners that have them.
  private var managers: [String: Weak<ConnectionManagerIdentity>] = [:]
  private var endpoints: [EndpointKey: Endpoint] = [:]

  init(store: StatsStore, accessLogFiles: AccessLogFiles) {
    self.store = store
    self.accessLogFiles = accessLogFiles
    connectionLimit = ConnectionLimit(runtime.value("overload.global_downstream_max_connections"))
    codecStats = store.scope("http1", prometheus: PrometheusScope("envoy_http1"))
  }

  func cluster(_ name: String, statName: String) -> ClusterIdentity {
    if let known = clusters[name] { return known }
    let identity = ClusterIdentity(name: name, statName: statName, store: store)
    clusters[name] = identity
    return identity
  }

  func listener(_ name: String, statName: String, managerPrefix: String) -> ListenerIdentity {
    let manager =
      managers[managerPrefix]?.object
      ?? ConnectionManagerIdentity(statPrefix: managerPrefix, codecStats: codecStats, store: store)
    managers[managerPrefix] = Weak(object: manager)
    let limit =
      listenerLimits[name]?.object
      ?? ConnectionLimit(runtime.value("envoy.resource_limits.listener.\(name).connection_limit"))
    listenerLimits[name] = Weak(object: limit)
    return ListenerIdentity(
      statName: statName, manager: manager, limit: limit, globalLimit: connectionLimit, store: store,
      // The last lane is the main thread's.
      workers: store.lanes - 1)
  }

  /// Connections now open to clients, of all listeners.
  var activeConnections: Int64 {
    managers.values.reduce(0) { $0 + ($1.object?.stats.total(.connectionActive) ?? 0) }
  }

  func endpoint(_ address: SocketAddress, hostname: String, cluster: String) -> Endpoint {
    let key = EndpointKey(cluster: cluster, address: address, hostname: hostname)
    if let known = endpoints[key] { return known }
    let endpoint = Endpoint(address: address, hostname: hostname, lanes: store.lanes)
    endpoints[key] = endpoint
    return endpoint
  }

  /// Forgets what no configuration has any more, with its statistics. A worker that still uses it keeps it alive until it
  /// is done.
  func retain(clusters names: Set<String>, endpoints kept: Set<ObjectIdentifier>) {
    for name in clusters.keys where !names.contains(name) {
      clusters[name] = nil
    }
    managers = managers.filter { $0.value.object != nil }
    listenerLimits = listenerLimits.filter { $0.value.object != nil }
    endpoints = endpoints.filter { kept.contains(ObjectIdentifier($0.value)) }
  }
}

private struct Weak<Object: AnyObject> {
  weak var object: Object?
}
