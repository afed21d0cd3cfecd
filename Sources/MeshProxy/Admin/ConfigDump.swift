import MeshAPI
import MeshConfig
import MeshPrimitives
import SwiftProtobuf

/// The body of `/config_dump`: written one resource at a time, however many there are.
struct ConfigDump: AdminReport {
  /// What a request asks for.
  struct Selection {
    /// The fields that are shown; nil: all.
    var mask: FieldMask?
    /// Only resources whose whole name this matches; nil: all.
    var names: RegularExpression?
    var includesEndpoints = false
  }

  /// A part of the dump: a message of its own, with lists of resources.
  struct Section {
    enum Kind { case clusters, endpoints, listeners, scopedRoutes, routes, secrets }

    /// A list, with the type of its elements and the field in which an element has the resource; the first list is the
    /// one that has something.
    struct List {
      let field: String
      let element: String
      let resource: String
    }

    let kind: Kind
    let type: String
    let lists: [List]
    /// Other fields that Envoy has.
    let others: Set<String>
    /// The resource's message.
    let message: String

    /// In Envoy's order.
    static let all: [Section] = [
      Section(
        kind: .clusters, type: "ClustersConfigDump",
        lists: [
          List(field: "static_clusters", element: "StaticCluster", resource: "cluster"),
          List(field: "dynamic_active_clusters", element: "DynamicCluster", resource: "cluster"),
          List(field: "dynamic_warming_clusters", element: "DynamicCluster", resource: "cluster"),
        ], others: ["version_info"], message: Cluster.protoMessageName),
      Section(
        kind: .endpoints, type: "EndpointsConfigDump",
        lists: [
          List(field: "static_endpoint_configs", element: "StaticEndpointConfig", resource: "endpoint_config"),
          List(field: "dynamic_endpoint_configs", element: "DynamicEndpointConfig", resource: "endpoint_config"),
        ], others: [], message: ClusterLoadAssignment.protoMessageName),
      Section(
        kind: .listeners, type: "ListenersConfigDump",
        lists: [
          List(field: "static_listeners", element: "StaticListener", resource: "listener"),
          List(field: "dynamic_listeners", element: "DynamicListener", resource: "listener"),
        ], others: ["version_info"], message: Listener.protoMessageName),
      Section(
        kind: .scopedRoutes, type: "ScopedRoutesConfigDump",
        lists: [
          List(
            field: "inline_scoped_route_configs", element: "InlineScopedRouteConfigs", resource: "scoped_route_configs"),
          List(
            field: "dynamic_scoped_route_configs", element: "DynamicScopedRouteConfigs",
            resource: "scoped_route_configs"),
        ], others: [], message: ""),
      Section(
        kind: .routes, type: "RoutesConfigDump",
        lists: [
          List(field: "static_route_configs", element: "StaticRouteConfig", resource: "route_config"),
          List(field: "dynamic_route_configs", element: "DynamicRouteConfig", resource: "route_config"),
        ], others: [], message: RouteConfiguration.protoMessageName),
      Section(
        kind: .secrets, type: "SecretsConfigDump",
        lists: [
          List(field: "static_secrets", element: "StaticSecret", resource: "secret"),
          List(field: "dynamic_active_secrets", element: "DynamicSecret", resource: "secret"),
          List(field: "dynamic_warming_secrets", element: "DynamicSecret", resource: "secret"),
        ], others: [], message: Secret.protoMessageName),
    ]

    /// Whether a mask fits the section's message: it cannot lead into lists.
    func takes(_ mask: FieldMask) -> Bool {
      mask.paths.allSatisfy { path in
        path.count == 1 && (others.contains(path[0]) || lists.contains { $0.field == path[0] })
      }
    }

    /// Whether a mask fits the elements of a list.
    func elementsTake(_ mask: FieldMask, _ list: List) -> Bool {
      mask.paths.allSatisfy { path in
        switch path[0] {
        case list.resource: path.count == 1 || (mask.below(path[0])?.isValid(for: message) ?? false)
        case "name", "version_info", "error_state", "client_status", "last_updated": true
        default: false
        }
      }
    }
  }

  /// One step of the dump; the values behind it are read when it is written.
  private enum Step {
    case beginBootstrap
    case bootstrapListener(Int)
    case bootstrapClusters
    case bootstrapCluster(Int)
    case endBootstrap
    case beginSection(Section, hasList: Bool)
    case endSection(hasList: Bool)
    case cluster(Int)
    case endpoints(AdminCluster)
    case listener(Int)
    case routes(RouteConfiguration)
    case secret(Int)
  }

  private let bootstrap: Bootstrap
  private let updated: String
  /// With a list chosen, every element is a config of its own and says what it is.
  private let isFlat: Bool
  /// The mask of the bootstrap, or of the elements of the chosen list.
  private let mask: FieldMask?
  private var steps: [Step] = []
  private var position = 0
  private var hasBegun = false
  private var writer = JSONWriter()

  /// Everything, or what a mask chooses of it; nil if the mask fits no part.
  init?(_ context: any AdminContext, _ selection: Selection) {
    self.init(context, mask: selection.mask, isFlat: false)
    if isBootstrapWanted {
      let resources = bootstrap.staticResources
      steps.append(.beginBootstrap)
      if bootstrapResourcesAreWhole {
        steps += resources.listeners.indices.map { .bootstrapListener($0) }
        steps.append(.bootstrapClusters)
        steps += resources.clusters.indices.map { .bootstrapCluster($0) }
      }
      steps.append(.endBootstrap)
    }
    for section in Section.all where section.kind != .endpoints || selection.includesEndpoints {
      if let mask = selection.mask, !section.takes(mask) { continue }
      let isListWanted = selection.mask.map { $0.below(section.lists[0].field) != nil } ?? true
      let elements = isListWanted ? elements(of: section, context, selection.names) : []
      steps.append(.beginSection(section, hasList: !elements.isEmpty))
      steps += elements
      steps.append(.endSection(hasList: !elements.isEmpty))
    }
    if selection.mask != nil, steps.isEmpty { return nil }
  }

  /// The elements of one list; nil if the mask does not fit them.
  init?(_ context: any AdminContext, _ selection: Selection, list name: String, of section: Section) {
    guard let list = section.lists.first(where: { $0.field == name }) else { return nil }
    if let mask = selection.mask, !section.elementsTake(mask, list) { return nil }
    self.init(context, mask: selection.mask, isFlat: true)
    if name == section.lists[0].field { steps = elements(of: section, context, selection.names) }
  }

  private init(_ context: any AdminContext, mask: FieldMask?, isFlat: Bool) {
    Self.registerTypes
    bootstrap = SecretRedaction.redact(context.bootstrap)
    updated = Self.timestamp(context.configuredAt)
    self.mask = mask
    self.isFlat = isFlat
  }

  private func elements(of section: Section, _ context: any AdminContext, _ names: RegularExpression?) -> [Step] {
    func isWanted(_ name: String) -> Bool {
      names.map { names in Array(name.utf8).withUnsafeBufferPointer { names.matches($0) } } ?? true
    }
    let resources = bootstrap.staticResources
    switch section.kind {
    case .clusters:
      return resources.clusters.indices.filter { isWanted(resources.clusters[$0].name) }.map { .cluster($0) }
    case .endpoints:
      return context.clusters.filter { isWanted($0.configuration.name) }.map { .endpoints($0) }
    case .listeners:
      return resources.listeners.indices.filter { isWanted(resources.listeners[$0].name) }.map { .listener($0) }
    case .routes:
      return Self.routes(of: resources.listeners).filter { isWanted($0.name) }.map { .routes($0) }
    case .secrets:
      return resources.secrets.indices.filter { isWanted(resources.secrets[$0].name) }.map { .secret($0) }
    case .scopedRoutes: return []
    }
  }

  // MARK: Writing

  mutating func write(into output: inout [UInt8], softLimit: Int) -> Bool {
    if !hasBegun {
      hasBegun = true
      writer.beginObject()
      // As protobuf's JSON has it: no list rather than an empty one.
      if !steps.isEmpty {
        writer.name("configs")
        writer.beginArray()
      }
    }
    while position < steps.count, writer.output.count < softLimit {
      write(steps[position])
      position += 1
    }
    let hasMore = position < steps.count
    if !hasMore {
      if !steps.isEmpty { writer.endArray() }
      writer.endObject()
    }
    writer.drain(into: &output)
    return hasMore
  }

  private mutating func write(_ step: Step) {
    switch step {
    case .beginBootstrap: beginBootstrap()
    case .bootstrapListener(let index): writer.message(bootstrap.staticResources.listeners[index])
    case .bootstrapClusters:
      if !bootstrap.staticResources.listeners.isEmpty { writer.endArray() }
      if !bootstrap.staticResources.clusters.isEmpty {
        writer.name("clusters")
        writer.beginArray()
      }
    case .bootstrapCluster(let index): writer.message(bootstrap.staticResources.clusters[index])
    case .endBootstrap: endBootstrap()
    case .beginSection(let section, let hasList):
      writer.beginObject()
      typeName(section.type)
      if hasList {
        writer.name(section.lists[0].field)
        writer.beginArray()
      }
    case .endSection(let hasList):
      if hasList { writer.endArray() }
      writer.endObject()
    case .cluster(let index):
      element("ClustersConfigDump.StaticCluster", "cluster", bootstrap.staticResources.clusters[index])
    case .endpoints(let cluster):
      element(
        "EndpointsConfigDump.StaticEndpointConfig", "endpoint_config", Self.loadAssignment(cluster), isDated: false)
    case .listener(let index):
      element("ListenersConfigDump.StaticListener", "listener", bootstrap.staticResources.listeners[index])
    case .routes(let routes):
      element("RoutesConfigDump.StaticRouteConfig", "route_config", routes)
    case .secret(let index):
      let secret = bootstrap.staticResources.secrets[index]
      element("SecretsConfigDump.StaticSecret", "secret", secret, name: secret.name)
    }
  }

  // MARK: Bootstrap

  /// Whether the mask fits `BootstrapConfigDump`.
  private var isBootstrapWanted: Bool {
    guard let mask else { return true }
    return mask.paths.allSatisfy { path in
      switch path[0] {
      case "bootstrap": mask.below("bootstrap")?.isValid(for: Bootstrap.protoMessageName) ?? false
      case "last_updated": path.count == 1
      default: false
      }
    }
  }

  /// Whether listeners and clusters follow one by one: there may be ten thousand.
  private var bootstrapResourcesAreWhole: Bool {
    guard let mask else { return true }
    guard let inner = mask.below("bootstrap") else { return false }
    return inner.isEmpty || inner.below("static_resources")?.isEmpty == true
  }

  private mutating func beginBootstrap() {
    writer.beginObject()
    typeName("BootstrapConfigDump")
    let inner = mask?.below("bootstrap")
    guard mask == nil || inner != nil else { return }
    writer.name("bootstrap")
    guard bootstrapResourcesAreWhole else {
      writer.message(bootstrap, mask: inner)
      return
    }
    var rest = bootstrap
    rest.clearStaticResources()
    var resources = bootstrap.staticResources
    resources.listeners = []
    resources.clusters = []
    writer.beginObject()
    writer.members(of: rest, mask: inner)
    writer.name("static_resources")
    writer.beginObject()
    writer.members(of: resources)
    if !bootstrap.staticResources.listeners.isEmpty {
      writer.name("listeners")
      writer.beginArray()
    }
  }

  private mutating func endBootstrap() {
    if bootstrapResourcesAreWhole {
      if !bootstrap.staticResources.clusters.isEmpty { writer.endArray() }
      writer.endObject()
      writer.endObject()
    }
    lastUpdated()
    writer.endObject()
  }

  // MARK: Elements

  private mutating func element(
    _ type: String, _ field: String, _ message: some Message, name: String? = nil, isDated: Bool = true
  ) {
    writer.beginObject()
    if isFlat { typeName(type) }
    if let name, !isFlat || mask == nil || mask?.below("name") != nil {
      writer.name("name")
      writer.string(name)
    }
    let inner = isFlat ? mask?.below(field) : nil
    if !isFlat || mask == nil || inner != nil {
      writer.name(field)
      writer.message(message, asAny: true, mask: inner)
    }
    if isDated { lastUpdated() }
    writer.endObject()
  }

  private mutating func lastUpdated() {
    // Within a section a mask has chosen whole lists.
    if let mask, mask.below("last_updated") == nil, isFlat || mask.below("bootstrap") != nil { return }
    writer.name("last_updated")
    writer.string(updated)
  }

  private mutating func typeName(_ name: String) {
    writer.name("@type")
    writer.string("type.googleapis.com/envoy.admin.v3.\(name)")
  }

  /// The route configurations that are part of a listener.
  private static func routes(of listeners: [Listener]) -> [RouteConfiguration] {
    let chains = listeners.flatMap { $0.filterChains + ($0.hasDefaultFilterChain ? [$0.defaultFilterChain] : []) }
    return chains.flatMap(\.filters).compactMap { filter in
      guard filter.typedConfig.holds(HttpConnectionManager.self),
        let manager = try? filter.typedConfig.unpack(as: HttpConnectionManager.self),
        case .routeConfig(let routes)? = manager.routeSpecifier
      else { return nil }
      return routes
    }
  }

  /// The endpoints that a cluster has now, names resolved.
  private static func loadAssignment(_ cluster: AdminCluster) -> ClusterLoadAssignment {
    var assignment = ClusterLoadAssignment()
    assignment.clusterName = cluster.configuration.name
    assignment.policy.overprovisioningFactor.value = cluster.configuration.balancing.overprovisioning
    struct Place: Hashable {
      let locality: WeightedEndpoint.Locality
      let priority: UInt32
    }
    var positions: [Place: Int] = [:]
    for weighted in cluster.endpoints {
      var endpoint = LbEndpoint()
      endpoint.endpoint.address = Address(weighted.endpoint.address)
      endpoint.endpoint.hostname = weighted.endpoint.hostname
      endpoint.endpoint.healthCheckConfig = .init()
      endpoint.healthStatus = weighted.health.receivesRequests ? .healthy : .unhealthy
      endpoint.loadBalancingWeight.value = weighted.weight
      let place = Place(locality: weighted.locality, priority: weighted.priority)
      let position =
        positions[place]
        ?? {
          var group = LocalityLbEndpoints()
          group.locality.region = weighted.locality.region
          group.locality.zone = weighted.locality.zone
          group.locality.subZone = weighted.locality.subZone
          group.priority = weighted.priority
          if weighted.localityWeight > 0 { group.loadBalancingWeight.value = weighted.localityWeight }
          assignment.endpoints.append(group)
          positions[place] = assignment.endpoints.count - 1
          return assignment.endpoints.count - 1
        }()
      assignment.endpoints[position].lbEndpoints.append(endpoint)
    }
    return assignment
  }

  private static func timestamp(_ nanoseconds: UInt64) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ISO8601.length) { buffer in
      guard let base = buffer.baseAddress else { return "" }
      ISO8601.write(unixMilliseconds: Int64(clamping: nanoseconds / 1_000_000), into: base)
      return String(decoding: buffer, as: UTF8.self)
    }
  }

  /// What an `Any` of the configuration may hold. SwiftProtobuf writes the JSON of types it was told of only.
  private static let registerTypes: Void = {
    let types: [any Message.Type] = [
      HttpConnectionManager.self, TcpProxy.self, TlsInspector.self, HttpInspector.self, ProxyProtocol.self,
      OriginalDst.self,
      ProxyProtocolUpstreamTransport.self, Router.self, MeshAPI.Buffer.self, BufferPerRoute.self, HTTPFault.self,
      Cors.self, CorsPolicy.self, GrpcStatsConfig.self, GrpcBridgeConfig.self, GrpcWebConfig.self,
      FileAccessLog.self, StdoutAccessLog.self, StderrAccessLog.self, UpstreamHttpProtocolOptions.self,
      RouteFilterConfig.self, DownstreamConnectionsConfig.self, FixedHeapConfig.self, CgroupMemoryConfig.self,
      CpuUtilizationConfig.self, InjectedResourceConfig.self, ScaleTimersConfig.self, PreserveCaseFormatterConfig.self,
      CustomHeaderConfig.self, XffConfig.self, UuidRequestIdConfig.self, CaresDnsResolverConfig.self, DnsCluster.self,
      RoundRobinPolicy.self, LeastRequestPolicy.self, RandomPolicy.self, RingHashPolicy.self,
      MaglevPolicy.self, LocalityPolicy.self, ClusterProvidedPolicy.self, AggregateClusterConfig.self,
      DownstreamTlsContext.self,
      PreviousHostsPredicate.self, OmitCanaryHostsPredicate.self, OmitHostMetadataConfig.self,
      PreviousPrioritiesConfig.self,
      UpstreamTlsContext.self, RawBuffer.self, Secret.self, LocalRateLimit.self, GlobalRateLimit.self,
      RateLimitPerRoute.self, NetworkRateLimit.self, NetworkConnectionLimit.self, ListenerRateLimit.self,
      HealthCheckFilterConfig.self, HealthCheckEventFileSink.self, IstioStatsConfig.self, PeerMetadataConfig.self,
      ZipkinConfig.self, OpenTelemetryConfig.self,
      AlwaysOnSamplerConfig.self, ParentBasedSamplerConfig.self, TraceIdRatioBasedSamplerConfig.self,
      EnvironmentResourceDetectorConfig.self, StaticConfigResourceDetectorConfig.self, StatsdSink.self,
      DogStatsdSink.self, MetricsServiceConfig.self,
    ]
    for type in types { Google_Protobuf_Any.register(messageType: type) }
  }()
}

extension Address {
  fileprivate init(_ address: MeshPrimitives.SocketAddress) {
    self.init()
    if let path = address.unixPath {
      pipe.path = path
      return
    }
    socketAddress.address = address.ipText
    socketAddress.portValue = UInt32(address.port)
  }
}
