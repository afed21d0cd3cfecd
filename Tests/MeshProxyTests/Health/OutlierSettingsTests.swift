import MeshConfig
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

/// What workers count, and when they report.
@Suite("Outlier detection: counting", .timeLimit(.minutes(1)))
struct OutlierSettingsTests {
  private let runtime = Runtime()

  private func settings(splits: Bool = false, _ values: [OutlierSettings.Name: UInt64] = [:]) -> OutlierSettings {
    let standard: [OutlierSettings.Name: UInt64] = [
      .consecutive5xx: 5, .consecutiveGatewayFailure: 3, .consecutiveLocalOriginFailure: 2, .enforcing5xx: 100,
      .enforcingLocalOriginFailure: 100,
    ]
    return OutlierSettings(
      cluster: "c",
      settings: OutlierSettings.Name.allCases.map {
        .init(value: runtime.value("key.\($0)"), fallback: values[$0] ?? standard[$0] ?? 0)
      }, splitsErrors: splits, alwaysEjectsOne: false, checkEndsEjection: true, reports: Mailbox())
  }

  private func judge(
    _ settings: OutlierSettings, _ outcomes: EndpointIdentity, _ results: [UpstreamResult],
    isOnProbation: Bool = false
  ) -> [OutlierSettings.Verdict] {
    var verdicts: [OutlierSettings.Verdict] = []
    for result in results { verdicts.append(settings.judge(result, outcomes.outcomes, isOnProbation: isOnProbation)) }
    return verdicts
  }

  private func reached(_ types: EjectionType...) -> OutlierSettings.Verdict {
    .reached(types.reduce(into: []) { $0.insert(EjectionTypes($1)) })
  }

  @Test func aRowOfFailuresIsReportedOnce() {
    let outcomes = EndpointIdentity(lanes: 1)
    let all = judge(settings(), outcomes, [UpstreamResult](repeating: .status(500), count: 7))
    #expect(all == [.nothing, .nothing, .nothing, .nothing, reached(.consecutive5xx), .nothing, .nothing])
  }

  @Test func aSuccessInterruptsARow() {
    let outcomes = EndpointIdentity(lanes: 1)
    let four = [UpstreamResult](repeating: .status(599), count: 4)
    #expect(judge(settings(), outcomes, four + [.status(499)] + four).allSatisfy { $0 == .nothing })
    #expect(judge(settings(), outcomes, [.status(500)]) == [reached(.consecutive5xx)])
  }

  @Test func gatewayFailuresAreBoth() {
    let outcomes = EndpointIdentity(lanes: 1)
    #expect(
      judge(settings(), outcomes, [.status(502), .status(503), .status(504), .status(503), .status(502)]) == [
        .nothing, .nothing, reached(.consecutiveGatewayFailure), .nothing, reached(.consecutive5xx),
      ])
    // Both at once, and another 5xx begins the row of the gateway anew.
    let others = EndpointIdentity(lanes: 1)
    #expect(
      judge(settings(), others, [.status(503), .status(500), .status(503), .status(503), .status(503)]) == [
        .nothing, .nothing, .nothing, .nothing, reached(.consecutiveGatewayFailure, .consecutive5xx),
      ])
  }

  @Test func whatIsNoResponseCountsAsOne() {
    let outcomes = EndpointIdentity(lanes: 1)
    #expect(
      judge(
        settings(), outcomes,
        [.failed(.remoteConnectionFailure), .timedOut, .connected, .failed(.connectionTermination)])
        == [.nothing, .nothing, .nothing, reached(.consecutiveGatewayFailure)])
    // The circuit breaker's refusal says nothing of the endpoint.
    #expect(judge(settings(), outcomes, [.failed(.overflow), .failed(.overflow)]) == [.nothing, .nothing])
    // A connection that carries bytes is all that there will be to know.
    #expect(judge(settings(), outcomes, [.session, .status(500)]) == [.nothing, .nothing])
  }

  @Test func apartTheyHaveRowsOfTheirOwn() {
    let outcomes = EndpointIdentity(lanes: 1)
    #expect(
      judge(
        settings(splits: true), outcomes,
        [.failed(.connectionTimeout), .status(500), .status(200), .timedOut, .timedOut]
      ) == [.nothing, .nothing, .nothing, reached(.consecutiveLocalOriginFailure), .nothing])
    #expect(judge(settings(splits: true), outcomes, [.connected, .timedOut]) == [.nothing, .nothing])
    let windows = outcomes.outcomes.takeWindows()
    #expect(windows.responses == .init(total: 2, successes: 1))
  }

  @Test func theRuntimeReplacesThresholds() {
    let settings = settings()
    runtime.update([.init(name: "l", entries: ["key.consecutive5xx": RuntimeEntry("1")])])
    let outcomes = EndpointIdentity(lanes: 1)
    #expect(judge(settings, outcomes, [.status(500)]) == [reached(.consecutive5xx)])
  }

  @Test func onProbationOneAnswerDecides() {
    let outcomes = EndpointIdentity(lanes: 1)
    func verdict(_ result: UpstreamResult, splits: Bool = false) -> OutlierSettings.Verdict {
      judge(settings(splits: splits), outcomes, [result], isOnProbation: true)[0]
    }
    #expect(verdict(.status(200)) == .proven)
    #expect(verdict(.status(404)) == .proven)
    #expect(verdict(.status(500)) == reached(.consecutive5xx))
    // Failures of a gateway are not enforced, but they are failures.
    #expect(verdict(.status(503)) == reached(.consecutive5xx))
    #expect(verdict(.connected) == .nothing)
    #expect(verdict(.session) == .proven)
    #expect(verdict(.timedOut, splits: true) == reached(.consecutiveLocalOriginFailure))
    // What nobody is ejected for is no reason to keep an endpoint out.
    let lenient = settings([.enforcing5xx: 0])
    #expect(judge(lenient, outcomes, [.status(500)], isOnProbation: true) == [.proven])
  }

  @Test func windowsAreTakenOnce() {
    let outcomes = EndpointOutcomes()
    for _ in 0..<3 { outcomes.succeeded() }
    _ = outcomes.failed(isGateway: false)
    outcomes.connected()
    let windows = outcomes.takeWindows()
    #expect(windows.responses == .init(total: 4, successes: 3))
    #expect(windows.responses.successRate == 75)
    #expect(windows.connections == .init(total: 1, successes: 1))
    let next = outcomes.takeWindows()
    #expect(next.responses.successRate == nil)
  }

  @Test func rowsCanBeBegunAnew() {
    let outcomes = EndpointOutcomes()
    for _ in 0..<3 { _ = outcomes.failed(isGateway: true) }
    outcomes.resetRow(.consecutive5xx)
    let fourth = outcomes.failed(isGateway: true)
    #expect(fourth == (1, 4))
    outcomes.resetRow(.consecutiveGatewayFailure)
    let fifth = outcomes.failed(isGateway: true)
    #expect(fifth == (2, 1))
    _ = outcomes.connectionFailed()
    outcomes.resetRow(.consecutiveLocalOriginFailure)
    let connections = outcomes.connectionFailed()
    #expect(connections == 1)
    outcomes.resetRows()
    let last = outcomes.failed(isGateway: false)
    #expect(last == (1, 0))
  }

  /// Many threads count failures; each number of a row is seen once, so that a threshold is reported once.
  @Test func threadsCountTogether() async throws {
    let identity = EndpointIdentity(lanes: 1)
    let seen = Monitor<[UInt64]>([])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          try await blocking {
            var mine: [UInt64] = []
            for _ in 0..<1000 { mine.append(identity.outcomes.failed(isGateway: true).all) }
            seen.change { [mine] in $0 += mine }
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(seen.read { $0.sorted() } == Array(1...4000))
    let windows = identity.outcomes.takeWindows()
    #expect(windows.responses.total == 4000)
  }

  // MARK: The gate

  @Test func oneProbeAtATime() {
    let identity = EndpointIdentity(lanes: 1)
    func enters(_ milliseconds: UInt64) -> Bool {
      identity.probes.enter(MonotonicTime(nanoseconds: milliseconds * 1_000_000))
    }
    #expect(enters(5000))
    #expect(!enters(5000))
    #expect(!enters(5999))
    // Nobody has come to a verdict.
    #expect(enters(6000))
    identity.probes.open()
    #expect(enters(6001) && enters(6001))
    identity.probes.reset()
    #expect(enters(6002))
    #expect(!enters(6003))
  }
}
