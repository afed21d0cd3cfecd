import MeshHTTP
import MeshIO
import MeshPrimitives

/// One cluster of a configuration snapshot. Immutable; shared by all threads.
public final class ClusterConfiguration: Sendable {
  public enum Discovery: Sendable, Equatable { case staticAddresses, strictDNS }

  /// An endpoint as it is configured: an address, or a name that DNS turns into addresses.
  public struct ConfiguredEndpoint: Sendable, Equatable {
    public var host: String
    public var port: UInt16
    public var hostname: String
    public var weight: UInt32
    public var isHealthy: Bool
    public var locality: WeightedEndpoint.Locality
  }

  public let name: String
  /// The name statistics go by (`alt_stat_name`, else the name).
  public let statName: String
  public let discovery: Discovery
  public let dnsLookupFamily: LookupFamily
  public let dnsRefreshRate: Nanoseconds
  public let endpoints: [ConfiguredEndpoint]
  public let connection: ClientConnectionSettings
  public let limits: CircuitBreaker.Limits
  /// What it was made from, to tell whether an update changes it.
  public let fingerprint: [UInt8]

  init(
    name: String, statName: String, discovery: Discovery, dnsLookupFamily: LookupFamily,
    dnsRefreshRate: Nanoseconds, endpoints: [ConfiguredEndpoint], connection: ClientConnectionSettings,
    limits: CircuitBreaker.Limits, fingerprint: [UInt8]
  ) {
    self.name = name
    self.statName = statName
    self.discovery = discovery
    self.dnsLookupFamily = dnsLookupFamily
    self.dnsRefreshRate = dnsRefreshRate
    self.endpoints = endpoints
    self.connection = connection
    self.limits = limits
    self.fingerprint = fingerprint
  }
}

/// What belongs to a cluster's identity and not to a configuration: statistics and breaker counts. Kept by name over
/// updates, shared by all threads.
public final class ClusterIdentity: Sendable {
  public let name: String
  public let stats: StatBlock<ClusterStat>
  public let responseCodes: ResponseCodeCounters
  public let requestTime: LatencyHistogram
  public let connectTime: LatencyHistogram
  public let breaker = CircuitBreaker()
  private let statName: String
  private let store: StatsStore
  private let lease: StatsLease

  init(name: String, statName: String, store: StatsStore) {
    self.name = name
    self.statName = statName
    self.store = store
    let scope = "cluster.\(statName)"
    lease = store.lease(scope)
    let prometheus = PrometheusScope("envoy_cluster", labels: [("envoy_cluster_name", statName)])
    stats = store.scope(scope, prometheus: prometheus)
    responseCodes = store.responseCodes(
      scope, stem: "upstream_rq", prometheus: prometheus, detail: .classesAndCodes)
    requestTime = store.histogram(scope, HistogramDefinition(name: "upstream_rq_time"), prometheus: prometheus)
    connectTime = store.histogram(scope, HistogramDefinition(name: "upstream_cx_connect_ms"), prometheus: prometheus)
  }

  /// A part of its responses that is shown by itself: `cluster.<name>.<part>`.
  func responses(_ part: String) -> UpstreamResponses {
    UpstreamResponses(
      "cluster.\(statName).\(part)",
      prometheus: PrometheusScope("envoy_cluster_\(part)", labels: [("envoy_cluster_name", statName)]), store: store)
  }
}
