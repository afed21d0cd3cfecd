import MeshPrimitives
import Testing

@Suite("What is written of a storm")
struct LogThrottleTests {
  private typealias Throttle = LogThrottle<Int, String>

  private static func at(_ milliseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: 1_000_000_000_000 + milliseconds * 1_000_000)
  }

  @Test func ofEachCauseSoMany() {
    var throttle = Throttle(.init(perCause: 2, total: 10))
    var verdicts: [Throttle.Verdict] = []
    for number in 0..<4 { verdicts.append(throttle.admit(1, at: Self.at(0)) { "one \(number)" }) }
    #expect(verdicts == [.write, .write, .leaveOut(isFirst: true), .leaveOut(isFirst: false)])
    #expect(throttle.admit(2, at: Self.at(500)) { "two" } == .write)
    let remainder = throttle.close()
    #expect(remainder.causes.map(\.count) == [2] && remainder.causes.map(\.sample) == ["one 2"])
    #expect(remainder.others == 0)
  }

  @Test func ofAllTogetherSoMany() {
    var throttle = Throttle(.init(perCause: 2, total: 3))
    let verdicts = (0..<5).map { cause in throttle.admit(cause, at: Self.at(0)) { "\(cause)" } }
    #expect(verdicts.filter { $0 == .write }.count == 3)
    let remainder = throttle.close()
    #expect(remainder.causes.map(\.sample).sorted() == ["3", "4"])
  }

  @Test func causesWithoutRoomAreCountedTogether() {
    var throttle = Throttle(.init(perCause: 1, total: 100, causes: 3))
    for cause in 0..<1000 { _ = throttle.admit(cause, at: Self.at(0)) { "\(cause)" } }
    for _ in 0..<10 { _ = throttle.admit(1, at: Self.at(1)) { "again" } }
    let remainder = throttle.close()
    #expect(remainder.others == 997)
    #expect(remainder.causes.map(\.count) == [10])
  }

  @Test func aSecondEndsByItselfIfNothingWasLeftOut() {
    var throttle = Throttle(.init(perCause: 1, total: 10))
    for second in 0..<5 {
      #expect(throttle.admit(1, at: Self.at(UInt64(second) * 1000)) { "" } == .write)
    }
    #expect(throttle.close().causes.isEmpty)
  }

  @Test func aSecondOfWhichSomethingWasLeftOutLastsUntilItIsClosed() {
    var throttle = Throttle(.init(perCause: 1, total: 10))
    _ = throttle.admit(1, at: Self.at(0)) { "" }
    #expect(throttle.admit(1, at: Self.at(10)) { "" } == .leaveOut(isFirst: true))
    // Whoever closes it is late.
    #expect(throttle.admit(1, at: Self.at(1500)) { "" } == .leaveOut(isFirst: false))
    #expect(throttle.close().causes.map(\.count) == [2])
    #expect(throttle.admit(1, at: Self.at(1501)) { "" } == .write)
    #expect(throttle.admit(1, at: Self.at(1501)) { "" } == .leaveOut(isFirst: true))
  }

  @Test func nothingIsLost() {
    var throttle = LogThrottle<UInt64, UInt64>(.init(perCause: 3, total: 20, causes: 8))
    var seed: UInt64 = 7
    var written = 0
    var told = 0
    var closesAt: UInt64?
    for milliseconds in 0..<20_000 as Range<UInt64> {
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      if let time = closesAt, milliseconds >= time {
        let remainder = throttle.close()
        told += remainder.others + remainder.causes.reduce(0) { $0 + $1.count }
        closesAt = nil
      }
      switch throttle.admit(seed >> 60, at: Self.at(milliseconds), sample: { seed }) {
      case .write: written += 1
      case .leaveOut(let isFirst):
        #expect(isFirst == (closesAt == nil))
        if isFirst { closesAt = milliseconds + 1000 }
      }
    }
    let last = throttle.close()
    told += last.others + last.causes.reduce(0) { $0 + $1.count }
    #expect(written + told == 20_000)
    #expect(written <= 20 * 21)
  }
}
