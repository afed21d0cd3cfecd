import MeshPrimitives

import func Glibc.pow

/// `LEAST_REQUEST`: where all weights are equal, the endpoint with the fewest active requests of some that are chosen at
/// random (or of all); where they differ, turns by weight divided by active requests. Requests of all workers count.
struct LeastRequestBalancer {
  private var hosts: [ActiveEndpoint] = []
  /// Empty if all weights are equal.
  private var schedule = WeightedSchedule()
  private var configuration = LoadBalancingConfiguration.LeastRequest()
  /// As it was when the endpoints last changed: the turns already given follow from it.
  private var bias = 1.0
  private var slowStart: SlowStart?

  init() {}

  /// - Parameter slowStart: nil if every endpoint has its whole weight.
  init(
    _ hosts: [ActiveEndpoint], _ configuration: LoadBalancingConfiguration.LeastRequest, slowStart: SlowStart? = nil,
    random: inout Random, now: MonotonicTime = .never
  ) {
    self.hosts = hosts
    self.configuration = configuration
    self.slowStart = slowStart
    bias = configuration.currentBias
    guard hosts.haveDifferentWeights || slowStart != nil else { return }
    for (index, host) in hosts.enumerated() { schedule.add(index, weight: weight(of: host, now)) }
    for _ in 0..<random.below(64) { _ = pickWeighted(now) }
  }

  /// The endpoint for the next request; nil if there is none.
  /// - Parameter now: counts while endpoints start slowly.
  mutating func pick(_ random: inout Random, _ now: MonotonicTime = .never) -> ActiveEndpoint? {
    guard schedule.isEmpty else { return pickWeighted(now) }
    guard !hosts.isEmpty else { return nil }
    return configuration.comparesAll ? leastOfAll(&random) : leastOfSome(&random)
  }

  /// One endpoint may be drawn twice, as in Envoy.
  private func leastOfSome(_ random: inout Random) -> ActiveEndpoint {
    var best = hosts[random.index(hosts.count)]
    var least = best.activeRequests
    for _ in 1..<configuration.choices {
      let other = hosts[random.index(hosts.count)]
      let active = other.activeRequests
      if active < least { (best, least) = (other, active) }
    }
    return best
  }

  private func leastOfAll(_ random: inout Random) -> ActiveEndpoint {
    var best = hosts[0]
    var least = best.activeRequests
    var equals: UInt64 = 1
    for other in hosts.dropFirst() {
      let active = other.activeRequests
      if active < least {
        (best, least, equals) = (other, active, 1)
      } else if active == least {
        // Each of n equals is kept with probability 1/n.
        equals += 1
        if random.below(equals) == 0 { best = other }
      }
    }
    return best
  }

  private mutating func pickWeighted(_ now: MonotonicTime) -> ActiveEndpoint? {
    let index = schedule.next { [hosts, bias, slowStart] in Self.weight(of: hosts[$0], bias, slowStart, now) }
    return index.map { hosts[$0] }
  }

  private func weight(of host: ActiveEndpoint, _ now: MonotonicTime) -> Double {
    Self.weight(of: host, bias, slowStart, now)
  }

  private static func weight(
    of host: ActiveEndpoint, _ bias: Double, _ slowStart: SlowStart?, _ now: MonotonicTime
  ) -> Double {
    let weight = host.weight(slowStart, now)
    if bias == 0 { return weight }
    let active = Double(max(0, host.activeRequests)) + 1
    if bias == 1 { return weight / active }
    // However strong the bias, a turn comes some day.
    return max(weight / pow(active, bias), 1e-9)
  }
}

extension ActiveEndpoint {
  /// Requests in flight, of all workers.
  var activeRequests: Int64 { endpoint.stats.total(.requestActive) }
}

extension Random {
  /// One of `count` places; `count` is at least 1.
  mutating func index(_ count: Int) -> Int { Int(truncatingIfNeeded: below(UInt64(truncatingIfNeeded: count))) }
}
