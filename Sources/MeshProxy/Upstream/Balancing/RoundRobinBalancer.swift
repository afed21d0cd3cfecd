import MeshPrimitives

/// Round robin over the healthy endpoints, by weight where weights differ. One per worker and cluster; each starts at
/// its own offset, so that workers do not march in step.
struct RoundRobinBalancer {
  private var hosts: [ActiveEndpoint] = []
  private var next = 0
  /// Empty if all weights are equal.
  private var schedule = WeightedSchedule()

  /// Takes a new set of endpoints; the position in the cycle is kept as far as possible.
  mutating func update(_ endpoints: [ActiveEndpoint], random: UInt64) {
    hosts = endpoints.filter(\.isHealthy)
    schedule.removeAll()
    next = hosts.isEmpty ? 0 : Int(random % UInt64(hosts.count))
    guard hosts.haveDifferentWeights else { return }
    for (index, host) in hosts.enumerated() { schedule.add(index, weight: Double(host.weight)) }
    // A random part of the first turn keeps several workers, and several updates, from all choosing the heaviest.
    for _ in 0..<(Int(random % 64)) { _ = pickWeighted() }
  }

  /// The endpoint for the next request; nil if none is healthy.
  @inline(__always)
  mutating func pick() -> ActiveEndpoint? {
    guard schedule.isEmpty else { return pickWeighted() }
    let count = hosts.count
    guard count > 0 else { return nil }
    if next >= count { next = 0 }
    let host = hosts[next]
    next &+= 1
    return host
  }

  @inline(never)
  private mutating func pickWeighted() -> ActiveEndpoint? {
    schedule.next { [hosts] in Double(hosts[$0].weight) }.map { hosts[$0] }
  }
}

extension [ActiveEndpoint] {
  /// Whether turns have to be counted by weight.
  var haveDifferentWeights: Bool {
    guard let first else { return false }
    return contains { $0.weight != first.weight }
  }
}
