import MeshPrimitives
import Testing

@testable import MeshProxy

/// What a state makes of a check.
private struct Step: Equatable {
  var transition: HealthCheckState.Transition
  var events: [HealthCheckState.Event]

  init(_ transition: HealthCheckState.Transition, _ events: [HealthCheckState.Event]) {
    self.transition = transition
    self.events = events
  }
}

/// A state that expectations can look at.
private final class Checked {
  var state: HealthCheckState
  init(_ state: HealthCheckState) { self.state = state }

  func take(_ outcome: HealthCheckState.Outcome) -> Step {
    let (transition, events) = state.take(outcome)
    return Step(transition, events)
  }

  var flags: HealthFlags { state.flags }
  var isFailed: Bool { state.isFailed }
  var isFirst: Bool { state.isFirst }
  var isDegraded: Bool { state.isDegraded }
  func exclude() { state.exclude() }
}

@Suite("Health checks: thresholds and times")
struct HealthCheckStateTests {
  private func fresh(_ flags: HealthFlags = .failedActiveHealthCheck) -> Checked {
    Checked(HealthCheckState(unhealthyThreshold: 3, healthyThreshold: 2, flags: flags))
  }

  private func checked(_ outcome: HealthCheckState.Outcome = .success(isDegraded: false)) -> Checked {
    let state = fresh()
    _ = state.take(outcome)
    return state
  }

  private let network = HealthCheckState.Outcome.failure(.network, isRetriable: false)
  private let success = HealthCheckState.Outcome.success(isDegraded: false)

  @Test func theFirstSuccessIsEnough() {
    let state = fresh()
    #expect(state.take(success) == Step(.changed, [.healthy(isFirst: true)]))
    #expect(!state.isFailed && !state.isFirst)
  }

  @Test func theFirstFailureChangesNothingButThatItIsKnown() {
    let state = fresh()
    #expect(state.take(network) == Step(.unchanged, [.failure(.network, isFirst: true)]))
    // From then on the threshold counts.
    #expect(state.take(success).transition == .pending)
    #expect(state.take(success).events == [.healthy(isFirst: false)])
  }

  @Test func networkFailuresCount() {
    let state = checked()
    #expect(state.take(network).transition == .pending)
    #expect(state.take(.failure(.timeout, isRetriable: false)).transition == .pending)
    #expect(state.take(network) == Step(.changed, [.unhealthy(.network), .failure(.network, isFirst: false)]))
    #expect(state.isFailed)
    #expect(state.take(network).transition == .unchanged)
  }

  @Test func aSuccessInterruptsFailures() {
    let state = checked()
    for _ in 0..<5 {
      #expect(state.take(network).transition == .pending)
      #expect(state.take(network).transition == .pending)
      #expect(state.take(success) == Step(.unchanged, [.success]))
    }
    #expect(!state.isFailed)
  }

  @Test func anAnswerThatIsWrongIsEnough() {
    let state = checked()
    #expect(state.take(.failure(.active, isRetriable: true)).transition == .pending)
    #expect(state.take(.failure(.active, isRetriable: false)).transition == .changed)
    #expect(state.isFailed)
    let other = checked()
    other.exclude()
    #expect(other.take(.failure(.passive, isRetriable: false)).transition == .changed)
    #expect(other.flags == [.failedActiveHealthCheck, .excludedByHealthCheck])
    _ = other.take(success)
    #expect(other.flags.contains(.excludedByHealthCheck))
    _ = other.take(success)
    #expect(other.flags == [])
  }

  @Test func aFailureInterruptsSuccesses() {
    let state = checked(network)
    #expect(state.take(success).transition == .pending)
    #expect(state.take(network).transition == .unchanged)
    #expect(state.take(success).transition == .pending)
    #expect(state.isFailed)
  }

  @Test func timeoutsAreToldFromFailures() {
    let state = fresh()
    _ = state.take(.failure(.timeout, isRetriable: false))
    #expect(state.flags == [.failedActiveHealthCheck, .activeHealthCheckTimedOut])
    _ = state.take(network)
    #expect(state.flags == .failedActiveHealthCheck)
    _ = state.take(.failure(.timeout, isRetriable: false))
    _ = state.take(success)
    #expect(state.flags.contains(.activeHealthCheckTimedOut))
    _ = state.take(success)
    #expect(state.flags == [])
    // Of an endpoint that is healthy so far nothing is shown.
    _ = state.take(.failure(.timeout, isRetriable: false))
    #expect(state.flags == [])
  }

  @Test func degradedEndpointsSaySo() {
    let state = checked()
    #expect(state.take(.success(isDegraded: true)) == Step(.changed, [.success, .degraded]))
    #expect(state.take(.success(isDegraded: true)) == Step(.unchanged, [.success]))
    #expect(state.isDegraded)
    #expect(state.take(success) == Step(.changed, [.success, .noLongerDegraded]))
    let first = fresh()
    #expect(first.take(.success(isDegraded: true)) == Step(.changed, [.healthy(isFirst: true), .degraded]))
    // Below the threshold it stays below.
    let failed = checked(network)
    #expect(failed.take(.success(isDegraded: true)).transition == .pending)
  }

  @Test func whatHasNotBeenCheckedIsKnownAfterwards() {
    let state = fresh([.failedActiveHealthCheck, .pendingActiveHealthCheck])
    #expect(state.take(network).transition == .changed)
    #expect(state.flags == .failedActiveHealthCheck)
  }

  @Test func endpointsThatServedServeOn() {
    let state = fresh([])
    #expect(state.take(network).transition == .pending)
    #expect(state.take(success) == Step(.unchanged, [.success]))
  }

  // MARK: Times

  private let timings: HealthCheckTimings = {
    var timings = HealthCheckTimings()
    timings.interval = .milliseconds(1000)
    timings.unhealthy = .milliseconds(2000)
    timings.unhealthyEdge = .milliseconds(3000)
    timings.healthyEdge = .milliseconds(4000)
    timings.noTraffic = .milliseconds(5000)
    timings.noTrafficHealthy = .milliseconds(6000)
    return timings
  }()

  @Test(arguments: [
    (true, HealthCheckState.Transition.unchanged, true, UInt64(1000)), (true, .changed, true, 1000),
    (true, .pending, true, 4000), (false, .unchanged, true, 2000), (false, .changed, true, 2000),
    (false, .pending, true, 3000), (true, .unchanged, false, 6000), (true, .pending, false, 5000),
    (false, .unchanged, false, 5000), (false, .pending, false, 5000),
  ])
  func intervals(_ succeeded: Bool, _ transition: HealthCheckState.Transition, _ traffic: Bool, _ expected: UInt64) {
    var random = Random(seed: 1)
    #expect(
      timings.delay(succeeded: succeeded, transition, hasTraffic: traffic, &random) == .milliseconds(expected))
  }

  @Test func jitterIsAddedWithinBounds() {
    var timings = timings
    timings.intervalJitter = .milliseconds(100)
    timings.intervalJitterPercent = 50
    var random = Random(seed: 7)
    let delays = (0..<200).map { _ in
      timings.delay(succeeded: true, .unchanged, hasTraffic: true, &random).wholeMilliseconds
    }
    #expect(delays.allSatisfy { (1000..<1600).contains($0) })
    #expect(Set(delays).count > 50)
    timings.maximum = 1200
    timings.minimum = 1100
    let bounded = (0..<200).map { _ in
      timings.delay(succeeded: true, .unchanged, hasTraffic: true, &random).wholeMilliseconds
    }
    #expect(bounded.allSatisfy { (1100...1200).contains($0) })
  }

  @Test func thereIsAlwaysATime() {
    var random = Random(seed: 7)
    var none = HealthCheckTimings()
    none.interval = .zero
    none.intervalJitterPercent = .max
    #expect(none.delay(succeeded: true, .unchanged, hasTraffic: true, &random) == .milliseconds(1))
    none.interval = Nanoseconds(rawValue: .max)
    none.intervalJitter = Nanoseconds(rawValue: .max)
    #expect(none.delay(succeeded: true, .unchanged, hasTraffic: true, &random) > .zero)
    #expect(none.initialDelay(&random) == .zero)
    none.initialJitter = .milliseconds(10)
    #expect((1...10).contains(none.initialDelay(&random).wholeMilliseconds))
  }
}
