import MeshAPI
import MeshIO
import MeshPrimitives

/// What the admin interface is told by the process, and what it may ask of it. Every call comes on the thread of the
/// admin server's event loop.
public protocol AdminContext: AnyObject {
  // MARK: What the process is

  /// `version` of `/server_info`.
  var version: String { get }
  /// `/ready` answers 200 in state `live` only.
  var state: Proxy.State { get }
  /// `POST /healthcheck/fail` was the last word: `/ready` and `/server_info` then tell `DRAINING`.
  var isHealthCheckFailed: Bool { get }
  /// For the uptimes of `/server_info`.
  var startedAt: MonotonicTime { get }
  /// `command_line_options` of `/server_info`, under Envoy's names (`config_path`, `concurrency`), in order.
  var commandLineOptions: [(name: String, value: AdminJSON)] { get }
  /// The bootstrap's node, flags applied.
  var node: Node { get }

  // MARK: What it serves

  /// The configuration in force. Asked for by `/config_dump` only.
  var bootstrap: Bootstrap { get }
  /// When it was put in force, in nanoseconds since 1970 (UTC).
  var configuredAt: UInt64 { get }
  /// The clusters in force, in their configuration's order, with the endpoints known now.
  var clusters: [AdminCluster] { get }
  /// Clusters whose endpoints the process waits for before it is ready.
  var uninitializedClusters: [String] { get }
  /// The listeners that are bound.
  var listeners: [AdminListener] { get }
  /// The TLS contexts in use, of listeners and clusters.
  var tlsContexts: [TLSContext] { get }
  /// Every statistic.
  var stats: StatsStore { get }
  /// The runtime's layers with their values, the first one first.
  var runtimeLayers: [Runtime.Layer] { get }
  /// Whose levels `/logging` shows and sets.
  var processLog: ProcessLog { get }

  // MARK: What it can be told

  /// `POST /drain_listeners`.
  /// - Parameters:
  ///   - graceful: connections are still accepted for the drain time, every response saying that it is the last; then
  ///     the listeners close.
  ///   - inboundOnly: only the listeners with `traffic_direction: INBOUND`.
  ///   - skipExit: connections are drained and the listeners never close; `graceful` then changes nothing.
  func drainListeners(graceful: Bool, inboundOnly: Bool, skipExit: Bool)
  /// Somebody asks for statistics: they go to the sinks that wait for it (`stats_flush_on_admin`).
  func statisticsAsked()
  /// `POST /healthcheck/fail` (true) and `/healthcheck/ok` (false).
  func failHealthCheck(_ fail: Bool)
  /// `POST /quitquitquit`. Called when the answer has been handed to the kernel.
  func quit()
  /// `POST /runtime_modify`: sets keys in the admin layer, or takes them out of it (an empty value).
  /// - Returns: false if there is no such layer.
  func modifyRuntime(_ changes: [(name: String, value: String)]) -> Bool
  /// `POST /reopen_logs`.
  func reopenLogs()
}

extension AdminContext {
  public var processLog: ProcessLog { .standard }
  public var tlsContexts: [TLSContext] { [] }
  public func statisticsAsked() {}
}

/// A cluster as the admin interface shows it.
public struct AdminCluster {
  public let configuration: ClusterConfiguration
  public let identity: ClusterIdentity
  public let endpoints: [WeightedEndpoint]
  /// What outlier detection knows of the endpoints, in their order; nil if the cluster has none.
  public var outliers: [OutlierReport]?

  public init(configuration: ClusterConfiguration, identity: ClusterIdentity, endpoints: [WeightedEndpoint]) {
    self.configuration = configuration
    self.identity = identity
    self.endpoints = endpoints
  }
}

/// A listener as the admin interface shows it.
public struct AdminListener {
  public let name: String
  /// As the kernel bound them, port 0 resolved; the listener's own address is the first.
  public let addresses: [MeshPrimitives.SocketAddress]

  public init(name: String, addresses: [MeshPrimitives.SocketAddress]) {
    self.name = name
    self.addresses = addresses
  }
}
