import MeshPrimitives

/// Round robin, by weight where weights differ. One per worker and group of endpoints; each starts at its own offset, so
/// that workers do not march in step.
struct RoundRobinBalancer {
  private var hosts: [ActiveEndpoint] = []
  private var next = 0
  /// Empty if all weights are equal.
  private var schedule = WeightedSchedule()
  private var slowStart: SlowStart?

  init() {}

  /// - Parameter slowStart: nil if every endpoint has its whole weight.
  init(_ hosts: [ActiveEndpoint], slowStart: SlowStart? = nil, random: UInt64, now: MonotonicTime = .never) {
    self.hosts = hosts
    self.slowStart = slowStart
    next = hosts.isEmpty ? 0 : Int(random % UInt64(hosts.count))
    guard hosts.haveDifferentWeights || slowStart != nil else { return }
    for (index, host) in hosts.enumerated() { schedule.add(index, weight: host.weight(slowStart, now)) }
    // A random part of the first turn keeps several workers, and several updates, from all choosing the heaviest.
    for _ in 0..<(Int(random % 64)) { _ = pickWeighted(now) }
  }

  /// The endpoint for the next request; nil if there is none.
  /// - Parameter now: counts while endpoints start slowly.
  @inline(__always)
  mutating func pick(_ now: MonotonicTime = .never) -> ActiveEndpoint? {
    guard schedule.isEmpty else { return pickWeighted(now) }
    let count = hosts.count
    guard count > 0 else { return nil }
    if next >= count { next = 0 }
    let host = hosts[next]
    next &+= 1
    return host
  }

  @inline(never)
  private mutating func pickWeighted(_ now: MonotonicTime) -> ActiveEndpoint? {
    schedule.next { [hosts, slowStart] in hosts[$0].weight(slowStart, now) }.map { hosts[$0] }
  }
}

extension [ActiveEndpoint] {
  /// Whether turns have to be counted by weight.
  var haveDifferentWeights: Bool {
    guard let first else { return false }
    return contains { $0.weight != first.weight }
  }
}

extension ActiveEndpoint {
  /// Its weight now.
  func weight(_ slowStart: SlowStart?, _ now: MonotonicTime) -> Double {
    guard let slowStart else { return Double(weight) }
    return Double(weight) * slowStart.share(since: healthySince, now: now)
  }
}
