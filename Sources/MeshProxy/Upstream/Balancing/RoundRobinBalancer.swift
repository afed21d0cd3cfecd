import MeshPrimitives

/// Round robin over the healthy endpoints, by weight where weights differ (earliest deadline first, as Envoy does).
/// One per worker and cluster; each starts at its own offset, so that workers do not march in step.
struct RoundRobinBalancer {
  private var hosts: [ActiveEndpoint] = []
  private var next = 0
  /// A binary heap by deadline; empty if all weights are equal.
  private var schedule: [Turn] = []
  private var sequence: UInt64 = 0

  private struct Turn {
    var deadline: Double
    /// Breaks ties, so that the order is stable.
    var order: UInt64
    var index: Int

    static func < (a: Turn, b: Turn) -> Bool {
      a.deadline == b.deadline ? a.order < b.order : a.deadline < b.deadline
    }
  }

  /// Takes a new set of endpoints; the position in the cycle is kept as far as possible.
  mutating func update(_ endpoints: [ActiveEndpoint], random: UInt64) {
    hosts = endpoints.filter(\.isHealthy)
    schedule = []
    next = hosts.isEmpty ? 0 : Int(random % UInt64(hosts.count))
    guard let first = hosts.first, hosts.contains(where: { $0.weight != first.weight }) else { return }
    for (index, host) in hosts.enumerated() {
      // A random part of the first turn keeps several workers, and several updates, from all choosing the heaviest.
      push(Turn(deadline: 1 / Double(host.weight), order: sequence, index: index))
      sequence += 1
    }
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

  private mutating func pickWeighted() -> ActiveEndpoint? {
    guard var turn = pop() else { return nil }
    let host = hosts[turn.index]
    turn.deadline += 1 / Double(host.weight)
    turn.order = sequence
    sequence &+= 1
    push(turn)
    return host
  }

  private mutating func push(_ turn: Turn) {
    schedule.append(turn)
    var child = schedule.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard schedule[child] < schedule[parent] else { return }
      schedule.swapAt(child, parent)
      child = parent
    }
  }

  private mutating func pop() -> Turn? {
    guard let first = schedule.first, let last = schedule.popLast() else { return nil }
    guard !schedule.isEmpty else { return first }
    schedule[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < schedule.count && schedule[child] < schedule[least] {
        least = child
      }
      if least == parent { return first }
      schedule.swapAt(parent, least)
      parent = least
    }
  }
}
