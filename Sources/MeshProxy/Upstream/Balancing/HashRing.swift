import MeshPrimitives

/// Endpoints on a ring of hashes (`RING_HASH`, ketama): a request goes to the first one at or after its own hash. The
/// entries are Envoy's, so that both choose the same endpoint. Immutable; shared by all threads.
struct HashRing: Sendable {
  private struct Entry {
    let hash: UInt64
    let member: UInt32
  }

  private let entries: [Entry]
  /// How many entries a member has.
  let entriesPerMember: ClosedRange<Int>

  var size: Int { entries.count }

  /// - Parameter members: at least one; their weights are positive and add up to 1.
  init(_ members: [HashedHosts.Member], _ settings: LoadBalancingConfiguration.RingHash) {
    let least = members.map(\.weight).min() ?? 1
    // So many that the lightest one has a whole number of entries.
    let wanted = (least * Double(settings.minimumSize)).rounded(.up) / least
    let scale = min(wanted, Double(settings.maximumSize))
    var entries: [Entry] = []
    entries.reserveCapacity(Int(scale.rounded(.up)))
    var goal = 0.0
    var fewest = Int.max
    var most = 0
    for (index, member) in members.enumerated() {
      goal += scale * member.weight
      let before = entries.count
      var key = member.key + [UInt8(ascii: "_")]
      let prefix = key.count
      while Double(entries.count) < goal {
        key.removeSubrange(prefix...)
        key.append(digitsOf: entries.count - before)
        let hash = key.withUnsafeBufferPointer {
          settings.function == .murmur2 ? MurmurHash2.hash($0) : XXHash64.hash($0)
        }
        entries.append(Entry(hash: hash, member: UInt32(truncatingIfNeeded: index)))
      }
      fewest = min(fewest, entries.count - before)
      most = max(most, entries.count - before)
    }
    entries.sort { $0.hash < $1.hash }
    self.entries = entries
    entriesPerMember = min(fewest, most)...most
  }

  /// The member for a hash; nil if the ring is empty.
  /// - Parameter attempt: 0, or how many members have been refused already.
  func member(for hash: UInt64, attempt: Int) -> Int? {
    guard !entries.isEmpty else { return nil }
    var low = 0
    var high = entries.count
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].hash < hash { low = middle + 1 } else { high = middle }
    }
    return Int(entries[(low + attempt) % entries.count].member)
  }
}

extension [UInt8] {
  /// - Parameter number: 0 or more.
  fileprivate mutating func append(digitsOf number: Int) {
    let start = count
    var rest = number
    repeat {
      append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
      rest /= 10
    } while rest > 0
    self[start...].reverse()
  }
}
