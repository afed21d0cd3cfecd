import MeshPrimitives

/// What one TCP session holds of its cluster: a place among its connections, and being counted there. One for each
/// attempt; ends with exactly one of `connectFailed`, `cancelled` and `ended`. Confined to its worker.
final class TCPUpstreamLease {
  private let cluster: ActiveCluster
  private let host: ActiveEndpoint
  private let endpoint: StatLane<EndpointStat>
  private let openedAt: MonotonicTime
  private(set) var isConnected = false
  /// The endpoint has become unhealthy, and its sessions are to end (`close_connections_on_host_health_failure`).
  var whenUnhealthy: (() -> Void)?

  /// Counts a connection that is about to be made; nil if the cluster has as many as it may have (`max_connections`).
  init?(_ cluster: ActiveCluster, _ endpoint: ActiveEndpoint) {
    guard cluster.breakers.normal.connections.enter(limit: cluster.limits.normal.connections) else {
      cluster.stats.add(.connectionOverflow)
      return nil
    }
    self.cluster = cluster
    host = endpoint
    self.endpoint = endpoint.stats
    openedAt = cluster.worker.loop.now
    cluster.stats.add(.connectionTotal)
    cluster.stats.add(.connectionActive)
    cluster.stats.add(.requestPendingTotal)
    cluster.stats.add(.requestPendingActive)
    self.endpoint.add(.connectionTotal)
    self.endpoint.add(.connectionActive)
    self.endpoint.add(.requestPendingActive)
  }

  func connected() {
    isConnected = true
    if cluster.configuration.closesConnectionsOfUnhealthy { host.leases[ObjectIdentifier(self)] = self }
    host.note(.session)
    cluster.connectTime.record(cluster.worker.loop.now.since(openedAt).rawValue / 1000)
    endWait()
    cluster.stats.add(.requestTotal)
    cluster.stats.add(.requestActive)
    endpoint.add(.requestTotal)
    endpoint.add(.requestActive)
  }

  func connectFailed(timedOut: Bool) {
    endWait()
    host.note(timedOut ? .timedOut : .failed(.remoteConnectionFailure))
    cluster.stats.add(.connectionFail)
    if timedOut { cluster.stats.add(.connectionTimeout) }
    cluster.stats.add(.requestPendingFailureEject)
    endpoint.add(.connectionConnectFail)
    leave(isRemote: !timedOut)
  }

  /// The client went before there was a connection.
  func cancelled() {
    endWait()
    cluster.stats.add(.requestCancelled)
    leave(isRemote: false)
  }

  /// The connection is closed.
  /// - Parameter isRemote: by the upstream.
  func ended(isRemote: Bool) {
    cluster.stats.subtract(.requestActive)
    endpoint.subtract(.requestActive)
    cluster.stats.add(.connectionDestroyWithActiveRequest)
    cluster.stats.add(isRemote ? .connectionDestroyRemoteWithActiveRequest : .connectionDestroyLocalWithActiveRequest)
    leave(isRemote: isRemote)
  }

  private func endWait() {
    cluster.stats.subtract(.requestPendingActive)
    endpoint.subtract(.requestPendingActive)
  }

  private func leave(isRemote: Bool) {
    if whenUnhealthy != nil { host.leases[ObjectIdentifier(self)] = nil }
    cluster.breakers.normal.connections.leave()
    cluster.stats.subtract(.connectionActive)
    endpoint.subtract(.connectionActive)
    cluster.stats.add(.connectionDestroy)
    cluster.stats.add(isRemote ? .connectionDestroyRemote : .connectionDestroyLocal)
    cluster.countLifetime(openedAt: openedAt, requests: isConnected ? 1 : 0)
  }
}
