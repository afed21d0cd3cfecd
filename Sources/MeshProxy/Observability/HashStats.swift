import MeshPrimitives

/// `cluster.<name>.ring_hash_lb.…`
public enum RingHashStat: Int, StatSet {
  case size, fewest, most

  public var definition: StatDefinition {
    switch self {
    case .size: .gauge("size", "Entries of the ring.")
    case .fewest: .gauge("min_hashes_per_host", "The fewest entries of the ring that one endpoint has.")
    case .most: .gauge("max_hashes_per_host", "The most entries of the ring that one endpoint has.")
    }
  }
}

/// `cluster.<name>.maglev_lb.…`
public enum MaglevStat: Int, StatSet {
  case fewest, most

  public var definition: StatDefinition {
    switch self {
    case .fewest: .gauge("min_entries_per_host", "The fewest entries of the table that one endpoint has.")
    case .most: .gauge("max_entries_per_host", "The most entries of the table that one endpoint has.")
    }
  }
}

/// What a cluster that chooses by hash shows of its ring or table. Main thread.
enum HashStats {
  case ring(StatBlock<RingHashStat>, lane: Int)
  case maglev(StatBlock<MaglevStat>, lane: Int)

  /// nil for a policy that does not go by hash.
  init?(_ policy: LoadBalancingConfiguration.Policy, _ identity: ClusterIdentity, lane: Int) {
    switch policy {
    case .ringHash: self = .ring(identity.hashStats("ring_hash_lb"), lane: lane)
    case .maglev: self = .maglev(identity.hashStats("maglev_lb"), lane: lane)
    case .roundRobin, .leastRequest, .random: return nil
    }
  }

  /// Shows what there is now: of several priorities the last one's, as in Envoy.
  func note(_ hosts: HostSets) {
    guard let made = hosts.hashed.last?.statistics else { return }
    switch self {
    case .ring(let block, let lane):
      block.lane(lane).set(.size, Int64(made.size))
      block.lane(lane).set(.fewest, Int64(made.perMember.lowerBound))
      block.lane(lane).set(.most, Int64(made.perMember.upperBound))
    case .maglev(let block, let lane):
      block.lane(lane).set(.fewest, Int64(made.perMember.lowerBound))
      block.lane(lane).set(.most, Int64(made.perMember.upperBound))
    }
  }
}
