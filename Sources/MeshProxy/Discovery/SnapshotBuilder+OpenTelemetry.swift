import MeshAPI
import MeshConfig
import MeshPrimitives
import MeshRouting
import SwiftProtobuf

extension SnapshotBuilder {
  /// `envoy.config.trace.v3.OpenTelemetryConfig`.
  mutating func openTelemetry(_ config: OpenTelemetryConfig, _ path: String) -> TracerRecipe? {
    var environment = OpenTelemetryEnvironment()
    let attributes = resource(config, path, &environment)
    let sampler =
      config.hasSampler ? traceSampler(config.sampler, "\(path).sampler", depth: 0) : environment.sampler()
    if config.hasMaxCacheSize, config.maxCacheSize.value == 0 {
      report("\(path).max_cache_size", "must be at least 1")
    }
    let envelope = OTLPEnvelope(attributes: attributes, scope: "martlet", version: Proxy.versionText)
    let collector: SpanCollector?
    switch (config.hasGrpcService, config.hasHTTPService) {
    case (true, true):
      report(path, "must have one of grpc_service and http_service, not both")
      collector = nil
    case (true, false): collector = grpcCollector(config.grpcService, envelope, "\(path).grpc_service")
    case (false, true): collector = self.collector(config.httpService, .otlpHTTP(envelope), "\(path).http_service")
    case (false, false): collector = environmentCollector(envelope, path, &environment)
    }
    for warning in environment.warnings { Log.config.warning("environment: \(warning)") }
    guard let collector else { return nil }
    return TracerRecipe(
      kind: .otlp, collector: collector, propagation: .w3c, sampler: sampler,
      waitingSpans: config.hasMaxCacheSize ? Int(config.maxCacheSize.value) : nil)
  }

  // MARK: Resource

  /// What this proxy is, by name. Envoy's order, where a later one decides: the configuration's name, then the detectors.
  /// Where the configuration has no name or no detectors the environment is asked.
  private mutating func resource(
    _ config: OpenTelemetryConfig, _ path: String, _ environment: inout OpenTelemetryEnvironment
  ) -> [(name: String, value: String)] {
    var attributes = [
      "telemetry.sdk.name": "martlet", "telemetry.sdk.language": "swift", "telemetry.sdk.version": Proxy.versionText,
    ]
    attributes["service.name"] = node.cluster.isEmpty ? "unknown_service:martlet-proxy" : node.cluster
    func merge(_ pairs: [(name: String, value: String)]) { for pair in pairs { attributes[pair.name] = pair.value } }
    if config.resourceDetectors.isEmpty { merge(environment.resourceAttributes()) }
    if !config.serviceName.isEmpty { attributes["service.name"] = config.serviceName }
    for (index, detector) in config.resourceDetectors.enumerated() {
      let detectorPath = "\(path).resource_detectors[\(index)].typed_config"
      if detector.typedConfig.holds(EnvironmentResourceDetectorConfig.self) {
        merge(environment.resourceAttributes())
      } else if let fixed: StaticConfigResourceDetectorConfig = try? detector.typedConfig.unpack() {
        // As Envoy: what has no name or no value is left out.
        merge(fixed.attributes.filter { !$0.key.isEmpty && !$0.value.isEmpty }.map { ($0.key, $0.value) })
      } else {
        report(
          detectorPath,
          "\(detector.typedConfig.messageName) is no resource detector "
            + "(\(EnvironmentResourceDetectorConfig.protoMessageName), "
            + "\(StaticConfigResourceDetectorConfig.protoMessageName))")
      }
    }
    // It has the word over the resource attributes of the environment.
    if config.serviceName.isEmpty, let name = environment.serviceName { attributes["service.name"] = name }
    return attributes.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  // MARK: Sampler

  private mutating func traceSampler(_ config: TypedExtensionConfig, _ path: String, depth: Int) -> TraceSampler? {
    let configPath = "\(path).typed_config"
    if config.typedConfig.holds(AlwaysOnSamplerConfig.self) { return .alwaysOn }
    if let ratio: TraceIdRatioBasedSamplerConfig = try? config.typedConfig.unpack() {
      return .ratio(Fraction(ratio.samplingPercentage))
    }
    if let parent: ParentBasedSamplerConfig = try? config.typedConfig.unpack() {
      guard parent.hasWrappedSampler else {
        report("\(configPath).wrapped_sampler", "is required")
        return nil
      }
      // A parent decides once: what is below is for requests without one.
      guard depth < 16 else {
        report("\(configPath).wrapped_sampler", "is nested too deeply")
        return nil
      }
      return traceSampler(parent.wrappedSampler, "\(configPath).wrapped_sampler", depth: depth + 1).map {
        .parentBased(root: $0)
      }
    }
    report(
      configPath,
      "\(config.typedConfig.messageName) is no sampler (\(AlwaysOnSamplerConfig.protoMessageName), "
        + "\(ParentBasedSamplerConfig.protoMessageName), \(TraceIdRatioBasedSamplerConfig.protoMessageName))")
    return nil
  }

  // MARK: Collectors

  private mutating func grpcCollector(
    _ service: GrpcService, _ envelope: OTLPEnvelope, _ path: String
  ) -> SpanCollector? {
    guard case .envoyGrpc(let grpc)? = service.targetSpecifier else {
      report(path, "needs envoy_grpc")
      return nil
    }
    checkCollector(grpc.clusterName, "\(path).envoy_grpc.cluster_name")
    if let cluster = clusterMessages[grpc.clusterName], !cluster.speaksHTTP2 {
      report("\(path).envoy_grpc.cluster_name", "cluster \"\(grpc.clusterName)\" does not speak HTTP/2")
    }
    let headers = additions(
      service.initialMetadata.map { header in
        var option = HeaderValueOption()
        option.header = header
        return option
      }, "\(path).initial_metadata")
    return SpanCollector(
      .otlpGRPC(envelope), cluster: grpc.clusterName,
      host: grpc.authority.isEmpty ? grpc.clusterName : grpc.authority,
      timeout: .init(fallback: service.hasTimeout ? Nanoseconds(service.timeout).wholeMilliseconds : 10_000),
      headers: headers, sendsEnvoyHeaders: !grpc.skipEnvoyHeaders)
  }

  private mutating func environmentCollector(
    _ envelope: OTLPEnvelope, _ path: String, _ environment: inout OpenTelemetryEnvironment
  ) -> SpanCollector? {
    do {
      guard let exporter = try environment.exporter() else {
        report(path, "needs grpc_service or http_service, or OTEL_EXPORTER_OTLP_ENDPOINT in the environment")
        return nil
      }
      guard clusterMessages[EnvironmentCollector.clusterName] == nil else {
        report(
          path,
          "the environment's collector needs the cluster name \"\(EnvironmentCollector.clusterName)\", which is taken")
        return nil
      }
      environmentCluster = EnvironmentCollector.cluster(exporter)
      let headers = additions(
        exporter.headers.map { header in
          var option = HeaderValueOption()
          option.header.key = header.name
          // No operators.
          option.header.value = header.value.split(separator: "%", omittingEmptySubsequences: false).joined(
            separator: "%%")
          option.appendAction = .overwriteIfExistsOrAdd
          return option
        }, "OTEL_EXPORTER_OTLP_HEADERS")
      return SpanCollector(
        exporter.isGRPC ? .otlpGRPC(envelope) : .otlpHTTP(envelope), cluster: EnvironmentCollector.clusterName,
        host: exporter.authority, path: exporter.path, timeout: .init(fallback: exporter.timeout), headers: headers,
        sendsEnvoyHeaders: false)
    } catch {
      report(path, error.message)
      return nil
    }
  }
}

extension Cluster {
  /// Whether its endpoints are always, or may be, spoken to by HTTP/2.
  fileprivate var speaksHTTP2: Bool {
    for config in typedExtensionProtocolOptions.values {
      guard let options: UpstreamHttpProtocolOptions = try? config.unpack() else { continue }
      switch options.upstreamProtocolOptions {
      case .explicitHTTPConfig(let explicit):
        if case .http2ProtocolOptions? = explicit.protocolConfig { return true }
      case .useDownstreamProtocolConfig, .autoConfig: return true
      case nil: break
      }
    }
    return false
  }
}

/// The cluster of the collector that the environment names.
enum EnvironmentCollector {
  static let clusterName = "otel_exporter"

  /// Where systems keep the authorities that they trust.
  private static let systemCertificates = [
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
  ]

  private static func isThere(_ path: String) -> Bool {
    var source = DataSource()
    source.filename = path
    return (try? DataSourceReader.bytes(of: source)) != nil
  }

  static func cluster(_ exporter: OpenTelemetryEnvironment.Exporter) -> Cluster {
    var cluster = Cluster()
    cluster.name = clusterName
    cluster.type = .strictDns
    cluster.connectTimeout.seconds = 5
    cluster.loadAssignment.clusterName = clusterName
    var endpoint = LbEndpoint()
    endpoint.endpoint.address.socketAddress.address = exporter.host
    endpoint.endpoint.address.socketAddress.portValue = UInt32(exporter.port)
    var locality = LocalityLbEndpoints()
    locality.lbEndpoints = [endpoint]
    cluster.loadAssignment.endpoints = [locality]
    if exporter.isGRPC {
      var options = UpstreamHttpProtocolOptions()
      options.explicitHTTPConfig.http2ProtocolOptions = Http2ProtocolOptions()
      if let packed = try? Google_Protobuf_Any(message: options) {
        cluster.typedExtensionProtocolOptions[UpstreamHttpProtocolOptions.protoMessageName] = packed
      }
    }
    if exporter.isSecure {
      var context = UpstreamTlsContext()
      context.sni = exporter.host
      var name = SanMatcher()
      name.sanType = .dns
      name.matcher.exact = exporter.host
      if MeshPrimitives.IPAddress(exporter.host) != nil {
        context.sni = ""
        name.sanType = .ipAddress
      }
      context.commonTlsContext.validationContext.trustedCa.filename =
        exporter.certificates ?? systemCertificates.first(where: isThere) ?? systemCertificates[0]
      context.commonTlsContext.validationContext.matchTypedSubjectAltNames = [name]
      if exporter.isGRPC { context.commonTlsContext.alpnProtocols = ["h2"] }
      cluster.transportSocket.name = "envoy.transport_sockets.tls"
      if let packed = try? Google_Protobuf_Any(message: context) { cluster.transportSocket.typedConfig = packed }
    }
    return cluster
  }
}
