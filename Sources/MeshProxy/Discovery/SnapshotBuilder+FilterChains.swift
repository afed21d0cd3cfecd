import MeshAPI
import MeshPrimitives

/// Filter chains and the connections that they are for.
extension SnapshotBuilder {
  /// The listener that a filter chain belongs to.
  struct FilterChainContext {
    let listener: Listener
    let name: String
    let statName: String
    let bufferLimit: Int

    init(listener: Listener, name: String, statName: String) {
      self.listener = listener
      self.name = name
      self.statName = statName
      bufferLimit =
        listener.hasPerConnectionBufferLimitBytes ? Int(listener.perConnectionBufferLimitBytes.value) : 1024 * 1024
    }

    func logging(_ chain: FilterChain) -> LoggingConfiguration {
      var logging = LoggingConfiguration(listenerName: name, filterChainName: chain.name)
      if listener.hasMetadata { logging.listenerMetadata = listener.metadata }
      if chain.hasMetadata { logging.filterChainMetadata = chain.metadata }
      return logging
    }
  }

  mutating func filterChain(
    _ chain: FilterChain, _ path: String, _ context: FilterChainContext
  ) -> FilterChainConfiguration? {
    let rule = filterChainRule(chain.filterChainMatch, "\(path).filter_chain_match")
    guard let filter = chain.filters.last else {
      report(path, "has no filter")
      return nil
    }
    let admission = admission(chain.filters.dropLast(), "\(path).filters")
    let telemetry = connectionTelemetry(chain, "\(path).filters", context)
    let last = "\(path).filters[\(chain.filters.count - 1)].typed_config"
    guard let network = networkFilter(filter, last, chain, context, telemetry) else { return nil }
    guard let transport = downstreamTransport(chain, path, context.name, statName: context.statName) else { return nil }
    return FilterChainConfiguration(
      name: chain.name, rule: rule, transport: transport, admission: admission, network: network)
  }

  private mutating func networkFilter(
    _ filter: MeshAPI.NetworkFilter, _ path: String, _ chain: FilterChain, _ context: FilterChainContext,
    _ telemetry: IstioStatsConfiguration?
  ) -> NetworkFilter? {
    var logging = context.logging(chain)
    if let manager: HttpConnectionManager = try? filter.typedConfig.unpack() {
      addLogs(manager, path, &logging)
      guard
        let compiled = connectionManager(
          manager, path, context.bufferLimit, logging, isOutbound: context.listener.trafficDirection == .outbound,
          isInbound: context.listener.trafficDirection == .inbound)
      else { return nil }
      let identity = identities.manager(manager.statPrefix, listenerStatName: context.statName)
      return .connectionManager(compiled, identity)
    }
    if let proxy: TcpProxy = try? filter.typedConfig.unpack() {
      guard let compiled = tcpProxy(proxy, path, context.bufferLimit, logging, telemetry) else { return nil }
      return .tcpProxy(compiled, identities.tcpProxy(proxy.statPrefix))
    }
    report(
      path, "must hold \(HttpConnectionManager.protoMessageName) or \(TcpProxy.protoMessageName): one ends the chain")
    return nil
  }

  // MARK: Matching

  private mutating func filterChainRule(_ match: FilterChainMatch, _ path: String) -> FilterChainRule {
    var rule = FilterChainRule()
    if match.hasDestinationPort { rule.destinationPort = UInt16(truncatingIfNeeded: match.destinationPort.value) }
    rule.destinationRanges = Set(addressRanges(match.prefixRanges, "\(path).prefix_ranges"))
    rule.directSourceRanges = Set(addressRanges(match.directSourcePrefixRanges, "\(path).direct_source_prefix_ranges"))
    rule.sourceRanges = Set(addressRanges(match.sourcePrefixRanges, "\(path).source_prefix_ranges"))
    rule.sourcePorts = Set(match.sourcePorts.map { UInt16(truncatingIfNeeded: $0) })
    rule.sourceType =
      switch match.sourceType {
      case .sameIpOrLoopback: .thisMachine
      case .external: .external
      default: .any
      }
    rule.transportProtocol = match.transportProtocol
    rule.applicationProtocols = Set(match.applicationProtocols)
    for (index, name) in match.serverNames.enumerated() {
      if let name = serverName(name, "\(path).server_names[\(index)]") { rule.serverNames.insert(name) }
    }
    return rule
  }

  /// Host names are compared without regard to case.
  private mutating func serverName(_ name: String, _ path: String) -> FilterChainRule.ServerName? {
    let name = name.lowercased()
    if name.hasPrefix("*."), !name.dropFirst(2).contains("*"), name.utf8.count > 2 {
      return .suffix(String(name.dropFirst()))
    }
    if name.isEmpty || name.contains("*") {
      report(path, "\"\(name)\" is no name (a name, or \"*.\" and a name for all below it)")
      return nil
    }
    return .exact(name)
  }
}
