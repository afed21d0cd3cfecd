import MeshPrimitives
import Synchronization

/// Faults by the cluster that a request says it comes from (`x-envoy-downstream-service-cluster`):
/// `http.<stat_prefix>.fault.<cluster>.delays_injected` and `.aborts_injected`. Shared by all threads.
final class FaultCallers: Sendable {
  /// Clusters that are counted, and how long their names may be: requests name them.
  static let most = 100
  static let longestName = 100

  private let scope: String
  private let labels: [(name: String, value: String)]
  private let store: StatsStore
  private let leases = Mutex<[String: StatsLease]>([:])

  /// - Parameters:
  ///   - scope: `http.<stat_prefix>.fault`.
  ///   - labels: of the scope, for Prometheus.
  init(scope: String, labels: [(name: String, value: String)], store: StatsStore) {
    self.scope = scope
    self.labels = labels
    self.store = store
  }

  /// Counts a fault, unless there are as many clusters as are counted, or the name is none.
  func add(_ name: StaticString, caller: Bytes, lane: Int) {
    guard !caller.isEmpty, caller.count <= Self.longestName, caller.allSatisfy(Self.isPlain) else { return }
    let caller = caller.text
    let prefix = "\(scope).\(caller)"
    let isKnown = leases.withLock { leases in
      if leases[caller] != nil { return true }
      guard leases.count < Self.most else { return false }
      leases[caller] = store.lease(prefix)
      return true
    }
    guard isKnown else { return }
    let prometheus = PrometheusScope("envoy_http_fault", labels: labels + [("envoy_fault_downstream_cluster", caller)])
    store.counter(prefix, name, help: "Faults, by the cluster that calls.", prometheus: prometheus).lane(lane).add(
      .count)
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
      true
    default: false
    }
  }
}
