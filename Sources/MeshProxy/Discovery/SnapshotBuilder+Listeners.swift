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
    guard !listener.filterChains.isEmpty || listener.hasDefaultFilterChain else {
      report(path, "has no filter chain (filter_chains, default_filter_chain)")
      return nil
    }
    let before = problems.count
    var chains = listener.filterChains.enumerated().compactMap { index, chain in
      filterChain(chain, "\(path).filter_chains[\(index)]", context)
    }
    if listener.hasDefaultFilterChain,
      let chain = filterChain(listener.defaultFilterChain, "\(path).default_filter_chain", context)
    {
      chains.append(chain)
    }
    let filters = listenerFilters(listener, path)
    var logging = LoggingConfiguration(listenerName: name)
    if listener.hasMetadata { logging.listenerMetadata = listener.metadata }
    addLogs(listener.accessLog, path, &logging)
    guard problems.count == before else { return nil }
    do throws(FilterChainMatcher.Conflict) {
      let configuration = try ListenerConfiguration(
        name: name, addresses: addresses,
        acceptsPerEvent: listener.hasMaxConnectionsToAcceptPerSocketEvent
          ? Int(listener.maxConnectionsToAcceptPerSocketEvent.value) : ListenerConfiguration.usualAcceptsPerEvent,
        statName: statName, direction: listener.trafficDirection, ignoresGlobalLimit: listener.ignoreGlobalConnLimit,
        filters: filters, filterChains: chains, hasDefaultChain: listener.hasDefaultFilterChain, logging: logging)
      return .init(configuration: configuration, identity: identities.listener(name, statName: statName))
    } catch {
      report(
        "\(path).filter_chains[\(error.second)].filter_chain_match",
        "fits connections no less closely than that of filter_chains[\(error.first)]: which is meant cannot be told")
      return nil
    }
  }
}
