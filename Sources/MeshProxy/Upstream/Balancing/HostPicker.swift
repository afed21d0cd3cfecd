import MeshPrimitives

/// Chooses among endpoints that are alike in priority, health and locality, for one worker, by whatever policy asks for no
/// hash. An enumeration of policies, not a protocol: none costs more than a comparison.
struct HostPicker {
  private enum Policy: UInt8 { case roundRobin, leastRequest, random }

  private let policy: Policy
  private var roundRobin = RoundRobinBalancer()
  private var leastRequest = LeastRequestBalancer()
  private var random = RandomBalancer()

  /// - Parameter slowStart: nil if every endpoint has its whole weight.
  init(
    _ hosts: [ActiveEndpoint], _ configuration: LoadBalancingConfiguration.Policy, slowStart: SlowStart?,
    _ source: inout Random, _ now: MonotonicTime
  ) {
    switch configuration {
    case .roundRobin:
      policy = .roundRobin
      roundRobin = RoundRobinBalancer(hosts, slowStart: slowStart, random: source.next(), now: now)
    case .leastRequest(let settings):
      policy = .leastRequest
      leastRequest = LeastRequestBalancer(hosts, settings, slowStart: slowStart, random: &source, now: now)
    case .random, .ringHash, .maglev:
      policy = .random
      random = RandomBalancer(hosts)
    }
  }

  /// The endpoint for the next request; nil if there is none.
  mutating func pick(_ source: inout Random, _ now: MonotonicTime) -> ActiveEndpoint? {
    switch policy {
    case .roundRobin: roundRobin.pick(now)
    case .leastRequest: leastRequest.pick(&source, now)
    case .random: random.pick(&source)
    }
  }
}
