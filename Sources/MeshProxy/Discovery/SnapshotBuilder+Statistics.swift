import MeshAPI
import MeshPrimitives
import MeshRouting

extension SnapshotBuilder {
  /// The statistics that virtual hosts and routes ask for, by the virtual host's index; empty if none does.
  mutating func virtualHostStatistics(_ table: RouteConfiguration, _ path: String) -> [VirtualHostStatistics?] {
    let result = table.virtualHosts.enumerated().map { index, host in
      virtualHostStatistics(host, "\(path).virtual_hosts[\(index)]")
    }
    return result.contains { $0 != nil } ? result : []
  }

  private mutating func virtualHostStatistics(_ host: VirtualHost, _ path: String) -> VirtualHostStatistics? {
    guard !host.virtualClusters.isEmpty || host.routes.contains(where: { !$0.statPrefix.isEmpty }) else { return nil }
    let name = host.name.replacingColons
    func scope(_ kind: String, _ label: String, _ own: String) -> RequestScope {
      RequestScope(
        "vhost.\(name).\(kind).\(own.replacingColons)",
        prometheus: PrometheusScope(
          "envoy_vhost_\(kind)", labels: [("envoy_virtual_host", name), (label, own.replacingColons)]),
        store: identities.store)
    }
    var clusters: [VirtualHostStatistics.VirtualCluster] = []
    for (index, cluster) in host.virtualClusters.enumerated() {
      switch HeaderMatching.build(cluster.headers, path: "\(path).virtual_clusters[\(index)].headers") {
      case .success(let conditions):
        clusters.append(
          .init(conditions: conditions, scope: scope("vcluster", "envoy_virtual_cluster", cluster.name)))
      case .failure(let failure): for problem in failure.problems { report(problem.path, problem.message) }
      }
    }
    return VirtualHostStatistics(
      virtualClusters: clusters,
      other: host.virtualClusters.isEmpty ? nil : scope("vcluster", "envoy_virtual_cluster", "other"),
      routes: host.routes.map { $0.statPrefix.isEmpty ? nil : scope("route", "envoy_route", $0.statPrefix) })
  }
}
