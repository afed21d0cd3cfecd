import MeshAPI
import MeshPrimitives

/// What requests are counted under (`envoy.config.route.v3.RateLimit`), compiled. Immutable but for the runtime's value;
/// shared by all threads.
public struct RateLimitRule: Sendable {
  enum Hits: Sendable {
    case unsaid
    case number(UInt64)
    case format(any HeaderValueFormat)
  }

  /// Which filters it is for.
  public let stage: UInt32
  /// Whether it has a `disable_key`.
  public let hasDisableKey: Bool
  private let enabled: RuntimeFraction?
  /// It is for when the request has ended, and not before (`apply_on_stream_done`).
  public let isForEnd: Bool
  private let actions: [RateLimitAction]
  private let hits: Hits
  /// Where the request's own limit is noted.
  private let limit: [String]?

  /// The largest number of hits.
  static let maximumHits: UInt64 = 1_000_000_000

  init(
    stage: UInt32, enabled: RuntimeFraction?, isForEnd: Bool, actions: [RateLimitAction], hits: Hits, limit: [String]?
  ) {
    self.stage = stage
    hasDisableKey = enabled != nil
    self.enabled = enabled
    self.isForEnd = isForEnd
    self.actions = actions
    self.hits = hits
    self.limit = limit
  }

  /// Whether the runtime leaves it in force (`disable_key`).
  public func isEnabled(_ random: UInt64) -> Bool { enabled?.includes(random) ?? true }

  /// What a request is counted under; nil if it is not by this rule.
  public func descriptor<Subject: RateLimitSubject>(of subject: Subject) -> RateLimitDescriptor? {
    var entries: [RateLimitEntry] = []
    for action in actions {
      switch action.apply(to: subject) {
      case .entry(let entry): entries.append(entry)
      case .none: break
      case .noDescriptor: return nil
      }
    }
    if entries.isEmpty { return nil }
    var count: UInt64?
    switch hits {
    case .unsaid: break
    case .number(let number): count = number
    case .format(let format):
      var text: [UInt8] = []
      subject.write(format, into: &text)
      guard let number = Self.number(text), number <= Self.maximumHits else { return nil }
      count = number
    }
    return RateLimitDescriptor(entries: entries, hits: count, limit: limit.flatMap { Self.limit($0, subject) })
  }

  /// A decimal number, perhaps with a point or an exponent, and rounded down; nil if it is none, or negative.
  private static func number(_ text: [UInt8]) -> UInt64? {
    let isNumber = text.allSatisfy { byte in
      byte &- 0x30 < 10
        || [UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "+"), UInt8(ascii: "-")]
          .contains(byte)
    }
    guard isNumber, text.count <= 32, let number = Double(String(decoding: text, as: UTF8.self)), number >= 0,
      number < 1e15
    else { return nil }
    return UInt64(number)
  }

  private static func limit<Subject: RateLimitSubject>(
    _ path: [String], _ subject: Subject
  ) -> RateLimitDescriptor.Limit? {
    guard let number = subject.noted(path + ["requests_per_unit"]), let unit = subject.noted(path + ["unit"]),
      !unit.isEmpty,
      let count = Self.number(Array(number.utf8)).flatMap({ UInt32(exactly: $0) }),
      let unit = RateLimitUnit.allCases.first(where: { $0.word == unit })
    else { return nil }
    return .init(requestsPerUnit: count, unit: unit)
  }
}

extension RateLimitUnit {
  fileprivate var word: String {
    switch self {
    case .second: "SECOND"
    case .minute: "MINUTE"
    case .hour: "HOUR"
    case .day: "DAY"
    case .month: "MONTH"
    case .year: "YEAR"
    default: ""
    }
  }
}

/// What a route says to rate limit filters. Immutable; shared by all threads.
public final class RouteRateLimits: Sendable {
  /// Whether the virtual host's rules hold for a route (`vh_rate_limits`).
  public enum HostRules: Sendable {
    /// Only where the route has none.
    case override
    case include
    case ignore
  }

  private let own: [RateLimitRule]
  private let host: [RateLimitRule]
  private let includesHost: Bool

  init(own: [RateLimitRule], host: [RateLimitRule], includesHost: Bool) {
    self.own = own
    self.host = host
    self.includesHost = includesHost
  }

  /// Calls `body` with the rules that hold: the route's own first.
  public func forEach(_ hostRules: HostRules, _ body: (RateLimitRule) -> Void) {
    for rule in own { body(rule) }
    let takesHost =
      switch hostRules {
      case _ where includesHost: true
      case .include: true
      case .override: own.isEmpty
      case .ignore: false
      }
    if takesHost { for rule in host { body(rule) } }
  }
}
