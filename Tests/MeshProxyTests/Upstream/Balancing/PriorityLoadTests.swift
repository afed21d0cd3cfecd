import Testing

@testable import MeshProxy

@Suite("The load of priorities")
struct PriorityLoadTests {
  private func level(
    _ healthy: Int, of hosts: Int, degraded: Int = 0, excluded: Int = 0, factor: UInt32 = 140
  ) -> PriorityLoad.Health {
    PriorityLoad.Health(
      hosts: hosts, healthy: healthy, degraded: degraded, excluded: excluded, overprovisioning: factor)
  }

  private func shares(_ levels: [PriorityLoad.Health], panic: UInt32 = 50) -> [UInt32] {
    PriorityLoad(levels, panicThreshold: panic).healthy
  }

  /// The table of Envoy's documentation for two priorities.
  @Test(
    "as much as the healthy endpoints can carry, the rest to the next",
    arguments: [(100, 100, 0), (72, 100, 0), (71, 99, 1), (50, 70, 30), (25, 35, 65), (0, 0, 100)])
  func spill(_ healthy: Int, _ first: UInt32, _ second: UInt32) {
    #expect(shares([level(healthy, of: 100), level(100, of: 100)]) == [first, second])
  }

  @Test("if all together can carry less than everything, each gets its part of it")
  func scaled() {
    // 35 % and 70 % are 105; 28 % and 28 % are 56.
    #expect(shares([level(25, of: 100), level(50, of: 100)]) == [35, 65])
    #expect(shares([level(20, of: 100), level(20, of: 100)], panic: 0) == [50, 50])
    // What rounding leaves is the first one's.
    let three = shares([level(10, of: 100), level(10, of: 100), level(10, of: 100)], panic: 0)
    #expect(three == [34, 33, 33])
  }

  @Test("degraded endpoints get what healthy ones cannot carry")
  func degraded() {
    let load = PriorityLoad(
      [level(5, of: 10, degraded: 5), level(0, of: 10, degraded: 10)], panicThreshold: 50)
    #expect(load.healthy == [70, 0])
    #expect(load.degraded == [30, 0])
    let only = PriorityLoad([level(0, of: 2, degraded: 2)], panicThreshold: 50)
    #expect(only.healthy == [0])
    #expect(only.only == PriorityLoad.Place(priority: 0, isDegraded: true))
  }

  @Test("below the threshold health does not count, unless others carry the whole load")
  func panic() {
    let alone = PriorityLoad([level(1, of: 3)], panicThreshold: 50)
    #expect(alone.panics == [true])
    #expect(alone.healthy == [100])
    let helped = PriorityLoad([level(1, of: 3), level(3, of: 3)], panicThreshold: 50)
    #expect(helped.panics == [false, false])
    #expect(helped.healthy == [46, 54])
    // One of two priorities: 46 % and 46 % are less than all.
    let half = PriorityLoad([level(1, of: 3), level(2, of: 6)], panicThreshold: 34)
    #expect(half.panics == [true, true])
    // All in panic: by number of endpoints.
    #expect(half.healthy == [34, 66])
    let mixed = PriorityLoad([level(1, of: 10), level(2, of: 6)], panicThreshold: 30)
    #expect(mixed.panics == [true, false])
    #expect(mixed.healthy == [24, 76])
  }

  @Test("with panic switched off there is nobody if nobody is healthy")
  func nobody() {
    let load = PriorityLoad([level(0, of: 3), level(0, of: 2)], panicThreshold: 0)
    #expect(load.panics == [false, false])
    #expect(load.healthy == [100, 0])
    #expect(PriorityLoad([level(0, of: 0)], panicThreshold: 50).healthy == [100])
  }

  @Test("excluded endpoints are not expected to be healthy")
  func excluded() {
    #expect(shares([level(5, of: 10, excluded: 5), level(1, of: 1)]) == [100, 0])
    // All of them: nobody is there.
    #expect(shares([level(0, of: 5, excluded: 5), level(1, of: 1)]) == [0, 100])
  }

  @Test("an overprovisioning factor of 100 leaves no margin")
  func overprovisioning() {
    #expect(shares([level(9, of: 10, factor: 100), level(1, of: 1, factor: 100)]) == [90, 10])
    #expect(shares([level(1, of: 1000, factor: .max), level(1, of: 1)]) == [100, 0])
  }

  @Test("by weight, where that is asked for")
  func weighted() {
    var first = level(1, of: 2)
    first.isWeighted = true
    first.healthyWeight = 9
    first.weight = 10
    #expect(shares([first, level(1, of: 1)]) == [100, 0])
    first.healthyWeight = 1
    #expect(shares([first, level(1, of: 1)]) == [14, 86])
    first.healthyWeight = .max / 2
    first.weight = .max / 2
    #expect(shares([first, level(1, of: 1)]) == [100, 0])
  }

  @Test("a number has its place: healthy priorities first, then degraded")
  func places() {
    let load = PriorityLoad(
      [level(5, of: 10, degraded: 1), level(1, of: 10, degraded: 4)], panicThreshold: 0)
    #expect(load.healthy == [70, 14])
    #expect(load.degraded == [14, 2])
    #expect(load.place(0) == PriorityLoad.Place(priority: 0))
    #expect(load.place(69) == PriorityLoad.Place(priority: 0))
    #expect(load.place(70) == PriorityLoad.Place(priority: 1))
    #expect(load.place(84) == PriorityLoad.Place(priority: 0, isDegraded: true))
    #expect(load.place(98) == PriorityLoad.Place(priority: 1, isDegraded: true))
    #expect(load.place(100) == load.place(0))
    #expect(load.only == nil)
  }

  @Test("without the priorities that were tried, unless nothing is left")
  func tried() {
    let load = PriorityLoad([level(2, of: 2), level(1, of: 2), level(2, of: 2)], panicThreshold: 50)
    #expect(load.healthy == [100, 0, 0])
    #expect(load.excluding([0]).healthy == [0, 70, 30])
    #expect(load.excluding([0, 1]).healthy == [0, 0, 100])
    #expect(load.excluding([0, 1, 2]) == load)
    #expect(load.excluding([7]).healthy == [100, 0, 0])
  }
}
