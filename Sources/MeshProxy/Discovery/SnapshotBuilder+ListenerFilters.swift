import MeshAPI
import MeshPrimitives

/// Listener filters.
extension SnapshotBuilder {
  /// What happens to a listener's connections before their filter chain is chosen.
  mutating func listenerFilters(_ listener: Listener, _ path: String) -> ListenerConfiguration.Filters {
    var result = ListenerConfiguration.Filters()
    for (index, filter) in listener.listenerFilters.enumerated() {
      let filterPath = "\(path).listener_filters[\(index)]"
      guard let kind = listenerFilter(filter.typedConfig, "\(filterPath).typed_config") else { continue }
      let exemption =
        filter.hasFilterDisabled ? condition(filter.filterDisabled, "\(filterPath).filter_disabled") : nil
      result.filters.append(ListenerFilter(kind: kind, exemption: exemption))
    }
    result.usesOriginalDestination = listener.useOriginalDst.value
    let finds = result.filters.contains { if case .originalDestination = $0.kind { true } else { false } }
    if result.usesOriginalDestination, !finds {
      result.filters.append(ListenerFilter(kind: .originalDestination, exemption: nil))
    }
    if listener.hasListenerFiltersTimeout { result.timeout = Nanoseconds(orNever: listener.listenerFiltersTimeout) }
    result.continuesOnTimeout = listener.continueOnListenerFiltersTimeout
    result.bindsToPort = !listener.hasBindToPort || listener.bindToPort.value
    return result
  }

  private mutating func listenerFilter(_ config: TypedConfig, _ path: String) -> ListenerFilter.Kind? {
    if let inspector: TlsInspector = try? config.unpack() {
      return .tlsInspector(
        TLSInspector(
          limit: inspector.hasMaxClientHelloSize ? Int(inspector.maxClientHelloSize.value) : 16 * 1024,
          closesOnErrors: inspector.closeConnectionOnClientHelloParsingErrors, stats: identities.tlsInspector))
    }
    if config.holds(HttpInspector.self) { return .httpInspector(identities.httpInspector) }
    if config.holds(OriginalDst.self) { return .originalDestination }
    if let header: ProxyProtocol = try? config.unpack() {
      return proxyProtocol(header, path).map { .proxyProtocol($0) }
    }
    if let limit: ListenerRateLimit = try? config.unpack() {
      return listenerRateLimit(limit, path).map { .rateLimit($0) }
    }
    report(path, "\(config.messageName) is no listener filter")
    return nil
  }

  private mutating func proxyProtocol(_ filter: ProxyProtocol, _ path: String) -> ProxyProtocolFilter? {
    var rules: [ProxyProtocolFilter.Rule] = []
    for (index, rule) in filter.rules.enumerated() {
      let target = rule.onTlvPresent
      let namespace =
        target.metadataNamespace.isEmpty ? "envoy.filters.listener.proxy_protocol" : target.metadataNamespace
      guard let type = UInt8(exactly: rule.tlvType) else {
        report("\(path).rules[\(index)].tlv_type", "must be at most 255, not \(rule.tlvType)")
        continue
      }
      guard rule.hasOnTlvPresent else {
        report("\(path).rules[\(index)].on_tlv_present", "is required")
        continue
      }
      rules.append(.init(type: type, key: "\(namespace).\(target.key)"))
    }
    let disallowed = Set(filter.disallowedVersions.map { $0 == .v2 ? ProxyHeader.Version.v2 : .v1 })
    if disallowed.count == 2 { report("\(path).disallowed_versions", "leaves no version that is allowed") }
    return ProxyProtocolFilter(
      allowsAbsence: filter.allowRequestsWithoutProxyProtocol, rules: rules,
      passedTypes: filter.hasPassThroughTlvs ? passedTypes(filter.passThroughTlvs, "\(path).pass_through_tlvs") : [],
      disallowed: disallowed, stats: identities.proxyProtocol(filter.statPrefix))
  }

  /// Types of typed values that are passed on; nil: all.
  mutating func passedTypes(_ rule: ProxyProtocolPassThrough, _ path: String) -> Set<UInt8>? {
    guard rule.matchType == .include else { return nil }
    var types: Set<UInt8> = []
    for (index, type) in rule.tlvType.enumerated() {
      if let type = UInt8(exactly: type) {
        types.insert(type)
      } else {
        report("\(path).tlv_type[\(index)]", "must be at most 255, not \(type)")
      }
    }
    return types
  }

  private mutating func condition(_ predicate: ListenerFilterPredicate, _ path: String) -> ListenerFilterCondition? {
    switch predicate.rule {
    case .orMatch(let set): return conditions(set, "\(path).or_match").map { .any($0) }
    case .andMatch(let set): return conditions(set, "\(path).and_match").map { .all($0) }
    case .notMatch(let other): return condition(other, "\(path).not_match").map { .not($0) }
    case .anyMatch: return .always
    case .destinationPortRange(let range): return .destinationPort(from: Int(range.start), to: Int(range.end))
    case nil:
      report(path, "needs one of or_match, and_match, not_match, any_match, destination_port_range")
      return nil
    }
  }

  private mutating func conditions(
    _ set: ListenerFilterPredicate.MatchSet, _ path: String
  ) -> [ListenerFilterCondition]? {
    var result: [ListenerFilterCondition] = []
    for (index, rule) in set.rules.enumerated() {
      guard let condition = condition(rule, "\(path).rules[\(index)]") else { return nil }
      result.append(condition)
    }
    return result
  }
}
