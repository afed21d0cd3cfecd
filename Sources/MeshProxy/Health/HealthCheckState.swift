/// What checks have found out about one endpoint: thresholds and flags. Decides only; no clock, no socket.
struct HealthCheckState: Equatable, Sendable {
  enum FailureKind: Equatable, Sendable {
    /// The endpoint said so.
    case active
    /// A response to a request said so (`x-envoy-immediate-health-check-fail`).
    case passive
    /// No connection, or it was lost.
    case network
    /// No answer in time.
    case timeout

    /// Whether `unhealthy_threshold` counts it.
    var isNetwork: Bool { self == .network || self == .timeout }
  }

  enum Outcome: Equatable, Sendable {
    case success(isDegraded: Bool)
    /// - `isRetriable`: `unhealthy_threshold` counts it, whatever its kind is.
    case failure(FailureKind, isRetriable: Bool)
  }

  enum Transition: Equatable, Sendable {
    case unchanged
    /// On the way to the other state, below the threshold.
    case pending
    /// Others must hear of it.
    case changed
  }

  /// What is logged.
  enum Event: Equatable, Sendable {
    case healthy(isFirst: Bool)
    case unhealthy(FailureKind)
    case success
    case failure(FailureKind, isFirst: Bool)
    case degraded
    case noLongerDegraded
  }

  /// `unhealthy_threshold`, 1….
  var unhealthyThreshold: UInt32
  /// `healthy_threshold`, 1….
  var healthyThreshold: UInt32
  /// Of `HealthFlags.activeHealthCheck`.
  private(set) var flags: HealthFlags
  /// No check has ended yet.
  private(set) var isFirst = true
  private var successes: UInt32 = 0
  private var failures: UInt32 = 0

  init(unhealthyThreshold: UInt32, healthyThreshold: UInt32, flags: HealthFlags) {
    self.unhealthyThreshold = unhealthyThreshold
    self.healthyThreshold = healthyThreshold
    self.flags = flags
  }

  var isFailed: Bool { flags.contains(.failedActiveHealthCheck) }
  var isDegraded: Bool { flags.contains(.degradedActiveHealthCheck) }

  /// Takes what has come of a check.
  /// - Returns: what that has changed, and what there is to log: every success and failure is among it, whoever logs
  ///   chooses.
  mutating func take(_ outcome: Outcome) -> (transition: Transition, events: [Event]) {
    switch outcome {
    case .success(let isDegraded): succeeded(isDegraded: isDegraded)
    case .failure(let kind, let isRetriable): failed(kind, isRetriable: isRetriable)
    }
  }

  /// The endpoint wants to be left out.
  mutating func exclude() { flags.insert(.excludedByHealthCheck) }

  private mutating func succeeded(isDegraded: Bool) -> (Transition, [Event]) {
    failures = 0
    var transition = Transition.unchanged
    var events: [Event] = []
    if isFailed {
      successes &+= 1
      // At the start one success is enough.
      if isFirst || successes >= healthyThreshold {
        flags.subtract([.failedActiveHealthCheck, .activeHealthCheckTimedOut, .excludedByHealthCheck])
        transition = .changed
        events.append(.healthy(isFirst: isFirst))
      } else {
        transition = .pending
      }
    }
    if transition != .changed { events.append(.success) }
    if clearPending() { transition = .changed }
    if isDegraded != self.isDegraded {
      if isDegraded { flags.insert(.degradedActiveHealthCheck) } else { flags.remove(.degradedActiveHealthCheck) }
      events.append(isDegraded ? .degraded : .noLongerDegraded)
      if transition == .unchanged { transition = .changed }
    }
    isFirst = false
    return (transition, events)
  }

  private mutating func failed(_ kind: FailureKind, isRetriable: Bool) -> (Transition, [Event]) {
    successes = 0
    var transition = Transition.unchanged
    var events: [Event] = []
    if !isFailed {
      let isCounted = kind.isNetwork || isRetriable
      if isCounted { failures &+= 1 }
      if !isCounted || failures >= unhealthyThreshold {
        flags.insert(.failedActiveHealthCheck)
        transition = .changed
        events.append(.unhealthy(kind))
      } else {
        transition = .pending
      }
    }
    if kind == .timeout, isFailed {
      flags.insert(.activeHealthCheckTimedOut)
    } else {
      flags.remove(.activeHealthCheckTimedOut)
    }
    if clearPending() { transition = .changed }
    events.append(.failure(kind, isFirst: isFirst))
    isFirst = false
    return (transition, events)
  }

  private mutating func clearPending() -> Bool { flags.remove(.pendingActiveHealthCheck) != nil }
}
