import MeshPrimitives
import MeshRouting

/// Why a cluster has no endpoint for a request.
enum EndpointsInWords {
  /// - Parameter priority: the request's, whose limits count.
  static func text(_ cluster: ActiveCluster, _ priority: RoutePriority) -> String {
    switch cluster.configuration.discovery {
    case .originalDestination: return "where it was going is not known"
    case .aggregate(let members): return "none of its \(members.count) clusters has one"
    case .strictDNS, .logicalDNS:
      if cluster.hosts.hosts.isEmpty { return "DNS has given it none" }
    case .staticAddresses:
      if cluster.hosts.hosts.isEmpty { return "it has none" }
    }
    return count(cluster.hosts.hosts, pools: cluster.limits[priority].pools)
  }

  private static func count(_ hosts: [WeightedEndpoint], pools: Int) -> String {
    var failing = 0
    var ejected = 0
    var onProbation = 0
    var unchecked = 0
    var configured = 0
    var available = 0
    for host in hosts {
      let found = host.endpoint.identity.health
      if found.contains(.failedOutlierCheck) {
        ejected += 1
      } else if found.contains(.onProbation) {
        onProbation += 1
      } else if found.contains(.failedActiveHealthCheck) {
        if found.contains(.pendingActiveHealthCheck) { unchecked += 1 } else { failing += 1 }
      } else if !host.health.receivesRequests {
        configured += 1
      } else {
        available += 1
      }
    }
    let parts: [(Int, String)] = [
      (failing, "fail their health checks"), (unchecked, "have not been checked yet"), (ejected, "are ejected"),
      (onProbation, "are on probation"), (configured, "are not to have any by their health_status"),
      (
        available,
        pools == .max ? "are there but get no share" : "are there but max_connection_pools of \(pools) is reached"
      ),
    ]
    let told = parts.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
    return "of \(hosts.count), \(told)"
  }
}
