import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Ejections")
struct EjectionsTests {
  private typealias Limits = Ejections<String>.Limits

  private func time(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }

  /// A value that expectations can look at while it changes.
  private final class Cluster {
    var ejections = Ejections<String>()

    var active: Int { ejections.active }
    var records: [String: Ejections<String>.Record] { ejections.records }
    func take(_ names: [String]) { ejections.take(names) }
    func due(_ now: MonotonicTime, _ limits: Limits) -> [String] { ejections.due(now, limits) }
    func end(_ name: String, _ now: MonotonicTime) -> Bool { ejections.end(name, now) }
    func decay(_ now: MonotonicTime, _ limits: Limits) { ejections.decay(now, limits) }
  }

  private func ejections(_ count: Int) -> Cluster {
    let cluster = Cluster()
    cluster.take((0..<count).map { "\($0)" })
    return cluster
  }

  private func eject(
    _ cluster: Cluster, _ name: String, at seconds: UInt64 = 0, _ limits: Limits = Limits(),
    chance: UInt64 = 0, percent: UInt64 = 100, jitter: Nanoseconds = .zero
  ) -> Ejections<String>.Decision {
    cluster.ejections.eject(
      name, .consecutive5xx, time(seconds), limits, chance: chance, percent: percent, jitter: jitter)
  }

  @Test func theDefaultEjectsNothingBelowTenEndpoints() {
    let nine = ejections(9)
    #expect(eject(nine, "0") == .refused(.tooMany(ejected: 0, of: 9, percent: 10)))
    let ten = ejections(10)
    #expect(eject(ten, "0") == .ejected(.seconds(30)))
    #expect(eject(ten, "1") == .refused(.tooMany(ejected: 1, of: 10, percent: 10)))
    #expect(ten.active == 1)
  }

  @Test func oneIsAlwaysEjectedIfThatIsAskedFor() {
    var limits = Limits()
    limits.maximumPercent = 0
    limits.alwaysEjectsOne = true
    let three = ejections(3)
    #expect(eject(three, "0", limits) == .ejected(.seconds(30)))
    #expect(eject(three, "1", limits) == .refused(.tooMany(ejected: 1, of: 3, percent: 0)))
  }

  @Test func whatIsEjectedOrGoneIsNotEjected() {
    var limits = Limits()
    limits.maximumPercent = 100
    let two = ejections(2)
    #expect(eject(two, "0", limits) == .ejected(.seconds(30)))
    #expect(eject(two, "0", limits) == .nothing)
    #expect(eject(two, "unknown", limits) == .nothing)
    // More than all is all.
    limits.maximumPercent = .max
    #expect(eject(two, "1", limits) == .ejected(.seconds(30)))
  }

  @Test func chanceDecidesLast() {
    var limits = Limits()
    limits.maximumPercent = 100
    let one = ejections(1)
    #expect(eject(one, "0", limits, chance: 30, percent: 30) == .refused(.notEnforced(percent: 30)))
    #expect(eject(one, "0", limits, chance: 0, percent: 0) == .refused(.notEnforced(percent: 0)))
    #expect(eject(one, "0", limits, chance: 29, percent: 30) == .ejected(.seconds(30)))
    limits.maximumPercent = 0
    let other = ejections(1)
    #expect(
      eject(other, "0", limits, chance: 99, percent: 0) == .refused(.tooMany(ejected: 0, of: 1, percent: 0)))
  }

  @Test func timesGrowAndShrink() {
    var limits = Limits()
    limits.maximumPercent = 100
    limits.baseTime = .seconds(10)
    limits.maximumTime = .seconds(25)
    let one = ejections(1)
    #expect(eject(one, "0", at: 0, limits) == .ejected(.seconds(10)))
    #expect(one.due(time(9), limits) == [])
    #expect(one.due(time(10), limits) == ["0"])
    #expect(one.end("0", time(10)))
    #expect(!one.end("0", time(10)))
    #expect(eject(one, "0", at: 10, limits) == .ejected(.seconds(20)))
    #expect(one.end("0", time(30)))
    #expect(eject(one, "0", at: 30, limits) == .ejected(.seconds(25)))
    #expect(one.end("0", time(55)))
    #expect(eject(one, "0", at: 55, limits) == .ejected(.seconds(25)))
    #expect(one.records["0"]?.count == 4)
    // Bounded: as many healthy intervals as it takes to get over the longest bring it back.
    #expect(one.records["0"]?.multiplier == 4)
    #expect(one.end("0", time(80)))
    one.decay(time(89), limits)
    #expect(one.records["0"]?.multiplier == 4)
    for (interval, expected) in [3, 2, 1, 0, 0].enumerated() {
      one.decay(time(90 + UInt64(interval) * 10), limits)
      #expect(one.records["0"]?.multiplier == UInt64(expected))
    }
    #expect(eject(one, "0", at: 200, limits) == .ejected(.seconds(10)))
  }

  @Test func jitterIsAddedToTheLongestTimeToo() {
    var limits = Limits()
    limits.maximumPercent = 100
    limits.baseTime = .seconds(10)
    limits.maximumTime = .seconds(10)
    let one = ejections(1)
    #expect(eject(one, "0", limits, jitter: .seconds(3)) == .ejected(.seconds(13)))
    #expect(one.due(time(12), limits) == [])
    // The configuration may change meanwhile.
    limits.baseTime = .seconds(1)
    #expect(one.due(time(4), limits) == ["0"])
  }

  @Test func noTimeIsTooLongToBeComputed() {
    var limits = Limits()
    limits.maximumPercent = 100
    limits.baseTime = Nanoseconds(rawValue: .max / 2)
    limits.maximumTime = Nanoseconds(rawValue: .max)
    let one = ejections(1)
    for _ in 0..<5 {
      guard case .ejected = eject(one, "0", limits, jitter: Nanoseconds(rawValue: .max)) else {
        Issue.record("not ejected")
        return
      }
      #expect(one.end("0", .never))
    }
  }

  @Test func endpointsThatGoAreForgotten() {
    var limits = Limits()
    limits.maximumPercent = 100
    let two = ejections(2)
    _ = eject(two, "0", limits)
    two.take(["1", "2"])
    #expect(two.active == 0)
    #expect(two.records["0"] == nil)
    two.take(["0", "1", "2"])
    #expect(two.records["0"] == .init())
  }

  @Test func sharesOfFailures() {
    func failing(_ windows: [(String, UInt64, UInt64)], minimum: UInt64 = 1, volume: UInt64 = 10) -> [String] {
      Ejections<String>.failing(
        windows.map { (endpoint: $0.0, window: .init(total: $0.1, successes: $0.2)) }, threshold: 50, volume: volume,
        minimum: minimum
      ).map(\.endpoint)
    }
    #expect(failing([("a", 10, 5), ("b", 10, 6), ("c", 9, 0)]) == ["a"])
    // Too few that had enough requests.
    #expect(failing([("a", 10, 0), ("b", 9, 0)], minimum: 2) == [])
    #expect(failing([]) == [])
    // No request is no failure, whatever the volume is.
    #expect(failing([("a", 0, 0)], volume: 0) == [])
  }
}
