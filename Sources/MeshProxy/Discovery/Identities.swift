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
  private var listenerLimits: [String: ConnectionLimit] = [:]
  private var clusters: [String: ClusterIdentity] = [:]
  private var managers: [String: ConnectionManagerIdentity] = [:]
  private var endpoints: [EndpointKey: Endpoint] = [:]

  init(store: StatsStore, accessLogFiles: AccessLogFiles) {
    self.store = store
    self.accessLogFiles = accessLogFiles
    connectionLimit = ConnectionLimit(runtime.value("overload.global_downstream_max_connections"))
  }

  func cluster(_ name: String, statName: String) -> ClusterIdentity {
    if let known = clusters[name] { return known }
    let identity = ClusterIdentity(name: name, statName: statName, store: store)
    clusters[name] = identity
    return identity
  }

  func listener(_ name: String, statName: String, managerPrefix: String) -> ListenerIdentity {
    let manager = managers[managerPrefix] ?? ConnectionManagerIdentity(statPrefix: managerPrefix, store: store)
    managers[managerPrefix] = manager
    let limit =
      listenerLimits[name]
      ?? ConnectionLimit(runtime.value("envoy.resource_limits.listener.\(name).connection_limit"))
    listenerLimits[name] = limit
    return ListenerIdentity(
      statName: statName, manager: manager, limit: limit, globalLimit: connectionLimit, store: store)
  }

  /// Connections now open to clients, of all listeners.
  var activeConnections: Int64 { managers.values.reduce(0) { $0 + $1.stats.total(.connectionActive) } }

  func endpoint(_ address: SocketAddress, hostname: String, cluster: String) -> Endpoint {
    let key = EndpointKey(cluster: cluster, address: address, hostname: hostname)
    if let known = endpoints[key] { return known }
    let endpoint = Endpoint(address: address, hostname: hostname, lanes: store.lanes)
    endpoints[key] = endpoint
    return endpoint
  }

  /// Forgets what no configuration has any more. A worker that still uses it keeps it alive until it is done.
  func retain(clusters names: Set<String>, endpoints kept: Set<ObjectIdentifier>) {
    for (name, identity) in clusters where !names.contains(name) {
      store.remove(scope: identity.scope)
      clusters[name] = nil
    }
    endpoints = endpoints.filter { kept.contains(ObjectIdentifier($0.value)) }
  }
}
