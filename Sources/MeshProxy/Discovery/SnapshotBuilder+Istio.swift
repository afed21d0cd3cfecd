import MeshAPI
import MeshPrimitives

/// What reports Istio's metrics of connections, and how long series stay.
extension SnapshotBuilder {
  /// How long series stay that nobody counts in (`stats_eviction_interval`); nil: for good.
  mutating func seriesEviction(_ bootstrap: Bootstrap) -> Nanoseconds? {
    guard case .statsEvictionInterval(let duration)? = bootstrap.statsEviction else { return nil }
    let interval = Nanoseconds(duration)
    let flush = bootstrap.hasStatsFlushInterval ? Nanoseconds(bootstrap.statsFlushInterval) : .seconds(5)
    guard flush != .zero, interval != .zero, interval.rawValue % flush.rawValue == 0 else {
      report("stats_eviction_interval", "must be a multiple of stats_flush_interval")
      return nil
    }
    return interval
  }

  /// The telemetry filter in front of a TCP proxy; nil if there is none.
  /// - Parameter path: of the chain's filters.
  mutating func connectionTelemetry(
    _ chain: FilterChain, _ path: String, _ context: FilterChainContext
  ) -> IstioStatsConfiguration? {
    var found: IstioStatsConfiguration?
    for (index, filter) in chain.filters.dropLast().enumerated() {
      guard let message: IstioStatsConfig = try? filter.typedConfig.unpack() else { continue }
      let filterPath = "\(path)[\(index)]"
      if found != nil { report(filterPath, "what is reported twice counts twice: the chain has this filter already") }
      if chain.filters.last?.typedConfig.messageName == HttpConnectionManager.protoMessageName {
        report(
          filterPath, "is for connections of a TCP proxy; that for requests is in the connection manager's http_filters"
        )
      }
      do {
        found = try IstioStatsConfiguration(
          message, isInbound: context.listener.trafficDirection == .inbound, node: node,
          metrics: IstioMetrics(identities.store, identities.runtime))
      } catch {
        report("\(filterPath).typed_config\(error.path.isEmpty ? "" : ".\(error.path)")", error.message)
      }
    }
    return found
  }
}
