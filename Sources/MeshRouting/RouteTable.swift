import MeshAPI
import MeshPrimitives

/// Which route a request takes: a `RouteConfiguration`, checked and compiled. Pure and immutable; shared by all threads.
///
/// The virtual host is chosen by domain, then the first of its routes that matches. The time of a look-up depends on the
/// lengths of path and host and on how many routes with the same path ask for headers, not on the number of routes.
public final class RouteTable: Sendable {
  /// `RouteConfiguration.name`.
  public let name: String
  /// The clusters that routes lead to, each once, in the order of first mention; `ForwardAction.clusterIndex` is an
  /// index into it.
  public let clusterNames: [String]
  /// For each cluster the field that mentions it first, for errors: `virtual_hosts[0].routes[1].route.cluster`.
  public let clusterPaths: [String]
  /// Whether a route to a cluster that does not exist is an error (`validate_clusters`, default true).
  public let validatesClusters: Bool
  private let domains: DomainIndex
  @usableFromInline let hosts: [VirtualHostRoutes]

  init(
    name: String, clusterNames: [String], clusterPaths: [String], validatesClusters: Bool, domains: DomainIndex,
    hosts: [VirtualHostRoutes]
  ) {
    self.name = name
    self.clusterNames = clusterNames
    self.clusterPaths = clusterPaths
    self.validatesClusters = validatesClusters
    self.domains = domains
    self.hosts = hosts
  }

  /// The route of a request; nil if no virtual host serves its host, or none of its routes matches.
  /// - Parameter random: 64 random bits, by which one of weighted clusters is chosen.
  @inlinable
  public func match<R: RouteRequest & ~Copyable>(_ request: borrowing R, random: UInt64) -> RouteEntry? {
    let hostNumber = virtualHost(request.host)
    guard hostNumber >= 0 else { return nil }
    let host = hosts[hostNumber]
    let number = host.find(request)
    return number < 0 ? nil : host.entry(number, random)
  }

  /// The index of the virtual host that serves `host`; -1 if none does.
  @usableFromInline
  func virtualHost(_ host: Bytes) -> Int { domains.find(host) }

  /// All entries, in the order of the configuration: what a snapshot prepares for (filters, clusters).
  public var entries: [RouteEntry] { hosts.flatMap(\.entries) }
}
