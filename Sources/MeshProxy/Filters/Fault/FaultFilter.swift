import MeshHTTP
import MeshIO
import MeshPrimitives

/// `envoy.filters.http.fault`: delays and aborts requests and slows responses down on purpose, to see what callers make of
/// it. A request that is to be delayed and aborted is first delayed, then aborted. Sets DI and FI, counts in
/// `http.<stat_prefix>.fault.…`.
final class FaultFilter: StreamFilter, TimerTarget {
  final class Configuration: FilterConfiguration {
    let settings: FaultSettings
    let stats: StatBlock<FaultStat>
    let callers: FaultCallers
    let active = CircuitBreaker.Gate()
    private let lease: StatsLease

    init(settings: FaultSettings, statPrefix: String, store: StatsStore) {
      let scope = "http.\(statPrefix).fault"
      let labels = [(name: "envoy_http_conn_manager_prefix", value: statPrefix)]
      self.settings = settings
      stats = store.scope(scope, prometheus: PrometheusScope("envoy_http_fault", labels: labels))
      lease = store.lease(scope)
      callers = FaultCallers(scope: scope, labels: labels, store: store)
    }

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      FaultFilter(callbacks, self, worker)
    }
  }

  struct RouteConfiguration: RouteFilterConfiguration {
    let settings: FaultSettings
  }

  static let name = "envoy.filters.http.fault"

  private let callbacks: StreamFilterCallbacks
  private let configuration: Configuration
  private let stats: StatLane<FaultStat>
  private let lane: Int
  private var settings: FaultSettings
  private var timer: Timer?
  private var isActive = false
  /// The request's headers while it is delayed.
  private var headers: HeaderMap?
  /// The response is slowed down.
  private var brake: ResponseBrake?

  private init(_ callbacks: StreamFilterCallbacks, _ configuration: Configuration, _ worker: Worker) {
    self.callbacks = callbacks
    self.configuration = configuration
    settings = configuration.settings
    lane = worker.index
    stats = configuration.stats.lane(worker.index)
  }

  // MARK: The request

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    if let route = callbacks.routeConfiguration() as? RouteConfiguration { settings = route.settings }
    guard settings.applies(to: headers, route: { callbacks.route }) else { return .proceed }
    if let rate = settings.responseRate(of: headers, random: callbacks.random()), enter() {
      stats.add(.responsesSlowed)
      brake = ResponseBrake(callbacks, kibibytes: rate)
    }
    if let delay = settings.delay(of: headers, random: callbacks.random()), enter() {
      stats.add(.delaysInjected)
      count("delays_injected", headers)
      note(.delayInjected)
      self.headers = headers
      timer = Timer(callbacks.loop, self)
      timer?.arm(after: delay)
      return .stopAll
    }
    return aborts(headers) ? .stop : .proceed
  }

  func timerFired(_ tag: UInt8) {
    guard let headers else { return }
    self.headers = nil
    if !aborts(headers) { callbacks.resumeRequest() }
  }

  private func aborts(_ headers: HeaderMap) -> Bool {
    guard let abort = settings.abort(of: headers, random: callbacks.random()), enter() else { return false }
    stats.add(.abortsInjected)
    count("aborts_injected", headers)
    note(.faultInjected)
    var reply = LocalReply(
      status: 200, text: "fault filter abort", flags: .faultInjected, details: .init("fault_filter_abort"))
    switch abort {
    case .http(let status): reply.status = status
    case .grpc(let status): reply = reply.telling(GRPCStatus(code: status))
    }
    callbacks.sendLocalReply(reply)
    return true
  }

  private func enter() -> Bool {
    if isActive { return true }
    guard configuration.active.enter(limit: settings.limit) else {
      stats.add(.overflow)
      return false
    }
    isActive = true
    stats.add(.active)
    return true
  }

  private func count(_ name: StaticString, _ headers: HeaderMap) {
    guard settings.countsCallers, let caller = headers.value(.xEnvoyDownstreamServiceCluster) else { return }
    configuration.callers.add(name, caller: caller, lane: lane)
  }

  private func note(_ flag: ResponseFlags) {
    callbacks.updateInfo {
      $0.flags.insert(flag)
      $0.note(settings.metadata, under: Self.name)
    }
  }

  // MARK: The response

  func responseData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    brake?.data(bytes, endStream: endStream) ?? .proceed
  }

  func responseTrailers(_ trailers: HeaderMap) -> FilterStatus { brake?.trailers() ?? .proceed }

  func destroy() {
    timer?.disarm()
    timer = nil
    headers = nil
    brake?.destroy()
    guard isActive else { return }
    isActive = false
    stats.subtract(.active)
    configuration.active.leave()
  }
}
