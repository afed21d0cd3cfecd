import MeshHTTP
import MeshIO
import MeshPrimitives

/// A listener as one worker has it: accepts connections and keeps them. The socket is the main thread's and outlives it.
final class ActiveListener: IOHandler, ServerConnectionHandler {
  let worker: Worker
  private(set) var configuration: ListenerConfiguration
  private(set) var manager: ConnectionManager
  private var stats: StatLane<ListenerStat>
  /// Keeps the lane above alive.
  private var identity: ListenerIdentity
  /// Usually one; more when this process inherited more sockets than it has workers.
  private let descriptors: [Int32]
  private let address: SocketAddress
  private var connections: [ServerConnection] = []
  private var isAccepting = false
  /// Accepting stopped for want of descriptors or memory; see `resumeAccepting`.
  private var isStarved = false
  private static let starvation = RateLimitedLog(Log.http, perSecond: 1)

  init(
    worker: Worker, configuration: ListenerConfiguration, descriptors: [Int32], address: SocketAddress,
    identity: ListenerIdentity
  ) {
    self.worker = worker
    self.configuration = configuration
    self.descriptors = descriptors
    self.identity = identity
    self.address = address
    manager = ConnectionManager(worker: worker, configuration: configuration.manager, listener: identity)
    stats = identity.stats.lane(worker.index)
  }

  var connectionCount: Int { connections.count }

  func startAccepting() {
    guard !isAccepting else { return }
    isAccepting = true
    do {
      for descriptor in descriptors { try worker.loop.register(descriptor, self, interest: .levelRead) }
    } catch { worker.log.error("listener \(configuration.name): \(error)") }
  }

  /// Takes the next configuration of the same listener: for new connections, and from their next request on for the
  /// others.
  func update(_ new: ListenerConfiguration, identity: ListenerIdentity) {
    let isDraining = manager.isDraining
    countConnections(-connections.count)
    configuration = new
    manager = ConnectionManager(worker: worker, configuration: new.manager, listener: identity)
    manager.isDraining = isDraining
    stats = identity.stats.lane(worker.index)
    self.identity = identity
    // The open connections now count under the names of the new configuration.
    countConnections(connections.count)
  }

  private func countConnections(_ change: Int) {
    stats.add(.connectionActive, Int64(change))
    manager.stats.add(.connectionActive, Int64(change))
    manager.stats.add(.connectionHTTP1Active, Int64(change))
  }

  /// From now on every response is its connection's last.
  func beginDraining() { manager.isDraining = true }

  /// Empties the queue of connections that the kernel has completed already, then accepts no more.
  func stopAccepting() {
    guard isAccepting else { return }
    accept(everything: true)
    isAccepting = false
    for descriptor in descriptors { worker.loop.deregister(descriptor) }
  }

  /// Every connection closes after its next response; idle ones without, after `patience` (nil: the configured
  /// `drain_timeout`).
  func drainConnections(idleFor patience: Nanoseconds?) {
    for connection in connections { connection.drain(idleFor: patience) }
  }

  /// Ends what is left.
  func closeConnections() { for connection in connections { connection.close(.local) } }

  func ready(_ events: IOEvents) {
    accept(everything: false)
    worker.publishStaleEvents()
  }

  private func accept(everything: Bool) {
    for descriptor in descriptors {
      // Bounded, so that a flood of connections does not starve those that are established.
      var budget = everything ? 100_000 : 64
      while budget > 0 {
        budget -= 1
        let accepted = Socket.accept(descriptor)
        if accepted.fd >= 0 {
          if mayOpen() { open(accepted) } else { Socket.close(accepted.fd) }
        } else {
          if Int(accepted.fd) != Socket.wouldBlock { starve(accepted.fd) }
          break
        }
      }
    }
  }

  /// Counts a connection that has been accepted, unless there are as many as may be. The global limit comes first, as
  /// in Envoy.
  private func mayOpen() -> Bool {
    if configuration.ignoresGlobalLimit {
      identity.globalLimit.enterAlways()
    } else if !identity.globalLimit.enter() {
      stats.add(.globalOverflow)
      return false
    }
    if identity.limit.enter() { return true }
    identity.globalLimit.leave()
    stats.add(.connectionOverflow)
    return false
  }

  /// No descriptor or memory for another connection: wait a moment, or the loop would spin on the full queue.
  private func starve(_ error: Int32) {
    stats.add(.acceptFailure)
    guard isAccepting, !isStarved else { return }
    isStarved = true
    Self.starvation.warning("listener \(configuration.name): accept: \(SystemError.text(-error)); pausing for 100 ms")
    for descriptor in descriptors { worker.loop.deregister(descriptor) }
    worker.after(.milliseconds(100)) { [weak self] in
      guard let self, isStarved else { return }
      isStarved = false
      guard isAccepting else { return }
      isAccepting = false
      startAccepting()
    }
  }

  private func open(_ accepted: Accepted) {
    let local = address.isUnspecified ? Socket.localAddress(accepted.fd) ?? address : address
    let info = ConnectionInfo(
      remoteAddress: accepted.peer, localAddress: local, identifier: worker.nextConnectionIdentifier())
    let connection = ServerConnection(
      loop: worker.loop, descriptor: accepted.fd, settings: configuration.manager.connection,
      headerMaps: worker.headerMaps, handler: self, info: info)
    connection.listIndex = connections.count
    connections.append(connection)
    stats.add(.connectionTotal)
    stats.add(.connectionActive)
    manager.stats.add(.connectionTotal)
    manager.stats.add(.connectionActive)
    manager.stats.add(.connectionHTTP1Total)
    manager.stats.add(.connectionHTTP1Active)
    do { try connection.start() } catch { connection.close(.local) }
  }

  // MARK: ServerConnectionHandler

  func openStream(_ connection: ServerConnection, _ headers: HeaderMap, _ start: RequestStart) {
    manager.open(connection, connection.info, headers, start)
  }

  func refuse(_ connection: ServerConnection, _ headers: HeaderMap, _ error: HTTP1Error) {
    manager.stats.add(.connectionProtocolError)
    if error == .underscoreInFieldName { manager.codecStats.add(.rejectedUnderscores) }
    manager.refuse(connection, connection.info, headers, .codecError(status: error.status, error.details))
  }

  func headersTimedOut(_ connection: ServerConnection, _ headers: HeaderMap) {
    manager.stats.add(.requestHeaderTimeout)
    manager.refuse(connection, connection.info, headers, .headersTimeout)
  }

  func reached(_ limit: ServerConnection.Limit) {
    manager.stats.add(limit == .duration ? .connectionMaximumDuration : .connectionMaximumRequests)
  }

  func droppedFields(_ count: Int) { manager.codecStats.add(.droppedUnderscores, Int64(count)) }

  func connectionTransferred(received: Int, sent: Int) {
    if received > 0 { manager.stats.add(.connectionReceivedBytes, Int64(received)) }
    if sent > 0 { manager.stats.add(.connectionSentBytes, Int64(sent)) }
  }

  func connectionClosed(_ connection: ServerConnection, _ reason: ServerConnection.CloseReason) {
    let last = connections.count - 1
    let index = connection.listIndex
    if index < last {
      connections[index] = connections[last]
      connections[index].listIndex = index
    }
    connections.removeLast()
    identity.limit.leave()
    identity.globalLimit.leave()
    stats.subtract(.connectionActive)
    stats.add(.connectionDestroy)
    manager.stats.subtract(.connectionActive)
    manager.stats.subtract(.connectionHTTP1Active)
    manager.stats.add(.connectionDestroy)
    manager.stats.add(reason == .remote ? .connectionDestroyRemote : .connectionDestroyLocal)
    if connection.hadRequest {
      manager.stats.add(.connectionDestroyActiveRequest)
      manager.stats.add(
        reason == .remote ? .connectionDestroyRemoteActiveRequest : .connectionDestroyLocalActiveRequest)
    }
    let lifetime = worker.loop.now.since(connection.openedAt).rawValue / 1000
    identity.connectionTime.lane(worker.index).record(lifetime)
    identity.manager.connectionTime.lane(worker.index).record(lifetime)
    if reason == .idleTimeout { manager.stats.add(.connectionIdleTimeout) }
    if connections.isEmpty { worker.listenerBecameEmpty(self) }
  }
}

/// What belongs to a listener's identity and outlives its configurations. Shared by all threads.
final class ListenerIdentity: Sendable {
  let stats: StatBlock<ListenerStat>
  /// The responses of its connection manager to this listener's clients.
  let responseCodes: ResponseCodeCounters
  /// How long connections lived.
  let connectionTime: LatencyHistogram
  let manager: ConnectionManagerIdentity
  /// The connections of this listener, by its name.
  let limit: ConnectionLimit
  /// The connections of all listeners.
  let globalLimit: ConnectionLimit
  private let leases: [StatsLease]

  /// - Parameter workers: how many there are; each has a lane of its own index.
  init(
    statName: String, manager: ConnectionManagerIdentity, limit: ConnectionLimit, globalLimit: ConnectionLimit,
    store: StatsStore, workers: Int
  ) {
    let scope = "listener.\(statName)"
    let label = ("envoy_listener_address", statName)
    let prometheus = PrometheusScope("envoy_listener", labels: [label])
    let http = "\(scope).http.\(manager.statPrefix)"
    var leases = [store.lease(scope), store.lease(http)]
    stats = store.scope(scope, prometheus: prometheus)
    connectionTime = store.histogram(
      scope, HistogramDefinition(name: "downstream_cx_length_ms"), prometheus: prometheus)
    responseCodes = store.responseCodes(
      http, stem: "downstream_rq",
      prometheus: PrometheusScope(
        "envoy_listener_http", labels: [("envoy_http_conn_manager_prefix", manager.statPrefix), label]),
      detail: [.always, .completed])
    for worker in 0..<workers {
      let prefix = "\(scope).worker_\(worker)"
      leases.append(store.lease(prefix))
      store.show(
        [.connectionActive, .connectionTotal], of: stats, lane: worker, under: prefix,
        prometheus: PrometheusScope("envoy_listener_worker", labels: [("envoy_worker_id", "\(worker)"), label]))
    }
    self.leases = leases
    self.manager = manager
    self.limit = limit
    self.globalLimit = globalLimit
  }
}
