import MeshPrimitives

/// One address that serves a cluster. Belongs to the process: it is the same thing for every worker and outlives
/// configuration updates, so that its statistics do.
public final class Endpoint: Sendable {
  public let address: SocketAddress
  /// The name it was resolved from, or the configured `hostname`; may be empty.
  public let hostname: String
  public let stats: StatBlock<EndpointStat>

  init(address: SocketAddress, hostname: String, lanes: Int) {
    self.address = address
    self.hostname = hostname
    stats = StatBlock(lanes: lanes)
  }
}

/// An endpoint with what the configuration says of it now.
public struct WeightedEndpoint: Sendable {
  public let endpoint: Endpoint
  /// Share of the traffic relative to the others (`load_balancing_weight`), 1…
  public let weight: UInt32
  /// Whether the configuration lets it have new requests (`health_status` is not `UNHEALTHY`, `DRAINING`, `TIMEOUT`).
  public let isHealthy: Bool
  public let locality: Locality

  public struct Locality: Hashable, Sendable {
    public var region = ""
    public var zone = ""
    public var subZone = ""
  }
}
