import MeshAPI
import MeshPrimitives

/// Counts what configurations bring, change and take away (`listener_manager.…`, `cluster_manager.…`). Confined to the
/// main thread.
final class ConfigurationStats {
  private let listeners: StatLane<ListenerUpdateStat>
  private let clusters: StatLane<ClusterUpdateStat>
  private let blocks: (StatBlock<ListenerUpdateStat>, StatBlock<ClusterUpdateStat>)
  private var known = Bootstrap.StaticResources()

  /// - Parameter lane: the statistics' lane of the main thread.
  init(_ store: StatsStore, lane: Int) {
    let listeners: StatBlock<ListenerUpdateStat> = store.scope(
      "listener_manager", prometheus: PrometheusScope("envoy_listener_manager"))
    let clusters: StatBlock<ClusterUpdateStat> = store.scope(
      "cluster_manager", prometheus: PrometheusScope("envoy_cluster_manager"))
    blocks = (listeners, clusters)
    self.listeners = listeners.lane(lane)
    self.clusters = clusters.lane(lane)
  }

  /// Listeners wait for the names of these clusters' endpoints.
  func begin(listeners count: Int, waitingFor names: Int) {
    listeners.set(.warming, Int64(count))
    clusters.set(.warming, Int64(names))
  }

  /// A configuration is about to be put in force.
  func took(_ resources: Bootstrap.StaticResources) {
    let listeners = Self.compare(known.listeners, resources.listeners) { $0.name.isEmpty ? "\($0.address)" : $0.name }
    self.listeners.add(.added, listeners.added)
    self.listeners.add(.modified, listeners.modified)
    self.listeners.add(.removed, listeners.removed)
    self.listeners.set(.active, Int64(resources.listeners.count))
    self.listeners.set(.warming, 0)
    self.listeners.add(.draining, listeners.removed)
    let clusters = Self.compare(known.clusters, resources.clusters, name: \.name)
    self.clusters.add(.added, clusters.added)
    self.clusters.add(.modified, clusters.modified)
    self.clusters.add(.removed, clusters.removed)
    self.clusters.set(.active, Int64(resources.clusters.count))
    self.clusters.set(.warming, 0)
    created = listeners.added + listeners.modified
    known = resources
  }

  private var created: Int64 = 0

  /// Every worker has it in force.
  func finished(workers: Int) {
    listeners.add(.createSuccess, created * Int64(workers))
    created = 0
    listeners.set(.draining, 0)
    listeners.set(.workersStarted, 1)
  }

  /// A listener's address could not be had.
  func listenFailed() { listeners.add(.createFailure) }

  private static func compare<Element: Equatable>(
    _ old: [Element], _ new: [Element], name: (Element) -> String
  ) -> (added: Int64, modified: Int64, removed: Int64) {
    var before: [String: Element] = [:]
    for element in old { before[name(element)] = element }
    var (added, modified): (Int64, Int64) = (0, 0)
    for element in new {
      if let same = before.removeValue(forKey: name(element)) {
        if same != element { modified += 1 }
      } else {
        added += 1
      }
    }
    return (added, modified, Int64(before.count))
  }
}
