import MeshIO
import MeshPrimitives

/// Outlier detection of one cluster: takes what workers report, ejects endpoints and lets them return. What is decided,
/// `Ejections` decides; this brings the time, chance and limits, and carries it out. Confined to the main thread.
final class OutlierDetector: TimerTarget {
  /// Whoever is told that endpoints have become healthy, or no longer are.
  typealias Observer = () -> Void

  private static let log = RateLimitedLog(Log.upstream, perSecond: 20)

  private var settings: OutlierSettings
  private let statistics: StatBlock<OutlierStat>
  private let stats: StatLane<OutlierStat>
  private let loop: EventLoop
  /// `cluster_manager.outlier_detection.event_log_path`.
  private let events: () -> HealthEventLog?
  private let changed: Observer
  private var random: Random
  private var ejections = Ejections<ObjectIdentifier>()
  private var endpoints: [ObjectIdentifier: Endpoint] = [:]
  private var reports: [ObjectIdentifier: OutlierReport] = [:]
  private let timer: Timer

  init(
    _ settings: OutlierSettings, _ cluster: ClusterIdentity, lane: Int, events: @escaping () -> HealthEventLog?,
    loop: EventLoop,
    random: Random, changed: @escaping Observer
  ) {
    self.settings = settings
    statistics = cluster.outlierStats
    stats = statistics.lane(lane)
    self.events = events
    self.loop = loop
    self.random = random
    self.changed = changed
    timer = Timer(loop)
    timer.aim(at: self)
    timer.arm(after: interval)
  }

  /// Takes a changed configuration. Rows of failures begin anew: a threshold may be below what has been counted.
  func update(_ settings: OutlierSettings) {
    self.settings = settings
    for endpoint in endpoints.values { endpoint.identity.outcomes.resetRows() }
    timer.arm(after: interval)
  }

  /// The cluster, or its outlier detection, is gone: nobody stays ejected.
  func end() {
    timer.disarm()
    for endpoint in endpoints.values { _ = endpoint.identity.set(.outlier, false) }
    stats.set(.active, 0)
  }

  /// Takes the endpoints that there are now.
  func take(_ new: [Endpoint]) {
    var kept: [ObjectIdentifier: Endpoint] = [:]
    for endpoint in new { kept[ObjectIdentifier(endpoint.identity)] = endpoint }
    for (key, endpoint) in endpoints where kept[key] == nil {
      // Should it come back, it is as good as new.
      _ = endpoint.identity.set(.outlier, false)
      reports[key] = nil
    }
    endpoints = kept
    ejections.take(Array(kept.keys))
    stats.set(.active, Int64(ejections.active))
  }

  // MARK: What workers report

  /// Thresholds of consecutive failures have been reached. Of several workers that report the same, one has.
  func reached(_ types: EjectionTypes, _ identity: EndpointIdentity) {
    let key = ObjectIdentifier(identity)
    guard let record = ejections.records[key] else { return }
    for type in types.ordered where ejections.records[key]?.isEjected == false {
      stats.add(.detected(type))
      let isEjected = eject(key, type, successRate: nil)
      if type == .consecutive5xx { stats.add(.consecutive5xx) }
      identity.outcomes.resetRow(type)
      if isEjected { break }
    }
    // What could not be ejected again is let in, as it would be without probation.
    if !record.isEjected, ejections.records[key]?.isEjected == false { endProbation(identity, isProven: false) }
  }

  /// An endpoint on probation has done well.
  func proven(_ identity: EndpointIdentity) { endProbation(identity, isProven: true) }

  private func endProbation(_ identity: EndpointIdentity, isProven: Bool) {
    guard let endpoint = endpoints[ObjectIdentifier(identity)], identity.set(.onProbation, false) else { return }
    if isProven {
      Self.log.info("cluster \(settings.cluster): \(endpoint.address) serves again: a request to it succeeded")
    }
    changed()
  }

  /// An active health check has succeeded, and the endpoint is healthy as far as these go.
  func checkSucceeded(_ identity: EndpointIdentity) {
    guard settings.checkEndsEjection, identity.health.contains(.failedOutlierCheck) else { return }
    giveBack(ObjectIdentifier(identity), isProven: true)
    changed()
  }

  // MARK: Ejecting

  private var interval: Nanoseconds { max(.milliseconds(1), settings[.interval].time) }

  private var limits: Ejections<ObjectIdentifier>.Limits {
    .init(
      maximumPercent: settings[.maximumPercent].current, alwaysEjectsOne: settings.alwaysEjectsOne,
      baseTime: settings[.baseEjectionTime].time, maximumTime: settings[.maximumEjectionTime].time,
      interval: interval)
  }

  private func eject(_ key: ObjectIdentifier, _ type: EjectionType, successRate: Double?) -> Bool {
    guard let endpoint = endpoints[key] else { return false }
    let now = loop.now
    let (maximum, _) = settings[.maximumJitter].time.rawValue.addingReportingOverflow(1)
    let decision = ejections.eject(
      key, type, now, limits, chance: random.below(100), percent: settings.enforcing(type).current,
      jitter: Nanoseconds(rawValue: random.below(maximum)))
    switch decision {
    case .nothing: return false
    case .refused(let refusal):
      refuse(endpoint, key, type, refusal)
      return false
    case .ejected(let time):
      if type == .consecutive5xx { stats.add(.total) }
      stats.add(.enforcedTotal)
      stats.add(.enforced(type))
      stats.set(.active, Int64(ejections.active))
      let reason = reason(type, endpoint, successRate)
      _ = endpoint.identity.set(.failedOutlierCheck, true)
      _ = endpoint.identity.set(.onProbation, false)
      reports[key, default: OutlierReport()].lastEjection = "\(type.field): \(reason)"
      Self.log.warning(
        "cluster \(settings.cluster): \(endpoint.address) is ejected for \(time.text): \(reason); "
          + "\(ejections.active) of \(endpoints.count) endpoints are ejected now")
      logEjection(endpoint, key, type, isEnforced: true, successRate: successRate)
      changed()
      return true
    }
  }

  private func refuse(
    _ endpoint: Endpoint, _ key: ObjectIdentifier, _ type: EjectionType, _ refusal: Ejections<ObjectIdentifier>.Refusal
  ) {
    let limit: String
    switch refusal {
    case .tooMany(let ejected, let count, let percent):
      stats.add(.overflow)
      limit =
        "max_ejection_percent \(percent) lets no more than \(count * Int(percent) / 100) of \(count) endpoints be "
        + "ejected, and \(ejected) are"
    case .notEnforced(let percent):
      if type == .consecutive5xx { stats.add(.total) }
      limit = "\(type.enforcingField) is \(percent)"
      logEjection(endpoint, key, type, isEnforced: false, successRate: nil)
      // Nobody has asked for more than to have it counted.
      if percent == 0, !settings.enforcing(type).isGiven { return }
    }
    reports[key, default: OutlierReport()].lastRefusal = "\(type.field): \(limit)"
    Self.log.warning(
      "cluster \(settings.cluster): \(endpoint.address) is not ejected though \(reason(type, endpoint, nil)): \(limit)")
  }

  private func reason(_ type: EjectionType, _ endpoint: Endpoint, _ successRate: Double?) -> String {
    let isProbe = endpoint.identity.health.contains(.onProbation)
    switch type {
    case .consecutive5xx:
      return isProbe
        ? "its probe failed" : "\(settings[.consecutive5xx].current) responses in a row were failures (5xx)"
    case .consecutiveGatewayFailure:
      return isProbe
        ? "its probe failed"
        : "\(settings[.consecutiveGatewayFailure].current) responses in a row were failures of a gateway (502, 503, 504)"
    case .consecutiveLocalOriginFailure:
      return isProbe
        ? "its probe failed"
        : "\(settings[.consecutiveLocalOriginFailure].current) attempts in a row had no connection or no answer in time"
    case .failurePercentage, .failurePercentageLocalOrigin:
      let what = type == .failurePercentage ? "its requests" : "its connections"
      return "at least \(settings[.failurePercentageThreshold].current) % of \(what) failed"
        + (successRate.map { " (\(String(describing: 100 - $0)) %)" } ?? "")
    }
  }

  /// Ends an ejection. Without proof that it is well, the endpoint is on probation first.
  private func giveBack(_ key: ObjectIdentifier, isProven: Bool) {
    guard let endpoint = endpoints[key], ejections.end(key, loop.now) else { return }
    stats.set(.active, Int64(ejections.active))
    let identity = endpoint.identity
    identity.outcomes.resetRows()
    identity.probes.reset()
    _ = identity.set(.onProbation, !isProven)
    _ = identity.set(.failedOutlierCheck, false)
    Self.log.info(
      "cluster \(settings.cluster): the ejection of \(endpoint.address) is over; "
        + (isProven
          ? "an active health check succeeded" : "one request at a time goes to it until one succeeds"))
    logReturn(endpoint, key)
  }

  // MARK: Each interval

  func timerFired(_ tag: UInt8) {
    let now = loop.now
    let limits = limits
    let due = ejections.due(now, limits)
    for key in due { giveBack(key, isProven: false) }
    if !due.isEmpty { changed() }
    lookAtShares()
    ejections.decay(now, limits)
    timer.arm(after: interval)
  }

  private func lookAtShares() {
    typealias Windows = [(endpoint: ObjectIdentifier, window: EndpointOutcomes.Window)]
    var responses: Windows = []
    var connections: Windows = []
    let volume = settings[.failurePercentageVolume].current
    for (key, endpoint) in endpoints {
      let windows = endpoint.identity.outcomes.takeWindows()
      let isEjected = ejections.records[key]?.isEjected ?? false
      if reports[key] != nil || windows.responses.total >= volume || windows.connections.total >= volume {
        let isCounted = !isEjected
        reports[key, default: OutlierReport()].successRate =
          isCounted && windows.responses.total >= volume ? windows.responses.successRate : nil
        reports[key]?.localOriginSuccessRate =
          isCounted && windows.connections.total >= volume ? windows.connections.successRate : nil
      }
      guard !isEjected else { continue }
      responses.append((key, windows.responses))
      connections.append((key, windows.connections))
    }
    ejectFailing(responses, .failurePercentage)
    if settings.splitsErrors { ejectFailing(connections, .failurePercentageLocalOrigin) }
  }

  private func ejectFailing(
    _ windows: [(endpoint: ObjectIdentifier, window: EndpointOutcomes.Window)], _ type: EjectionType
  ) {
    let failing = Ejections.failing(
      windows, threshold: settings[.failurePercentageThreshold].current,
      volume: settings[.failurePercentageVolume].current, minimum: settings[.failurePercentageMinimumHosts].current)
    for (key, successRate) in failing {
      stats.add(.detected(type))
      _ = eject(key, type, successRate: successRate)
    }
  }

  // MARK: What others are told

  /// What is known of an endpoint.
  func report(_ identity: EndpointIdentity) -> OutlierReport {
    let key = ObjectIdentifier(identity)
    var report = reports[key] ?? OutlierReport()
    report.ejections = ejections.records[key]?.count ?? 0
    return report
  }

  private func logEjection(
    _ endpoint: Endpoint, _ key: ObjectIdentifier, _ type: EjectionType, isEnforced: Bool, successRate: Double?
  ) {
    writeEvent(endpoint, key, type, since: ejections.records[key]?.returnedAt) { writer in
      writer.name("action")
      writer.string("EJECT")
      writer.name("num_ejections")
      writer.integer(Int64(self.ejections.records[key]?.count ?? 0))
      writer.name("enforced")
      writer.bool(isEnforced)
      writer.name(type.isConsecutive ? "eject_consecutive_event" : "eject_failure_percentage_event")
      writer.beginObject()
      if !type.isConsecutive {
        writer.name("host_success_rate")
        writer.integer(Int64(successRate ?? 0))
      }
      writer.endObject()
    }
  }

  private func logReturn(_ endpoint: Endpoint, _ key: ObjectIdentifier) {
    // Envoy names no reason here; the field then has its first value.
    writeEvent(endpoint, key, .consecutive5xx, since: ejections.records[key]?.ejectedAt) { writer in
      writer.name("action")
      writer.string("UNEJECT")
      writer.name("num_ejections")
      writer.integer(Int64(self.ejections.records[key]?.count ?? 0))
      writer.name("enforced")
      writer.bool(false)
    }
  }

  private func writeEvent(
    _ endpoint: Endpoint, _ key: ObjectIdentifier, _ type: EjectionType, since last: MonotonicTime?,
    _ body: (inout JSONWriter) -> Void
  ) {
    guard let events = events() else { return }
    events.write { writer in
      writer.name("type")
      writer.string("\(type.eventName)")
      writer.name("timestamp")
      writer.string(events.timestamp)
      if let last {
        writer.name("secs_since_last_action")
        // As in protobuf's JSON: a 64-bit number is a string.
        writer.string("\(loop.now.since(last).rawValue / 1_000_000_000)")
      }
      writer.name("cluster_name")
      writer.string(settings.cluster)
      writer.name("upstream_url")
      writer.string("\(endpoint.address)")
      body(&writer)
    }
  }
}

extension Nanoseconds {
  /// In seconds, for people.
  var text: String {
    rawValue % 1_000_000_000 == 0
      ? "\(rawValue / 1_000_000_000) s" : "\(Double(rawValue / 1_000_000) / 1000) s"
  }
}
