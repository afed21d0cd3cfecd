import MeshAPI
import MeshPrimitives

/// One address that serves a cluster, with what is known of it. Shared by all workers. When something about it changes
/// (its metadata, or the address of a `LOGICAL_DNS` cluster), there is a new object with the same identity.
public final class Endpoint: Sendable {
  public let address: MeshPrimitives.SocketAddress
  /// The name it was resolved from, or the configured `hostname`; may be empty.
  public let hostname: String
  /// What the configuration tells about it (`LbEndpoint.metadata`), for filters and logs; nil if nothing.
  public let metadata: Metadata?
  /// The same of its locality (`LocalityLbEndpoints.metadata`).
  public let localityMetadata: Metadata?
  public let identity: EndpointIdentity
  /// The identity's.
  public let stats: StatBlock<EndpointStat>
  /// The workload behind it, if its metadata names one.
  let workload: WorkloadIdentity?

  init(
    address: MeshPrimitives.SocketAddress, hostname: String, metadata: Metadata? = nil,
    localityMetadata: Metadata? = nil, identity: EndpointIdentity
  ) {
    self.address = address
    self.hostname = hostname
    self.metadata = metadata
    self.localityMetadata = localityMetadata
    self.identity = identity
    stats = identity.stats
    workload = WorkloadIdentity(endpoint: metadata)
  }

  /// The same endpoint at another address, which a connection was made to.
  init(_ endpoint: Endpoint, at address: MeshPrimitives.SocketAddress) {
    self.address = address
    hostname = endpoint.hostname
    metadata = endpoint.metadata
    localityMetadata = endpoint.localityMetadata
    identity = endpoint.identity
    stats = endpoint.stats
    workload = endpoint.workload
  }

  /// An endpoint that was not known before.
  /// - Parameter lanes: how many threads count.
  convenience init(address: MeshPrimitives.SocketAddress, hostname: String, lanes: Int) {
    self.init(address: address, hostname: hostname, identity: EndpointIdentity(lanes: lanes))
  }

  /// Whether its metadata says so: `canary: true` in `envoy.lb`.
  public var isCanary: Bool { metadata?.filterMetadata["envoy.lb"]?.fields["canary"]?.boolValue ?? false }
}

/// What the configuration says of an endpoint's health (`health_status`).
public enum EndpointHealth: UInt8, Sendable, CaseIterable {
  case unknown, healthy, unhealthy, draining, timeout, degraded

  init(_ status: HealthStatus) {
    switch status {
    case .healthy: self = .healthy
    case .unhealthy: self = .unhealthy
    case .draining: self = .draining
    case .timeout: self = .timeout
    case .degraded: self = .degraded
    default: self = .unknown
    }
  }

  /// Whether it may have new requests.
  public var receivesRequests: Bool {
    switch self {
    case .unknown, .healthy, .degraded: true
    case .unhealthy, .draining, .timeout: false
    }
  }

  /// `health_flags` of `/clusters`.
  public var flags: StaticString {
    switch self {
    case .unknown, .healthy: "healthy"
    case .unhealthy, .timeout: "/failed_eds_health"
    case .draining: "/eds_status_draining"
    case .degraded: "/degraded_eds_health"
    }
  }

  /// `eds_health_status` of `/clusters?format=json`.
  public var name: StaticString {
    switch self {
    case .unknown, .healthy: "HEALTHY"
    case .unhealthy, .timeout: "UNHEALTHY"
    case .draining: "DRAINING"
    case .degraded: "DEGRADED"
    }
  }
}

/// An endpoint with what the configuration says of it now.
public struct WeightedEndpoint: Sendable {
  public let endpoint: Endpoint
  /// Share of the traffic relative to the others (`load_balancing_weight`), 1…
  public let weight: UInt32
  public let health: EndpointHealth
  public let locality: Locality
  /// How it is checked.
  public var check = EndpointCheck()
  /// 0 is the first choice; up to 128.
  public var priority: UInt32 = 0
  /// Share of its locality among those of the same priority; 0: none.
  public var localityWeight: UInt32 = 0

  public struct Locality: Hashable, Sendable, Comparable {
    public var region = ""
    public var zone = ""
    public var subZone = ""

    public static func < (a: Self, b: Self) -> Bool {
      (a.region, a.zone, a.subZone) < (b.region, b.zone, b.subZone)
    }
  }

  /// Whether it may have new requests, as the configuration and what has been found out about it say together.
  public var availability: EndpointAvailability {
    let found = endpoint.identity.health
    if !health.receivesRequests || !found.isDisjoint(with: .unhealthy) { return .unhealthy }
    return health == .degraded || found.contains(.degradedActiveHealthCheck) ? .degraded : .healthy
  }

  /// It does not count among those that ought to be healthy: it is going, or has not come yet.
  public var isExcluded: Bool {
    health == .draining || !endpoint.identity.health.isDisjoint(with: .excluded)
  }

  /// `health_flags` of `/clusters`, in Envoy's order.
  public var healthFlags: String {
    let found = endpoint.identity.health
    let configured = health == .unknown || health == .healthy ? "" : "\(health.flags)"
    var flags = ""
    if found.contains(.failedActiveHealthCheck) { flags += "/failed_active_hc" }
    if found.contains(.failedOutlierCheck) { flags += "/failed_outlier_check" }
    if health == .unhealthy || health == .timeout { flags += configured }
    if found.contains(.degradedActiveHealthCheck) { flags += "/degraded_active_hc" }
    if health == .degraded { flags += configured }
    if found.contains(.pendingRemoval) { flags += "/pending_dynamic_removal" }
    if found.contains(.pendingActiveHealthCheck) { flags += "/pending_active_hc" }
    if found.contains(.excludedByHealthCheck) { flags += "/excluded_via_immediate_hc_fail" }
    if found.contains(.activeHealthCheckTimedOut) { flags += "/active_hc_timeout" }
    if health == .draining { flags += configured }
    if found.contains(.onProbation) { flags += "/outlier_probation" }
    return flags.isEmpty ? "healthy" : flags
  }
}

extension WeightedEndpoint: Equatable {
  /// The same endpoint, configured the same.
  public static func == (a: Self, b: Self) -> Bool {
    a.endpoint === b.endpoint && a.weight == b.weight && a.health == b.health && a.locality == b.locality
      && a.priority == b.priority && a.localityWeight == b.localityWeight
  }
}
