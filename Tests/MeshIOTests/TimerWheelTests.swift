import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshIO

@Suite("TimerWheel")
struct TimerWheelTests {
  private static let tick: UInt64 = 1 << TimerWheel.tickBits

  /// The wheel does not own its entries, and the optimiser ends a local's life at its last use: each test extends it.
  private final class Entry: TimerEntry {
    let id: Int
    init(_ id: Int) { self.id = id }
  }

  private static func drain(_ wheel: inout TimerWheel) -> [Int] {
    var ids: [Int] = []
    while let entry = wheel.popExpired() {
      #expect(!entry.isLinked)
      #expect(entry.deadline == .never)
      ids.append((entry as? Entry)?.id ?? -1)
    }
    return ids
  }

  @Test("never early, at most one tick late, for every level")
  func exactness() {
    var random = SeededRandom(seed: 7)
    for exponent in 0..<58 {
      let start = random.next(below: 1 << 40)
      var wheel = TimerWheel(now: MonotonicTime(nanoseconds: start))
      let entry = Entry(exponent)
      defer { withExtendedLifetime(entry) {} }
      let deadline = start + (1 << UInt64(exponent)) + random.next(below: 1 << UInt64(exponent))
      wheel.arm(entry, at: MonotonicTime(nanoseconds: deadline))
      // Follow the wheel's own wake-ups, as the loop does.
      var fired: UInt64?
      var steps = 0
      while fired == nil, let next = wheel.nextWakeup {
        if next.nanoseconds > 1 {
          wheel.advance(to: MonotonicTime(nanoseconds: next.nanoseconds - 1))
          #expect(Self.drain(&wheel).isEmpty, "fired before the wake-up")
        }
        wheel.advance(to: next)
        if !Self.drain(&wheel).isEmpty { fired = next.nanoseconds }
        steps += 1
        #expect(steps < 4096)
      }
      guard let fired else {
        Issue.record("2^\(exponent) never fired")
        continue
      }
      #expect(fired >= deadline, "2^\(exponent) fired \(deadline - fired) ns early")
      #expect(fired < deadline + 2 * Self.tick)
      #expect(wheel.count == 0)
      #expect(wheel.nextWakeup == nil)
    }
  }

  @Test("agrees with a plain list under random arming, disarming and time steps", arguments: 0..<60)
  func model(seed: Int) {
    var random = SeededRandom(seed: UInt64(seed))
    // Some runs cross the point where the last level wraps.
    var now: UInt64 = seed % 3 == 0 ? (1 << 56) - random.next(below: 1 << 36) : random.next(below: 1 << 50)
    var wheel = TimerWheel(now: MonotonicTime(nanoseconds: now))
    let entries = (0..<50).map { Entry($0) }
    defer { withExtendedLifetime(entries) {} }
    var model: [Int: UInt64] = [:]
    for _ in 0..<2000 {
      switch random.next(below: 10) {
      case 0..<5:
        let id = Int(random.next(below: 50))
        let span = random.next(below: 1 << (10 + random.next(below: 40)))
        wheel.arm(entries[id], at: MonotonicTime(nanoseconds: now + span))
        model[id] = now + span
      case 5:
        let id = Int(random.next(below: 50))
        entries[id].deadline = .never
        model[id] = nil
      case 6:
        let id = Int(random.next(below: 50))
        wheel.remove(entries[id])
        #expect(!entries[id].isLinked)
        model[id] = nil
      default:
        if let next = wheel.nextWakeup, let earliest = model.values.min() {
          #expect(next.nanoseconds < max(earliest, now) + 2 * Self.tick, "the wake-up is later than a deadline")
        } else {
          #expect(model.isEmpty)
        }
        now += random.next(below: 1 << (10 + random.next(below: 38)))
        wheel.advance(to: MonotonicTime(nanoseconds: now))
        for id in Self.drain(&wheel) {
          let deadline = model.removeValue(forKey: id)
          #expect(deadline != nil, "\(id) fired without being armed")
          if let deadline { #expect(deadline <= now, "\(id) fired early") }
        }
        // Whatever is due by more than a tick has fired.
        #expect(model.values.allSatisfy { $0 + 2 * Self.tick > now }, "something is overdue")
      }
    }
    for entry in entries { wheel.remove(entry) }
    #expect(wheel.count == 0)
    #expect(wheel.nextWakeup == nil)
  }

  @Test("moving a deadline later touches no links, and the entry is looked at again in its old slot")
  func lazyLater() {
    var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
    let entry = Entry(1)
    defer { withExtendedLifetime(entry) {} }
    wheel.arm(entry, at: MonotonicTime(nanoseconds: 10 * Self.tick))
    wheel.arm(entry, at: MonotonicTime(nanoseconds: 1000 * Self.tick))
    #expect(wheel.nextWakeup == MonotonicTime(nanoseconds: 10 * Self.tick))
    wheel.advance(to: MonotonicTime(nanoseconds: 10 * Self.tick))
    #expect(Self.drain(&wheel).isEmpty)
    #expect(wheel.count == 1)
    wheel.advance(to: MonotonicTime(nanoseconds: 1000 * Self.tick - 1))
    #expect(Self.drain(&wheel).isEmpty)
    wheel.advance(to: MonotonicTime(nanoseconds: 1000 * Self.tick))
    #expect(Self.drain(&wheel) == [1])
  }

  @Test("moving a deadline earlier takes effect")
  func earlier() {
    var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
    let entry = Entry(1)
    defer { withExtendedLifetime(entry) {} }
    wheel.arm(entry, at: MonotonicTime(nanoseconds: 100_000 * Self.tick))
    wheel.arm(entry, at: MonotonicTime(nanoseconds: 3 * Self.tick))
    wheel.advance(to: MonotonicTime(nanoseconds: 3 * Self.tick))
    #expect(Self.drain(&wheel) == [1])
  }

  @Test("a disarmed entry is dropped when its slot comes up, and costs no further wake-up")
  func disarmed() {
    var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
    let entry = Entry(1)
    defer { withExtendedLifetime(entry) {} }
    wheel.arm(entry, at: MonotonicTime(nanoseconds: 5 * Self.tick))
    entry.deadline = .never
    wheel.advance(to: MonotonicTime(nanoseconds: 5 * Self.tick))
    #expect(Self.drain(&wheel).isEmpty)
    #expect(!entry.isLinked)
    #expect(wheel.nextWakeup == nil)
  }

  @Test("disarming or moving an entry that has expired but was not popped yet keeps it from firing")
  func changedWhileExpired() {
    var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
    let entries = (0..<3).map { Entry($0) }
    defer { withExtendedLifetime(entries) {} }
    for entry in entries { wheel.arm(entry, at: MonotonicTime(nanoseconds: Self.tick)) }
    wheel.advance(to: MonotonicTime(nanoseconds: Self.tick))
    entries[0].deadline = .never
    wheel.arm(entries[1], at: MonotonicTime(nanoseconds: 9 * Self.tick))
    #expect(Self.drain(&wheel) == [2])
    wheel.advance(to: MonotonicTime(nanoseconds: 9 * Self.tick))
    #expect(Self.drain(&wheel) == [1])
  }

  @Test("an entry armed for the past fires at the next tick, not in the same turn")
  func armedForThePast() {
    var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 50 * Self.tick))
    let entry = Entry(1)
    defer { withExtendedLifetime(entry) {} }
    wheel.arm(entry, at: MonotonicTime(nanoseconds: 1))
    wheel.advance(to: MonotonicTime(nanoseconds: 50 * Self.tick))
    #expect(wheel.popExpired() == nil)
    wheel.advance(to: MonotonicTime(nanoseconds: 51 * Self.tick))
    #expect(Self.drain(&wheel) == [1])
  }

  @Test("a hundred thousand entries")
  func many() {
    var random = SeededRandom(seed: 3)
    var wheel = TimerWheel(now: MonotonicTime(nanoseconds: 0))
    let entries = (0..<100_000).map { Entry($0) }
    defer { withExtendedLifetime(entries) {} }
    for entry in entries {
      wheel.arm(entry, at: MonotonicTime(nanoseconds: random.next(below: 60_000_000_000)))
    }
    #expect(wheel.count == 100_000)
    var fired = 0
    for second in 1...61 {
      wheel.advance(to: MonotonicTime(nanoseconds: UInt64(second) * 1_000_000_000))
      while wheel.popExpired() != nil { fired += 1 }
    }
    #expect(fired == 100_000)
  }
}
