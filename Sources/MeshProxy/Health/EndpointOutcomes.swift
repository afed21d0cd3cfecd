import Synchronization

/// What has come of requests to one endpoint, as outlier detection counts it: all workers together, one atomic addition
/// for each response. Threads: any.
struct EndpointOutcomes: ~Copyable, Sendable {
  /// Requests of an interval.
  struct Window: Equatable, Sendable {
    var total: UInt64
    var successes: UInt64

    /// In percent; nil if there was no request.
    var successRate: Double? { total == 0 ? nil : Double(successes) * 100 / Double(total) }
  }

  /// Responses that failed in a row: all in the low half, in the high half those at the end of it that were a gateway's.
  private let failures = Atomic<UInt64>(0)
  /// Failures to connect and the like in a row.
  private let localFailures = Atomic<UInt64>(0)
  /// Responses since the last look: all in the high half, those that succeeded in the low half.
  private let responses = Atomic<UInt64>(0)
  /// The same of connections.
  private let connections = Atomic<UInt64>(0)

  private static let half: UInt64 = 0xffff_ffff

  /// A response that is no failure. Most responses: one addition, and a load.
  @inline(__always)
  func succeeded() {
    responses.wrappingAdd(1 << 32 | 1, ordering: .relaxed)
    if failures.load(ordering: .relaxed) != 0 { failures.store(0, ordering: .relaxed) }
  }

  /// A response that is one.
  /// - Returns: how many there have been in a row now, and how many of a gateway. Each number is returned once, however
  ///   many workers count at the same time, so that exactly one of them reaches a threshold.
  func failed(isGateway: Bool) -> (all: UInt64, gateway: UInt64) {
    responses.wrappingAdd(1 << 32, ordering: .relaxed)
    var old = failures.load(ordering: .relaxed)
    while true {
      let all = min(old & Self.half + 1, Self.half)
      let gateway = isGateway ? min(old >> 32 + 1, Self.half) : 0
      let result = failures.weakCompareExchange(expected: old, desired: gateway << 32 | all, ordering: .relaxed)
      if result.exchanged { return (all, gateway) }
      old = result.original
    }
  }

  /// A connection is there.
  @inline(__always)
  func connected() {
    connections.wrappingAdd(1 << 32 | 1, ordering: .relaxed)
    if localFailures.load(ordering: .relaxed) != 0 { localFailures.store(0, ordering: .relaxed) }
  }

  /// There was no connection, it was lost, or it brought no answer in time.
  /// - Returns: how many of these there have been in a row.
  func connectionFailed() -> UInt64 {
    connections.wrappingAdd(1 << 32, ordering: .relaxed)
    return localFailures.wrappingAdd(1, ordering: .relaxed).newValue
  }

  /// Begins rows of one kind anew.
  func resetRow(_ type: EjectionType) {
    switch type {
    case .consecutive5xx: _ = failures.bitwiseAnd(~Self.half, ordering: .relaxed)
    case .consecutiveGatewayFailure: _ = failures.bitwiseAnd(Self.half, ordering: .relaxed)
    case .consecutiveLocalOriginFailure: localFailures.store(0, ordering: .relaxed)
    case .failurePercentage, .failurePercentageLocalOrigin: break
    }
  }

  /// Begins all rows anew.
  func resetRows() {
    failures.store(0, ordering: .relaxed)
    localFailures.store(0, ordering: .relaxed)
  }

  /// What has come since the last call, of responses and of connections. Main thread.
  func takeWindows() -> (responses: Window, connections: Window) {
    func window(_ packed: UInt64) -> Window { Window(total: packed >> 32, successes: packed & Self.half) }
    return (
      window(responses.exchange(0, ordering: .relaxed)), window(connections.exchange(0, ordering: .relaxed))
    )
  }
}
