import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// `HttpConnectionManager.tracing` and what routes say of it.
extension SnapshotBuilder {
  /// What a connection manager traces; nil: nothing, or there are problems.
  mutating func tracing(
    _ manager: HttpConnectionManager, _ path: String, _ table: RouteTable, filters: [NamedFilter],
    isOutbound: Bool
  ) -> TracingConfiguration? {
    guard manager.hasTracing else { return nil }
    let message = manager.tracing
    let path = path + ".tracing"
    guard let tracer = tracer(message, path) else { return nil }
    let before = problems.count
    let own = customTags(message.customTags, path)
    let operation = spanName(message.operation, path + ".operation")
    let upstreamOperation = spanName(message.upstreamOperation, path + ".upstream_operation")
    let node = nodeTags
    func rules(
      _ tags: [SpanRules.CompiledTag], _ operation: SubstitutionFormat?, _ upstreamOperation: SubstitutionFormat?
    ) -> SpanRules {
      SpanRules(
        operation: operation, upstreamOperation: upstreamOperation, tags: tags, node: node, format: tracer.format)
    }
    var routeRules: [ObjectIdentifier: SpanRules] = [:]
    for entry in table.entries {
      guard let route = entry.tracing, routeRules[ObjectIdentifier(route)] == nil else { continue }
      let special = customTags(route.message.customTags, route.path)
      let names = Set(special.map(\.name))
      routeRules[ObjectIdentifier(route)] = rules(
        own.filter { !names.contains($0.name) } + special,
        spanName(route.message.operation, route.path + ".operation") ?? operation,
        spanName(route.message.upstreamOperation, route.path + ".upstream_operation") ?? upstreamOperation)
    }
    guard problems.count == before else { return nil }
    let runtime = identities.runtime
    func share(_ key: String, _ isSet: Bool, _ percent: Percent) -> RuntimeFraction {
      // Of 10,000, as Envoy has it: what is finer than a hundredth of a per cent is cut off.
      let numerator = isSet ? UInt32(max(0, min(percent.value, 100)) * 100) : 10_000
      return RuntimeFraction(runtime.value(key), or: Fraction(numerator, of: .tenThousand))
    }
    return TracingConfiguration(
      tracer: tracer,
      stats: identities.store.scope(
        "http.\(manager.statPrefix).tracing",
        prometheus: PrometheusScope(
          "envoy_http_tracing", labels: [("envoy_http_conn_manager_prefix", manager.statPrefix)])),
      isOutbound: isOutbound,
      client: share("tracing.client_enabled", message.hasClientSampling, message.clientSampling),
      random: share("tracing.random_sampling", message.hasRandomSampling, message.randomSampling),
      overall: share("tracing.global_enabled", message.hasOverallSampling, message.overallSampling),
      isVerbose: message.verbose,
      maximumPath: message.hasMaxPathTagLength ? Int(message.maxPathTagLength.value) : 256,
      tracesAttempts: message.hasSpawnUpstreamSpan && message.spawnUpstreamSpan.value,
      tellsNames: isOutbound || table.entries.contains { $0.decorator != nil },
      rules: rules(own, operation, upstreamOperation), routeRules: routeRules,
      healthChecks: filters.compactMap { ($0.configuration as? HealthCheckFilter.Configuration)?.matching })
  }

  /// What a request's span says of this proxy.
  private var nodeTags: [(key: [UInt8], value: [UInt8])] {
    [("node_id", node.id), ("zone", node.locality.zone)].map { (Array($0.0.utf8), Array($0.1.utf8)) }
  }

  /// A format for a span's name; nil if it is empty or wrong.
  private mutating func spanName(_ text: String, _ path: String) -> SubstitutionFormat? {
    text.isEmpty ? nil : tagFormat(text, path)
  }

  private mutating func tagFormat(_ text: String, _ path: String) -> SubstitutionFormat? {
    switch SubstitutionFormat.compile(text, for: .headerValue) {
    case .success(let format): return format
    case .failure(let problem):
      report(path, problem.description)
      return nil
    }
  }

  // MARK: Tags

  private mutating func customTags(_ tags: [CustomTag], _ path: String) -> [SpanRules.CompiledTag] {
    var compiled: [SpanRules.CompiledTag] = []
    for (index, tag) in tags.enumerated() {
      guard let made = customTag(tag, "\(path).custom_tags[\(index)]") else { continue }
      // Of two tags with the same name the first one is taken.
      if !compiled.contains(where: { $0.name == made.name }) { compiled.append(made) }
    }
    return compiled
  }

  private mutating func customTag(_ tag: CustomTag, _ path: String) -> SpanRules.CompiledTag? {
    let name = Array(tag.tag.utf8)
    func dynamic(_ value: SpanRules.Tag.Value, _ fallback: String) -> SpanRules.CompiledTag {
      .dynamic(SpanRules.Tag(name: name, value: value, fallback: Array(fallback.utf8)))
    }
    switch tag.type {
    case .literal(let literal): return .constant(name: name, value: Array(literal.value.utf8))
    case .environment(let variable):
      let value = CurrentProcess.environment(variable.name) ?? variable.defaultValue
      return value.isEmpty ? nil : .constant(name: name, value: Array(value.utf8))
    case .requestHeader(let header):
      return dynamic(.header(HeaderName(header.name.lowercased())), header.defaultValue)
    case .metadata(let metadata):
      return metadataFormat(metadata, path + ".metadata").map { dynamic(.format($0), metadata.defaultValue) }
    case .value(let text): return tagFormat(text, path + ".value").map { dynamic(.format($0), "") }
    case nil:
      report(path, "one of literal, environment, request_header, metadata and value is required")
      return nil
    }
  }

  private mutating func metadataFormat(_ tag: CustomTag.Metadata, _ path: String) -> SubstitutionFormat? {
    let names = [tag.metadataKey.key] + tag.metadataKey.path.map(\.key)
    guard names.allSatisfy({ !$0.contains(where: { ":)%".contains($0) }) }) else {
      report(path + ".metadata_key", "a name with ':', ')' or '%' is not supported")
      return nil
    }
    let place = names.joined(separator: ":")
    switch tag.kind.kind {
    case .request: return tagFormat("%DYNAMIC_METADATA(\(place))%", path)
    case .route: return tagFormat("%METADATA(ROUTE:\(place))%", path)
    case .cluster: return tagFormat("%METADATA(CLUSTER:\(place))%", path)
    case .host: return tagFormat("%METADATA(UPSTREAM_HOST:\(place))%", path)
    case nil:
      report(path + ".kind", "one of request, route, cluster and host is required")
      return nil
    }
  }
}
