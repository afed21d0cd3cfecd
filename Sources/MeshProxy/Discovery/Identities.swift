import MeshAPI
import MeshIO
import MeshPrimitives

/// What outlives a configuration, by name: statistics and breaker counts of clusters, listeners and endpoints, and the
/// access logs' files. Confined to the main thread; what it hands out is shared.
final class Identities {
  struct EndpointKey: Hashable {
    let cluster: String
    /// nil if the address may change: the name and the port are what stays.
    let address: MeshPrimitives.SocketAddress?
    let port: UInt16
    let hostname: String
  }

  private struct ClusterKey: Hashable {
    let name: String
    let statName: String
  }

  let store: StatsStore
  let accessLogFiles: AccessLogFiles
  /// The runtime's values: whoever compiles a configuration takes the ones it names from here.
  let runtime = Runtime()
  let secrets = SecretStore()
  /// Where workers report what they have found out about endpoints.
  let healthReports = Mailbox<HealthMonitor>()
  /// Where workers' finished spans go.
  let spanExporters = Mailbox<SpanExporters>()
  /// What this host calls itself towards others.
  private(set) lazy var hostAddress = HostAddress.primary
  /// What limits have counted.
  let limitStates = LimitStates()
  /// All connections from clients together.
  let connectionLimit: ConnectionLimit
  /// The statistics of the codec.
  private let codecStats: StatBlock<HTTP1Stat>
  private let http2Stats: StatBlock<HTTP2Stat>
  private var listenerLimits: [String: Weak<ConnectionLimit>] = [:]
  private var clusters: [ClusterKey: ClusterIdentity] = [:]
  /// Kept by the listeners that have them.
  private var managers: [String: Weak<ConnectionManagerIdentity>] = [:]
  private var tcpProxies: [String: Weak<TCPProxyIdentity>] = [:]
  private var endpoints: [EndpointKey: Endpoint] = [:]
  /// Kept by the connection managers that have them.
  private var tracers: [TracerKey: Weak<Tracer>] = [:]

  init(store: StatsStore, accessLogFiles: AccessLogFiles) {
    self.store = store
    self.accessLogFiles = accessLogFiles
    connectionLimit = ConnectionLimit(runtime.value("overload.global_downstream_max_connections"))
    codecStats = store.scope("http1", prometheus: PrometheusScope("envoy_http1"))
    http2Stats = store.scope("http2", prometheus: PrometheusScope("envoy_http2"))
  }

  /// A cluster's identity. One whose statistics go by another name than before is another cluster.
  func cluster(_ name: String, statName: String) -> ClusterIdentity {
    let key = ClusterKey(name: name, statName: statName)
    if let known = clusters[key] { return known }
    let identity = ClusterIdentity(name: name, statName: statName, store: store)
    clusters[key] = identity
    return identity
  }

  func listener(_ name: String, statName: String) -> ListenerIdentity {
    let limit =
      listenerLimits[name]?.object
      ?? ConnectionLimit(runtime.value("envoy.resource_limits.listener.\(name).connection_limit"))
    listenerLimits[name] = Weak(object: limit)
    return ListenerIdentity(
      statName: statName, limit: limit, globalLimit: connectionLimit, store: store,
      // The last lane is the main thread's.
      workers: store.lanes - 1)
  }

  /// A connection manager of a listener's filter chains; the same statistics for all with the same prefix.
  func manager(_ statPrefix: String, listenerStatName: String) -> ListenerHTTPIdentity {
    let manager =
      managers[statPrefix]?.object
      ?? ConnectionManagerIdentity(statPrefix: statPrefix, codecStats: codecStats, http2Stats: http2Stats, store: store)
    managers[statPrefix] = Weak(object: manager)
    return ListenerHTTPIdentity(statName: listenerStatName, manager: manager, store: store)
  }

  /// A TCP proxy; the same statistics for all with the same prefix.
  func tcpProxy(_ statPrefix: String) -> TCPProxyIdentity {
    let identity = tcpProxies[statPrefix]?.object ?? TCPProxyIdentity(statPrefix: statPrefix, store: store)
    tcpProxies[statPrefix] = Weak(object: identity)
    return identity
  }

  /// The tracer of a provider, made if there is none yet.
  func tracer(_ key: TracerKey, make: () -> Tracer) -> Tracer {
    if let known = tracers[key]?.object { return known }
    let tracer = make()
    tracers[key] = Weak(object: tracer)
    return tracer
  }

  /// The statistics of listener filters, for all listeners; shown when the first filter is there.
  private(set) lazy var tlsInspector: StatBlock<TLSInspectorStat> = store.scope(
    "tls_inspector", prometheus: PrometheusScope("envoy_tls_inspector"))
  private(set) lazy var httpInspector: StatBlock<HTTPInspectorStat> = store.scope(
    "http_inspector", prometheus: PrometheusScope("envoy_http_inspector"))

  /// - Parameter statPrefix: may be empty.
  func proxyProtocol(_ statPrefix: String) -> StatBlock<ProxyProtocolStat> {
    let scope = statPrefix.isEmpty ? "proxy_proto" : "proxy_proto.\(statPrefix)"
    let labels = statPrefix.isEmpty ? [] : [("envoy_proxy_protocol_prefix", statPrefix)]
    return store.scope(scope, prometheus: PrometheusScope("envoy_proxy_proto", labels: labels))
  }

  /// Connections now open to clients, of all listeners.
  var activeConnections: Int64 { Int64(connectionLimit.current) }

  /// An endpoint as it is known now; its identity is the one it had before.
  /// - Parameter isLogical: its address may change, and it stays the same endpoint (`LOGICAL_DNS`).
  func endpoint(
    _ address: MeshPrimitives.SocketAddress, hostname: String, cluster: String, isLogical: Bool = false,
    metadata: Metadata? = nil, localityMetadata: Metadata? = nil
  ) -> Endpoint {
    let key = EndpointKey(
      cluster: cluster, address: isLogical ? nil : address, port: address.port, hostname: hostname)
    let known = endpoints[key]
    if let known, known.address == address, known.metadata == metadata, known.localityMetadata == localityMetadata {
      return known
    }
    let endpoint = Endpoint(
      address: address, hostname: hostname, metadata: metadata, localityMetadata: localityMetadata,
      identity: known?.identity ?? EndpointIdentity(lanes: store.lanes))
    endpoints[key] = endpoint
    return endpoint
  }

  /// Forgets what no configuration has any more, with its statistics. A worker that still uses it keeps it alive until it
  /// is done.
  /// - Parameters:
  ///   - inUse: the clusters that stay, each with the name of its statistics.
  ///   - kept: the identities of the endpoints that stay.
  func retain(clusters inUse: [String: String], endpoints kept: Set<ObjectIdentifier>) {
    clusters = clusters.filter { inUse[$0.key.name] == $0.key.statName }
    managers = managers.filter { $0.value.object != nil }
    tcpProxies = tcpProxies.filter { $0.value.object != nil }
    listenerLimits = listenerLimits.filter { $0.value.object != nil }
    tracers = tracers.filter { $0.value.object != nil }
    endpoints = endpoints.filter { kept.contains(ObjectIdentifier($0.value.identity)) }
  }
}

private struct Weak<Object: AnyObject> {
  weak var object: Object?
}
