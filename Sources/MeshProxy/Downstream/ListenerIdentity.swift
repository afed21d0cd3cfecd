import MeshPrimitives

/// What belongs to a listener's identity and outlives its configurations. Shared by all threads.
final class ListenerIdentity: Sendable {
  let stats: StatBlock<ListenerStat>
  /// How long connections lived.
  let connectionTime: LatencyHistogram
  /// The connections of this listener, by its name.
  let limit: ConnectionLimit
  /// The connections of all listeners.
  let globalLimit: ConnectionLimit
  private let leases: [StatsLease]

  /// - Parameter workers: how many there are; each has a lane of its own index.
  init(statName: String, limit: ConnectionLimit, globalLimit: ConnectionLimit, store: StatsStore, workers: Int) {
    let scope = Self.scope(statName)
    let label = Self.label(statName)
    let prometheus = PrometheusScope("envoy_listener", labels: [label])
    var leases = [store.lease(scope)]
    stats = store.scope(scope, prometheus: prometheus)
    connectionTime = store.histogram(
      scope, HistogramDefinition(name: "downstream_cx_length_ms", help: "How long connections lived, in milliseconds."),
      prometheus: prometheus)
    for worker in 0..<workers {
      let prefix = "\(scope).worker_\(worker)"
      leases.append(store.lease(prefix))
      store.show(
        [.connectionActive, .connectionTotal], of: stats, lane: worker, under: prefix,
        prometheus: PrometheusScope("envoy_listener_worker", labels: [("envoy_worker_id", "\(worker)"), label]))
    }
    self.leases = leases
    self.limit = limit
    self.globalLimit = globalLimit
  }

  static func scope(_ statName: String) -> String { "listener.\(statName)" }
  static func label(_ statName: String) -> (String, String) { ("envoy_listener_address", statName) }
}

/// What a connection manager counts for the clients of one listener, and everywhere. Shared by all threads.
final class ListenerHTTPIdentity: Sendable {
  let manager: ConnectionManagerIdentity
  /// The responses to this listener's clients.
  let responseCodes: ResponseCodeCounters
  private let lease: StatsLease

  init(statName: String, manager: ConnectionManagerIdentity, store: StatsStore) {
    let scope = "\(ListenerIdentity.scope(statName)).http.\(manager.statPrefix)"
    lease = store.lease(scope)
    responseCodes = store.responseCodes(
      scope, stem: "downstream_rq",
      prometheus: PrometheusScope(
        "envoy_listener_http",
        labels: [("envoy_http_conn_manager_prefix", manager.statPrefix), ListenerIdentity.label(statName)]),
      detail: [.always, .completed])
    self.manager = manager
  }
}
