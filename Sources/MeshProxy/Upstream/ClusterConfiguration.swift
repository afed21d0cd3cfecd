import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives

/// One cluster of a configuration snapshot. Immutable; shared by all threads.
public final class ClusterConfiguration: Sendable {
  /// How endpoints are found.
  public enum Discovery: Sendable, Equatable {
    /// They are addresses.
    case staticAddresses
    /// Names: each address that a lookup gives is an endpoint.
    case strictDNS
    /// One name: the first address that a lookup gives is the endpoint for new connections.
    case logicalDNS
    /// Where each client's connection was going (`ORIGINAL_DST`).
    case originalDestination(OriginalDestinationSettings)
    /// Those of other clusters, the first choice first; none of them is of this kind.
    case aggregate([String])
  }

  /// An endpoint as it is configured.
  public struct ConfiguredEndpoint: Sendable, Equatable {
    /// Where it is.
    public enum Target: Sendable, Hashable {
      case address(MeshPrimitives.SocketAddress)
      /// DNS turns it into addresses.
      case name(String, port: UInt16)
    }

    public var target: Target
    public var hostname: String
    public var weight: UInt32
    public var health: EndpointHealth
    public var locality: WeightedEndpoint.Locality
    public var priority: UInt32 = 0
    public var localityWeight: UInt32 = 0
    public var metadata: Metadata?
    public var localityMetadata: Metadata?
    public var check = EndpointCheck()
  }

  public let name: String
  /// The name statistics go by (`alt_stat_name`, else the name).
  public let statName: String
  public let discovery: Discovery
  public let dns: DNSSettings
  public let endpoints: [ConfiguredEndpoint]
  public let balancing: LoadBalancingConfiguration
  /// Requests that are refused, whatever the health of the endpoints (`drop_overloads`); nil: none.
  public let dropOverload: Fraction?
  public let connection: ClientConnectionSettings
  public let pool: PoolSettings
  /// nil: plaintext.
  let tls: UpstreamTLS?
  /// The PROXY protocol header of connections; nil: none.
  let proxyHeader: UpstreamProxyHeader?
  /// From `connect` to an established connection (`connect_timeout`).
  public let connectTimeout: Nanoseconds
  public let limits: ByPriority<CircuitBreaker.Limits>
  /// When endpoints are ejected; nil: never.
  let outliers: OutlierSettings?
  /// How endpoints are checked; nil: they are not.
  let healthChecks: HealthCheckSettings?
  /// `ignore_health_on_host_removal`.
  let forgetsHealthyEndpoints: Bool
  /// `close_connections_on_host_health_failure`.
  let closesConnectionsOfUnhealthy: Bool
  /// What the runtime says of retries.
  let retries: RetrySettings
  /// How long an attempt may take, from the moment that it has a connection (`max_stream_duration`); nil: no limit.
  public let maximumStreamDuration: Nanoseconds?
  /// `Cluster.metadata`, for filters and logs; nil if there is none.
  public let metadata: Metadata?
  /// What it says of the service behind it, for Istio's metrics; nil if nothing.
  let service: ClusterService?
  /// What it was made from, to tell whether an update changes it.
  public let fingerprint: [UInt8]

  /// The clusters it is made of; empty unless it is an aggregate.
  var members: [String] {
    guard case .aggregate(let members) = discovery else { return [] }
    return members
  }

  init(
    name: String, statName: String, discovery: Discovery = .staticAddresses, dns: DNSSettings = DNSSettings(),
    endpoints: [ConfiguredEndpoint] = [], balancing: LoadBalancingConfiguration = .roundRobin,
    dropOverload: Fraction? = nil,
    connection: ClientConnectionSettings = ClientConnectionSettings(), pool: PoolSettings = PoolSettings(),
    tls: UpstreamTLS? = nil, proxyHeader: UpstreamProxyHeader? = nil,
    connectTimeout: Nanoseconds = .seconds(5),
    limits: ByPriority<CircuitBreaker.Limits> = .init(normal: .init(), high: .init()),
    retries: RetrySettings = RetrySettings(), outliers: OutlierSettings? = nil,
    healthChecks: HealthCheckSettings? = nil, forgetsHealthyEndpoints: Bool = false,
    closesConnectionsOfUnhealthy: Bool = false,
    maximumStreamDuration: Nanoseconds? = nil, metadata: Metadata? = nil, fingerprint: [UInt8] = []
  ) {
    self.name = name
    self.statName = statName
    self.discovery = discovery
    self.dns = dns
    self.endpoints = endpoints
    self.balancing = balancing
    self.dropOverload = dropOverload
    self.connection = connection
    self.pool = pool
    self.tls = tls
    self.proxyHeader = proxyHeader
    self.connectTimeout = connectTimeout
    self.limits = limits
    self.retries = retries
    self.outliers = outliers
    self.healthChecks = healthChecks
    self.forgetsHealthyEndpoints = forgetsHealthyEndpoints
    self.closesConnectionsOfUnhealthy = closesConnectionsOfUnhealthy
    self.maximumStreamDuration = maximumStreamDuration
    self.metadata = metadata
    service = ClusterService(clusterName: name, metadata)
    self.fingerprint = fingerprint
  }

  /// All requests of one priority share connections.
  var hasOnePool: Bool { pool.isOne && tls?.dependsOnRequest != true }
}

/// What belongs to a cluster's identity and not to a configuration: statistics and breaker counts. Kept by name over
/// updates, shared by all threads.
public final class ClusterIdentity: Sendable {
  public let name: String
  public let statName: String
  public let stats: StatBlock<ClusterStat>
  public let responseCodes: ResponseCodeCounters
  public let requestTime: LatencyHistogram
  public let connectTime: LatencyHistogram
  public let breakers = ByPriority(normal: CircuitBreaker(), high: CircuitBreaker())
  /// Its calls of gRPC, where a filter counts them.
  let grpc: GRPCClusterStatistics
  private let store: StatsStore
  private let lease: StatsLease

  init(name: String, statName: String, store: StatsStore) {
    grpc = GRPCClusterStatistics(statName: statName, store: store)
    self.name = name
    self.statName = statName
    self.store = store
    let scope = "cluster.\(statName)"
    lease = store.lease(scope)
    let prometheus = PrometheusScope("envoy_cluster", labels: [("envoy_cluster_name", statName)])
    stats = store.scope(scope, prometheus: prometheus)
    responseCodes = store.responseCodes(
      scope, stem: "upstream_rq", prometheus: prometheus, detail: .classesAndCodes)
    requestTime = store.histogram(
      scope,
      HistogramDefinition(
        name: "upstream_rq_time", help: "From the last attempt to the end of the response, in milliseconds."),
      prometheus: prometheus)
    connectTime = store.histogram(
      scope,
      HistogramDefinition(name: "upstream_cx_connect_ms", help: "Time to establish a connection, in milliseconds."),
      prometheus: prometheus)
  }

  /// What is left of the limits; shown from the first call on.
  func remainders<Remainder: StatSet>() -> StatBlock<Remainder> {
    store.scope(
      "cluster.\(statName)", prometheus: PrometheusScope("envoy_cluster", labels: [("envoy_cluster_name", statName)]))
  }

  /// What happens below the streams of its connections of HTTP/2; shown from the first call on.
  var http2Stats: StatBlock<HTTP2Stat> {
    store.scope(
      "cluster.\(statName).http2",
      prometheus: PrometheusScope("envoy_cluster_http2", labels: [("envoy_cluster_name", statName)]))
  }

  /// Statistics of one aspect, `cluster.<name>.<part>.…`; shown from the first call on.
  func block<Set: StatSet>(_ part: String) -> StatBlock<Set> {
    store.scope(
      "cluster.\(statName).\(part)",
      prometheus: PrometheusScope("envoy_cluster_\(part)", labels: [("envoy_cluster_name", statName)]))
  }

  /// What its ring or table is like, if it chooses by hash; shown from the first call on.
  func hashStats<Stat: StatSet>(_ kind: String) -> StatBlock<Stat> {
    store.scope(
      "cluster.\(statName).\(kind)",
      prometheus: PrometheusScope("envoy_cluster_\(kind)", labels: [("envoy_cluster_name", statName)]))
  }

  /// The lives of its connections.
  func lifetimes() -> ConnectionLifetimes {
    ConnectionLifetimes(
      "cluster.\(statName)",
      prometheus: PrometheusScope("envoy_cluster", labels: [("envoy_cluster_name", statName)]), store: store)
  }

  /// A part of its responses that is shown by itself: `cluster.<name>.<part>`.
  func responses(_ part: String) -> UpstreamResponses {
    UpstreamResponses(
      "cluster.\(statName).\(part)",
      prometheus: PrometheusScope("envoy_cluster_\(part)", labels: [("envoy_cluster_name", statName)]), store: store)
  }
}
