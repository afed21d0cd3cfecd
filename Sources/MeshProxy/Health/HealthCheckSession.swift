import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// The checks of one endpoint, one after the other: the clock, the thresholds, and what follows from them. Confined to the
/// main thread.
final class HealthCheckSession: TimerTarget, HealthCheckGate.Waiter {
  private enum Clock: UInt8 { case interval, timeout }

  let settings: HealthCheckSettings
  let endpoint: Endpoint
  let locality: WeightedEndpoint.Locality
  let loop: EventLoop
  let headerMaps: HeaderMapPool
  private unowned let checks: ActiveHealthChecks
  private let cluster: ClusterConfiguration
  private let check: EndpointCheck
  private(set) var state: HealthCheckState
  private var exchange: (any HealthCheckExchange)?
  private let intervalTimer: Timer
  private let timeoutTimer: Timer
  private var isChecking = false
  private var isOver = false
  /// The share of the first interval that is left out, 0..<1: endpoints that began together are checked apart.
  private var phase: Double

  var identity: EndpointIdentity { endpoint.identity }

  init(
    _ weighted: WeightedEndpoint, _ checks: ActiveHealthChecks, _ cluster: ClusterConfiguration,
    _ settings: HealthCheckSettings, loop: EventLoop, headerMaps: HeaderMapPool, phase: Double
  ) {
    endpoint = weighted.endpoint
    locality = weighted.locality
    check = weighted.check
    self.checks = checks
    self.cluster = cluster
    self.settings = settings
    self.loop = loop
    self.headerMaps = headerMaps
    self.phase = phase
    state = HealthCheckState(
      unhealthyThreshold: settings.unhealthyThreshold, healthyThreshold: settings.healthyThreshold,
      flags: endpoint.identity.health.intersection(.activeHealthCheck))
    intervalTimer = Timer(loop, tag: Clock.interval.rawValue)
    timeoutTimer = Timer(loop, tag: Clock.timeout.rawValue)
    intervalTimer.aim(at: self)
    timeoutTimer.aim(at: self)
  }

  /// Begins to check.
  func start() {
    exchange =
      switch settings.kind {
      case .http(let request): HTTPHealthCheck(self, request)
      case .tcp(let exchange): TCPHealthCheck(self, exchange)
      case .grpc(let call): GRPCHealthCheck(self, call)
      }
    let delay = checks.initialDelay()
    if delay == .zero { checks.gate.enter(self) } else { intervalTimer.arm(after: delay) }
  }

  /// Ends the checks; nothing is reported any more.
  func end() {
    guard !isOver else { return }
    isOver = true
    intervalTimer.disarm()
    timeoutTimer.disarm()
    exchange?.abandon()
    if isChecking { checks.gate.leave() }
    isChecking = false
    exchange = nil
  }

  /// Whether it would do the same for this endpoint.
  func serves(_ weighted: WeightedEndpoint) -> Bool {
    weighted.endpoint.address == endpoint.address && weighted.check == check
  }

  // MARK: A check

  func timerFired(_ tag: UInt8) {
    switch Clock(rawValue: tag) {
    case .interval: checks.gate.enter(self)
    case .timeout:
      exchange?.abandon()
      checkEnded(.failure(.timeout, "no answer within \(settings.timings.timeout.text)"))
    case nil: break
    }
  }

  /// There is room for one more check.
  func gateOpened() -> Bool {
    guard !isOver, !isChecking else { return false }
    isChecking = true
    checks.stats.add(.attempt)
    timeoutTimer.arm(after: settings.timings.timeout)
    exchange?.begin()
    return true
  }

  /// The exchange has come to its end.
  func checkEnded(_ result: HealthCheckResult) {
    guard isChecking, !isOver else { return }
    isChecking = false
    timeoutTimer.disarm()
    checks.gate.leave()
    let succeeded = if case .success = result.outcome { true } else { false }
    let transition = take(result)
    guard !isOver else { return }
    var delay = checks.delay(succeeded: succeeded, transition)
    if phase > 0 {
      delay = Nanoseconds(rawValue: max(1_000_000, UInt64(Double(delay.rawValue) * (1 - phase))))
      phase = 0
    }
    intervalTimer.arm(after: delay)
  }

  /// A response to a request says that the endpoint wants to be left out.
  func failPassively() {
    guard !isOver else { return }
    var result = HealthCheckResult.failure(.passive, "a response had x-envoy-immediate-health-check-fail")
    result.isExcluded = true
    _ = take(result)
  }

  private func take(_ result: HealthCheckResult) -> HealthCheckState.Transition {
    let before = state.flags
    if result.isExcluded { state.exclude() }
    let (transition, events) = state.take(result.outcome)
    checks.took(self, result, transition, events, before: before)
    return transition
  }

  // MARK: What exchanges need

  /// The host that a check asks for.
  func host(_ configured: String) -> String {
    if !check.hostname.isEmpty { return check.hostname }
    return configured.isEmpty ? cluster.name : configured
  }

  func makeConnection(_ codec: PoolKey.Codec) -> HealthCheckConnection {
    HealthCheckConnection(
      endpoint, at: check.target(endpoint), of: cluster, codec: codec,
      applicationProtocols: settings.applicationProtocols, timeout: settings.timings.timeout, loop: loop,
      lane: checks.lane, headerMaps: headerMaps)
  }

  func countVerification() { checks.stats.add(.verifyCluster) }

  /// Whether this check belongs to a share that the runtime has; to all without one.
  func includes(_ share: RuntimeValue) -> Bool { checks.random.below(100) < share.integer(or: 100) }

  /// Changes a request's headers.
  func mutate(_ headers: HeaderMap, _ mutations: HeaderMutations) {
    guard !mutations.isEmpty else { return }
    var target = MutationTarget(headers: headers, source: HealthCheckRecord(headers, endpoint, loop))
    mutations.apply(to: &target)
  }

  private struct MutationTarget: HeaderMutationTarget {
    let headers: HeaderMap
    let source: HealthCheckRecord

    func contains(_ name: HeaderName) -> Bool { headers.value(name) != nil }
    func remove(_ name: HeaderName) { headers.remove(name) }
    func append(_ name: HeaderName, _ value: Bytes) { headers.add(name, value) }
    func set(_ name: HeaderName, _ value: Bytes) { headers.set(name, value) }
    func write(_ format: any HeaderValueFormat, into buffer: inout [UInt8]) {
      HeaderFormat.write(format, of: source, into: &buffer)
    }
  }
}

/// What formats in the headers of a check's request are told.
private final class HealthCheckRecord: SubstitutionSource {
  var info = StreamInfo()
  let requestHeaders: HeaderMap

  init(_ headers: HeaderMap, _ endpoint: Endpoint, _ loop: EventLoop) {
    requestHeaders = headers
    info.startedAt = loop.now
    info.startedAtWallClock = loop.wallClock
    info.endpoint = endpoint
  }

  var responseHeaders: HeaderMap? { nil }
  var responseTrailers: HeaderMap? { nil }
  var downstreamWire: WireBytes { WireBytes() }
  var downstreamRoundTrip: Nanoseconds? { nil }
  var localReplyBody: [UInt8] { [] }
  var listenerName: String { "" }
  var filterChainName: String { "" }
  var virtualClusterName: String { "" }
  func randomBits() -> (UInt64, UInt64) { (.random(in: .min ... .max), .random(in: .min ... .max)) }
  func metadata(_ source: SubstitutionMetadataSource) -> Metadata? {
    if case .upstreamHost = source { return info.endpoint?.metadata }
    return nil
  }
}
