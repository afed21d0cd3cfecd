import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// `envoy.filters.http.fault`: delays and aborts requests on purpose, to see what callers make of it. Sets DI and FI,
/// counts in `http.<stat_prefix>.fault.…`.
final class FaultFilter: StreamFilter, TimerTarget {
  /// Both parts are optional; a request that both hit is first delayed, then aborted.
  struct Settings: Sendable {
    var delay: Nanoseconds?
    var delayChance = Chance.never
    var abortStatus: Int?
    var abortChance = Chance.never
    /// Faults at once in this process; nil: any number.
    var maximumActive: Int?
    /// Only requests with these headers.
    var headers = HeaderMatching()
  }

  final class Configuration: FilterConfiguration {
    let settings: Settings
    let stats: StatBlock<FaultStat>
    let active = CircuitBreaker.Gate()

    init(settings: Settings, stats: StatBlock<FaultStat>) {
      self.settings = settings
      self.stats = stats
    }

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      FaultFilter(callbacks, self, worker)
    }
  }

  struct RouteConfiguration: RouteFilterConfiguration {
    var settings: Settings
  }

  static let name = "envoy.filters.http.fault"

  private let callbacks: StreamFilterCallbacks
  private let configuration: Configuration
  private let stats: StatLane<FaultStat>
  private var settings: Settings
  private var timer: Timer?
  private var isActive = false

  private init(_ callbacks: StreamFilterCallbacks, _ configuration: Configuration, _ worker: Worker) {
    self.callbacks = callbacks
    self.configuration = configuration
    settings = configuration.settings
    stats = configuration.stats.lane(worker.index)
  }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    if let route = callbacks.routeConfiguration() as? RouteConfiguration { settings = route.settings }
    guard settings.headers.matches(RoutingView(headers)) else { return .proceed }
    if let delay = settings.delay, settings.delayChance.hits(callbacks.random()), enter() {
      stats.add(.delaysInjected)
      callbacks.updateInfo { $0.flags.insert(.delayInjected) }
      timer = Timer(callbacks.loop, self)
      timer?.arm(after: delay)
      return .stopAll
    }
    return abortIfHit() ? .stop : .proceed
  }

  func timerFired(_ tag: UInt8) { if !abortIfHit() { callbacks.resumeRequest() } }

  private func abortIfHit() -> Bool {
    guard let status = settings.abortStatus, settings.abortChance.hits(callbacks.random()), enter() else {
      return false
    }
    stats.add(.abortsInjected)
    callbacks.sendLocalReply(
      LocalReply(
        status: status, text: "fault filter abort", flags: .faultInjected, details: .init("fault_filter_abort")))
    return true
  }

  private func enter() -> Bool {
    if isActive { return true }
    guard configuration.active.enter(limit: settings.maximumActive ?? .max) else {
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
    guard isActive else { return }
    isActive = false
    stats.subtract(.active)
    configuration.active.leave()
  }
}

/// A probability as `FractionalPercent` has it.
struct Chance: Sendable, Equatable {
  /// Out of a million.
  var millionths: UInt32

  static let never = Chance(millionths: 0)
  static let always = Chance(millionths: 1_000_000)

  /// Whether a random number falls into it.
  func hits(_ random: UInt64) -> Bool { random % 1_000_000 < UInt64(millionths) }
}
