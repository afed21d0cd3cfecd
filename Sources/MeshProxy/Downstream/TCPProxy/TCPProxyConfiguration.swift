import MeshPrimitives

/// A TCP proxy of a filter chain (`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`), checked and compiled.
/// Immutable; shared by all threads.
public final class TCPProxyConfiguration: Sendable {
  /// A cluster with its share of the connections.
  struct Target: Sendable {
    let cluster: String
    let weight: UInt64
  }

  /// The name statistics go by: `tcp.<this>.…`
  let statPrefix: String
  /// At least one.
  let targets: [Target]
  /// Of all targets, 1…
  let totalWeight: UInt64
  /// Without a byte in either direction; nil: for ever.
  let idleTimeout: Nanoseconds?
  /// Clusters that choose endpoints by hash have it of the client's IP address (`hash_policy`).
  let hashesAddress: Bool
  /// Endpoints tried for one connection, 1…
  let maximumAttempts: UInt32
  /// `max_downstream_connection_duration`; nil: unlimited.
  let maximumDuration: Nanoseconds?
  /// The most that waits in one direction, in bytes, 1… (`per_connection_buffer_limit_bytes`).
  let bufferLimit: Int
  /// `logsNewRequests`: a line when there is a connection to the upstream.
  let logging: LoggingConfiguration
  /// Reports its connections; nil: nobody does.
  let telemetry: IstioStatsConfiguration?

  init(
    statPrefix: String, targets: [Target], hashesAddress: Bool = false,
    idleTimeout: Nanoseconds? = .seconds(3600), maximumAttempts: UInt32 = 1,
    maximumDuration: Nanoseconds? = nil, bufferLimit: Int = 1024 * 1024,
    logging: LoggingConfiguration = LoggingConfiguration(), telemetry: IstioStatsConfiguration? = nil
  ) {
    self.statPrefix = statPrefix
    self.targets = targets
    totalWeight = targets.reduce(0) { $0 + $1.weight }
    self.hashesAddress = hashesAddress
    self.idleTimeout = idleTimeout
    self.maximumAttempts = maximumAttempts
    self.maximumDuration = maximumDuration
    self.bufferLimit = bufferLimit
    self.logging = logging
    self.telemetry = telemetry
  }

  /// The name of the cluster for a connection.
  func cluster(_ random: inout Random) -> String {
    guard targets.count > 1 else { return targets[0].cluster }
    var place = random.next() % totalWeight
    for target in targets {
      if place < target.weight { return target.cluster }
      place -= target.weight
    }
    return targets[0].cluster
  }
}

/// What is counted under a TCP proxy's `stat_prefix`, over all configurations. Shared by all threads.
final class TCPProxyIdentity: Sendable {
  let stats: StatBlock<TCPProxyStat>
  private let lease: StatsLease

  init(statPrefix: String, store: StatsStore) {
    let scope = "tcp.\(statPrefix)"
    lease = store.lease(scope)
    stats = store.scope(scope, prometheus: PrometheusScope("envoy_tcp", labels: [("envoy_tcp_prefix", statPrefix)]))
  }
}
