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
