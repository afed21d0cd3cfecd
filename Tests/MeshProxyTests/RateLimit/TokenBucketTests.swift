import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("TokenBucket")
struct TokenBucketTests {
  private static let second: UInt64 = 1_000_000_000

  private func bucket(_ maximum: UInt32, _ tokens: UInt32, per interval: UInt64) -> TokenBucket {
    TokenBucket(
      TokenRate(maximum: maximum, tokens: tokens, interval: Nanoseconds(rawValue: interval)),
      now: MonotonicTime(nanoseconds: Self.second))
  }

  private func at(_ nanoseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: Self.second + nanoseconds) }

  @Test("gives what it holds, then what comes, evenly")
  func fill() {
    let bucket = bucket(3, 2, per: 60 * Self.second)
    #expect(bucket.remaining(now: at(0)) == 3)
    for _ in 0..<3 { #expect(bucket.take(now: at(0))) }
    #expect(!bucket.take(now: at(0)))
    #expect(bucket.secondsUntilToken(now: at(0)) == 30)
    #expect(!bucket.take(now: at(30 * Self.second - 1)))
    #expect(bucket.secondsUntilToken(now: at(29 * Self.second)) == 1)
    #expect(bucket.secondsUntilToken(now: at(30 * Self.second)) == 0)
    #expect(bucket.take(now: at(30 * Self.second)))
    #expect(!bucket.take(now: at(59 * Self.second)))
    #expect(bucket.take(now: at(60 * Self.second)))
  }

  @Test("never holds more than its maximum")
  func overflow() {
    let bucket = bucket(2, 10, per: Self.second)
    let later = at(3600 * Self.second)
    #expect(bucket.remaining(now: later) == 2)
    #expect(bucket.take(now: later) && bucket.take(now: later) && !bucket.take(now: later))
  }

  @Test("several tokens are taken together or not at all")
  func several() {
    let bucket = bucket(5, 1, per: Self.second)
    #expect(!bucket.take(6, now: at(0)))
    #expect(bucket.take(4, now: at(0)))
    #expect(!bucket.take(2, now: at(0)))
    #expect(bucket.take(1, now: at(0)))
    #expect(bucket.take(0, now: at(0)))
    #expect(!bucket.take(.max, now: at(1000 * Self.second)))
    #expect(!bucket.take(1_000_000_000, now: at(1000 * Self.second)))
  }

  @Test("a clock that is behind sees no token that is not there")
  func behind() {
    let bucket = bucket(1, 1, per: Self.second)
    #expect(bucket.take(now: at(10 * Self.second)))
    #expect(!bucket.take(now: at(5 * Self.second)))
    #expect(!bucket.take(now: MonotonicTime(nanoseconds: 0)))
    #expect(bucket.remaining(now: at(5 * Self.second)) == 0)
    #expect(bucket.secondsUntilToken(now: at(5 * Self.second)) > 0)
  }

  /// In whole nanoseconds times tokens: what a bucket must give, to the last token.
  private struct Model {
    let tokens: UInt64
    let interval: UInt64
    let full: UInt64
    var credit: UInt64
    var last: UInt64 = 0

    init(maximum: UInt64, tokens: UInt64, interval: UInt64) {
      self.tokens = tokens
      self.interval = interval
      full = maximum * interval
      credit = full
    }

    mutating func take(at time: UInt64) -> Bool {
      credit = min(full, credit + (time - last) * tokens)
      last = time
      guard credit >= interval else { return false }
      credit -= interval
      return true
    }
  }

  @Test("gives never more than is due, and next to nothing less", arguments: 0..<40)
  func model(_ seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let maximum = 1 + random.next(below: 50)
    let tokens = 1 + random.next(below: 1000)
    let interval = 50_000_000 + random.next(below: 2_000_000_000)
    let bucket = bucket(UInt32(maximum), UInt32(tokens), per: interval)
    var model = Model(maximum: maximum, tokens: tokens, interval: interval)
    var time: UInt64 = 0
    var given = 0
    var due = 0
    for _ in 0..<20_000 {
      time += random.next(below: 2 * interval / tokens)
      if bucket.take(now: at(time)) { given += 1 }
      if model.take(at: time) { due += 1 }
      #expect(given <= due)
    }
    #expect(due - given <= 1 + due / 10_000)
  }

  @Test(
    "numbers at their ends", arguments: [1, 1000, UInt32.max], [1, 1_000_000, UInt32.max]
  )
  func ends(_ maximum: UInt32, _ tokens: UInt32) {
    let day = 86_400 * Self.second
    let intervals: [UInt64] = [50_000_000, Self.second, day, 36_500 * day, .max / 4]
    for interval in intervals {
      let bucket = bucket(maximum, tokens, per: interval)
      #expect(bucket.take(now: at(0)))
      #expect(bucket.remaining(now: at(0)) == UInt64(maximum) - 1 || maximum > 1_000_000 || tokens == .max)
      _ = bucket.secondsUntilToken(now: at(0))
      for _ in 0..<3 { _ = bucket.take(UInt64(maximum), now: at(interval / 2)) }
      _ = bucket.take(now: MonotonicTime(nanoseconds: .max / 2))
      _ = bucket.take(now: .never)
      _ = bucket.remaining(now: .never)
      _ = bucket.secondsUntilToken(now: .never)
    }
  }

  @Test("two threads get together what one would get, to the token")
  func threads() async throws {
    // It holds more than comes, so that nothing overflows while a thread waits for a processor.
    let rate = TokenRate(maximum: 1_000_000, tokens: 100_000, interval: .seconds(1))
    let began = ProcessClock.monotonic()
    let bucket = TokenBucket(rate, now: began)
    #expect(bucket.take(1_000_000, now: began))
    let end = began + .milliseconds(400)
    var given = await withTaskGroup(of: UInt64.self) { group in
      for _ in 0..<2 {
        group.addTask {
          var own: UInt64 = 0
          while true {
            let now = ProcessClock.monotonic()
            if now >= end { return own }
            if bucket.take(now: now) { own += 1 }
          }
        }
      }
      return await group.reduce(0, +)
    }
    while bucket.take(now: end) { given += 1 }
    #expect(given <= 40_000)
    #expect(given >= 39_990)
  }
}

@Suite("RecentlyUsed")
struct RecentlyUsedTests {
  @Test("a further key takes the place of the one that was asked for the longest time ago")
  func order() {
    var map = RecentlyUsed<String, Int>(capacity: 2)
    var made = 0
    func ask(_ key: String) -> Int {
      map.value(key) {
        made += 1
        return made
      }
    }
    #expect(ask("a") == 1)
    #expect(ask("b") == 2)
    #expect(ask("a") == 1)
    #expect(ask("c") == 3)
    #expect(ask("a") == 1)
    #expect(ask("b") == 4)
    #expect(ask("c") == 5)
    #expect(map.count == 2)
  }

  @Test("does what a list would do", arguments: 0..<10)
  func model(_ seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let capacity = 1 + Int(random.next(below: 8))
    var map = RecentlyUsed<UInt64, Int>(capacity: capacity)
    // Used last comes last.
    var list: [(key: UInt64, value: Int)] = []
    for step in 0..<2000 {
      let key = random.next(below: 12)
      let value = map.value(key) { step }
      if let place = list.firstIndex(where: { $0.key == key }) {
        let known = list.remove(at: place)
        #expect(value == known.value)
        list.append(known)
      } else {
        #expect(value == step)
        if list.count == capacity { list.removeFirst() }
        list.append((key, step))
      }
      #expect(map.count == list.count)
    }
  }
}
