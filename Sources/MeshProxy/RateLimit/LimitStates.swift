import MeshIO
import MeshPrimitives
import MeshRouting

/// What a bucket is, beyond the configuration that it was made for.
struct TokenBucketKey: Hashable, Sendable {
  /// Whose it is: the kind of filter, its connection manager, the name of its statistics.
  let scope: String
  /// Of which descriptor; empty: of all requests.
  var descriptor: [RateLimitEntry] = []
  let rate: TokenRate
}

/// What the limits of the configuration that is in force have counted: buckets, open connections. The same limit in the
/// next one goes on where it was; of several that cannot be told apart the first is the first of before. Confined to the
/// main thread.
final class LimitStates {
  private enum Key: Hashable {
    case bucket(TokenBucketKey)
    /// Open connections, by the name of the statistics.
    case connections(String)
  }

  private struct Place: Hashable {
    let key: Key
    let number: Int
  }

  private struct Held {
    weak var object: AnyObject?
  }

  private var known: [Place: Held] = [:]
  /// How many there are of each in the configuration that is being made.
  private var counts: [Key: Int] = [:]

  /// A configuration is made from now on.
  func begin() {
    counts.removeAll()
    known = known.filter { $0.value.object != nil }
  }

  /// The next bucket of this key.
  func bucket(_ key: TokenBucketKey) -> TokenBucket {
    held(next(.bucket(key))) { TokenBucket(key.rate, now: ProcessClock.monotonic()) }
  }

  /// The one bucket of this key, whoever asks.
  func sharedBucket(_ key: TokenBucketKey) -> TokenBucket {
    held(Place(key: .bucket(key), number: -1)) { TokenBucket(key.rate, now: ProcessClock.monotonic()) }
  }

  /// The next buckets of a descriptor whose values come with the requests. With another capacity they are others.
  func dynamicBuckets(_ key: TokenBucketKey, capacity: Int) -> DynamicBuckets {
    let place = next(.bucket(key))
    let buckets = held(place) { DynamicBuckets(key.descriptor, key.rate, capacity: capacity) }
    if buckets.capacity == capacity { return buckets }
    known[place] = nil
    return held(place) { DynamicBuckets(key.descriptor, key.rate, capacity: capacity) }
  }

  /// The next count of open connections of a limit.
  func connectionCount(_ statPrefix: String) -> CircuitBreaker.Gate {
    held(next(.connections(statPrefix))) { CircuitBreaker.Gate() }
  }

  private func next(_ key: Key) -> Place {
    let number = counts[key, default: 0]
    counts[key] = number + 1
    return Place(key: key, number: number)
  }

  private func held<Object: AnyObject>(_ place: Place, make: () -> Object) -> Object {
    if let object = known[place]?.object as? Object { return object }
    let object = make()
    known[place] = Held(object: object)
    return object
  }
}
