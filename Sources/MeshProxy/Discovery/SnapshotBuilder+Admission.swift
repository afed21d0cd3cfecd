import MeshAPI
import MeshPrimitives

/// Network filters that decide whether a connection is served.
extension SnapshotBuilder {
  /// The filters before the last one of a chain.
  /// - Parameter path: of the list.
  mutating func admission(_ filters: some Sequence<MeshAPI.NetworkFilter>, _ path: String) -> [AdmissionFilter] {
    filters.enumerated().compactMap { index, filter in
      admissionFilter(filter.typedConfig, "\(path)[\(index)]", next: "\(path)[\(index + 1)]")
    }
  }

  private mutating func admissionFilter(_ config: TypedConfig, _ path: String, next: String) -> AdmissionFilter? {
    if let limit: NetworkRateLimit = try? config.unpack() {
      return rateLimit(limit, "\(path).typed_config").map { .rateLimit($0) }
    }
    if let limit: NetworkConnectionLimit = try? config.unpack() {
      return .connectionLimit(connectionLimit(limit))
    }
    // It admits every connection: see `connectionTelemetry`.
    if config.messageName == IstioStatsConfig.protoMessageName { return nil }
    report(next, "nothing can follow a filter that ends the chain")
    return nil
  }

  private mutating func rateLimit(_ limit: NetworkRateLimit, _ path: String) -> ConnectionRateLimit? {
    let scope = "local_rate_limit.\(limit.statPrefix)"
    guard let rate = tokenRate(limit.tokenBucket, path) else { return nil }
    let bucket =
      limit.shareKey.isEmpty
      ? identities.limitStates.bucket(TokenBucketKey(scope: scope, rate: rate))
      : identities.limitStates.sharedBucket(TokenBucketKey(scope: "share_key.\(limit.shareKey)", rate: rate))
    return ConnectionRateLimit(
      bucket, enabled: flag(limit.hasRuntimeEnabled ? limit.runtimeEnabled : nil),
      stats: identities.store.scope(
        scope,
        prometheus: PrometheusScope(
          "envoy_local_rate_limit", labels: [("envoy_local_network_ratelimit_prefix", limit.statPrefix)])),
      lease: identities.store.lease(scope))
  }

  private mutating func connectionLimit(_ limit: NetworkConnectionLimit) -> OpenConnectionLimit {
    let scope = "connection_limit.\(limit.statPrefix)"
    return OpenConnectionLimit(
      maximum: Int(clamping: limit.maxConnections.value),
      delay: limit.hasDelay ? Nanoseconds(limit.delay) : .zero,
      enabled: flag(limit.hasRuntimeEnabled ? limit.runtimeEnabled : nil),
      count: identities.limitStates.connectionCount(limit.statPrefix),
      stats: identities.store.scope(
        scope,
        prometheus: PrometheusScope(
          "envoy_connection_limit", labels: [("envoy_connection_limit_prefix", limit.statPrefix)])),
      lease: identities.store.lease(scope))
  }

  /// `envoy.filters.listener.local_ratelimit`
  mutating func listenerRateLimit(_ limit: ListenerRateLimit, _ path: String) -> ConnectionRateLimit? {
    let scope = "listener_local_ratelimit.\(limit.statPrefix)"
    guard let rate = tokenRate(limit.tokenBucket, path) else { return nil }
    return ConnectionRateLimit(
      identities.limitStates.bucket(TokenBucketKey(scope: scope, rate: rate)),
      enabled: flag(limit.hasRuntimeEnabled ? limit.runtimeEnabled : nil),
      stats: identities.store.scope(
        scope,
        prometheus: PrometheusScope(
          "envoy_listener_local_ratelimit", labels: [("envoy_local_listener_ratelimit_prefix", limit.statPrefix)])),
      lease: identities.store.lease(scope))
  }

  private mutating func tokenRate(_ bucket: TokenBucketConfig, _ path: String) -> TokenRate? {
    do { return try TokenRate(bucket, "token_bucket") } catch {
      report("\(path).\(error.path)", error.message)
      return nil
    }
  }

  private func flag(_ flag: RuntimeFeatureFlag?) -> RuntimeFlag {
    guard let flag else { return RuntimeFlag(nil, or: true) }
    return RuntimeFlag(
      flag.runtimeKey.isEmpty ? nil : identities.runtime.value(flag.runtimeKey), or: flag.defaultValue.value)
  }
}
