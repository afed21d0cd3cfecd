import MeshAPI

extension MessageRules {
  /// Settings of load balancing that nobody looks at.
  static func balancing(_ cluster: Cluster, _ report: Report) {
    let (field, policy, name): (String, Cluster.LbPolicy, String)
    switch cluster.lbConfig {
    case .leastRequestLbConfig: (field, policy, name) = ("least_request_lb_config", .leastRequest, "LEAST_REQUEST")
    case .ringHashLbConfig: (field, policy, name) = ("ring_hash_lb_config", .ringHash, "RING_HASH")
    case .maglevLbConfig: (field, policy, name) = ("maglev_lb_config", .maglev, "MAGLEV")
    case .roundRobinLbConfig: (field, policy, name) = ("round_robin_lb_config", .roundRobin, "ROUND_ROBIN")
    case .originalDstLbConfig, nil: return hashing(cluster, report)
    }
    if cluster.hasLoadBalancingPolicy || cluster.lbPolicy != policy {
      report([.field(field)], "has no effect without lb_policy: \(name)", .doubtful)
    }
    hashing(cluster, report)
  }

  private static func hashing(_ cluster: Cluster, _ report: Report) {
    let usesHash = cluster.lbPolicy == .ringHash || cluster.lbPolicy == .maglev
    guard cluster.commonLbConfig.hasConsistentHashingLbConfig, cluster.hasLoadBalancingPolicy || !usesHash else {
      return
    }
    report(
      [.field("common_lb_config"), .field("consistent_hashing_lb_config")],
      "has no effect without lb_policy: RING_HASH or MAGLEV", .doubtful)
  }
}
