import MeshHTTP
import MeshPrimitives
import MeshRouting

/// The statistics that a virtual host's configuration asks for: of its virtual clusters and of single routes. Immutable;
/// shared by all threads.
final class VirtualHostStatistics: Sendable {
  /// One kind of requests (`envoy.config.route.v3.VirtualCluster`).
  struct VirtualCluster: Sendable {
    let conditions: HeaderMatching
    let scope: RequestScope
  }

  private let virtualClusters: [VirtualCluster]
  /// What no virtual cluster counts; nil if there is none.
  private let other: RequestScope?
  /// By the route's index; nil for routes without `stat_prefix`.
  private let routes: [RequestScope?]

  init(virtualClusters: [VirtualCluster], other: RequestScope?, routes: [RequestScope?]) {
    self.virtualClusters = virtualClusters
    self.other = other
    self.routes = routes
  }

  /// Where a request on this route is counted; nil: nowhere.
  /// - Parameter headers: as the client sent them, before the route changes them.
  func scopes(of route: RouteEntry, _ headers: HeaderMap) -> RequestScopes? {
    var kind: RequestScope?
    if let other {
      let request = RoutingView(headers)
      kind = virtualClusters.first { $0.conditions.matches(request) }?.scope ?? other
    }
    let own = routes.indices.contains(route.routeIndex) ? routes[route.routeIndex] : nil
    return kind == nil && own == nil ? nil : RequestScopes(virtualCluster: kind, route: own)
  }
}

/// `vhost.<name>.vcluster.<name>` or `vhost.<name>.route.<prefix>`.
final class RequestScope: Sendable {
  /// The virtual cluster's name; empty for what belongs to none, and for routes.
  let name: String
  let stats: StatBlock<RequestScopeStat>
  let responses: UpstreamResponses
  private let lease: StatsLease

  init(_ prefix: String, name: String = "", prometheus: PrometheusScope, store: StatsStore) {
    self.name = name
    lease = store.lease(prefix)
    stats = store.scope(prefix, prometheus: prometheus)
    responses = UpstreamResponses(prefix, prometheus: prometheus, store: store)
  }
}

/// Where one request is counted, beside its cluster.
struct RequestScopes {
  let virtualCluster: RequestScope?
  let route: RequestScope?

  func add(_ stat: RequestScopeStat, lane: Int) {
    virtualCluster?.stats.lane(lane).add(stat)
    route?.stats.lane(lane).add(stat)
  }

  func add(status: Int, lane: Int) {
    virtualCluster?.responses.add(status, lane: lane)
    route?.responses.add(status, lane: lane)
  }

  func record(_ microseconds: UInt64, lane: Int) {
    virtualCluster?.responses.record(microseconds, lane: lane)
    route?.responses.record(microseconds, lane: lane)
  }
}
