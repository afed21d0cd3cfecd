import MeshPrimitives
import Synchronization

/// What calls of gRPC did: `cluster.<name>.grpc.<service>.<method>.…`, or without service and method those that have no
/// statistics of their own. Shared by all threads.
final class GRPCMethodStatistics: Sendable {
  private let prefix: String
  private let prometheus: PrometheusScope
  private let store: StatsStore
  private let lease: StatsLease
  private let block: StatBlock<GRPCStat>
  /// By status of gRPC: counted by its number, from the first call on that ended so.
  private let byStatus = Mutex<[Int: StatBlock<SoleStat>]>([:])
  private let time = Mutex<LatencyHistogram?>(nil)

  init(_ prefix: String, prometheus: PrometheusScope, store: StatsStore) {
    self.prefix = prefix
    self.prometheus = prometheus
    self.store = store
    lease = store.lease(prefix)
    block = store.scope(prefix, prometheus: prometheus)
  }

  func add(_ stat: GRPCStat, _ count: Int = 1, lane: Int) { block.lane(lane).add(stat, Int64(count)) }

  /// A call has ended.
  /// - Parameter status: one that is none of gRPC's is a failure, and has no counter of its own.
  func end(_ status: Int, lane: Int) {
    add(.total, lane: lane)
    add(status == 0 ? .success : .failure, lane: lane)
    guard let name = Self.names.indices.contains(status) ? Self.names[status] : nil else { return }
    let counter = byStatus.withLock { counters in
      let counter =
        counters[status]
        ?? store.counter(prefix, name, help: "Calls that ended with this grpc-status.", prometheus: prometheus)
      counters[status] = counter
      return counter
    }
    counter.lane(lane).add(.count)
  }

  func record(_ microseconds: UInt64, lane: Int) {
    let histogram = time.withLock { known in
      let histogram =
        known
        ?? store.histogram(
          prefix,
          HistogramDefinition(
            name: "upstream_rq_time", help: "From the last attempt to the end of the response, in milliseconds."),
          prometheus: prometheus)
      known = histogram
      return histogram
    }
    histogram.lane(lane).record(microseconds)
  }

  private static let names: [StaticString] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
  ]
}

/// The statistics of a cluster's calls. Outlives configurations; shared by all threads.
final class GRPCClusterStatistics: Sendable {
  /// Methods that have statistics of their own: clients name them.
  static let maximumMethods = 500

  private let statName: String
  private let store: StatsStore
  private let methods = Mutex<[String: GRPCMethodStatistics]>([:])

  init(statName: String, store: StatsStore) {
    self.statName = statName
    self.store = store
  }

  /// Of calls without statistics of their own.
  func all() -> GRPCMethodStatistics {
    methods.withLock { known in
      if let all = known[""] { return all }
      let all = GRPCMethodStatistics(
        "cluster.\(statName).grpc",
        prometheus: PrometheusScope("envoy_cluster_grpc", labels: [("envoy_cluster_name", statName)]), store: store)
      known[""] = all
      return all
    }
  }

  /// Of one method; nil if there are as many as may be.
  func method(_ service: String, _ name: String) -> GRPCMethodStatistics? {
    methods.withLock { known in
      let key = "\(service).\(name)"
      if let method = known[key] { return method }
      guard known.count <= Self.maximumMethods else { return nil }
      let method = GRPCMethodStatistics(
        "cluster.\(statName).grpc.\(key)",
        prometheus: PrometheusScope(
          "envoy_cluster_grpc",
          labels: [
            ("envoy_cluster_name", statName), ("envoy_grpc_bridge_service", service),
            ("envoy_grpc_bridge_method", name),
          ]), store: store)
      known[key] = method
      return method
    }
  }
}
