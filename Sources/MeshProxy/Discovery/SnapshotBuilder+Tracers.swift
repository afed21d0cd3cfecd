import MeshAPI
import MeshPrimitives
import MeshRouting

/// Providers of traces.
extension SnapshotBuilder {
  /// The tracer of a connection manager: its provider's, else the one of all connection managers; nil if there is none, or
  /// if it cannot be.
  /// - Parameter path: of the connection manager's `tracing`.
  mutating func tracer(_ message: ConnectionManagerTracing, _ path: String) -> Tracer? {
    if message.hasProvider { return tracer(for: message.provider, "\(path).provider") }
    return defaultProvider.flatMap { tracer(for: $0, "tracing.http") }
  }

  /// The tracer of a provider; nil, with a problem, if there cannot be one. Equal providers have one tracer, in this
  /// configuration and the next.
  /// - Parameter path: of the provider.
  mutating func tracer(for provider: TracingProvider, _ path: String) -> Tracer? {
    if provider.name.isEmpty { report("\(path).name", "is required") }
    let configPath = "\(path).typed_config"
    let before = problems.count
    let recipe: TracerRecipe?
    if let config: ZipkinConfig = try? provider.typedConfig.unpack() {
      recipe = zipkin(config, configPath)
    } else if let config: OpenTelemetryConfig = try? provider.typedConfig.unpack() {
      recipe = openTelemetry(config, configPath)
    } else {
      report(
        configPath,
        "must hold a provider of traces (\(ZipkinConfig.protoMessageName), \(OpenTelemetryConfig.protoMessageName))")
      recipe = nil
    }
    guard problems.count == before, let recipe else { return nil }
    mainClusters.insert(recipe.collector.cluster)
    let key = TracerKey(type: provider.typedConfig.messageName, config: Array(provider.typedConfig.value), node: node)
    return identities.tracer(key) { recipe.make(identities) }
  }

  /// `collector_cluster` and what belongs to it, or `collector_service`.
  private mutating func zipkin(_ config: ZipkinConfig, _ path: String) -> TracerRecipe? {
    let isProtobuf = config.collectorEndpointVersion == .httpProto
    if !isProtobuf, config.collectorEndpointVersion != .httpJson {
      report("\(path).collector_endpoint_version", "must be HTTP_JSON or HTTP_PROTO")
    }
    let language: SpanCollector.Language = isProtobuf ? .zipkinProtobuf : .zipkin
    let timeout = identities.runtime.value("tracing.zipkin.request_timeout")
    let collector: SpanCollector?
    if config.hasCollectorService {
      collector = self.collector(
        config.collectorService, language, "\(path).collector_service", timeout: timeout,
        hostOfPath: config.collectorService.httpUri.cluster)
    } else {
      if config.collectorCluster.isEmpty {
        report("\(path).collector_cluster", "is required, unless there is a collector_service")
      } else {
        checkCollector(config.collectorCluster, "\(path).collector_cluster")
      }
      checkPath(config.collectorEndpoint, "\(path).collector_endpoint")
      collector = SpanCollector(
        language, cluster: config.collectorCluster,
        host: config.collectorHostname.isEmpty ? config.collectorCluster : config.collectorHostname,
        path: config.collectorEndpoint, timeout: .init(value: timeout, fallback: 5_000))
    }
    guard let collector else { return nil }
    let name = node.cluster.isEmpty ? OpenTelemetryEnvironment().serviceName ?? "" : node.cluster
    return TracerRecipe(
      kind: isProtobuf ? .zipkinProtobuf(serviceName: name) : .zipkin(serviceName: name), collector: collector,
      propagation: config.traceContextOption == .useB3WithW3CPropagation ? [.b3Multi, .w3c] : .b3Multi,
      sharesSpans: !config.hasSharedSpanContext || config.sharedSpanContext.value,
      makesServerSpans: config.splitSpansForRequest, makes64BitIDs: !config.traceID128Bit, sampler: nil,
      waitingSpans: nil)
  }

  // MARK: Collectors over HTTP

  /// - Parameters:
  ///   - timeout: a runtime key that replaces the service's timeout.
  ///   - hostOfPath: the host of a URI that is a path only; nil: there must be a host.
  mutating func collector(
    _ service: HttpService, _ kind: SpanCollector.Language, _ path: String, timeout: RuntimeValue? = nil,
    hostOfPath: String? = nil
  ) -> SpanCollector? {
    let before = problems.count
    let uri = service.httpUri
    checkCollector(uri.cluster, "\(path).http_uri.cluster")
    let parts = Self.split(uri.uri, hostOfPath: hostOfPath)
    if let parts {
      checkPath(parts.path, "\(path).http_uri.uri")
    } else {
      report("\(path).http_uri.uri", "must be a URL with a host, like http://collector:4318/v1/traces")
    }
    let headers = additions(service.requestHeadersToAdd, "\(path).request_headers_to_add")
    guard problems.count == before, let parts else { return nil }
    return SpanCollector(
      kind, cluster: uri.cluster, host: parts.host, path: parts.path,
      timeout: .init(value: timeout, fallback: UInt64(max(0, uri.timeout.nanoseconds)).milliseconds), headers: headers)
  }

  /// Host and path of a URL; without a scheme (Envoy's ways) host and path, or a path only.
  static func split(_ uri: String, hostOfPath: String?) -> (host: String, path: String)? {
    var rest = Substring(uri)
    for scheme in ["http://", "https://"] where uri.lowercased().hasPrefix(scheme) {
      rest = uri.dropFirst(scheme.count)
    }
    if rest.startIndex == uri.startIndex, let hostOfPath { return (hostOfPath, uri) }
    let host = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "@") }) else { return nil }
    let path = rest[host.endIndex...].prefix { $0 != "#" }
    return (String(host), path.first == "/" ? String(path) : "/" + path)
  }

  mutating func checkCollector(_ cluster: String, _ path: String) {
    if !clusterNames.contains(cluster) { report(path, unknownCluster(cluster)) }
  }

  private mutating func checkPath(_ path: String, _ place: String) {
    if path.utf8.first != UInt8(ascii: "/") || !path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) {
      report(place, path.isEmpty ? "is required" : "\"\(path)\" is no path (it must begin with /)")
    }
  }

  mutating func additions(_ options: [HeaderValueOption], _ path: String) -> HeaderMutations? {
    if options.isEmpty { return nil }
    switch HeaderMutations.build(adding: options, path: path, formats: HeaderFormat.compile) {
    case .success(let mutations): return mutations
    case .failure(let failure):
      for problem in failure.problems { report(problem.path, problem.message) }
      return nil
    }
  }
}

extension UInt64 {
  /// Nanoseconds as milliseconds, not less than one for anything that is not nothing.
  fileprivate var milliseconds: UInt64 { self == 0 ? 0 : Swift.max(1, self / 1_000_000) }
}
