import MeshPrimitives
import Synchronization

/// What an endpoint is beyond one configuration: its statistics, and what the process has found out about its health.
/// Kept by address over updates, shared by all threads.
public final class EndpointIdentity: Sendable {
  public let stats: StatBlock<EndpointStat>
  private let flags = Atomic<UInt32>(0)
  /// What has come of requests to it, for outlier detection.
  let outcomes = EndpointOutcomes()
  /// Who may try it while it is on probation.
  let probes = ProbeGate()

  /// - Parameter lanes: how many threads count.
  init(lanes: Int) { stats = StatBlock(lanes: lanes) }

  /// What has been found out. Threads: any.
  public var health: HealthFlags { HealthFlags(rawValue: flags.load(ordering: .relaxed)) }

  /// Sets or takes back what has been found out. Whoever does so tells `EndpointDiscovery.healthChanged` afterwards. Main
  /// thread.
  /// - Returns: whether that is news.
  func set(_ flag: HealthFlags, _ isSet: Bool) -> Bool {
    let old =
      isSet
      ? flags.bitwiseOr(flag.rawValue, ordering: .relaxed).oldValue
      : flags.bitwiseAnd(~flag.rawValue, ordering: .relaxed).oldValue
    return HealthFlags(rawValue: old).isSuperset(of: flag) != isSet
  }
}

/// What the process has found out about an endpoint's health (Envoy's `Host::HealthFlag`, but for what the configuration
/// says: that is `EndpointHealth`).
public struct HealthFlags: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Active health checks fail.
  public static var failedActiveHealthCheck: Self { Self(rawValue: 1) }
  /// Outlier detection has ejected it.
  public static var failedOutlierCheck: Self { Self(rawValue: 1 << 1) }
  /// Active health checks say that it does badly (`x-envoy-degraded`).
  public static var degradedActiveHealthCheck: Self { Self(rawValue: 1 << 2) }
  /// It has not been checked yet.
  public static var pendingActiveHealthCheck: Self { Self(rawValue: 1 << 3) }
  /// It has asked to be left out (`x-envoy-immediate-health-check-fail`).
  public static var excludedByHealthCheck: Self { Self(rawValue: 1 << 4) }
  /// The last active health check had no answer in time.
  public static var activeHealthCheckTimedOut: Self { Self(rawValue: 1 << 5) }

  /// Its ejection has ended, and no request to it has succeeded since: it gets one at a time.
  public static var onProbation: Self { Self(rawValue: 1 << 6) }
  /// DNS does not give it any more; it stays as long as active health checks succeed.
  public static var pendingRemoval: Self { Self(rawValue: 1 << 7) }

  /// Each of these says that it has failed.
  static var failed: Self { [.failedActiveHealthCheck, .failedOutlierCheck] }
  /// Each of these keeps new requests away, but for the probes of an endpoint on probation.
  public static var unhealthy: Self { [.failedActiveHealthCheck, .failedOutlierCheck, .onProbation] }
  /// With one of these it does not count at all where shares of healthy endpoints are looked at.
  public static var excluded: Self { [.pendingActiveHealthCheck, .excludedByHealthCheck] }
  /// What outlier detection sets.
  static var outlier: Self { [.failedOutlierCheck, .onProbation] }
  /// What active health checks set.
  static var activeHealthCheck: Self {
    [
      .failedActiveHealthCheck, .degradedActiveHealthCheck, .pendingActiveHealthCheck, .excludedByHealthCheck,
      .activeHealthCheckTimedOut, .pendingRemoval,
    ]
  }
}

/// Whether an endpoint may have new requests.
public enum EndpointAvailability: UInt8, Sendable {
  case healthy
  /// Only if there are not enough that are healthy.
  case degraded
  case unhealthy
}
