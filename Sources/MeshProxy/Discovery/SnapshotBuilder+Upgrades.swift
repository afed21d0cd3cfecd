import MeshAPI
import MeshRouting

/// Which tunnels a connection manager serves.
extension SnapshotBuilder {
  /// A chain that requests for a tunnel meet.
  typealias UpgradeChain = (filters: [NamedFilter], router: RouterFilter.Configuration)

  /// The chains of `upgrade_configs` that have filters of their own, in order; nil for the others.
  mutating func upgradeChains(
    _ manager: HttpConnectionManager, _ path: String, _ context: FilterBuildContext
  ) -> [UpgradeChain?] {
    var chains: [UpgradeChain?] = []
    for (index, config) in manager.upgradeConfigs.enumerated() {
      let filters = config.filters
      let filtersPath = "\(path).upgrade_configs[\(index)].filters"
      let chain = filters.isEmpty ? nil : self.filters(filters, filtersPath, context)
      for filter in chain?.filters ?? [] where filter.configuration is any ObserverConfiguration {
        report(filtersPath, "'\(filter.name)' belongs into http_filters, and sees these requests there")
      }
      chains.append(chain)
    }
    return chains
  }

  /// - Parameters:
  ///   - chains: what `upgradeChains` has made.
  ///   - others: the filters of requests that ask for no tunnel.
  mutating func upgrades(
    _ manager: HttpConnectionManager, _ path: String, _ chains: [UpgradeChain?], _ table: RouteTable,
    beside others: [NamedFilter], _ context: FilterBuildContext
  ) -> [UpgradeSettings] {
    let all = others + chains.flatMap { $0?.filters ?? [] }
    var upgrades: [UpgradeSettings] = []
    for (index, config) in manager.upgradeConfigs.enumerated() {
      let typePath = "\(path).upgrade_configs[\(index)].upgrade_type"
      let type = config.upgradeType.utf8.map(\.asciiLowercased)
      if let message = UpgradeType.problem(type) { report(typePath, message) }
      if upgrades.contains(where: { $0.type == type }) { report(typePath, "'\(config.upgradeType)' occurs twice") }
      let chain = chains[index].map {
        UpgradeFilters(
          filters: $0.filters.map(\.configuration), routeFilters: routeFilters(table, $0.filters, beside: all, context),
          router: $0.router)
      }
      upgrades.append(
        UpgradeSettings(type: type, isEnabled: !config.hasEnabled || config.enabled.value, chain: chain))
    }
    return upgrades
  }
}
