import MeshIO
import MeshPrimitives

/// What looks after the health of one cluster's endpoints: outlier detection, active health checks, both or neither.
/// Confined to the main thread.
final class ClusterHealth: TimerTarget {
  let identity: ClusterIdentity
  private(set) var outliers: OutlierDetector?
  private(set) var checks: ActiveHealthChecks?
  private unowned let monitor: HealthMonitor
  private var configuration: ClusterConfiguration
  private var endpoints: [WeightedEndpoint] = []
  /// The endpoints that were there before anybody checked them.
  private var serving: Set<ObjectIdentifier> = []
  /// A change has happened that others have not heard of.
  private var isToldLater = false
  private var tellsAgainAt = MonotonicTime(nanoseconds: 0)
  private let timer: Timer

  init(_ monitor: HealthMonitor, _ entry: ConfigurationSnapshot.ClusterEntry) {
    identity = entry.identity
    configuration = entry.configuration
    self.monitor = monitor
    timer = Timer(monitor.loop)
    timer.aim(at: self)
    updateOutliers()
    updateChecks()
  }

  /// Takes a new configuration, which may be the one that it has. What has been found out is kept.
  func update(_ new: ClusterConfiguration) {
    let isChanged = new.fingerprint != configuration.fingerprint
    guard isChanged else { return }
    configuration = new
    updateOutliers()
    updateChecks()
    // Those that come with the new configuration follow.
  }

  private func updateOutliers() {
    guard let settings = configuration.outliers else {
      outliers?.end()
      outliers = nil
      return
    }
    if let outliers { return outliers.update(settings) }
    let detector = OutlierDetector(
      settings, identity, lane: monitor.lane, events: { [unowned monitor] in monitor.outlierEventLog },
      loop: monitor.loop, random: monitor.nextRandom()
    ) { [unowned self] in changed() }
    detector.take(endpoints.map(\.endpoint))
    outliers = detector
  }

  private func updateChecks() {
    checks?.end(forgets: configuration.healthChecks == nil)
    checks = nil
    guard let settings = configuration.healthChecks else { return }
    serving.formUnion(endpoints.map { ObjectIdentifier($0.endpoint.identity) })
    checks = ActiveHealthChecks(
      settings, configuration, self, lane: monitor.lane, loop: monitor.loop,
      headerMaps: monitor.headerMaps, random: monitor.nextRandom())
  }

  func take(_ new: [WeightedEndpoint]) {
    endpoints = new
    outliers?.take(new.map(\.endpoint))
    checks?.take(new, serving: serving)
    serving = []
  }

  func end() {
    outliers?.end()
    checks?.end(forgets: true)
    timer.disarm()
    isToldLater = false
  }

  func flush() { checks?.flush() }

  // MARK: Checks

  /// Every endpoint has been checked once.
  var isChecked: Bool { checks?.isComplete ?? true }

  /// How long the first checks may take; nil if there is nothing to wait for.
  var firstCheckTime: Nanoseconds? {
    guard !isChecked, let timings = configuration.healthChecks?.timings else { return nil }
    return timings.initialJitter + timings.timeout
  }

  /// A check has ended.
  /// - Parameters:
  ///   - isHealthy: it succeeded, and the endpoint is healthy as far as checks go.
  ///   - isChanged: others must hear of it.
  func checked(_ identity: EndpointIdentity, isHealthy: Bool, isChanged: Bool) {
    if isHealthy { outliers?.checkSucceeded(identity) }
    if isChanged { changed() }
  }

  func firstChecksEnded() { monitor.firstChecksEnded() }

  /// Others hear of changes in one go: at once, or, of a large cluster, some time after the last ones.
  private func changed() {
    guard !isToldLater else { return }
    isToldLater = true
    let loop = monitor.loop
    if loop.now >= tellsAgainAt {
      loop.defer { [weak self] in self?.tell() }
    } else {
      timer.arm(at: tellsAgainAt)
    }
  }

  func timerFired(_ tag: UInt8) { tell() }

  /// Sorting many endpoints by their health takes its time, on every thread.
  private static let spacing = Nanoseconds(rawValue: 20_000)

  private func tell() {
    guard isToldLater else { return }
    isToldLater = false
    tellsAgainAt = monitor.loop.now + Nanoseconds(rawValue: Self.spacing.rawValue * UInt64(endpoints.count))
    monitor.onChange(identity.name)
  }
}
