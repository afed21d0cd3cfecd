import MeshAPI
import MeshHTTP
import MeshPrimitives
import MeshRouting
import Synchronization

/// `envoy.filters.http.health_check`: answers requests that ask whether this proxy, or the service behind it, is well.
/// Place it before filters that health checks should not meet. Sets LH; counts in `http.<stat_prefix>.health_check.…`.
///
/// While the proxy has been told to fail (`POST /healthcheck/fail`), checks are answered by 503, and every other response
/// says `x-envoy-immediate-health-check-fail`.
final class HealthCheckFilter: StreamFilter {
  final class Configuration: FilterConfiguration {
    /// Whether checks go on to the service.
    let passesThrough: Bool
    /// What stands for the service's answer; nil: nothing.
    let cache: HealthCheckCache?
    /// Which share of which clusters' endpoints must be healthy, in percent; by name.
    let minimumHealthy: [(cluster: String, percent: Double)]
    let matching: HeaderMatching
    /// `node.cluster`.
    let clusterName: [UInt8]
    let stats: StatBlock<HealthCheckFilterStat>
    private let lease: StatsLease

    init(_ message: HealthCheckFilterConfig, _ context: FilterBuildContext) throws(FilterProblem) {
      passesThrough = message.passThroughMode.value
      let time = Nanoseconds(message.cacheTime)
      if time != .zero, !passesThrough { throw FilterProblem(path: "cache_time", message: "needs pass_through_mode") }
      cache = time == .zero ? nil : HealthCheckCache(for: time)
      minimumHealthy = message.clusterMinHealthyPercentages.map { ($0.key, $0.value.value) }.sorted {
        $0.cluster < $1.cluster
      }
      switch HeaderMatching.build(message.headers, path: "headers") {
      case .success(let matching): self.matching = matching
      case .failure(let failure):
        let first = failure.problems.first
        throw FilterProblem(path: first?.path ?? "headers", message: first?.message ?? "is wrong")
      }
      clusterName = context.ownCluster
      let scope = "http.\(context.statPrefix).health_check"
      stats = context.store.scope(
        scope,
        prometheus: PrometheusScope(
          "envoy_http_health_check", labels: [("envoy_http_conn_manager_prefix", context.statPrefix)]))
      lease = context.store.lease(scope)
    }

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      HealthCheckFilter(callbacks, self, worker)
    }
  }

  static let name = "envoy.filters.http.health_check"

  private let callbacks: StreamFilterCallbacks
  private let configuration: Configuration
  private let worker: Worker
  /// The request is a check.
  private var isCheck = false
  /// It is answered here.
  private var isAnswered = false
  /// By an answer of the service that said that it does badly.
  private var isDegraded = false

  private init(_ callbacks: StreamFilterCallbacks, _ configuration: Configuration, _ worker: Worker) {
    self.callbacks = callbacks
    self.configuration = configuration
    self.worker = worker
  }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    guard configuration.matching.matches(RoutingView(headers)) else { return .proceed }
    isCheck = true
    callbacks.updateInfo { $0.isHealthCheck = true }
    isAnswered =
      !configuration.passesThrough || worker.isHealthCheckFailed
      || configuration.cache?.current(worker.loop.now) != nil
    guard isAnswered else { return .proceed }
    if endStream { answer() }
    return .stop
  }

  func requestData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    guard isAnswered else { return .proceed }
    if endStream { answer() }
    return .stopAndDrop
  }

  func requestTrailers(_ trailers: HeaderMap) -> FilterStatus {
    guard isAnswered else { return .proceed }
    answer()
    return .stop
  }

  func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    if worker.isHealthCheckFailed { headers.set(HealthCheckHeaders.immediateFail, Bytes("true")) }
    guard isCheck else { return .proceed }
    if isAnswered {
      if isDegraded { headers.set(HealthCheckHeaders.degraded, Bytes(start: nil, count: 0)) }
    } else if let cache = configuration.cache {
      cache.note(status, isDegraded: headers.value(HealthCheckHeaders.degraded) != nil, worker.loop.now)
    }
    configuration.clusterName.withUnsafeBufferPointer { headers.set(HealthCheckHeaders.checkedCluster, $0) }
    return .proceed
  }

  // MARK: Answering

  private func answer() {
    let stats = configuration.stats.lane(worker.index)
    stats.add(.total)
    let verdict = verdict()
    if let counter = verdict.counter { stats.add(counter) }
    let isOK = 200..<300 ~= verdict.status
    stats.add(isOK ? .ok : .failed)
    if verdict.isDegraded { stats.add(.degraded) }
    isDegraded = verdict.isDegraded
    callbacks.sendLocalReply(
      LocalReply(
        status: verdict.status, flags: isOK ? [] : .failedLocalHealthCheck, details: verdict.details))
  }

  private struct Verdict {
    var status = 200
    var details: ResponseCodeDetails
    var counter: HealthCheckFilterStat?
    var isDegraded = false
  }

  private func verdict() -> Verdict {
    if worker.isHealthCheckFailed { return Verdict(status: 503, details: .init("health_check_failed")) }
    if let cached = configuration.cache?.current(worker.loop.now) {
      return Verdict(
        status: cached.status, details: .init("health_check_cached"), counter: .cached, isDegraded: cached.isDegraded)
    }
    guard !configuration.minimumHealthy.isEmpty else { return Verdict(details: .init("health_check_ok")) }
    for (name, percent) in configuration.minimumHealthy {
      guard let stats = worker.clusters[name]?.identity.stats else {
        return Verdict(status: 503, details: .init("health_check_failed_no_cluster_found"), counter: .clusterNotFound)
      }
      let total = stats.total(.membershipTotal)
      if total == 0 {
        if percent == 0 { continue }
        return Verdict(status: 503, details: .init("health_check_failed_cluster_empty"), counter: .clusterEmpty)
      }
      let serving = stats.total(.membershipHealthy) + stats.total(.membershipDegraded)
      if Double(serving) < Double(total) * percent / 100 {
        return Verdict(status: 503, details: .init("health_check_failed_cluster_unhealthy"), counter: .clusterUnhealthy)
      }
    }
    return Verdict(details: .init("health_check_ok_cluster_healthy"))
  }
}

/// The last answer of the service behind the proxy, for some time. Shared by all threads.
final class HealthCheckCache: Sendable {
  private let time: Nanoseconds
  /// Until when, in milliseconds, and behind it the status (10 bits) and whether the service did badly (1 bit); 0: no
  /// answer.
  private let cell = Atomic<UInt64>(0)

  init(for time: Nanoseconds) { self.time = time }

  func note(_ status: Int, isDegraded: Bool, _ now: MonotonicTime) {
    let until = (now + time).nanoseconds / 1_000_000
    cell.store(
      until << 11 | UInt64(max(0, min(status, 1023))) << 1 | (isDegraded ? 1 : 0), ordering: .relaxed)
  }

  func current(_ now: MonotonicTime) -> (status: Int, isDegraded: Bool)? {
    let value = cell.load(ordering: .relaxed)
    guard value != 0, now.nanoseconds / 1_000_000 < value >> 11 else { return nil }
    return (Int(value >> 1 & 1023), value & 1 == 1)
  }
}
