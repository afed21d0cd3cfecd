import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import SwiftProtobuf

extension SnapshotBuilder {
  /// What the bootstrap says for all clusters.
  struct ClusterDefaults {
    var bind = BindConfig()
    var resolver: TypedExtensionConfig?

    init(_ bootstrap: Bootstrap) {
      bind = bootstrap.clusterManager.upstreamBindConfig
      resolver = bootstrap.hasTypedDnsResolverConfig ? bootstrap.typedDnsResolverConfig : nil
    }

    /// Changes whenever they do.
    var fingerprint: [UInt8] {
      ((try? bind.serializedBytes()) ?? []) + ((try? (resolver ?? TypedExtensionConfig()).serializedBytes()) ?? [])
    }
  }

  mutating func cluster(
    _ cluster: Cluster, _ path: String, _ defaults: ClusterDefaults
  ) -> ConfigurationSnapshot.ClusterEntry {
    let statName = (cluster.altStatName.isEmpty ? cluster.name : cluster.altStatName).replacingColons
    var connection = ClientConnectionSettings()
    var requestTLS = RequestTLSOptions()
    let common = httpOptions(cluster, path, &connection, &requestTLS)
    limit(&connection, cluster, common)
    let tls = upstreamTLS(cluster, path, requestTLS)
    let (discovery, dns) = discovery(cluster, path, defaults)
    let proxyHeader = upstreamProxyHeader(cluster, path)
    var pool = pool(cluster, path, defaults)
    if proxyHeader != nil { pool.isPerDownstreamConnection = true }
    let configuration = ClusterConfiguration(
      name: cluster.name, statName: statName, discovery: discovery, dns: dns,
      endpoints: endpoints(cluster, discovery, path), balancing: balancing(cluster, discovery, path),
      dropOverload: dropOverload(cluster, path),
      connection: connection, pool: pool,
      tls: tls, proxyHeader: proxyHeader,
      connectTimeout: cluster.hasConnectTimeout ? Nanoseconds(cluster.connectTimeout) : .seconds(5),
      limits: limits(cluster, discovery, "\(path).circuit_breakers"), retries: RetrySettings(identities.runtime),
      outliers: outliers(cluster, path),
      healthChecks: healthChecks(cluster, path, pool.codec),
      forgetsHealthyEndpoints: cluster.ignoreHealthOnHostRemoval,
      closesConnectionsOfUnhealthy: cluster.closeConnectionsOnHostHealthFailure,
      maximumStreamDuration: common.hasMaxStreamDuration ? Nanoseconds(orNever: common.maxStreamDuration) : nil,
      metadata: cluster.hasMetadata ? cluster.metadata : nil,
      fingerprint: ((try? cluster.serializedBytes()) ?? []) + defaults.fingerprint)
    return .init(configuration: configuration, identity: identities.cluster(cluster.name, statName: statName))
  }

  // MARK: Connections

  /// The options that hold for every HTTP version: the extension's, else those of the deprecated fields.
  /// - Parameters:
  ///   - connection: gets what belongs to HTTP/1.1 alone.
  ///   - requestTLS: gets what requests say for TLS.
  private mutating func httpOptions(
    _ cluster: Cluster, _ path: String, _ connection: inout ClientConnectionSettings,
    _ requestTLS: inout RequestTLSOptions
  ) -> HttpProtocolOptions {
    var common = cluster.commonHTTPProtocolOptions
    useHTTP1Options(cluster.httpProtocolOptions, "\(path).http_protocol_options", &connection)
    for (name, config) in cluster.typedExtensionProtocolOptions {
      let optionsPath = "\(path).typed_extension_protocol_options[\"\(name)\"]"
      guard name == UpstreamHttpProtocolOptions.protoMessageName else {
        report(optionsPath, "unknown protocol options (\(UpstreamHttpProtocolOptions.protoMessageName))")
        continue
      }
      guard let options: UpstreamHttpProtocolOptions = try? config.unpack() else {
        report(optionsPath, "must hold \(UpstreamHttpProtocolOptions.protoMessageName)")
        continue
      }
      common = options.commonHTTPProtocolOptions
      requestTLS = options.upstreamHTTPProtocolOptions
      useHTTP1Options(options, optionsPath, &connection)
    }
    if !common.hasMaxRequestsPerConnection, cluster.hasMaxRequestsPerConnection {
      common.maxRequestsPerConnection = cluster.maxRequestsPerConnection
    }
    return common
  }

  /// Times and sizes, for every HTTP version.
  private func limit(_ connection: inout ClientConnectionSettings, _ cluster: Cluster, _ common: HttpProtocolOptions) {
    // Shorter than any common server's own: a pooled connection should end on our side, never under a request.
    connection.idleTimeout = .seconds(3)
    if cluster.hasPerConnectionBufferLimitBytes {
      connection.highWatermark = Int(cluster.perConnectionBufferLimitBytes.value)
    }
    if common.hasIdleTimeout { connection.idleTimeout = Nanoseconds(orNever: common.idleTimeout) }
    if common.hasMaxConnectionDuration {
      connection.maximumDuration = Nanoseconds(orNever: common.maxConnectionDuration)
    }
    if common.hasMaxRequestsPerConnection { connection.maximumRequests = common.maxRequestsPerConnection.value }
    if common.hasMaxHeadersCount { connection.limits.maxFields = Int(common.maxHeadersCount.value) }
    if common.hasMaxResponseHeadersKb {
      connection.limits.maxResponseHeadBytes = Int(common.maxResponseHeadersKb.value) * 1024
    }
  }

  private mutating func pool(_ cluster: Cluster, _ path: String, _ defaults: ClusterDefaults) -> PoolSettings {
    var pool = PoolSettings()
    pool.isPerDownstreamConnection = cluster.connectionPoolPerDownstreamConnection
    pool.codec = codec(of: cluster, path)
    if cluster.preconnectPolicy.hasPerUpstreamPreconnectRatio {
      pool.preconnectRatio = cluster.preconnectPolicy.perUpstreamPreconnectRatio.value
    }
    let options = cluster.upstreamConnectionOptions
    if options.hasTcpKeepalive { pool.options.keepAlive = KeepAlive(options.tcpKeepalive) }
    if cluster.hasUpstreamBindConfig {
      bind(cluster.upstreamBindConfig, "\(path).upstream_bind_config", &pool)
    } else {
      bind(defaults.bind, "cluster_manager.upstream_bind_config", &pool)
    }
    return pool
  }

  private mutating func bind(_ bind: BindConfig, _ path: String, _ pool: inout PoolSettings) {
    pool.options.freeBind = bind.freebind.value
    pool.options.raw = socketOptions(bind.socketOptions, "\(path).socket_options")
    guard bind.hasSourceAddress else {
      if !bind.extraSourceAddresses.isEmpty {
        report("\(path).extra_source_addresses", "needs source_address, for the endpoints of the other IP version")
      }
      return
    }
    guard let address = ipAddress(bind.sourceAddress, "\(path).source_address", "to bind connections to") else {
      return
    }
    pool.sources = [.init(address: address, options: pool.options)]
    for (index, extra) in bind.extraSourceAddresses.enumerated() {
      let extraPath = "\(path).extra_source_addresses[\(index)]"
      guard let other = ipAddress(extra.address, "\(extraPath).address", "to bind connections to") else { continue }
      if pool.sources.contains(where: { $0.address.ip.family == other.ip.family }) {
        report("\(extraPath).address", "there is an address of this IP version already (one for each can be used)")
      }
      var options = pool.options
      if extra.hasSocketOptions {
        options.raw = socketOptions(extra.socketOptions.socketOptions, "\(extraPath).socket_options.socket_options")
      }
      pool.sources.append(.init(address: other, options: options))
    }
  }

  private mutating func limits(
    _ cluster: Cluster, _ discovery: ClusterConfiguration.Discovery, _ path: String
  ) -> ByPriority<CircuitBreaker.Limits> {
    var result = ByPriority(normal: CircuitBreaker.Limits(), high: CircuitBreaker.Limits())
    // Of several for one priority the first holds.
    for threshold in cluster.circuitBreakers.thresholds.reversed() {
      var limits = CircuitBreaker.Limits()
      if threshold.hasMaxConnections { limits.connections = Int(threshold.maxConnections.value) }
      if threshold.hasMaxPendingRequests { limits.pendingRequests = Int(threshold.maxPendingRequests.value) }
      if threshold.hasMaxRequests { limits.requests = Int(threshold.maxRequests.value) }
      if threshold.hasMaxRetries { limits.retries = Int(threshold.maxRetries.value) }
      if threshold.hasRetryBudget {
        let budget = threshold.retryBudget
        limits.retryBudget = CircuitBreaker.RetryBudget(
          percent: budget.hasBudgetPercent ? budget.budgetPercent.value : 20,
          least: budget.hasMinRetryConcurrency ? Int(budget.minRetryConcurrency.value) : 3)
      }
      if threshold.hasMaxConnectionPools { limits.pools = Int(threshold.maxConnectionPools.value) }
      limits.tracksRemaining = threshold.trackRemaining
      result[threshold.priority == .high ? .high : .normal] = limits
    }
    if case .aggregate = discovery {
      // Those of its clusters hold.
      result.normal.requests = .max
      result.high.requests = .max
    }
    for (index, threshold) in cluster.circuitBreakers.perHostThresholds.enumerated().reversed() {
      let path = "\(path).per_host_thresholds[\(index)]"
      var others = threshold
      others.clearMaxConnections()
      if others != .init() { report(path, "may only have max_connections, for the priority DEFAULT") }
      guard threshold.hasMaxConnections else { continue }
      result.normal.connectionsPerEndpoint = Int(threshold.maxConnections.value)
      result.high.connectionsPerEndpoint = Int(threshold.maxConnections.value)
    }
    return result
  }
}

extension KeepAlive {
  init(_ settings: TcpKeepalive) {
    self.init(
      probes: settings.hasKeepaliveProbes ? Int32(clamping: settings.keepaliveProbes.value) : nil,
      idleSeconds: settings.hasKeepaliveTime ? Int32(clamping: settings.keepaliveTime.value) : nil,
      intervalSeconds: settings.hasKeepaliveInterval ? Int32(clamping: settings.keepaliveInterval.value) : nil)
  }
}
