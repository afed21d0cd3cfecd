import MeshHTTP
import MeshIO
import MeshPrimitives

/// The active health checks of one cluster: a session for each endpoint, what they count and log, and who hears of what
/// they find. Confined to the main thread.
final class ActiveHealthChecks {
  private static let log = RateLimitedLog(Log.upstream, perSecond: 20)

  /// One cluster's slow endpoints do not keep another's from being checked.
  let gate = HealthCheckGate()
  let stats: StatLane<HealthCheckStat>
  var random: Random
  let lane: Int
  private let statistics: StatBlock<HealthCheckStat>
  private let cluster: ClusterIdentity
  private let configuration: ClusterConfiguration
  private let settings: HealthCheckSettings
  private let loop: EventLoop
  private let headerMaps: HeaderMapPool
  private let eventLogs: [HealthEventLog]
  private unowned let owner: ClusterHealth
  private var sessions: [ObjectIdentifier: HealthCheckSession] = [:]
  /// Endpoints whose first check has not ended.
  private var unchecked: Set<ObjectIdentifier> = []

  init(
    _ settings: HealthCheckSettings, _ configuration: ClusterConfiguration, _ owner: ClusterHealth, lane: Int,
    loop: EventLoop, headerMaps: HeaderMapPool, random: Random
  ) {
    self.settings = settings
    self.configuration = configuration
    self.owner = owner
    self.lane = lane
    self.loop = loop
    self.headerMaps = headerMaps
    self.random = random
    cluster = owner.identity
    statistics = cluster.healthCheckStats
    stats = statistics.lane(lane)
    eventLogs = settings.eventLogs.map { HealthEventLog($0, loop: loop) }
  }

  /// Whether every endpoint has been checked once.
  var isComplete: Bool { unchecked.isEmpty }

  /// Takes the endpoints that there are now.
  /// - Parameter serving: those that were there before anybody checked them: they serve on until a check says otherwise.
  func take(_ endpoints: [WeightedEndpoint], serving: Set<ObjectIdentifier>) {
    var gone = sessions
    var added: [WeightedEndpoint] = []
    for weighted in endpoints where !weighted.check.isDisabled {
      let key = ObjectIdentifier(weighted.endpoint.identity)
      if let session = sessions[key], session.serves(weighted) {
        gone[key] = nil
      } else {
        added.append(weighted)
      }
    }
    for (key, session) in gone {
      session.end()
      sessions[key] = nil
      unchecked.remove(key)
    }
    let current = Set(endpoints.map { ObjectIdentifier($0.endpoint.identity) })
    for (key, session) in gone where !current.contains(key) {
      _ = session.identity.set(.activeHealthCheck, false)
    }
    for weighted in endpoints where weighted.check.isDisabled {
      _ = weighted.endpoint.identity.set(.activeHealthCheck, false)
    }
    var started: [HealthCheckSession] = []
    for (index, weighted) in added.enumerated() {
      let identity = weighted.endpoint.identity
      let key = ObjectIdentifier(identity)
      if gone[key] == nil, !serving.contains(key) {
        _ = identity.set(.failedActiveHealthCheck, true)
        if settings.ignoresNewEndpoints { _ = identity.set(.pendingActiveHealthCheck, true) }
      }
      let session = HealthCheckSession(
        weighted, self, configuration, settings, loop: loop, headerMaps: headerMaps,
        phase: Double(index) / Double(added.count))
      sessions[key] = session
      unchecked.insert(key)
      started.append(session)
    }
    publish()
    for session in started { session.start() }
    // Those that were waited for may have gone.
    if !gone.isEmpty, unchecked.isEmpty { owner.firstChecksEnded() }
  }

  /// Nobody checks any more.
  /// - Parameter forgets: what has been found out goes with it.
  func end(forgets: Bool) {
    for session in sessions.values {
      session.end()
      if forgets { _ = session.identity.set(.activeHealthCheck, false) }
    }
    sessions.removeAll()
    unchecked.removeAll()
    publish()
    for log in eventLogs { log.flush() }
  }

  func flush() { for log in eventLogs { log.flush() } }

  /// A response to a request says that an endpoint wants to be left out.
  func failPassively(_ identity: EndpointIdentity) { sessions[ObjectIdentifier(identity)]?.failPassively() }

  // MARK: What sessions ask

  func initialDelay() -> Nanoseconds { timings.initialDelay(&random) }

  func delay(succeeded: Bool, _ transition: HealthCheckState.Transition) -> Nanoseconds {
    timings.delay(
      succeeded: succeeded, transition, hasTraffic: cluster.stats.total(.connectionTotal) > 0, &random)
  }

  /// With what the runtime says now.
  private var timings: HealthCheckTimings {
    var timings = settings.timings
    timings.minimum = settings.intervalBounds.minimum.integer(or: 0)
    timings.maximum = settings.intervalBounds.maximum.integer(or: .max)
    return timings
  }

  /// A session has a result.
  func took(
    _ session: HealthCheckSession, _ result: HealthCheckResult, _ transition: HealthCheckState.Transition,
    _ events: [HealthCheckState.Event], before: HealthFlags
  ) {
    let identity = session.identity
    let after = session.state.flags
    for flag in before.symmetricDifference(after).each { _ = identity.set(flag, after.contains(flag)) }
    switch result.outcome {
    case .success: stats.add(.success)
    case .failure(let kind, _):
      stats.add(.failure)
      if kind.isNetwork { stats.add(.networkFailure) } else if kind == .passive { stats.add(.passiveFailure) }
    }
    count(before, after)
    for event in events { log(event, session, result) }
    let wasFirst = unchecked.remove(ObjectIdentifier(identity)) != nil
    let isChecked = if case .success = result.outcome { !session.state.isFailed } else { false }
    owner.checked(identity, isHealthy: isChecked, isChanged: transition == .changed || before != after)
    if wasFirst, unchecked.isEmpty { owner.firstChecksEnded() }
  }

  private func count(_ before: HealthFlags, _ after: HealthFlags) {
    func change(_ flag: HealthFlags) -> Int64 { (after.contains(flag) ? 1 : 0) - (before.contains(flag) ? 1 : 0) }
    stats.subtract(.healthy, change(.failedActiveHealthCheck))
    stats.add(.degraded, change(.degradedActiveHealthCheck))
  }

  private func publish() {
    stats.set(.healthy, Int64(sessions.values.count { !$0.state.isFailed }))
    stats.set(.degraded, Int64(sessions.values.count { $0.state.isDegraded }))
  }

  // MARK: Logs

  private func log(_ event: HealthCheckState.Event, _ session: HealthCheckSession, _ result: HealthCheckResult) {
    let name = "cluster \(cluster.name): \(session.endpoint.address)"
    switch event {
    case .healthy(let isFirst):
      Self.log.info("\(name) is healthy: " + (isFirst ? "its first check succeeded" : "checks succeed again"))
      write(session) { writer in
        writer.name("add_healthy_event")
        writer.beginObject()
        writer.name("first_check")
        writer.bool(isFirst)
        writer.endObject()
      }
    case .unhealthy(let kind):
      Self.log.warning("\(name) is unhealthy: \(result.reason)")
      write(session) { writer in
        writer.name("eject_unhealthy_event")
        writer.beginObject()
        Self.write(kind, &writer)
        Self.write(status: result.status, &writer)
        writer.endObject()
      }
    case .failure(let kind, let isFirst):
      guard isFirst || settings.logsAllFailures else { return }
      Self.log.warning("\(name): " + (isFirst ? "its first check failed" : "a check failed") + ": \(result.reason)")
      write(session) { writer in
        writer.name("health_check_failure_event")
        writer.beginObject()
        Self.write(kind, &writer)
        writer.name("first_check")
        writer.bool(isFirst)
        Self.write(status: result.status, &writer)
        writer.endObject()
      }
    case .success:
      guard settings.logsAllSuccesses else { return }
      writeEmpty(session, "successful_health_check_event")
    case .degraded:
      Self.log.warning("\(name) is degraded: it says so (x-envoy-degraded)")
      writeEmpty(session, "degraded_healthy_host")
    case .noLongerDegraded:
      Self.log.info("\(name) is no longer degraded")
      writeEmpty(session, "no_longer_degraded_host")
    }
  }

  private static func write(_ kind: HealthCheckState.FailureKind, _ writer: inout JSONWriter) {
    writer.name("failure_type")
    switch kind {
    case .active: writer.string("ACTIVE")
    case .passive: writer.string("PASSIVE")
    case .network: writer.string("NETWORK")
    case .timeout: writer.string("NETWORK_TIMEOUT")
    }
  }

  private static func write(status: Int, _ writer: inout JSONWriter) {
    writer.name("http_status_code")
    writer.integer(Int64(status))
  }

  private func writeEmpty(_ session: HealthCheckSession, _ event: String) {
    write(session) { writer in
      writer.name(event)
      writer.beginObject()
      writer.endObject()
    }
  }

  private func write(_ session: HealthCheckSession, _ body: (inout JSONWriter) -> Void) {
    for log in eventLogs {
      log.write { writer in
        writer.name("health_checker_type")
        writer.string("\(settings.kind.eventName)")
        writer.name("host")
        Self.write(session.endpoint.address, &writer)
        writer.name("cluster_name")
        writer.string(cluster.name)
        writer.name("timestamp")
        writer.string(log.timestamp)
        body(&writer)
        writer.name("locality")
        writer.beginObject()
        for (name, value) in [
          ("region", session.locality.region), ("zone", session.locality.zone), ("sub_zone", session.locality.subZone),
        ] {
          writer.name(name)
          writer.string(value)
        }
        writer.endObject()
      }
    }
  }

  /// With all fields, also those that are empty, as Envoy's.
  private static func write(_ address: SocketAddress, _ writer: inout JSONWriter) {
    guard address.unixPath == nil else { return writer.address(address) }
    writer.beginObject()
    writer.name("socket_address")
    writer.beginObject()
    for (name, value) in [("protocol", "TCP"), ("address", address.ipText)] {
      writer.name(name)
      writer.string(value)
    }
    writer.name("port_value")
    writer.integer(Int64(address.port))
    writer.name("resolver_name")
    writer.string("")
    writer.name("ipv4_compat")
    writer.bool(false)
    writer.name("network_namespace_filepath")
    writer.string("")
    writer.endObject()
    writer.endObject()
  }
}

extension HealthFlags {
  /// The flags that are set, one by one.
  fileprivate var each: [HealthFlags] {
    (0..<32).map { HealthFlags(rawValue: 1 << $0) }.filter { contains($0) }
  }
}
