import MeshAPI
import MeshConfig
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting
import SwiftProtobuf

/// Turns configuration messages into a snapshot that workers can use, or says everything that is wrong with them: what a
/// single message cannot know (references, duplicates, filters that end the chain in the wrong place). Pure but for the
/// registries of identities, which keep what outlives a configuration.
struct SnapshotBuilder {
  /// Where a problem is and what it is; the path uses the schema's names.
  struct Problem {
    let path: String
    let message: String
  }

  let identities: Identities
  /// The proxy itself, as it tells others (`node`).
  let node: Node
  private(set) var problems: [Problem] = []
  private var clusterNames: Set<String> = []

  init(identities: Identities, node: Node = Node()) {
    self.identities = identities
    self.node = node
  }

  mutating func report(_ path: String, _ message: String) {
    problems.append(Problem(path: path, message: message))
  }

  /// The snapshot of a bootstrap's static resources; nil if there is a problem.
  mutating func build(_ bootstrap: Bootstrap) -> ConfigurationSnapshot? {
    let resources = bootstrap.staticResources
    clusterNames = Set(resources.clusters.map(\.name))
    let clusters = resources.clusters.enumerated().map { index, cluster in
      self.cluster(cluster, "static_resources.clusters[\(index)]")
    }
    var listeners: [ConfigurationSnapshot.ListenerEntry] = []
    var addresses: [MeshPrimitives.SocketAddress: Int] = [:]
    let adminSocket = bootstrap.admin.address.socketAddress
    let adminAddress = SocketAddress(ip: adminSocket.address, port: UInt16(truncatingIfNeeded: adminSocket.portValue))
    for (index, listener) in resources.listeners.enumerated() {
      let path = "static_resources.listeners[\(index)]"
      guard let entry = self.listener(listener, path) else { continue }
      let address = entry.configuration.address
      if address.port != 0, address == adminAddress {
        report("\(path).address", "the admin interface listens on \(address) already")
      }
      if address.port != 0, let other = addresses.updateValue(index, forKey: address) {
        report("\(path).address", "listener \(other) listens on \(address) already")
      }
      listeners.append(entry)
    }
    let maximumConnections = maximumConnections(bootstrap.overloadManager)
    let runtimeLayers = self.runtimeLayers(bootstrap)
    guard problems.isEmpty else { return nil }
    return ConfigurationSnapshot(
      listeners: listeners, clusters: clusters, maximumConnections: maximumConnections, runtimeLayers: runtimeLayers)
  }

  // MARK: Clusters

  private mutating func cluster(_ cluster: Cluster, _ path: String) -> ConfigurationSnapshot.ClusterEntry {
    var connection = ClientConnectionSettings()
    if cluster.hasConnectTimeout { connection.connectTimeout = Nanoseconds(cluster.connectTimeout) }
    // Shorter than any common server's own: a pooled connection should end on our side, never under a request.
    connection.idleTimeout = .seconds(3)
    if cluster.hasPerConnectionBufferLimitBytes {
      connection.highWatermark = Int(cluster.perConnectionBufferLimitBytes.value)
    }
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
      let common = options.commonHTTPProtocolOptions
      if common.hasIdleTimeout { connection.idleTimeout = Nanoseconds(orNever: common.idleTimeout) }
      if common.hasMaxConnectionDuration {
        connection.maximumDuration = Nanoseconds(orNever: common.maxConnectionDuration)
      }
      if common.hasMaxRequestsPerConnection { connection.maximumRequests = common.maxRequestsPerConnection.value }
      if common.hasMaxHeadersCount { connection.limits.maxFields = Int(common.maxHeadersCount.value) }
      useHTTP1Options(options, optionsPath, &connection)
      if common.hasMaxStreamDuration {
        report("\(optionsPath).common_http_protocol_options.max_stream_duration", "is not supported for clusters yet")
      }
    }
    var limits = CircuitBreaker.Limits()
    for (index, threshold) in cluster.circuitBreakers.thresholds.enumerated() {
      guard threshold.priority == .default else {
        report("\(path).circuit_breakers.thresholds[\(index)].priority", "HIGH is not supported yet (DEFAULT)")
        continue
      }
      if threshold.hasMaxConnections { limits.connections = Int(threshold.maxConnections.value) }
      if threshold.hasMaxPendingRequests { limits.pendingRequests = Int(threshold.maxPendingRequests.value) }
      if threshold.hasMaxRequests { limits.requests = Int(threshold.maxRequests.value) }
    }
    let statName = (cluster.altStatName.isEmpty ? cluster.name : cluster.altStatName).replacingColons
    let configuration = ClusterConfiguration(
      name: cluster.name, statName: statName,
      discovery: cluster.type == .strictDns ? .strictDNS : .staticAddresses,
      dnsLookupFamily: LookupFamily(cluster.dnsLookupFamily),
      dnsRefreshRate: cluster.hasDnsRefreshRate ? Nanoseconds(cluster.dnsRefreshRate) : .seconds(5),
      endpoints: endpoints(cluster, path), connection: connection, limits: limits,
      fingerprint: (try? cluster.serializedBytes()) ?? [])
    return .init(configuration: configuration, identity: identities.cluster(cluster.name, statName: statName))
  }

  private mutating func endpoints(_ cluster: Cluster, _ path: String) -> [ClusterConfiguration.ConfiguredEndpoint] {
    var result: [ClusterConfiguration.ConfiguredEndpoint] = []
    for (group, locality) in cluster.loadAssignment.endpoints.enumerated() {
      let place = WeightedEndpoint.Locality(
        region: locality.locality.region, zone: locality.locality.zone, subZone: locality.locality.subZone)
      for (index, entry) in locality.lbEndpoints.enumerated() {
        let endpointPath = "\(path).load_assignment.endpoints[\(group)].lb_endpoints[\(index)].endpoint.address"
        let address = entry.endpoint.address.socketAddress
        if cluster.type == .static, IPAddress(address.address) == nil {
          report(
            "\(endpointPath).socket_address.address",
            "\"\(address.address)\" is no IP address, and the cluster's type is STATIC (STRICT_DNS resolves names)")
        }
        let isHealthy =
          switch entry.healthStatus {
          case .unhealthy, .draining, .timeout: false
          default: true
          }
        result.append(
          .init(
            host: address.address, port: UInt16(truncatingIfNeeded: address.portValue),
            hostname: entry.endpoint.hostname,
            weight: entry.hasLoadBalancingWeight ? max(1, entry.loadBalancingWeight.value) : 1, isHealthy: isHealthy,
            locality: place))
      }
    }
    return result
  }

  // MARK: Listeners

  private mutating func listener(_ listener: Listener, _ path: String) -> ConfigurationSnapshot.ListenerEntry? {
    let socket = listener.address.socketAddress
    guard
      let address = MeshPrimitives.SocketAddress(
        ip: socket.address, port: UInt16(truncatingIfNeeded: socket.portValue))
    else {
      report("\(path).address.socket_address.address", "\"\(socket.address)\" is no IP address")
      return nil
    }
    guard let chain = listener.filterChains.first, let filter = chain.filters.first else {
      report(path, "has no filter chain with a filter")
      return nil
    }
    let filterPath = "\(path).filter_chains[0].filters"
    guard chain.filters.count == 1 else {
      report("\(filterPath)[1]", "nothing can follow the HTTP connection manager, which ends the chain")
      return nil
    }
    guard let manager: HttpConnectionManager = try? filter.typedConfig.unpack() else {
      report("\(filterPath)[0].typed_config", "must hold \(HttpConnectionManager.protoMessageName)")
      return nil
    }
    let bufferLimit =
      listener.hasPerConnectionBufferLimitBytes ? Int(listener.perConnectionBufferLimitBytes.value) : 1024 * 1024
    let name = listener.name.isEmpty ? address.description : listener.name
    var logging = LoggingConfiguration(listenerName: name, filterChainName: chain.name)
    addLogs(manager, "\(filterPath)[0].typed_config", &logging)
    guard
      let compiled = connectionManager(
        manager, "\(filterPath)[0].typed_config", bufferLimit, logging,
        isOutbound: listener.trafficDirection == .outbound)
    else { return nil }
    // Envoy's name for the scope: the address with its colons replaced, unless `stat_prefix` says otherwise.
    let statName = listener.statPrefix.isEmpty ? address.description.replacingColons : listener.statPrefix
    let configuration = ListenerConfiguration(
      name: name, address: address,
      backlog: listener.hasTcpBacklogSize ? Int(listener.tcpBacklogSize.value) : nil, statName: statName,
      direction: listener.trafficDirection, ignoresGlobalLimit: listener.ignoreGlobalConnLimit, manager: compiled)
    return .init(
      configuration: configuration,
      identity: identities.listener(name, statName: statName, managerPrefix: manager.statPrefix))
  }

  private mutating func connectionManager(
    _ manager: HttpConnectionManager, _ path: String, _ bufferLimit: Int, _ logging: LoggingConfiguration,
    isOutbound: Bool
  ) -> ConnectionManagerConfiguration? {
    let before = problems.count
    let table = routeTable(manager.routeConfig, "\(path).route_config")
    let chain = filters(manager, path)
    let localReplies = localReplies(manager, path)
    let edge = edgeRules(manager, path)
    let connection = connectionSettings(manager, path, bufferLimit)
    guard let table else { return nil }
    if table.validatesClusters {
      for (name, use) in zip(table.clusterNames, table.clusterPaths) where !clusterNames.contains(name) {
        report(use, unknownCluster(name))
      }
    }
    let statistics = virtualHostStatistics(manager.routeConfig, "\(path).route_config")
    let routeFilters = routeFilters(table, chain.filters, filterContext(manager))
    guard problems.count == before else { return nil }
    let common = manager.commonHTTPProtocolOptions
    return ConnectionManagerConfiguration(
      statPrefix: manager.statPrefix,
      isOutbound: isOutbound, edge: edge,
      streamIdleTimeout: manager.hasStreamIdleTimeout ? Nanoseconds(orNever: manager.streamIdleTimeout) : .seconds(300),
      requestTimeout: manager.hasRequestTimeout ? Nanoseconds(orNever: manager.requestTimeout) : nil,
      minimumBodyRate: MinimumBodyRate(identities.runtime),
      maximumStreamDuration: common.hasMaxStreamDuration ? Nanoseconds(orNever: common.maxStreamDuration) : nil,
      bufferLimit: bufferLimit, connection: connection, router: chain.router,
      filters: chain.filters.map(\.configuration), routeFilters: routeFilters, routes: table,
      routeConfigurationName: manager.routeConfig.name, logging: logging, localReplies: localReplies,
      virtualHostStatistics: statistics)
  }

  private func unknownCluster(_ name: String) -> String {
    guard let near = NearestName.of(name, in: clusterNames) else { return "unknown cluster \"\(name)\"" }
    return "unknown cluster \"\(name)\" (did you mean \"\(near)\"?)"
  }

  private mutating func connectionSettings(
    _ manager: HttpConnectionManager, _ path: String, _ bufferLimit: Int
  ) -> ServerConnectionSettings {
    let common = manager.commonHTTPProtocolOptions
    var settings = ServerConnectionSettings()
    settings.highWatermark = bufferLimit
    useHTTP1Options(manager, path, &settings)
    if manager.hasMaxRequestHeadersKb { settings.limits.maxHeadBytes = Int(manager.maxRequestHeadersKb.value) * 1024 }
    if common.hasMaxHeadersCount { settings.limits.maxFields = Int(common.maxHeadersCount.value) }
    if common.hasIdleTimeout { settings.idleTimeout = Nanoseconds(orNever: common.idleTimeout) }
    if common.hasMaxConnectionDuration { settings.maximumDuration = Nanoseconds(orNever: common.maxConnectionDuration) }
    if common.hasMaxRequestsPerConnection { settings.maximumRequests = common.maxRequestsPerConnection.value }
    if manager.hasRequestHeadersTimeout {
      settings.headersTimeout = Nanoseconds(orNever: manager.requestHeadersTimeout)
    }
    settings.waitsForLastRequest = manager.http1SafeMaxConnectionDuration
    settings.flushTimeout =
      if manager.hasStreamFlushTimeout {
        Nanoseconds(orNever: manager.streamFlushTimeout)
      } else if manager.hasStreamIdleTimeout {
        Nanoseconds(orNever: manager.streamIdleTimeout)
      } else {
        .seconds(300)
      }
    if manager.hasDrainTimeout { settings.drainTimeout = Nanoseconds(manager.drainTimeout) }
    if manager.hasDelayedCloseTimeout {
      settings.delayedCloseTimeout = Nanoseconds(orNever: manager.delayedCloseTimeout)
    }
    return settings
  }

  private mutating func filters(
    _ manager: HttpConnectionManager, _ path: String
  ) -> (filters: [NamedFilter], router: RouterFilter.Configuration) {
    var result: [NamedFilter] = []
    var router: RouterFilter.Configuration?
    let context = filterContext(manager)
    for (index, filter) in manager.httpFilters.enumerated() {
      let filterPath = "\(path).http_filters[\(index)]"
      if router != nil {
        report(filterPath, "comes after the router, which must be the last filter")
        continue
      }
      // An optional filter of a type we do not have: the reader has warned of it and left it empty.
      if filter.isOptional, filter.typedConfig.typeURL.isEmpty { continue }
      if let message: Router = try? filter.typedConfig.unpack() {
        router = .init(
          suppressesEnvoyHeaders: message.suppressEnvoyHeaders,
          respectsExpectedTimeout: message.respectExpectedRqTimeout,
          countsResponses: !message.hasDynamicStats || message.dynamicStats.value)
        if filter.disabled { report("\(filterPath).disabled", "the router cannot be disabled") }
      } else if let registration = FilterRegistry.registration(forType: filter.typedConfig.messageName) {
        do {
          let configuration = try registration.make(filter.typedConfig, context)
          result.append(
            NamedFilter(
              name: filter.name, registration: registration, configuration: configuration,
              isDisabled: filter.disabled))
        } catch {
          let below = error.path.isEmpty ? "" : ".\(error.path)"
          report("\(filterPath).typed_config\(below)", error.message)
        }
      } else {
        report(
          "\(filterPath).typed_config",
          "\(filter.typedConfig.messageName) is no HTTP filter "
            + "(\((FilterRegistry.all.map(\.typeName) + [Router.protoMessageName]).joined(separator: ", ")))")
      }
    }
    if router == nil {
      report("\(path).http_filters", "must end with \(Router.protoMessageName)")
    }
    return (result, router ?? .init())
  }

  private func filterContext(_ manager: HttpConnectionManager) -> FilterBuildContext {
    FilterBuildContext(statPrefix: manager.statPrefix, store: identities.store, runtime: identities.runtime)
  }
}

extension Nanoseconds {
  init(_ duration: DurationValue) { self.init(rawValue: UInt64(max(0, duration.nanoseconds))) }

  /// Envoy's timeouts: zero switches the timer off.
  init?(orNever duration: DurationValue) {
    guard duration.nanoseconds > 0 else { return nil }
    self.init(duration)
  }
}

extension LookupFamily {
  init(_ family: Cluster.DnsLookupFamily) {
    switch family {
    case .v4Only: self = .v4Only
    case .v6Only: self = .v6Only
    case .v4Preferred: self = .v4Preferred
    case .all: self = .all
    default: self = .auto
    }
  }
}

extension String {
  /// Statistics have dots between their parts and Envoy keeps colons out of them.
  var replacingColons: String { String(map { $0 == ":" ? "_" : $0 }) }
}
