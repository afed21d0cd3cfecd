import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite struct RequestBodyClockTests {
  private let runtime = Runtime()
  private let rate: MinimumBodyRate
  private let start = MonotonicTime(nanoseconds: 1_000_000_000)

  init() { rate = MinimumBodyRate(runtime) }

  /// 100 bytes a second, judged each second.
  private func setRate() {
    runtime.update([
      .init(
        name: "test",
        entries: [
          "martlet.http.min_request_body_rate": RuntimeEntry("100"),
          "martlet.http.min_request_body_window_ms": RuntimeEntry("1000"),
        ])
    ])
  }

  private func clock(timeout: Nanoseconds? = nil) -> RequestBodyClock {
    var clock = RequestBodyClock()
    clock.begin(start, timeout: timeout, rate: rate)
    return clock
  }

  @Test func withoutBoundsItNeverRings() {
    #expect(clock().deadline == .never)
  }

  @Test func theTimeoutIsForTheWholeBody() {
    var clock = clock(timeout: .seconds(3))
    #expect(clock.deadline == start + .seconds(3))
    #expect(clock.check(start + .seconds(3), received: 1_000_000, rate: rate) == .timeout)
    #expect(clock.deadline == .never)
  }

  @Test func everyWindowIsJudgedByItself() {
    setRate()
    var clock = clock()
    #expect(clock.deadline == start + .seconds(1))
    #expect(clock.check(start + .seconds(1), received: 100, rate: rate) == .goesOn)
    #expect(clock.deadline == start + .seconds(2))
    #expect(clock.check(start + .seconds(2), received: 500, rate: rate) == .goesOn)
    #expect(clock.check(start + .seconds(3), received: 599, rate: rate) == .tooSlow)
  }

  @Test func aLateLookAsksForMore() {
    setRate()
    var clock = clock()
    #expect(clock.check(start + .seconds(4), received: 399, rate: rate) == .tooSlow)
  }

  @Test func whatTheProxyDidNotReadIsNotMissed() {
    setRate()
    var clock = clock()
    clock.pause(true)
    #expect(clock.check(start + .seconds(1), received: 0, rate: rate) == .goesOn)
    clock.pause(false)
    #expect(clock.check(start + .seconds(2), received: 0, rate: rate) == .goesOn)
    #expect(clock.check(start + .seconds(3), received: 0, rate: rate) == .tooSlow)
  }

  @Test func theTimeoutComesWithinAWindow() {
    setRate()
    var clock = clock(timeout: .milliseconds(1500))
    #expect(clock.check(start + .seconds(1), received: 1000, rate: rate) == .goesOn)
    #expect(clock.deadline == start + .milliseconds(1500))
    #expect(clock.check(start + .milliseconds(1500), received: 2000, rate: rate) == .timeout)
  }

  @Test func aBoundThatGoesAwayIsForgotten() {
    setRate()
    var clock = clock()
    runtime.update([])
    #expect(clock.check(start + .seconds(1), received: 0, rate: rate) == .goesOn)
    #expect(clock.deadline == .never)
  }
}
