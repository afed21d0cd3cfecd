import MeshAPI
import MeshPrimitives

/// Which route a request takes: a `RouteConfiguration`, checked and compiled. Pure and immutable but for the runtime's
/// values; shared by all threads.
///
/// The virtual host is chosen by domain, then the first of its routes that matches. The time of a look-up depends on the
/// lengths of path and host and on how many routes share the beginning of the path and ask for more, not on the number of
/// routes.
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
  /// Headers that are removed from requests from outside (`internal_only_headers`).
  public let internalOnlyHeaders: [HeaderName]
  /// What the levels of the table say to filters, each once.
  public let filterSources: [RouteFilterSource]
  @usableFromInline let ignoresPort: Bool
  private let domains: DomainIndex
  /// What `domains` was made of.
  let configuredDomains: [ConfiguredDomain]
  /// By virtual host.
  let hostNames: [String]
  @usableFromInline let hosts: [VirtualHostRoutes]
  /// The routes for CONNECT, by virtual host. Others are not for it: it has no path.
  let connectHosts: [VirtualHostRoutes]

  init(
    name: String, clusterNames: [String], clusterPaths: [String], validatesClusters: Bool,
    internalOnlyHeaders: [HeaderName], filterSources: [RouteFilterSource], ignoresPort: Bool,
    domains: [ConfiguredDomain], hostNames: [String], hosts: [VirtualHostRoutes], connectHosts: [VirtualHostRoutes]
  ) {
    self.name = name
    self.clusterNames = clusterNames
    self.clusterPaths = clusterPaths
    self.validatesClusters = validatesClusters
    self.internalOnlyHeaders = internalOnlyHeaders
    self.filterSources = filterSources
    self.ignoresPort = ignoresPort
    configuredDomains = domains
    self.domains = DomainIndex(domains)
    self.hostNames = hostNames
    self.hosts = hosts
    self.connectHosts = connectHosts
  }

  /// Whether a route asks for the client's certificate.
  public var asksForCertificate: Bool {
    (hosts + connectHosts).contains { $0.conditions.contains { $0.certificate != nil } }
  }

  /// The route of a request; nil if no virtual host serves its host, or none of its routes matches. A request that must
  /// come over TLS and does not is sent there by an entry of the virtual host's own.
  /// - Parameter random: 64 random bits, by which one of weighted clusters is chosen and `runtime_fraction` judges. Of the
  ///   request, not of the look-up: the same number makes the same choice again.
  @inlinable
  public func match<R: RouteRequest & ~Copyable>(_ request: borrowing R, random: UInt64) -> RouteEntry? {
    let hostNumber = virtualHost(request.host)
    guard hostNumber >= 0 else { return nil }
    let host = hosts[hostNumber]
    if let redirect = host.tlsRedirect, host.mustComeOverTLS(request) { return redirect }
    let number = host.find(request, random: random)
    return number < 0 ? nil : host.entry(number, request, random)
  }

  /// The route of a CONNECT request, found as by `match` among those with a `connect_matcher`.
  public func matchConnect<R: RouteRequest & ~Copyable>(_ request: borrowing R, random: UInt64) -> RouteEntry? {
    let hostNumber = virtualHost(request.host)
    guard hostNumber >= 0 else { return nil }
    let host = connectHosts[hostNumber]
    if let redirect = host.tlsRedirect, host.mustComeOverTLS(request) { return redirect }
    let number = host.find(request, random: random)
    return number < 0 ? nil : host.entry(number, request, random)
  }

  /// The index of the virtual host that serves `host`; -1 if none does.
  @usableFromInline
  func virtualHost(_ host: Bytes) -> Int { domains.find(ignoresPort ? Self.withoutPort(host) : host) }

  static func withoutPort(_ host: Bytes) -> Bytes { host.slice(0, Authority.portStart(host)) }

  /// All entries, in the order of the configuration: what a snapshot prepares for (filters, clusters).
  public var entries: [RouteEntry] {
    zip(hosts, connectHosts).flatMap { ($0.entries + $1.entries).sorted { $0.routeIndex < $1.routeIndex } }
  }
}
