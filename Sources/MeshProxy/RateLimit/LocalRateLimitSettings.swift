import MeshAPI
import MeshIO
import MeshPrimitives
import MeshRouting
import SwiftProtobuf

/// What a local rate limit does, as the filter's configuration or a route's says it
/// (`envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`). Immutable but for the runtime's values and the
/// buckets; shared by all threads.
final class LocalRateLimitSettings: RouteFilterConfiguration {
  /// Where the buckets are.
  enum Buckets: Sendable {
    case shared(LocalRateLimiter)
    /// Each client's connection has its own.
    case perConnection(LocalRateLimitRecipe)
  }

  let buckets: Buckets
  /// The bucket, where there is only one.
  private let onlyBucket: TokenBucket?
  let enabled: RuntimeFraction
  let enforced: RuntimeFraction
  let reply: LocalReply
  let statPrefix: String
  /// Headers for requests over the limit that pass.
  let passingHeaders: HeaderMutations
  /// Whether responses tell of the bucket that decided.
  let showsBucket: Bool
  let stats: StatBlock<LocalRateLimitStat>
  /// Whether descriptors are made of requests.
  private let hasDescriptors: Bool
  private let stage: UInt32
  private let hostRules: RouteRateLimits.HostRules
  /// In place of what routes say.
  private let ownRules: [RateLimitRule]
  private let ownCluster: [UInt8]
  private let lease: StatsLease

  init(_ message: LocalRateLimit, _ context: FilterBuildContext, isForRoute: Bool) throws(FilterProblem) {
    if isForRoute, !message.hasTokenBucket {
      throw FilterProblem(path: "token_bucket", message: "is required for a route")
    }
    let recipe = try Self.recipe(message, context)
    buckets =
      message.localRateLimitPerDownstreamConnection
      ? .perConnection(recipe)
      : .shared(LocalRateLimiter(recipe, context.limitStates, now: ProcessClock.monotonic()))
    hasDescriptors = !recipe.descriptors.isEmpty
    onlyBucket = if !hasDescriptors, case .shared(let limiter) = buckets { limiter.fallback } else { nil }
    enabled = Self.share(message.hasFilterEnabled ? message.filterEnabled : nil, context.runtime)
    enforced = Self.share(message.hasFilterEnforced ? message.filterEnforced : nil, context.runtime)
    let status = message.status.code.rawValue
    var reply = LocalReply(
      status: status < 400 ? 429 : status, text: "local_rate_limited", flags: .rateLimited,
      details: .init("local_rate_limited"))
    reply.mutations = try context.additions(message.responseHeadersToAdd, "response_headers_to_add")
    if message.rateLimitedAsResourceExhausted { reply.grpcStatus = .resourceExhausted }
    self.reply = reply
    statPrefix = message.statPrefix
    passingHeaders =
      try context.additions(
        message.requestHeadersToAddWhenNotEnforced, "request_headers_to_add_when_not_enforced") ?? HeaderMutations()
    showsBucket = message.enableXRatelimitHeaders == .draftVersion03
    stage = message.stage
    hostRules = .init(message.vhRateLimits)
    ownRules = try context.rateLimitRules(message.rateLimits, takesLimit: false)
    ownCluster = context.ownCluster
    let scope = "\(message.statPrefix).http_local_rate_limit"
    stats = context.store.scope(
      scope,
      prometheus: PrometheusScope(
        "envoy_http_local_rate_limit", labels: [("envoy_local_http_ratelimit_prefix", message.statPrefix)]))
    lease = context.store.lease(scope)
  }

  private static func share(_ share: RuntimeFractionalPercent?, _ runtime: Runtime) -> RuntimeFraction {
    guard let share else { return RuntimeFraction(nil, or: .none) }
    return RuntimeFraction(
      share.runtimeKey.isEmpty ? nil : runtime.value(share.runtimeKey), or: Fraction(share.defaultValue))
  }

  private static func recipe(
    _ message: LocalRateLimit, _ context: FilterBuildContext
  ) throws(FilterProblem) -> LocalRateLimitRecipe {
    var recipe = LocalRateLimitRecipe(scope: "http.\(context.statPrefix).\(message.statPrefix)")
    if message.hasTokenBucket { recipe.fallback = try TokenRate(message.tokenBucket, "token_bucket") }
    var seen: Set<[RateLimitEntry]> = []
    for (index, descriptor) in message.descriptors.enumerated() {
      let path = "descriptors[\(index)]"
      let entries = descriptor.entries.map { RateLimitEntry(key: Array($0.key.utf8), value: Array($0.value.utf8)) }
      guard seen.insert(entries).inserted else {
        throw FilterProblem(path: "\(path).entries", message: "is the same as in another descriptor")
      }
      recipe.descriptors.append(
        .init(entries: entries, rate: try TokenRate(descriptor.tokenBucket, "\(path).token_bucket")))
    }
    if message.hasMaxDynamicDescriptors { recipe.maximumDynamic = Int(message.maxDynamicDescriptors.value) }
    if message.hasAlwaysConsumeDefaultTokenBucket {
      recipe.alwaysTakesFallback = message.alwaysConsumeDefaultTokenBucket.value
    }
    return recipe
  }

  /// Takes the tokens of a request.
  @inline(__always)
  func take(_ stream: Stream) -> LocalRateLimiter.Verdict {
    if let onlyBucket { return .init(isAllowed: onlyBucket.take(by: stream.worker.loop), bucket: onlyBucket) }
    return takeOfMany(stream)
  }

  @inline(never)
  private func takeOfMany(_ stream: Stream) -> LocalRateLimiter.Verdict {
    guard case .shared(let limiter) = buckets else { return takeOfConnection(stream) }
    return hasDescriptors ? take(stream, limiter) : limiter.take(stream.worker.loop)
  }

  @inline(never)
  private func takeOfConnection(_ stream: Stream) -> LocalRateLimiter.Verdict {
    guard case .perConnection(let recipe) = buckets, let connection = stream.info.connection else {
      return .init(isAllowed: true, bucket: nil)
    }
    return take(stream, stream.worker.connectionLimiters.limiter(of: connection.identifier, recipe, stream.worker.loop))
  }

  @inline(never)
  private func take(_ stream: Stream, _ limiter: LocalRateLimiter) -> LocalRateLimiter.Verdict {
    let loop = stream.worker.loop
    guard hasDescriptors else { return limiter.take(loop) }
    let view = RateLimitView(stream, ownCluster: ownCluster)
    var descriptors: [RateLimitDescriptor] = []
    if ownRules.isEmpty {
      view.route?.forEach(hostRules) { rule in
        // Envoy's local limits know nothing of keys that switch rules off: they leave out what has one.
        guard rule.stage == stage, !rule.hasDisableKey else { return }
        if let descriptor = rule.descriptor(of: view) { descriptors.append(descriptor) }
      }
    } else {
      for rule in ownRules where !rule.isForEnd {
        if let descriptor = rule.descriptor(of: view) { descriptors.append(descriptor) }
      }
    }
    return limiter.take(descriptors, loop)
  }
}

extension RouteRateLimits.HostRules {
  init(_ options: VhRateLimitsOptions) {
    switch options {
    case .include: self = .include
    case .ignore: self = .ignore
    default: self = .override
    }
  }
}

extension TokenRate {
  /// - Parameter path: of the message.
  init(_ bucket: TokenBucketConfig, _ path: String) throws(FilterProblem) {
    let interval = bucket.fillInterval.nanoseconds
    guard interval >= 50_000_000 else {
      throw FilterProblem(path: "\(path).fill_interval", message: "must be at least 0.05s")
    }
    self.init(
      maximum: max(bucket.maxTokens, 1), tokens: bucket.hasTokensPerFill ? max(bucket.tokensPerFill.value, 1) : 1,
      interval: Nanoseconds(rawValue: UInt64(interval)))
  }
}
