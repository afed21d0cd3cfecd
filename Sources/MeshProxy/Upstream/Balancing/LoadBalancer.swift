import MeshPrimitives

/// How a cluster chooses among its endpoints (`lb_policy`, `load_balancing_policy`).
public enum LoadBalancingConfiguration: Sendable {
  case roundRobin
  case leastRequest(LeastRequest)
  case random

  /// Settings of `LEAST_REQUEST`.
  public struct LeastRequest: Sendable {
    /// How many endpoints are compared, 2… (`choice_count`).
    public var choices = 2
    /// All endpoints are compared (`selection_method: FULL_SCAN`).
    public var comparesAll = false
    /// How much active requests count where weights differ, 0… (`active_request_bias`).
    public var bias = 1.0
    /// Overrides `bias`.
    public var runtimeBias: RuntimeValue?

    public init() {}

    var currentBias: Double { max(0, runtimeBias?.double(or: bias) ?? bias) }
  }
}

/// Chooses endpoints for one worker's requests to one cluster. An enumeration of policies, not a protocol: round robin
/// costs one comparison more than if it were alone.
struct LoadBalancer {
  private enum Policy: UInt8 { case roundRobin, leastRequest, random }

  private var policy = Policy.roundRobin
  private var roundRobin = RoundRobinBalancer()
  private var leastRequest = LeastRequestBalancer()
  private var random = RandomBalancer()

  /// Takes a new set of endpoints, and the policy.
  mutating func update(
    _ endpoints: [ActiveEndpoint], _ configuration: LoadBalancingConfiguration, _ source: inout Random
  ) {
    switch configuration {
    case .roundRobin:
      policy = .roundRobin
      roundRobin.update(endpoints, random: source.next())
    case .leastRequest(let settings):
      policy = .leastRequest
      leastRequest.update(endpoints, settings, random: &source)
    case .random:
      policy = .random
      random.update(endpoints)
    }
    // Those not in use keep no endpoint alive.
    if policy != .roundRobin { roundRobin = RoundRobinBalancer() }
    if policy != .leastRequest { leastRequest = LeastRequestBalancer() }
    if policy != .random { random = RandomBalancer() }
  }

  /// The endpoint for the next request; nil if none is healthy.
  @inline(__always)
  mutating func pick(_ source: inout Random) -> ActiveEndpoint? {
    if policy == .roundRobin { return roundRobin.pick() }
    return pickOther(&source)
  }

  @inline(never)
  private mutating func pickOther(_ source: inout Random) -> ActiveEndpoint? {
    policy == .leastRequest ? leastRequest.pick(&source) : random.pick(&source)
  }
}
