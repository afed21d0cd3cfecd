import MeshHTTP
import MeshIO
import MeshPrimitives

/// `envoy.filters.http.fault`: delays and aborts requests on purpose, to see what callers make of it. A request that both
/// hit is first delayed, then aborted. Sets DI and FI, counts in `http.<stat_prefix>.fault.…`.
final class FaultFilter: StreamFilter, TimerTarget {
  final class Configuration: FilterConfiguration {
    let settings: FaultSettings
    let stats: StatBlock<FaultStat>
    let active = CircuitBreaker.Gate()
    private let lease: StatsLease

    init(settings: FaultSettings, stats: StatBlock<FaultStat>, lease: StatsLease) {
      self.settings = settings
      self.stats = stats
      self.lease = lease
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
  private var settings: FaultSettings
  private var timer: Timer?
  private var isActive = false
  /// The request's headers while it is delayed.
  private var headers: HeaderMap?

  private init(_ callbacks: StreamFilterCallbacks, _ configuration: Configuration, _ worker: Worker) {
    self.callbacks = callbacks
    self.configuration = configuration
    settings = configuration.settings
    stats = configuration.stats.lane(worker.index)
  }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    if let route = callbacks.routeConfiguration() as? RouteConfiguration { settings = route.settings }
    guard settings.applies(to: headers, route: { callbacks.route }) else { return .proceed }
    if let delay = settings.delay(of: headers, random: callbacks.random()), enter() {
      stats.add(.delaysInjected)
      callbacks.updateInfo { $0.flags.insert(.delayInjected) }
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
    guard let status = settings.abort(of: headers, random: callbacks.random()), enter() else { return false }
    stats.add(.abortsInjected)
    callbacks.sendLocalReply(
      LocalReply(
        status: status, text: "fault filter abort", flags: .faultInjected, details: .init("fault_filter_abort")))
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

  func destroy() {
    timer?.disarm()
    timer = nil
    headers = nil
    guard isActive else { return }
    isActive = false
    stats.subtract(.active)
    configuration.active.leave()
  }
}
