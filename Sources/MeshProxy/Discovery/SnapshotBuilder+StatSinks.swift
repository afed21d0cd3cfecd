import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// `stats_sinks`: where statistics are sent.
extension SnapshotBuilder {
  /// What the sinks do; nil if there are none.
  mutating func statSinks(_ bootstrap: Bootstrap) -> StatsSinkConfiguration? {
    if case .statsFlushOnAdmin(false)? = bootstrap.statsFlush {
      report("stats_flush_on_admin", "must be true")
    }
    let onAdmin = bootstrap.statsFlush != nil
    if onAdmin, bootstrap.hasStatsFlushInterval {
      report("stats_flush_interval", "must not be combined with stats_flush_on_admin")
    }
    var kinds: [StatsSinkConfiguration.Kind] = []
    for (index, sink) in bootstrap.statsSinks.enumerated() {
      if let kind = sinkKind(sink.typedConfig, "stats_sinks[\(index)].typed_config") { kinds.append(kind) }
    }
    guard !bootstrap.statsSinks.isEmpty else { return nil }
    let interval = bootstrap.hasStatsFlushInterval ? Nanoseconds(bootstrap.statsFlushInterval) : .seconds(5)
    return StatsSinkConfiguration(
      kinds: kinds, interval: onAdmin ? nil : interval, messages: bootstrap.statsSinks, node: node)
  }

  private mutating func sinkKind(_ config: TypedConfig, _ path: String) -> StatsSinkConfiguration.Kind? {
    if let message: StatsdSink = try? config.unpack() { return statsd(message, path) }
    if let message: DogStatsdSink = try? config.unpack() { return dogStatsd(message, path) }
    if let message: MetricsServiceConfig = try? config.unpack() { return metricsService(message, path) }
    let known = [MetricsServiceConfig.protoMessageName, StatsdSink.protoMessageName, DogStatsdSink.protoMessageName]
    report(path, "\(config.messageName) is no sink of statistics (\(known.joined(separator: ", ")))")
    return nil
  }

  private mutating func statsd(_ sink: StatsdSink, _ path: String) -> StatsSinkConfiguration.Kind? {
    switch sink.statsdSpecifier {
    case .address(let address):
      return datagramAddress(address, "\(path).address").map {
        .datagrams($0, prefix: sink.prefix, hasTags: false, limit: nil)
      }
    case .tcpClusterName(let name):
      useMainCluster(name, "\(path).tcp_cluster_name")
      return .connection(cluster: name, prefix: sink.prefix)
    case nil:
      report(path, "needs one of address, tcp_cluster_name")
      return nil
    }
  }

  private mutating func dogStatsd(_ sink: DogStatsdSink, _ path: String) -> StatsSinkConfiguration.Kind? {
    guard case .address(let address)? = sink.dogStatsdSpecifier else {
      report("\(path).address", "is required")
      return nil
    }
    let limit = sink.hasMaxBytesPerDatagram ? Int(clamping: sink.maxBytesPerDatagram.value) : nil
    return datagramAddress(address, "\(path).address").map {
      .datagrams($0, prefix: sink.prefix, hasTags: true, limit: limit)
    }
  }

  private mutating func datagramAddress(_ address: Address, _ path: String) -> MeshPrimitives.SocketAddress? {
    switch address.address {
    case .socketAddress(let socket): return ipAddress(socket, "\(path).socket_address", "to send datagrams to")
    case .pipe(let pipe): return unixAddress(pipe, "\(path).pipe")
    case nil:
      report(path, "is required (socket_address or pipe)")
      return nil
    }
  }

  /// Names a cluster that the main thread calls.
  private mutating func useMainCluster(_ name: String, _ path: String) {
    guard clusterMessages[name] != nil else { return report(path, unknownCluster(name)) }
    mainClusters.insert(name)
  }

  private mutating func metricsService(
    _ config: MetricsServiceConfig, _ path: String
  ) -> StatsSinkConfiguration.Kind? {
    if config.transportApiVersion == .v2 { report("\(path).transport_api_version", "V2 is not supported any more") }
    guard case .envoyGrpc(let service)? = config.grpcService.targetSpecifier else {
      report("\(path).grpc_service", "needs envoy_grpc")
      return nil
    }
    useMainCluster(service.clusterName, "\(path).grpc_service.envoy_grpc.cluster_name")
    if node.id.isEmpty || node.cluster.isEmpty {
      report(path, "needs node.id and node.cluster (or --service-node and --service-cluster)")
    }
    var call = GRPCStream.Call(
      cluster: service.clusterName, path: MetricsServiceSink.path,
      authority: service.authority.isEmpty ? service.clusterName : service.authority)
    if service.hasMaxReceiveMessageLength { call.maximumMessage = Int(service.maxReceiveMessageLength.value) }
    if !service.skipEnvoyHeaders { call.metadata.append(("x-envoy-internal", "true")) }
    call.metadata += metadata(config.grpcService, "\(path).grpc_service.initial_metadata")
    var options = MetricStreamEncoder.Options()
    options.countersAreDeltas = config.reportCountersAsDeltas.value
    options.hasLabels = config.emitTagsAsLabels
    options.hasSummaries = config.histogramEmitMode != .histogram
    options.hasHistograms = config.histogramEmitMode != .summary
    options.maximumSeries = Int(config.batchSize)
    let described: [UInt8] = (try? node.serializedBytes()) ?? []
    return .metricsService(call, options, identifier: MetricStreamEncoder.identifier(node: described))
  }

  /// Headers of a call that belongs to no request: their values are texts.
  private mutating func metadata(_ service: GrpcService, _ path: String) -> [(name: String, value: String)] {
    let options = service.initialMetadata.map { header in
      var option = HeaderValueOption()
      option.header = header
      return option
    }
    if case .failure(let failure) = HeaderMutations.build(adding: options, path: path, formats: HeaderFormat.compile) {
      for problem in failure.problems { report(problem.path, problem.message) }
      return []
    }
    return service.initialMetadata.enumerated().map { index, header in
      let parts = header.value.split(separator: "%%", omittingEmptySubsequences: false)
      if parts.contains(where: { $0.contains("%") }) {
        report("\(path)[\(index)].value", "must have no operators: there is no request that they could look at")
      }
      return (header.key.lowercased(), parts.joined(separator: "%"))
    }
  }
}
