import MeshAPI
import MeshHTTP
import MeshPrimitives

/// The headers that tell clients about limits (draft-polli-ratelimit-headers-03).
enum RateLimitHeaders {
  static let limit = HeaderName("x-ratelimit-limit")
  static let remaining = HeaderName("x-ratelimit-remaining")
  static let reset = HeaderName("x-ratelimit-reset")

  /// What a bucket holds, what is in it, and in how many seconds there is a token (0: now).
  static func write(_ bucket: TokenBucket, now: MonotonicTime, to headers: HeaderMap) {
    add(headers, limit, UInt64(bucket.rate.maximum))
    add(headers, remaining, bucket.remaining(now: now))
    add(headers, reset, bucket.secondsUntilToken(now: now))
  }

  private static func add(_ headers: HeaderMap, _ name: HeaderName, _ number: UInt64) {
    var text = "\(number)"
    text.withUTF8 { headers.add(name, $0) }
  }
}

extension RateLimitHeaders {
  /// What a service said of the limit with the least left, and of all limits. Empty if it said nothing of any.
  static func fields(
    _ statuses: [RateLimitServiceResponse.DescriptorStatus]
  ) -> [(name: HeaderName, value: [UInt8])] {
    var least: RateLimitServiceResponse.DescriptorStatus?
    var policy = ""
    for status in statuses where status.hasCurrentLimit {
      if least.map({ status.limitRemaining < $0.limitRemaining }) ?? true { least = status }
      let limit = status.currentLimit
      guard let window = limit.unit.seconds else { continue }
      policy += ", \(limit.requestsPerUnit);w=\(window)"
      if !limit.name.isEmpty { policy += ";name=\"\(limit.name)\"" }
    }
    guard let least else { return [] }
    return [
      (limit, Array("\(least.currentLimit.requestsPerUnit)\(policy)".utf8)),
      (remaining, Array("\(least.limitRemaining)".utf8)),
      (reset, Array("\(least.durationUntilReset.seconds)".utf8)),
    ]
  }
}

extension RateLimitServiceResponse.RateLimit.Unit {
  fileprivate var seconds: UInt32? {
    switch self {
    case .second: 1
    case .minute: 60
    case .hour: 3600
    case .day: 86_400
    case .week: 604_800
    case .month: 2_592_000
    case .year: 31_536_000
    default: nil
    }
  }
}
