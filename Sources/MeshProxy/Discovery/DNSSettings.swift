import MeshIO
import MeshPrimitives

/// How the names of a cluster are resolved, and how often.
public struct DNSSettings: Sendable, Equatable {
  public var family = LookupFamily.auto
  public var resolver = ResolverOptions()
  /// Between two lookups (`dns_refresh_rate`).
  public var refreshRate = Nanoseconds.seconds(5)
  /// A random time up to this is added (`dns_jitter`).
  public var jitter = Nanoseconds.zero
  /// An answer's time to live takes the place of `refreshRate` (`respect_dns_ttl`).
  public var respectsTimeToLive = false
  /// Between two lookups while they fail; nil: `refreshRate` (`dns_failure_refresh_rate`).
  public var failure: Backoff?

  /// A random time up to a bound that doubles with each failure.
  public struct Backoff: Sendable, Equatable {
    public var base: Nanoseconds
    /// At least `base`.
    public var maximum: Nanoseconds

    public init(base: Nanoseconds, maximum: Nanoseconds) {
      self.base = base
      self.maximum = maximum
    }
  }

  public init() {}
}

/// When a name is asked for again. Pure: time is what it returns, randomness what it is given.
struct RefreshSchedule {
  private let settings: DNSSettings
  /// The bound of the next wait after a failure.
  private var bound: Nanoseconds?

  init(_ settings: DNSSettings) { self.settings = settings }

  /// The wait after an answer. - Parameter timeToLive: zero if it says nothing of it.
  mutating func afterSuccess(timeToLive: Nanoseconds, _ random: inout Random) -> Nanoseconds {
    bound = nil
    let usesTimeToLive = settings.respectsTimeToLive && timeToLive > .zero
    let wait = usesTimeToLive ? timeToLive : settings.refreshRate
    return Nanoseconds(rawValue: wait.rawValue.addingClamped(random.upTo(settings.jitter)))
  }

  /// The wait after a failure.
  mutating func afterFailure(_ random: inout Random) -> Nanoseconds {
    guard let backoff = settings.failure else {
      return Nanoseconds(rawValue: settings.refreshRate.rawValue.addingClamped(random.upTo(settings.jitter)))
    }
    let current = bound ?? backoff.base
    bound = Nanoseconds(rawValue: min(current.rawValue.addingClamped(current.rawValue), backoff.maximum.rawValue))
    // Never at once, whatever the dice say.
    return max(random.upTo(current).asNanoseconds, .milliseconds(1))
  }
}

extension Random {
  /// Nanoseconds from 0 to `span`.
  fileprivate mutating func upTo(_ span: Nanoseconds) -> UInt64 {
    span == .zero ? 0 : below(span.rawValue.addingClamped(1))
  }
}

extension UInt64 {
  fileprivate var asNanoseconds: Nanoseconds { Nanoseconds(rawValue: self) }

  fileprivate func addingClamped(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
