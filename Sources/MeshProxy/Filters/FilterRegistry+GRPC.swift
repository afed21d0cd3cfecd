import MeshAPI
import MeshPrimitives

/// The filters for calls of gRPC.
extension FilterRegistry {
  static let grpc: [FilterRegistration] = [
    FilterRegistration(
      name: GRPCWebFilter.name, typeName: GrpcWebConfig.protoMessageName,
      make: { config, _ throws(FilterProblem) in
        let _: GrpcWebConfig = try unpack(config)
        return GRPCWebFilter.Configuration()
      }, makeForRoute: nil),
    FilterRegistration(
      name: GRPCBridgeFilter.name, typeName: GrpcBridgeConfig.protoMessageName,
      make: { config, _ throws(FilterProblem) in
        let message: GrpcBridgeConfig = try unpack(config)
        return GRPCBridgeFilter.Configuration(
          framesProtobuf: message.upgradeProtobufToGrpc, dropsQuery: message.ignoreQueryParameters)
      }, makeForRoute: nil),
    FilterRegistration(
      name: GRPCStatsFilter.name, typeName: GrpcStatsConfig.protoMessageName,
      make: { config, context throws(FilterProblem) in
        let message: GrpcStatsConfig = try unpack(config)
        return GRPCStatsFilter.Configuration(
          methods: try methods(message), recordsTime: message.enableUpstreamStats,
          replacesDots: message.replaceDotsInGrpcServiceName, tellsOthers: message.emitFilterState,
          lanes: context.store.lanes)
      }, makeForRoute: nil),
  ]

  private static func methods(
    _ message: GrpcStatsConfig
  ) throws(FilterProblem) -> GRPCStatsFilter.Configuration.Methods {
    switch message.perMethodStatSpecifier {
    case nil: return .listed([])
    case .statsForAllMethods(let all): return all.value ? .all : .listed([])
    case .individualMethodStatsAllowlist(let list):
      var names: Set<String> = []
      for (index, service) in list.services.enumerated() {
        let path = "individual_method_stats_allowlist.services[\(index)]"
        guard !service.name.isEmpty else { throw FilterProblem(path: path + ".name", message: "is required") }
        guard !service.methodNames.isEmpty else {
          throw FilterProblem(path: path + ".method_names", message: "needs at least one name")
        }
        for method in service.methodNames { names.insert("\(service.name)/\(method)") }
      }
      return .listed(names)
    }
  }
}
