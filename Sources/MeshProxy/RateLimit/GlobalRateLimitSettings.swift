import MeshAPI
import MeshPrimitives
import MeshRouting
import SwiftProtobuf
import Synchronization

/// What the filter that asks a rate limit service does (`envoy.extensions.filters.http.ratelimit.v3.RateLimit`). Immutable
/// but for the runtime's values; shared by all threads.
final class GlobalRateLimitSettings: Sendable {
  /// Which requests the service is asked about.
  enum Origin: Sendable { case both, inside, outside }

  let service: RateLimitService
  let domain: String
  let origin: Origin
  let enabled: RuntimeFraction
  let enforced: RuntimeFraction
  /// Share of the requests that are refused if the service does not answer.
  let denial: RuntimeFraction
  let reply: LocalReply
  let errorReply: LocalReply
  /// Whether responses say `x-envoy-ratelimited`.
  let marksLimited: Bool
  /// Whether responses tell of the limit with the least left.
  let showsLimit: Bool
  let statistics: RateLimitStatistics
  private let stage: UInt32
  private let ownRules: [RateLimitRule]
  private let ownCluster: [UInt8]

  init(_ message: GlobalRateLimit, _ context: FilterBuildContext) throws(FilterProblem) {
    let timeout = message.hasTimeout ? message.timeout.nanoseconds : 20_000_000
    service = try RateLimitService(
      message.rateLimitService, timeout: timeout > 0 ? .nanoseconds(timeout) : nil, context, "rate_limit_service")
    domain = message.domain
    stage = message.stage
    switch message.requestType {
    case "", "both": origin = .both
    case "internal": origin = .inside
    case "external": origin = .outside
    default: throw FilterProblem(path: "request_type", message: "must be internal, external or both")
    }
    func share(_ isGiven: Bool, _ share: RuntimeFractionalPercent, _ key: String, or fallback: Fraction)
      -> RuntimeFraction
    {
      guard isGiven else { return RuntimeFraction(key.isEmpty ? nil : context.runtime.value(key), or: fallback) }
      return RuntimeFraction(
        share.runtimeKey.isEmpty ? nil : context.runtime.value(share.runtimeKey), or: Fraction(share.defaultValue))
    }
    enabled = share(
      message.hasFilterEnabled, message.filterEnabled, "ratelimit.http_filter_enabled", or: .all)
    enforced = share(
      message.hasFilterEnforced, message.filterEnforced, "ratelimit.http_filter_enforcing", or: .all)
    denial = share(
      message.hasFailureModeDenyPercent, message.failureModeDenyPercent, "", or: message.failureModeDeny ? .all : .none)
    let status = message.rateLimitedStatus.code.rawValue
    var reply = LocalReply(
      status: status < 400 ? 429 : status, flags: .rateLimited, details: .init("request_rate_limited"))
    reply.mutations = try context.additions(message.responseHeadersToAdd, "response_headers_to_add")
    if message.rateLimitedAsResourceExhausted { reply.grpcStatus = .resourceExhausted }
    self.reply = reply
    let errorStatus = message.statusOnError.code.rawValue
    errorReply = LocalReply(
      status: errorStatus < 200 ? 500 : errorStatus, flags: .rateLimitServiceError,
      details: .init("rate_limiter_error"))
    marksLimited = !message.disableXEnvoyRatelimitedHeader
    showsLimit = message.enableXRatelimitHeaders == .draftVersion03
    ownRules = try context.rateLimitRules(message.rateLimits, takesLimit: true)
    ownCluster = context.ownCluster
    statistics = RateLimitStatistics(context.store, prefix: message.statPrefix)
  }

  /// What a request is counted under.
  /// - Parameter atEnd: by the rules for when it has ended, or by the others.
  func descriptors(of stream: Stream, _ route: ForRoute?, atEnd: Bool) -> [RateLimitDescriptor] {
    let view = RateLimitView(stream, ownCluster: ownCluster)
    var descriptors: [RateLimitDescriptor] = []
    func add(_ rule: RateLimitRule) {
      guard rule.isForEnd == atEnd else { return }
      if let descriptor = rule.descriptor(of: view) { descriptors.append(descriptor) }
    }
    let rules = route.flatMap { $0.rules.isEmpty ? nil : $0.rules } ?? ownRules
    if rules.isEmpty {
      view.route?.forEach(route?.hostRules ?? .override) { rule in
        guard rule.stage == stage, rule.isEnabled(stream.worker.random.next()) else { return }
        add(rule)
      }
    } else {
      for rule in rules { add(rule) }
    }
    return descriptors
  }

  /// What a route says to the filter (`RateLimitPerRoute`).
  struct ForRoute: RouteFilterConfiguration {
    let hostRules: RouteRateLimits.HostRules
    let rules: [RateLimitRule]
    /// Empty: the filter's.
    let domain: String

    init(_ message: RateLimitPerRoute, _ context: FilterBuildContext) throws(FilterProblem) {
      hostRules =
        switch message.vhRateLimits {
        case .include: .include
        case .ignore: .ignore
        default: .override
        }
      rules = try context.rateLimitRules(message.rateLimits, takesLimit: true)
      domain = message.domain
    }
  }
}

/// The statistics of clusters whose requests a service is asked about: `cluster.<name>.ratelimit.…`, shown from the first
/// request on. Any thread.
final class RateLimitStatistics: Sendable {
  private struct Entry {
    let block: StatBlock<RateLimitStat>
    let lease: StatsLease
  }

  private let store: StatsStore
  private let prefix: String
  private let byCluster = Mutex<[String: Entry]>([:])

  /// - Parameter prefix: a further part of the names; may be empty.
  init(_ store: StatsStore, prefix: String) {
    self.store = store
    self.prefix = prefix
  }

  /// - Parameter cluster: the name of its statistics.
  func of(_ cluster: String) -> StatBlock<RateLimitStat> {
    byCluster.withLock { known in
      if let entry = known[cluster] { return entry.block }
      let scope = "cluster.\(cluster).ratelimit" + (prefix.isEmpty ? "" : ".\(prefix)")
      let entry = Entry(
        block: store.scope(
          scope,
          prometheus: PrometheusScope(
            "envoy_cluster_ratelimit" + (prefix.isEmpty ? "" : "_\(prefix)"), labels: [("envoy_cluster_name", cluster)])
        ),
        lease: store.lease(scope))
      known[cluster] = entry
      return entry.block
    }
  }
}
