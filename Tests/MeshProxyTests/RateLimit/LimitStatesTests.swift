import MeshPrimitives
import MeshRouting
import Testing

@testable import MeshProxy

@Suite("What limits have counted")
struct LimitStatesTests {
  private let rate = TokenRate(maximum: 1, tokens: 1, interval: .seconds(3600))
  private let entries = [RateLimitEntry(key: Array("user".utf8), value: [])]

  @Test("a bucket is the same in the next configuration, the first the first")
  func order() {
    let states = LimitStates()
    let key = TokenBucketKey(scope: "a", rate: rate)
    states.begin()
    let first = states.bucket(key)
    let second = states.bucket(key)
    let other = states.bucket(TokenBucketKey(scope: "b", rate: rate))
    #expect(first !== second && first !== other)
    states.begin()
    #expect(states.bucket(key) === first)
    #expect(states.bucket(key) === second)
    #expect(states.bucket(TokenBucketKey(scope: "b", rate: rate)) === other)
  }

  @Test("one with other numbers is another, and one that nobody has is forgotten")
  func change() {
    let states = LimitStates()
    states.begin()
    let slower = TokenRate(maximum: 1, tokens: 1, interval: .seconds(7200))
    do {
      let bucket = states.bucket(TokenBucketKey(scope: "a", rate: rate))
      #expect(bucket.take(now: MonotonicTime(nanoseconds: 0)))
      #expect(states.bucket(TokenBucketKey(scope: "a", rate: slower)) !== bucket)
    }
    states.begin()
    #expect(states.bucket(TokenBucketKey(scope: "a", rate: rate)).remaining(now: MonotonicTime(nanoseconds: 0)) == 1)
  }

  @Test("those with the same key share one")
  func shared() {
    let states = LimitStates()
    let key = TokenBucketKey(scope: "a", rate: rate)
    states.begin()
    let bucket = states.sharedBucket(key)
    #expect(states.sharedBucket(key) === bucket)
    #expect(states.bucket(key) !== bucket)
    states.begin()
    #expect(states.sharedBucket(key) === bucket)
  }

  @Test("buckets of values stay, unless there may be more or fewer")
  func dynamic() {
    let states = LimitStates()
    let key = TokenBucketKey(scope: "a", descriptor: entries, rate: rate)
    states.begin()
    let buckets = states.dynamicBuckets(key, capacity: 5)
    states.begin()
    #expect(states.dynamicBuckets(key, capacity: 5) === buckets)
    states.begin()
    #expect(states.dynamicBuckets(key, capacity: 6) !== buckets)
  }

  @Test("open connections are counted on")
  func connections() {
    let states = LimitStates()
    states.begin()
    let count = states.connectionCount("a")
    states.begin()
    #expect(states.connectionCount("a") === count)
    #expect(states.connectionCount("a") !== count)
  }
}
