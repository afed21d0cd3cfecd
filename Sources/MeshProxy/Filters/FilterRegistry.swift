import MeshAPI
import MeshHTTP
import MeshPrimitives
import MeshRouting
import SwiftProtobuf

/// What a filter's configuration is made with.
struct FilterBuildContext {
  /// The connection manager's `stat_prefix`.
  let statPrefix: String
  let store: StatsStore
  let runtime: Runtime
  /// Buckets of tokens, which outlive a configuration.
  let limitStates: LimitStates
  /// The proxy's own cluster (`node.cluster`); may be empty.
  let ownCluster: [UInt8]
  /// The names of the clusters that there are.
  let clusterNames: Set<String>
  /// This proxy, as it tells others.
  let node: Node
  /// The listener's `traffic_direction` is `INBOUND`: it is in front of the service beside the proxy.
  let isInbound: Bool
}

/// One kind of HTTP filter: its type and how its configuration is made. `make` reports what is wrong by throwing words.
struct FilterRegistration: Sendable {
  /// The canonical name.
  let name: String
  /// The message of `typed_config`.
  let typeName: String
  let make: @Sendable (TypedConfig, FilterBuildContext) throws(FilterProblem) -> any FilterConfiguration
  /// The messages of `typed_per_filter_config`, and what they become; nil for a filter that routes cannot configure.
  let makeForRoute: (@Sendable (TypedConfig, FilterBuildContext) throws(FilterProblem) -> any RouteFilterConfiguration)?
}

/// Why a filter's configuration cannot be used.
struct FilterProblem: Error {
  /// Below `typed_config`; may be empty.
  var path = ""
  var message: String
}

/// Every HTTP filter there is, in the order in which `docs/` lists them. The router is not among them: it ends every
/// chain and belongs to the stream.
enum FilterRegistry {
  static let all = general + rateLimits + grpc + istio

  private static let general: [FilterRegistration] = [
    FilterRegistration(
      name: FaultFilter.name, typeName: HTTPFault.protoMessageName,
      make: { config, context throws(FilterProblem) in
        FaultFilter.Configuration(
          settings: try FaultSettings(unpack(config), context.runtime), statPrefix: context.statPrefix,
          store: context.store)
      },
      makeForRoute: { config, context throws(FilterProblem) in
        FaultFilter.RouteConfiguration(settings: try FaultSettings(unpack(config), context.runtime))
      }),
    FilterRegistration(
      name: CorsFilter.name, typeName: Cors.protoMessageName,
      make: { config, context throws(FilterProblem) in
        let _: Cors = try unpack(config)
        let scope = "http.\(context.statPrefix).cors"
        let stats: StatBlock<CorsStat> = context.store.scope(
          scope,
          prometheus: PrometheusScope(
            "envoy_http_cors", labels: [("envoy_http_conn_manager_prefix", context.statPrefix)]))
        return CorsFilter.Configuration(stats: stats, lease: context.store.lease(scope))
      },
      makeForRoute: { config, context throws(FilterProblem) in
        try CorsFilter.Policy(unpack(config), context.runtime)
      }),
    FilterRegistration(
      name: HealthCheckFilter.name, typeName: HealthCheckFilterConfig.protoMessageName,
      make: { config, context throws(FilterProblem) in
        try HealthCheckFilter.Configuration(unpack(config), context)
      }, makeForRoute: nil),
    FilterRegistration(
      name: BufferFilter.name, typeName: Buffer.protoMessageName,
      make: { config, _ throws(FilterProblem) in
        let message: Buffer = try unpack(config)
        return BufferFilter.Configuration(maximumRequest: Int(message.maxRequestBytes.value))
      },
      makeForRoute: { config, _ throws(FilterProblem) in
        let message: BufferPerRoute = try unpack(config)
        switch message.override {
        case .disabled: return BufferFilter.RouteConfiguration.disabled
        case .buffer(let buffer):
          return BufferFilter.RouteConfiguration.maximumRequest(Int(buffer.maxRequestBytes.value))
        case nil: throw FilterProblem(message: "needs disabled or buffer")
        }
      }),
  ]

  static func registration(forType typeName: String) -> FilterRegistration? { all.first { $0.typeName == typeName } }

  static func unpack<M: Message>(_ config: TypedConfig) throws(FilterProblem) -> M {
    do { return try config.unpack() } catch { throw FilterProblem(message: error.description) }
  }
}
