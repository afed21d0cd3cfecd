import MeshAPI
import MeshPrimitives

/// When and how often a request is sent once more, and how long an attempt may take (Envoy's `RetryPolicy`). Immutable;
/// shared by all threads.
public final class RetryPolicy: Sendable {
  /// On what occasions (`retry_on`).
  public let conditions: RetryConditions
  /// How often (`num_retries`).
  public let maximum: UInt32
  /// Bounds an attempt, up to its response's headers; zero: no bound.
  public let attemptTimeout: Nanoseconds
  /// Bounds the time in which nothing moves in an attempt; zero: no bound.
  public let attemptIdleTimeout: Nanoseconds
  /// The statuses that `retriable-status-codes` means.
  public let statuses: [Int]
  let responseConditions: [HeaderCondition]
  let requestConditions: [HeaderCondition]
  /// The times between attempts.
  public let backOff: BackOff
  /// Responses say when to come again; nil: that does not count.
  public let rateLimitedBackOff: RateLimitedBackOff?
  /// What keeps attempts after the first from an endpoint.
  public let hostPredicates: [HostPredicate]
  /// How often another endpoint is chosen because of them, 1….
  public let hostSelectionAttempts: Int
  /// After how many attempts the priorities that were tried are left out anew; nil: they are not left out.
  public let priorityUpdateFrequency: Int?

  /// The time between attempts (`retry_back_off`).
  public struct BackOff: Sendable {
    /// nil: what the runtime says, or 25 ms.
    public var base: Nanoseconds?
    /// nil: ten times the base.
    public var maximum: Nanoseconds?

    public init(base: Nanoseconds? = nil, maximum: Nanoseconds? = nil) {
      self.base = base
      self.maximum = maximum
    }

    /// The longest wait before an attempt.
    /// - Parameters:
    ///   - retry: 1 for the first attempt after the first.
    ///   - base: what holds if none is configured.
    public func bound(retry: UInt32, base fallback: Nanoseconds) -> Nanoseconds {
      let base = max(self.base ?? fallback, .milliseconds(1)).rawValue
      let most = maximum?.rawValue ?? base.multipliedReportingOverflow(by: 10).partialValue
      guard retry > 1, retry <= 63 else { return Nanoseconds(rawValue: retry <= 1 ? min(base, most) : most) }
      let (grown, overflow) = base.multipliedReportingOverflow(by: 1 << UInt64(retry - 1))
      return Nanoseconds(rawValue: overflow ? most : min(grown, most))
    }
  }

  /// What a response says of the next attempt (`rate_limited_retry_back_off`).
  public struct RateLimitedBackOff: Sendable {
    public struct Header: Sendable {
      public let name: HeaderName
      /// It holds a point in time, in seconds since 1970; else a number of seconds.
      public let isPointInTime: Bool
    }

    public let headers: [Header]
    public let maximum: Nanoseconds

    /// How long a response asks to wait; nil if it does not, or for too long, or for no time.
    /// - Parameters:
    ///   - seconds: the wall clock, since 1970.
    ///   - value: of a header of the response.
    public func wait(now seconds: UInt64, _ value: (HeaderName) -> Bytes?) -> Nanoseconds? {
      for header in headers {
        guard let text = value(header.name), let number = DecimalNumber.parse(text) else { continue }
        if header.isPointInTime, number <= seconds { continue }
        let span = Nanoseconds.seconds(min(header.isPointInTime ? number - seconds : number, 1_000_000_000))
        if span > .zero, span <= maximum { return span }
      }
      return nil
    }
  }

  /// What keeps an attempt from an endpoint (`retry_host_predicate`).
  public enum HostPredicate: Sendable {
    /// It was tried already.
    case tried
    /// It is a canary.
    case canary
    /// It has all of this metadata.
    case metadata(Metadata)
  }

  init(
    conditions: RetryConditions, maximum: UInt32, attemptTimeout: Nanoseconds, attemptIdleTimeout: Nanoseconds,
    statuses: [Int], responseConditions: [HeaderCondition], requestConditions: [HeaderCondition], backOff: BackOff,
    rateLimitedBackOff: RateLimitedBackOff?, hostPredicates: [HostPredicate], hostSelectionAttempts: Int,
    priorityUpdateFrequency: Int?
  ) {
    self.conditions = conditions
    self.maximum = maximum
    self.attemptTimeout = attemptTimeout
    self.attemptIdleTimeout = attemptIdleTimeout
    self.statuses = statuses
    self.responseConditions = responseConditions
    self.requestConditions = requestConditions
    self.backOff = backOff
    self.rateLimitedBackOff = rateLimitedBackOff
    self.hostPredicates = hostPredicates
    self.hostSelectionAttempts = hostSelectionAttempts
    self.priorityUpdateFrequency = priorityUpdateFrequency
  }

  /// Every request may be sent again.
  public var admitsAll: Bool { requestConditions.isEmpty }

  /// Whether `retriable_request_headers` lets a request be sent again.
  public func admits<R: RouteRequest & ~Copyable>(_ request: borrowing R) -> Bool {
    if requestConditions.isEmpty { return true }
    for condition in requestConditions where condition.holds(request) { return true }
    return false
  }

  /// Whether `retriable_headers` means this response.
  public func marks<R: RouteRequest & ~Copyable>(_ response: borrowing R) -> Bool {
    for condition in responseConditions where condition.holds(response) { return true }
    return false
  }
}
