import MeshAPI
import MeshConfig

/// Aggregate clusters: clusters of clusters.
extension SnapshotBuilder {
  /// The clusters behind an aggregate cluster, the first choice first. An aggregate cluster among them stands for its own.
  /// - Parameter path: of the cluster.
  mutating func aggregateClusters(
    _ config: AggregateClusterConfig, of cluster: Cluster, _ path: String
  ) -> [String] {
    if cluster.hasLoadAssignment {
      report("\(path).load_assignment", "an aggregate cluster has no endpoints of its own")
    }
    if cluster.lbPolicy != .clusterProvided, !cluster.hasLoadBalancingPolicy {
      report("\(path).lb_policy", "must be CLUSTER_PROVIDED for an aggregate cluster")
    }
    let list = "\(path).cluster_type.typed_config.clusters"
    var leaves: [String] = []
    for (index, name) in config.clusters.enumerated() {
      let place = "\(list)[\(index)]"
      var found: [String] = []
      if let problem = collect(name, through: [cluster.name], &found) {
        report(place, problem)
        continue
      }
      for leaf in found {
        if leaves.contains(leaf) {
          report(place, "\"\(leaf)\" is there already")
        } else {
          leaves.append(leaf)
        }
      }
    }
    return leaves
  }

  /// Collects what a name stands for. - Returns: what is wrong with it.
  /// - Parameter ancestors: the aggregate clusters that lead here.
  private func collect(_ name: String, through ancestors: [String], _ leaves: inout [String]) -> String? {
    if ancestors.contains(name) {
      return "\(name) leads back to itself (\((ancestors + [name]).joined(separator: " -> ")))"
    }
    guard let cluster = clusterMessages[name] else { return unknownCluster(name) }
    if case .clusterType(let custom) = cluster.clusterDiscoveryType,
      let config: AggregateClusterConfig = try? custom.typedConfig.unpack()
    {
      for inner in config.clusters {
        if let problem = collect(inner, through: ancestors + [name], &leaves) { return problem }
      }
      return nil
    }
    if case .type(.originalDst) = cluster.clusterDiscoveryType {
      return "\"\(name)\" is of type ORIGINAL_DST, which has no endpoints to choose from"
    }
    leaves.append(name)
    return nil
  }
}
