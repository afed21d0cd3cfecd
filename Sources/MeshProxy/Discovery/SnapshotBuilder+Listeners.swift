import MeshAPI
import MeshPrimitives

/// Listeners and their filter chains.
extension SnapshotBuilder {
  mutating func listener(_ listener: Listener, _ path: String) -> ConfigurationSnapshot.ListenerEntry? {
    guard let addresses = addresses(listener, path), let address = addresses.first?.address else { return nil }
    let name = listener.name.isEmpty ? address.description : listener.name
    // Envoy's name for the scope: the address with its colons replaced, unless `stat_prefix` says otherwise.
    let statName = listener.statPrefix.isEmpty ? address.description.replacingColons : listener.statPrefix
    let context = FilterChainContext(listener: listener, name: name, statName: statName)
    guard let chain = listener.filterChains.first else {
      report(path, "has no filter chain with a filter")
      return nil
    }
    guard let filterChain = filterChain(chain, "\(path).filter_chains[0]", context) else { return nil }
    let configuration = ListenerConfiguration(
      name: name, addresses: addresses,
      acceptsPerEvent: listener.hasMaxConnectionsToAcceptPerSocketEvent
        ? Int(listener.maxConnectionsToAcceptPerSocketEvent.value) : ListenerConfiguration.usualAcceptsPerEvent,
      statName: statName, direction: listener.trafficDirection, ignoresGlobalLimit: listener.ignoreGlobalConnLimit,
      filterChains: [filterChain])
    return .init(configuration: configuration, identity: identities.listener(name, statName: statName))
  }

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
  }

  private mutating func filterChain(
    _ chain: FilterChain, _ path: String, _ context: FilterChainContext
  ) -> FilterChainConfiguration? {
    guard let filter = chain.filters.first else {
      report(path, "has no filter")
      return nil
    }
    guard chain.filters.count == 1 else {
      report("\(path).filters[1]", "nothing can follow the HTTP connection manager, which ends the chain")
      return nil
    }
    let filterPath = "\(path).filters[0].typed_config"
    guard let manager: HttpConnectionManager = try? filter.typedConfig.unpack() else {
      report(filterPath, "must hold \(HttpConnectionManager.protoMessageName)")
      return nil
    }
    var logging = LoggingConfiguration(listenerName: context.name, filterChainName: chain.name)
    if context.listener.hasMetadata { logging.listenerMetadata = context.listener.metadata }
    if chain.hasMetadata { logging.filterChainMetadata = chain.metadata }
    addLogs(manager, filterPath, &logging)
    guard
      let compiled = connectionManager(
        manager, filterPath, context.bufferLimit, logging, isOutbound: context.listener.trafficDirection == .outbound)
    else { return nil }
    let identity = identities.manager(manager.statPrefix, listenerStatName: context.statName)
    guard let transport = downstreamTransport(chain, path, context.name, statName: context.statName) else { return nil }
    return FilterChainConfiguration(
      name: chain.name, transport: transport, network: .connectionManager(compiled, identity))
  }
}
