import MeshPrimitives

/// How a cluster chooses among its endpoints (`lb_policy`, `load_balancing_policy`, `common_lb_config`, and what
/// `load_assignment` says of it). Immutable; shared by all threads.
public struct LoadBalancingConfiguration: Sendable {
  /// How one of several endpoints of the same priority, health and locality is chosen.
  public enum Policy: Sendable {
    case roundRobin
    case leastRequest(LeastRequest)
    case random
    /// By the request's hash, on a ring.
    case ringHash(RingHash)
    /// By the request's hash, in a table of so many entries, a prime.
    case maglev(tableSize: Int)
  }

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

  /// Settings of `RING_HASH`.
  public struct RingHash: Sendable, Equatable {
    public enum Function: Sendable { case xxHash, murmur2 }

    public static let largestSize = 8 << 20
    /// In entries, 0… (`minimum_ring_size`).
    public var minimumSize = 1024
    /// In entries, `minimumSize`… (`maximum_ring_size`).
    public var maximumSize = largestSize
    public var function = Function.xxHash

    public init() {}
  }

  public var policy = Policy.roundRobin
  /// The share of endpoints, in percent, below which health does not count (`healthy_panic_threshold`).
  public var panicThreshold: UInt32 = 50
  /// Overrides `panicThreshold`.
  public var runtimePanicThreshold: RuntimeValue?
  /// Where health does not count, requests fail (`fail_traffic_on_panic`).
  public var failsOnPanic = false
  /// Localities have shares by their own weights (`locality_weighted_lb_config`).
  public var weighsLocalities = false
  /// In percent, 1… (`overprovisioning_factor`).
  public var overprovisioning: UInt32 = 140
  /// The health of a priority follows from its endpoints' weights (`weighted_priority_health`).
  public var weighsHealth = false
  /// nil: endpoints have their whole weight at once.
  public var slowStart: SlowStart?
  /// Endpoints are hashed by their names (`use_hostname_for_hashing`).
  public var hashesNames = false
  /// Bounds an endpoint's active requests, in percent of an even share, 100… (`hash_balance_factor`); nil: no bound.
  public var balanceFactor: UInt32?

  public init() {}

  /// In turn, and nothing else.
  public static let roundRobin = LoadBalancingConfiguration()

  /// The policy goes by a request's hash.
  public var usesHash: Bool {
    switch policy {
    case .ringHash, .maglev: true
    case .roundRobin, .leastRequest, .random: false
    }
  }

  var currentPanicThreshold: UInt32 {
    let configured = UInt64(panicThreshold)
    return UInt32(min(100, runtimePanicThreshold?.integer(or: configured) ?? configured))
  }
}
