import MeshIO
import MeshPrimitives
import MeshRouting
import Synchronization

/// The buckets that a local rate limit has, as the configuration says it.
struct LocalRateLimitRecipe: Hashable, Sendable {
  struct Descriptor: Hashable, Sendable {
    /// An empty value stands for any.
    let entries: [RateLimitEntry]
    let rate: TokenRate

    var isDynamic: Bool { entries.contains { $0.value.isEmpty } }
  }

  /// Whose they are; see `TokenBucketKey`.
  var scope: String
  /// The bucket of all requests; nil: there is none.
  var fallback: TokenRate?
  var descriptors: [Descriptor] = []
  /// Values that a descriptor with an empty one has buckets for.
  var maximumDynamic = 20
  /// Whether requests that have a bucket of their own take from that of all, too.
  var alwaysTakesFallback = true
}

/// The buckets of a local rate limit. Shared by all threads; or one worker's, of a client's connection.
final class LocalRateLimiter: Sendable {
  struct Verdict {
    let isAllowed: Bool
    /// The bucket that decided, of which clients may hear; nil: there was none.
    let bucket: TokenBucket?
    /// Whose bucket it is that refused; nil: that of all.
    var descriptor: RateLimitDescriptor?
  }

  let fallback: TokenBucket?
  private let fixed: [[RateLimitEntry]: TokenBucket]
  private let dynamic: [DynamicBuckets]
  private let alwaysTakesFallback: Bool
  /// Whether descriptors matter.
  let hasDescriptors: Bool

  /// - Parameter states: where those are that outlive the configuration; nil: all are new.
  init(_ recipe: LocalRateLimitRecipe, _ states: LimitStates?, now: MonotonicTime) {
    func bucket(_ rate: TokenRate, _ entries: [RateLimitEntry] = []) -> TokenBucket {
      states?.bucket(TokenBucketKey(scope: recipe.scope, descriptor: entries, rate: rate))
        ?? TokenBucket(rate, now: now)
    }
    fallback = recipe.fallback.map { bucket($0) }
    var fixed: [[RateLimitEntry]: TokenBucket] = [:]
    var dynamic: [DynamicBuckets] = []
    for descriptor in recipe.descriptors {
      if descriptor.isDynamic {
        let key = TokenBucketKey(scope: recipe.scope, descriptor: descriptor.entries, rate: descriptor.rate)
        dynamic.append(
          states?.dynamicBuckets(key, capacity: recipe.maximumDynamic)
            ?? DynamicBuckets(descriptor.entries, descriptor.rate, capacity: recipe.maximumDynamic))
      } else {
        fixed[descriptor.entries] = bucket(descriptor.rate, descriptor.entries)
      }
    }
    self.fixed = fixed
    self.dynamic = dynamic
    alwaysTakesFallback = recipe.alwaysTakesFallback
    hasDescriptors = !recipe.descriptors.isEmpty
  }

  /// Takes a token for a request without descriptors.
  @inline(__always)
  func take(_ loop: EventLoop) -> Verdict {
    guard let fallback else { return Verdict(isAllowed: true, bucket: nil) }
    return Verdict(isAllowed: fallback.take(by: loop), bucket: fallback)
  }

  /// Takes the tokens of a request: from the bucket of each of its descriptors, the slowest first, then from that of all.
  /// The first that has too few refuses; what others gave before stays taken.
  func take(_ descriptors: [RateLimitDescriptor], _ loop: EventLoop) -> Verdict {
    var found: [(bucket: TokenBucket, descriptor: RateLimitDescriptor)] = []
    for descriptor in descriptors {
      if let bucket = bucket(descriptor.entries, loop.now) { found.append((bucket, descriptor)) }
    }
    if found.isEmpty { return take(loop) }
    if found.count > 1 { found.sort { $0.bucket.rate.perSecond < $1.bucket.rate.perSecond } }
    for (bucket, descriptor) in found where !bucket.take(descriptor.hits ?? 1, by: loop) {
      return Verdict(isAllowed: false, bucket: bucket, descriptor: descriptor)
    }
    if alwaysTakesFallback, let fallback, !fallback.take(by: loop) {
      return Verdict(isAllowed: false, bucket: fallback)
    }
    return Verdict(isAllowed: true, bucket: found[0].bucket)
  }

  private func bucket(_ entries: [RateLimitEntry], _ now: MonotonicTime) -> TokenBucket? {
    if let bucket = fixed[entries] { return bucket }
    for buckets in dynamic {
      if let bucket = buckets.bucket(entries, now) { return bucket }
    }
    return nil
  }
}

/// The buckets of a descriptor whose values come with the requests: one for each value, as many as may be. The map is
/// behind a lock, which is held for a look-up; the buckets themselves have none.
final class DynamicBuckets: Sendable {
  private let pattern: [RateLimitEntry]
  private let rate: TokenRate
  let capacity: Int
  private let buckets: Mutex<RecentlyUsed<[RateLimitEntry], TokenBucket>>

  init(_ pattern: [RateLimitEntry], _ rate: TokenRate, capacity: Int) {
    self.pattern = pattern
    self.rate = rate
    self.capacity = capacity
    buckets = Mutex(RecentlyUsed(capacity: capacity))
  }

  /// The bucket of a descriptor; nil if it is not for it.
  func bucket(_ entries: [RateLimitEntry], _ now: MonotonicTime) -> TokenBucket? {
    guard entries.count == pattern.count,
      zip(entries, pattern).allSatisfy({ $0.key == $1.key && ($1.value.isEmpty || $0.value == $1.value) })
    else { return nil }
    return buckets.withLock { $0.value(entries) { TokenBucket(rate, now: now) } }
  }
}
