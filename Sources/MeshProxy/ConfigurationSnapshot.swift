import MeshPrimitives

/// A listener is the same listener in the next configuration if name and addresses are the same.
public struct ListenerKey: Hashable, Sendable {
  public let name: String
  public let addresses: [SocketAddress]

  init(_ configuration: ListenerConfiguration) {
    name = configuration.name
    addresses = configuration.addresses.map(\.address)
  }
}

/// All that the workers need to know, checked and compiled. Immutable: an update is a new one.
public final class ConfigurationSnapshot: Sendable {
  struct ListenerEntry: Sendable {
    let configuration: ListenerConfiguration
    let identity: ListenerIdentity
  }
  struct ClusterEntry: Sendable {
    let configuration: ClusterConfiguration
    let identity: ClusterIdentity
  }

  let listeners: [ListenerEntry]
  let clusters: [ClusterEntry]
  /// How many connections from clients may be open at once, if the overload manager says so.
  let maximumConnections: UInt64?
  /// What is done under pressure, if anything.
  let overload: OverloadConfiguration?
  /// The main thread's; workers read values only.
  let runtimeLayers: [RuntimeLayerConfiguration]
  /// Where ejections are logged (`cluster_manager.outlier_detection.event_log_path`); nil: nowhere. The main thread's.
  let outlierEventLog: AccessLogFile?
  /// Used at the start only.
  let admin: AdminConfiguration
  /// Where statistics are sent; nil: nowhere. The main thread's.
  let statSinks: StatsSinkConfiguration?
  /// How long series stay that nobody counts in; nil: for good.
  let seriesEviction: Nanoseconds?
  /// The clusters that the main thread calls itself: collectors of spans and metrics.
  let mainClusters: Set<String>

  init(
    listeners: [ListenerEntry], clusters: [ClusterEntry], maximumConnections: UInt64? = nil,
    overload: OverloadConfiguration? = nil, runtimeLayers: [RuntimeLayerConfiguration] = [],
    outlierEventLog: AccessLogFile? = nil,
    admin: AdminConfiguration = .init(), statSinks: StatsSinkConfiguration? = nil,
    seriesEviction: Nanoseconds? = nil, mainClusters: Set<String> = []
  ) {
    self.listeners = listeners
    self.clusters = clusters
    self.maximumConnections = maximumConnections
    self.overload = overload
    self.runtimeLayers = runtimeLayers
    self.outlierEventLog = outlierEventLog
    self.admin = admin
    self.statSinks = statSinks
    self.seriesEviction = seriesEviction
    self.mainClusters = mainClusters
  }

  /// What the main thread needs to know: the clusters that it calls, with those that they are made of.
  /// - Parameter earlier: those that it has called so far: what it has for them still goes there, if they still exist.
  func ofMainThread(beside earlier: Set<String>) -> ConfigurationSnapshot {
    let called = mainClusters.union(earlier)
    var wanted = called
    for entry in clusters where called.contains(entry.configuration.name) {
      wanted.formUnion(entry.configuration.members)
    }
    return ConfigurationSnapshot(listeners: [], clusters: clusters.filter { wanted.contains($0.configuration.name) })
  }
}

/// What one worker gets when the configuration changes.
struct WorkerUpdate: Sendable {
  let snapshot: ConfigurationSnapshot
  /// This worker's sockets for each listener.
  let sockets: [ListenerKey: [ListeningSocket]]
  /// The endpoints known so far, by cluster.
  let hosts: [String: HostSets]
}
