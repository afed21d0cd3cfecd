import MeshAPI
import MeshPrimitives
import SwiftProtobuf

// The configuration in force, as `envoy.admin.v3.ConfigDump`.

extension AdminEndpoint {
  static let configDump = AdminEndpoint(
    "/config_dump", "dump current configuration",
    parameters: [
      Parameter(
        name: "resource", help: "The resource to dump", choices: [""] + ConfigDump.Resource.allCases.map(\.rawValue))
    ]
  ) { request, context in
    for name in ["mask", "name_regex"] where request.parameter(name) != nil {
      return .text("\(name) is not supported; resource=<name> chooses a part\n", status: 400)
    }
    // `include_eds` adds endpoints that a control plane sent. There are none: they are in the clusters.
    guard let name = request.parameter("resource"), !name.isEmpty else {
      return .report(.json, ConfigDump(context, resource: nil))
    }
    guard let resource = ConfigDump.Resource(rawValue: name) else {
      return .text("\(name) not found in config dump", status: 404)
    }
    return .report(.json, ConfigDump(context, resource: resource))
  }
}

/// Writes one resource at a time.
struct ConfigDump: AdminReport {
  /// What `resource` may say: Envoy's field names.
  enum Resource: String, CaseIterable {
    case bootstrap
    case staticClusters = "static_clusters"
    case staticListeners = "static_listeners"
    case staticRouteConfigs = "static_route_configs"
  }

  /// One step of the dump; the values behind it are read when it is written.
  private enum Step {
    case beginBootstrap
    case bootstrapListener(Int)
    case bootstrapClusters
    case bootstrapCluster(Int)
    case endBootstrap
    case beginSection(String, field: String?)
    case endSection(isList: Bool)
    case cluster(Int)
    case listener(Int)
    case routes(Int)
    case end
  }

  private let bootstrap: Bootstrap
  private let routes: [RouteConfiguration]
  private let updated: String
  /// With `resource`, every element is a config of its own and says what it is.
  private let isFlat: Bool
  private var steps: [Step] = []
  private var position = 0
  private var writer = JSONWriter()

  init(_ context: any AdminContext, resource: Resource?) {
    Self.registerTypes
    bootstrap = context.bootstrap
    updated = Self.timestamp(context.configuredAt)
    isFlat = resource != nil
    let listeners = bootstrap.staticResources.listeners
    let clusters = bootstrap.staticResources.clusters
    func wants(_ other: Resource) -> Bool { resource == nil || resource == other }
    routes = wants(.staticRouteConfigs) ? Self.routes(of: listeners) : []

    if wants(.bootstrap) {
      steps.append(.beginBootstrap)
      steps += listeners.indices.map { .bootstrapListener($0) }
      steps.append(.bootstrapClusters)
      steps += clusters.indices.map { .bootstrapCluster($0) }
      steps.append(.endBootstrap)
    }
    section(wants(.staticClusters), "ClustersConfigDump", "static_clusters", clusters.indices.map { .cluster($0) })
    section(wants(.staticListeners), "ListenersConfigDump", "static_listeners", listeners.indices.map { .listener($0) })
    section(resource == nil, "ScopedRoutesConfigDump", nil, [])
    section(
      wants(.staticRouteConfigs), "RoutesConfigDump", "static_route_configs", routes.indices.map { .routes($0) })
    section(resource == nil, "SecretsConfigDump", nil, [])
    steps.append(.end)

    writer.beginObject()
    writer.name("configs")
    writer.beginArray()
  }

  private mutating func section(_ isWanted: Bool, _ type: String, _ field: String?, _ elements: [Step]) {
    guard isWanted else { return }
    if !isFlat { steps.append(.beginSection(type, field: elements.isEmpty ? nil : field)) }
    steps += elements
    if !isFlat { steps.append(.endSection(isList: !elements.isEmpty)) }
  }

  mutating func write(into output: inout [UInt8], softLimit: Int) -> Bool {
    while position < steps.count, writer.output.count < softLimit {
      write(steps[position])
      position += 1
    }
    writer.drain(into: &output)
    return position < steps.count
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
    case .endBootstrap:
      if !bootstrap.staticResources.clusters.isEmpty { writer.endArray() }
      writer.endObject()
      writer.endObject()
      endElement()
    case .beginSection(let type, let field):
      writer.beginObject()
      typeName("envoy.admin.v3.\(type)")
      if let field {
        writer.name(field)
        writer.beginArray()
      }
    case .endSection(let isList):
      if isList { writer.endArray() }
      writer.endObject()
    case .cluster(let index):
      element("ClustersConfigDump.StaticCluster", "cluster", bootstrap.staticResources.clusters[index])
    case .listener(let index):
      element("ListenersConfigDump.StaticListener", "listener", bootstrap.staticResources.listeners[index])
    case .routes(let index):
      element("RoutesConfigDump.StaticRouteConfig", "route_config", routes[index])
    case .end:
      writer.endArray()
      writer.endObject()
    }
  }

  /// Everything but the listeners and clusters, which follow one by one: there may be ten thousand.
  private mutating func beginBootstrap() {
    var rest = bootstrap
    rest.clearStaticResources()
    var resources = bootstrap.staticResources
    resources.listeners = []
    resources.clusters = []
    writer.beginObject()
    typeName("envoy.admin.v3.BootstrapConfigDump")
    writer.name("bootstrap")
    writer.beginObject()
    writer.members(of: rest)
    writer.name("static_resources")
    writer.beginObject()
    writer.members(of: resources)
    if !bootstrap.staticResources.listeners.isEmpty {
      writer.name("listeners")
      writer.beginArray()
    }
  }

  private mutating func element(_ type: String, _ field: String, _ message: some Message) {
    writer.beginObject()
    if isFlat { typeName("envoy.admin.v3.\(type)") }
    writer.name(field)
    writer.message(message, asAny: true)
    endElement()
  }

  private mutating func endElement() {
    writer.name("last_updated")
    writer.string(updated)
    writer.endObject()
  }

  private mutating func typeName(_ name: String) {
    writer.name("@type")
    writer.string("type.googleapis.com/\(name)")
  }

  /// The route configurations that are part of a listener.
  private static func routes(of listeners: [Listener]) -> [RouteConfiguration] {
    listeners.flatMap(\.filterChains).flatMap(\.filters).compactMap { filter in
      guard filter.typedConfig.holds(HttpConnectionManager.self),
        let manager = try? filter.typedConfig.unpack(as: HttpConnectionManager.self),
        case .routeConfig(let routes)? = manager.routeSpecifier
      else { return nil }
      return routes
    }
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
      HttpConnectionManager.self, Router.self, MeshAPI.Buffer.self, BufferPerRoute.self, HTTPFault.self,
      FileAccessLog.self, StdoutAccessLog.self, StderrAccessLog.self, UpstreamHttpProtocolOptions.self,
    ]
    for type in types { Google_Protobuf_Any.register(messageType: type) }
  }()
}
