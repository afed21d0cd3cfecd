import MeshAPI
import MeshPrimitives

/// Istio's filters.
extension FilterRegistry {
  static let istio: [FilterRegistration] = [
    FilterRegistration(
      name: PeerMetadataFilter.name, typeName: PeerMetadataConfig.protoMessageName,
      make: { config, context throws(FilterProblem) in
        PeerMetadataFilter.Configuration(try PeerMetadataRules(unpack(config), context))
      }, makeForRoute: nil),
    FilterRegistration(
      name: IstioStatsConfiguration.name, typeName: IstioStatsConfig.protoMessageName,
      make: { config, context throws(FilterProblem) in
        try IstioStatsConfiguration(
          unpack(config), isInbound: context.isInbound, node: context.node,
          metrics: IstioMetrics(context.store, context.runtime))
      }, makeForRoute: nil),
  ]
}

extension PeerMetadataRules {
  /// What a filter's message says.
  convenience init(_ message: PeerMetadataConfig, _ context: FilterBuildContext) throws(FilterProblem) {
    let metrics = IstioMetrics(context.store, context.runtime)
    self.init(
      readsRequests: try Self.reads(message.downstreamDiscovery, "downstream_discovery"),
      readsResponses: try Self.reads(message.upstreamDiscovery, "upstream_discovery"),
      toldUpstream: try Self.told(message.upstreamPropagation, "upstream_propagation", message, context.node),
      toldDownstream: try Self.told(message.downstreamPropagation, "downstream_propagation", message, context.node),
      stats: metrics.stats)
  }

  /// Whether headers are among the ways in which a peer is found.
  private static func reads(
    _ methods: [PeerMetadataConfig.DiscoveryMethod], _ path: String
  ) throws(FilterProblem) -> Bool {
    var reads = false
    for (index, method) in methods.enumerated() {
      switch method.methodSpecifier {
      case .istioHeaders(let headers):
        if headers.skipExternalClusters {
          throw FilterProblem(
            path: "\(path)[\(index)].istio_headers.skip_external_clusters", message: "is for what is propagated")
        }
        reads = true
      case .workloadDiscovery: break
      case nil:
        throw FilterProblem(path: "\(path)[\(index)]", message: "needs one of istio_headers, workload_discovery")
      }
    }
    return reads
  }

  private static func told(
    _ methods: [PeerMetadataConfig.PropagationMethod], _ path: String, _ message: PeerMetadataConfig, _ node: Node
  ) throws(FilterProblem) -> Told? {
    for (index, method) in methods.enumerated() where method.methodSpecifier == nil {
      throw FilterProblem(path: "\(path)[\(index)]", message: "needs istio_headers")
    }
    guard case .istioHeaders(let headers)? = methods.first?.methodSpecifier else { return nil }
    if methods.count > 1 { throw FilterProblem(path: "\(path)[1]", message: "the headers are there already") }
    let metadata = WorkloadIdentity.header(of: node.metadata, adding: message.additionalLabels)
    guard metadata.count <= WorkloadIdentity.maximumHeader else {
      throw FilterProblem(
        path: path,
        message:
          "node.metadata makes a header of \(metadata.count) bytes, and peers take \(WorkloadIdentity.maximumHeader)")
    }
    let identifier = node.id.utf8.map { $0 < 0x20 || $0 == 0x7f ? 0x20 : $0 }
    return Told(identifier: identifier, metadata: metadata, skipsExternal: headers.skipExternalClusters)
  }
}
