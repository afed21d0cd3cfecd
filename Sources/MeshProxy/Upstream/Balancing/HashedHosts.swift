import MeshPrimitives

/// Endpoints that are chosen by hash: who they are, what share each has, and the ring or table made of that. Immutable;
/// shared by all threads.
final class HashedHosts: Sendable {
  struct Member: Sendable, Equatable {
    /// What the endpoint is known by to the hash; not empty.
    var key: [UInt8]
    /// Its share, more than 0; all together 1.
    var weight: Double
  }

  private enum Table: Sendable {
    case ring(HashRing)
    case maglev(MaglevTable)
  }

  /// At least one.
  let members: [Member]
  private let table: Table
  private let policy: LoadBalancingConfiguration.Policy

  /// nil if there is no member, or the policy does not go by hash.
  /// - Parameter known: what may have the same members: then it is the result.
  static func make(
    _ members: [Member], _ policy: LoadBalancingConfiguration.Policy, known: [HashedHosts]
  ) -> HashedHosts? {
    guard !members.isEmpty else { return nil }
    if let same = known.first(where: { $0.members == members && $0.policy.makesSameTable(as: policy) }) { return same }
    switch policy {
    case .ringHash(let settings): return HashedHosts(members, .ring(HashRing(members, settings)), policy)
    case .maglev(let size): return HashedHosts(members, .maglev(MaglevTable(members, size: size)), policy)
    case .roundRobin, .leastRequest, .random: return nil
    }
  }

  private init(_ members: [Member], _ table: Table, _ policy: LoadBalancingConfiguration.Policy) {
    self.members = members
    self.table = table
    self.policy = policy
  }

  /// How many entries the table has, and how many of them a member.
  var statistics: (size: Int, perMember: ClosedRange<Int>) {
    switch table {
    case .ring(let ring): (ring.size, ring.entriesPerMember)
    case .maglev(let table): (table.size, table.entriesPerMember)
    }
  }

  /// The place among the members of the one for a hash.
  /// - Parameter attempt: 0, or how many members have been refused already.
  func member(for hash: UInt64, attempt: Int = 0) -> Int? {
    switch table {
    case .ring(let ring): ring.member(for: hash, attempt: attempt)
    case .maglev(let table): table.member(for: hash, attempt: attempt)
    }
  }

  /// The same, but a member that has more than its share of the requests is passed over (`hash_balance_factor`; Mirrokni
  /// and others 2016). Who comes next follows from the hash too, so that it is the same one each time; if all have more
  /// than their share, the one that has it the least.
  /// - Parameters:
  ///   - factor: how much more than an even share is allowed, in percent, 100….
  ///   - total: active requests of all.
  ///   - active: those of one member.
  func member(
    for hash: UInt64, attempt: Int, factor: UInt32, total: Int64, active: (Int) -> Int64
  ) -> Int? {
    guard let first = member(for: hash, attempt: attempt) else { return nil }
    let slots = ((Double(max(0, total)) + 1) * Double(factor) / 100).rounded(.up)
    func load(_ member: Int) -> Double {
      Double(active(member)) / max((slots * members[member].weight).rounded(.up), 1)
    }
    var least = (member: first, load: load(first))
    if least.load <= 1 { return first }
    var others = Array(members.indices)
    var random = MersenneTwister(seed: UInt32(truncatingIfNeeded: hash))
    for index in others.indices {
      let drawn = index + Int(random.number(below: UInt32(truncatingIfNeeded: others.count - index)))
      others.swapAt(index, drawn)
      let other = others[index]
      if other == first { continue }
      let load = load(other)
      if load <= 1 { return other }
      if load < least.load { least = (other, load) }
    }
    return least.member
  }
}

extension LoadBalancingConfiguration.Policy {
  fileprivate func makesSameTable(as other: Self) -> Bool {
    switch (self, other) {
    case (.ringHash(let a), .ringHash(let b)): a == b
    case (.maglev(let a), .maglev(let b)): a == b
    default: false
    }
  }
}
