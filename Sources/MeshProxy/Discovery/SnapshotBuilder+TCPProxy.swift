import MeshAPI
import MeshPrimitives

/// TCP proxies. A cluster that is not there is no error, as in Envoy: connections end until there is one.
extension SnapshotBuilder {
  mutating func tcpProxy(
    _ proxy: TcpProxy, _ path: String, _ bufferLimit: Int, _ logging: LoggingConfiguration,
    _ telemetry: IstioStatsConfiguration? = nil
  ) -> TCPProxyConfiguration? {
    var logging = logging
    let before = problems.count
    addLogs(proxy.accessLog, path, &logging)
    let options = proxy.accessLogOptions
    if proxy.hasAccessLogOptions {
      let message = "must not be combined with access_log_options"
      if proxy.hasAccessLogFlushInterval { report("\(path).access_log_flush_interval", message) }
      if proxy.flushAccessLogOnConnected { report("\(path).flush_access_log_on_connected", message) }
    }
    logging.logsNewRequests = options.flushAccessLogOnConnected || proxy.flushAccessLogOnConnected
    if options.hasAccessLogFlushInterval {
      logging.interval = Nanoseconds(options.accessLogFlushInterval)
    } else if proxy.hasAccessLogFlushInterval {
      logging.interval = Nanoseconds(proxy.accessLogFlushInterval)
    }
    let targets: [TCPProxyConfiguration.Target]
    switch proxy.clusterSpecifier {
    case .cluster(let name): targets = [.init(cluster: name, weight: 1)]
    case .weightedClusters(let weighted):
      targets = weighted.clusters.map { .init(cluster: $0.name, weight: UInt64($0.weight)) }
    case nil:
      report(path, "needs one of cluster, weighted_clusters")
      return nil
    }
    if proxy.hashPolicy.count > 1 {
      report("\(path).hash_policy", "has \(proxy.hashPolicy.count) items (one is allowed)")
    }
    guard problems.count == before, !targets.isEmpty else { return nil }
    return TCPProxyConfiguration(
      statPrefix: proxy.statPrefix, targets: targets, hashesAddress: !proxy.hashPolicy.isEmpty,
      idleTimeout: proxy.hasIdleTimeout ? Nanoseconds(orNever: proxy.idleTimeout) : .seconds(3600),
      maximumAttempts: proxy.hasMaxConnectAttempts ? max(proxy.maxConnectAttempts.value, 1) : 1,
      maximumDuration: proxy.hasMaxDownstreamConnectionDuration
        ? Nanoseconds(proxy.maxDownstreamConnectionDuration) : nil,
      bufferLimit: max(bufferLimit, 1), logging: logging, telemetry: telemetry)
  }
}
