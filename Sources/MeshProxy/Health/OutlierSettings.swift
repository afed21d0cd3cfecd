import MeshHTTP
import MeshIO
import MeshPrimitives

/// `Cluster.outlier_detection`, compiled, and how workers judge what comes of requests. Immutable but for the runtime's
/// values; shared by all threads.
final class OutlierSettings: Sendable {
  /// A number that a runtime key may replace.
  struct Setting: Sendable {
    let value: RuntimeValue
    let fallback: UInt64
    /// Whether the configuration has it.
    var isGiven = false

    var current: UInt64 { value.integer(or: fallback) }
    /// The same in milliseconds.
    var time: Nanoseconds {
      let (nanoseconds, overflow) = current.multipliedReportingOverflow(by: 1_000_000)
      return Nanoseconds(rawValue: overflow ? .max / 4 : min(nanoseconds, .max / 4))
    }
  }

  /// What each limit, threshold and time is called (`OutlierDetection`).
  enum Name: Int, CaseIterable, Sendable {
    case interval, baseEjectionTime, maximumEjectionTime, maximumJitter, maximumPercent
    case consecutive5xx, consecutiveGatewayFailure, consecutiveLocalOriginFailure
    case enforcing5xx, enforcingGatewayFailure, enforcingLocalOriginFailure
    case enforcingFailurePercentage, enforcingFailurePercentageLocalOrigin
    case failurePercentageThreshold, failurePercentageMinimumHosts, failurePercentageVolume
  }

  let cluster: String
  /// By `Name`.
  private let settings: [Setting]
  /// `split_external_local_origin_errors`.
  let splitsErrors: Bool
  /// `always_eject_one_host`.
  let alwaysEjectsOne: Bool
  /// `successful_active_health_check_uneject_host`.
  let checkEndsEjection: Bool
  /// Where workers say what they have found.
  let reports: Mailbox<HealthMonitor>

  init(
    cluster: String, settings: [Setting], splitsErrors: Bool, alwaysEjectsOne: Bool, checkEndsEjection: Bool,
    reports: Mailbox<HealthMonitor>
  ) {
    precondition(settings.count == Name.allCases.count)
    self.cluster = cluster
    self.settings = settings
    self.splitsErrors = splitsErrors
    self.alwaysEjectsOne = alwaysEjectsOne
    self.checkEndsEjection = checkEndsEjection
    self.reports = reports
  }

  subscript(name: Name) -> Setting { settings[name.rawValue] }

  /// The chance that an endpoint is really ejected for a reason, in percent.
  func enforcing(_ type: EjectionType) -> Setting {
    switch type {
    case .consecutive5xx: self[.enforcing5xx]
    case .consecutiveGatewayFailure: self[.enforcingGatewayFailure]
    case .consecutiveLocalOriginFailure: self[.enforcingLocalOriginFailure]
    case .failurePercentage: self[.enforcingFailurePercentage]
    case .failurePercentageLocalOrigin: self[.enforcingFailurePercentageLocalOrigin]
    }
  }

  // MARK: What workers count

  /// Takes what has come of an attempt at an endpoint. On a worker's thread.
  @inline(never)
  func note(_ result: UpstreamResult, _ identity: EndpointIdentity) {
    let verdict = judge(result, identity.outcomes, isOnProbation: identity.health.contains(.onProbation))
    switch verdict {
    case .nothing: break
    case .proven:
      identity.probes.open()
      reports.post { [cluster] in $0.proven(identity, of: cluster) }
    case .reached(let types): reports.post { [cluster] in $0.reached(types, identity, of: cluster) }
    }
  }

  /// What the main thread is to be told.
  enum Verdict: Equatable {
    case nothing
    /// An endpoint on probation has done well.
    case proven
    /// Thresholds have been reached.
    case reached(EjectionTypes)
  }

  /// Counts a result. Threads: any.
  func judge(_ result: UpstreamResult, _ outcomes: borrowing EndpointOutcomes, isOnProbation: Bool) -> Verdict {
    switch result {
    case .status(let status):
      return response(status, outcomes, isOnProbation)
    case .connected:
      // What is asked over the connection says more, unless the two are counted apart.
      if splitsErrors { outcomes.connected() }
      return .nothing
    case .session:
      guard splitsErrors else { return response(200, outcomes, isOnProbation) }
      outcomes.connected()
      return isOnProbation ? .proven : .nothing
    case .failed(.overflow):
      // The cluster's limits say nothing of the endpoint.
      return .nothing
    case .failed:
      return splitsErrors ? localFailure(outcomes, isOnProbation) : response(503, outcomes, isOnProbation)
    case .timedOut:
      return splitsErrors ? localFailure(outcomes, isOnProbation) : response(504, outcomes, isOnProbation)
    }
  }

  @inline(__always)
  private func response(_ status: Int, _ outcomes: borrowing EndpointOutcomes, _ isOnProbation: Bool) -> Verdict {
    guard status >= 500 else {
      outcomes.succeeded()
      return isOnProbation ? .proven : .nothing
    }
    let isGateway = 502...504 ~= status
    let row = outcomes.failed(isGateway: isGateway)
    var kinds: EjectionTypes = EjectionTypes(.consecutive5xx)
    if isGateway { kinds.insert(EjectionTypes(.consecutiveGatewayFailure)) }
    if isOnProbation { return failedProbe(kinds) }
    var reached: EjectionTypes = []
    if isGateway, row.gateway == self[.consecutiveGatewayFailure].current {
      reached.insert(EjectionTypes(.consecutiveGatewayFailure))
    }
    if row.all == self[.consecutive5xx].current { reached.insert(EjectionTypes(.consecutive5xx)) }
    return reached.isEmpty ? .nothing : .reached(reached)
  }

  private func localFailure(_ outcomes: borrowing EndpointOutcomes, _ isOnProbation: Bool) -> Verdict {
    let row = outcomes.connectionFailed()
    if isOnProbation { return failedProbe(EjectionTypes(.consecutiveLocalOriginFailure)) }
    guard row == self[.consecutiveLocalOriginFailure].current else { return .nothing }
    return .reached(EjectionTypes(.consecutiveLocalOriginFailure))
  }

  /// On probation one failure is enough, if it is of a kind that endpoints are ejected for at all.
  private func failedProbe(_ kinds: EjectionTypes) -> Verdict {
    let types = kinds.ordered.filter { enforcing($0).current > 0 }
    guard !types.isEmpty else { return .proven }
    return .reached(types.reduce(into: []) { $0.insert(EjectionTypes($1)) })
  }
}
