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
  private(set) var clusterNames: Set<String> = []
  /// Codecs ask the overload manager before they look at what they have read.
  private var asksBeforeDispatch = false
  /// By name: what one cluster says of another.
  private(set) var clusterMessages: [String: Cluster] = [:]
  /// The clusters that the main thread will call.
  var mainClusters: Set<String> = []
  /// The provider of connection managers that name none (`Bootstrap.tracing`).
  private(set) var defaultProvider: TracingProvider?
  /// The collector that the environment names, if a provider wants it.
  var environmentCluster: Cluster?
  /// `static_resources.secrets`, by name.
  var secrets: [String: SecretContent] = [:]

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
    identities.limitStates.begin()
    clusterMessages = Dictionary(resources.clusters.map { ($0.name, $0) }) { first, _ in first }
    if bootstrap.tracing.hasHTTP { defaultProvider = bootstrap.tracing.http }
    loadSecrets(resources)
    let maximumConnections = maximumConnections(bootstrap.overloadManager)
    let overload = overload(bootstrap.overloadManager)
    asksBeforeDispatch = overload?.isAskedByCodecs ?? false
    let defaults = ClusterDefaults(bootstrap)
    var clusters = resources.clusters.enumerated().map { index, cluster in
      self.cluster(cluster, "static_resources.clusters[\(index)]", defaults)
    }
    var listeners: [ConfigurationSnapshot.ListenerEntry] = []
    var addresses: [MeshPrimitives.SocketAddress: Int] = [:]
    let adminAddress =
      bootstrap.admin.hasAddress
      ? listenAddress(bootstrap.admin.address, ListenOptions(), "admin.address")?.address : nil
    for (index, listener) in resources.listeners.enumerated() {
      let path = "static_resources.listeners[\(index)]"
      guard let entry = self.listener(listener, path) else { continue }
      for (place, address) in entry.configuration.addresses.map(\.address).enumerated()
      where address.isUnix || address.port != 0 {
        let addressPath = place == 0 ? "\(path).address" : "\(path).additional_addresses[\(place - 1)].address"
        if address == adminAddress {
          report(addressPath, "the admin interface listens on \(address) already")
        }
        if let other = addresses.updateValue(index, forKey: address) {
          report(addressPath, "listener \(other) listens on \(address) already")
        }
      }
      listeners.append(entry)
    }
    if let cluster = environmentCluster {
      clusters.append(self.cluster(cluster, "OTEL_EXPORTER_OTLP_ENDPOINT", defaults))
    }
    let runtimeLayers = self.runtimeLayers(bootstrap)
    checkStatsConfig(bootstrap)
    let outlierEventLog = self.outlierEventLog(bootstrap)
    let statSinks = self.statSinks(bootstrap)
    let seriesEviction = self.seriesEviction(bootstrap)
    let admin = self.admin(bootstrap.admin)
    guard problems.isEmpty else { return nil }
    return ConfigurationSnapshot(
      listeners: listeners, clusters: clusters, maximumConnections: maximumConnections, overload: overload,
      runtimeLayers: runtimeLayers, outlierEventLog: outlierEventLog, admin: admin,
      statSinks: statSinks, seriesEviction: seriesEviction, mainClusters: mainClusters)
  }

  // MARK: Connection managers

  mutating func connectionManager(
    _ manager: HttpConnectionManager, _ path: String, _ bufferLimit: Int, _ logging: LoggingConfiguration,
    isOutbound: Bool, isInbound: Bool = false
  ) -> ConnectionManagerConfiguration? {
    let before = problems.count
    let table = routeTable(manager.routeConfig, "\(path).route_config")
    let context = filterContext(manager, isInbound: isInbound)
    let chain = filters(manager.httpFilters, "\(path).http_filters", context)
    let upgradeChains = upgradeChains(manager, path, context)
    let localReplies = localReplies(manager, path)
    var edge = edgeRules(manager, path)
    edge.notesCertificate = table?.asksForCertificate ?? false
    edge.seal()
    let connection = connectionSettings(manager, path, bufferLimit)
    guard let table else { return nil }
    if table.validatesClusters {
      for (name, use) in zip(table.clusterNames, table.clusterPaths) where !clusterNames.contains(name) {
        report(use, unknownCluster(name))
      }
    }
    let statistics = virtualHostStatistics(manager.routeConfig, "\(path).route_config")
    let routeFilters = routeFilters(table, chain.filters, beside: upgradeChains.flatMap { $0?.filters ?? [] }, context)
    let upgrades = upgrades(manager, path, upgradeChains, table, beside: chain.filters, context)
    let bodyFormats = bodyFormats(table, "\(path).route_config")
    let tracing = tracing(manager, path, table, filters: chain.filters, isOutbound: isOutbound)
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
      filters: chain.filters.map(\.configuration), routeFilters: routeFilters, upgrades: upgrades,
      bodyFormats: bodyFormats, routes: table,
      routeConfigurationName: manager.routeConfig.name, logging: logging, localReplies: localReplies,
      virtualHostStatistics: statistics, tracing: tracing)
  }

  func unknownCluster(_ name: String) -> String {
    guard let near = NearestName.of(name, in: clusterNames) else { return "unknown cluster \"\(name)\"" }
    return "unknown cluster \"\(name)\" (did you mean \"\(near)\"?)"
  }

  private mutating func connectionSettings(
    _ manager: HttpConnectionManager, _ path: String, _ bufferLimit: Int
  ) -> ServerConnectionSettings {
    let common = manager.commonHTTPProtocolOptions
    var settings = ServerConnectionSettings()
    settings.highWatermark = bufferLimit
    settings.asksBeforeDispatch = asksBeforeDispatch
    useHTTP1Options(manager, path, &settings)
    useHTTP2Options(manager, path, &settings)
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

  /// - Parameter path: of the list.
  mutating func filters(
    _ filters: [HttpFilter], _ path: String, _ context: FilterBuildContext
  ) -> (filters: [NamedFilter], router: RouterFilter.Configuration) {
    var result: [NamedFilter] = []
    var router: RouterFilter.Configuration?
    for (index, filter) in filters.enumerated() {
      let filterPath = "\(path)[\(index)]"
      if router != nil {
        report(filterPath, "comes after the router, which must be the last filter")
        continue
      }
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
      } else if !filter.isOptional {
        // Of an optional filter of a type that we do not have the reader has warned.
        report(
          "\(filterPath).typed_config",
          "\(filter.typedConfig.messageName) is no HTTP filter "
            + "(\((FilterRegistry.all.map(\.typeName) + [Router.protoMessageName]).joined(separator: ", ")))")
      }
    }
    if router == nil {
      report(path, "must end with \(Router.protoMessageName)")
    }
    return (result, router ?? .init())
  }

  private func filterContext(_ manager: HttpConnectionManager, isInbound: Bool) -> FilterBuildContext {
    FilterBuildContext(
      statPrefix: manager.statPrefix, store: identities.store, runtime: identities.runtime,
      limitStates: identities.limitStates, ownCluster: Array(node.cluster.utf8), clusterNames: clusterNames,
      node: node, isInbound: isInbound)
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
