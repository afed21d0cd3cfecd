import MeshPrimitives

/// A table in which each endpoint has its share of the entries (`MAGLEV`; Eisenbud and others 2016, §3.4, with weights as
/// in Envoy, so that both choose the same endpoint). Immutable; shared by all threads.
struct MaglevTable: Sendable {
  private let table: [UInt32]
  /// How many entries a member has.
  let entriesPerMember: ClosedRange<Int>

  var size: Int { table.count }

  private struct Row {
    let member: UInt32
    let offset: UInt64
    let skip: UInt64
    let weight: Double
    /// The weight that it has to reach to get the next entry.
    var goal = 0.0
    var next: UInt64 = 0
    var count = 0
  }

  /// - Parameters:
  ///   - members: at least one; their weights are positive and add up to 1.
  ///   - size: a prime.
  init(_ members: [HashedHosts.Member], size: Int) {
    // One member has the one entry that it needs, as in Envoy.
    let size = members.count == 1 ? 1 : size
    let size64 = UInt64(size)
    // The order decides who gets an entry that several want: it must not depend on the configuration's.
    let order = members.indices.sorted { members[$0].key.lexicographicallyPrecedes(members[$1].key) }
    var rows = order.map { index in
      members[index].key.withUnsafeBufferPointer { key in
        Row(
          member: UInt32(truncatingIfNeeded: index), offset: XXHash64.hash(key) % size64,
          skip: XXHash64.hash(key, seed: 1) % max(1, size64 - 1) + 1, weight: members[index].weight)
      }
    }
    let heaviest = members.map(\.weight).max() ?? 1
    var table = [UInt32](repeating: .max, count: size)
    var filled = 0
    var round = 1.0
    while filled < size {
      for index in rows.indices where filled < size {
        // The heaviest has an entry in every round, one with half its weight in every other.
        if round * rows[index].weight < rows[index].goal { continue }
        rows[index].goal += heaviest
        var place: Int
        repeat {
          place = Int((rows[index].offset + rows[index].skip * rows[index].next) % size64)
          rows[index].next += 1
        } while table[place] != .max
        table[place] = rows[index].member
        rows[index].count += 1
        filled += 1
      }
      round += 1
    }
    self.table = table
    entriesPerMember = (rows.map(\.count).min() ?? 0)...(rows.map(\.count).max() ?? 0)
  }

  /// The member for a hash.
  /// - Parameter attempt: 0, or how many members have been refused already.
  func member(for hash: UInt64, attempt: Int) -> Int? {
    var hash = hash
    if attempt > 0 { hash ^= 0 &- UInt64(truncatingIfNeeded: attempt) }
    return Int(table[Int(hash % UInt64(table.count))])
  }
}
