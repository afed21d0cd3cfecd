import MeshHTTP
import MeshIO
import MeshPrimitives

/// A listener as one worker has it: accepts connections and keeps them. The socket is the main thread's and outlives it.
final class ActiveListener: ServerConnectionHandler {
  let worker: Worker
  private(set) var configuration: ListenerConfiguration
  private(set) var manager: ConnectionManager
  private var stats: StatLane<ListenerStat>
  /// Keeps the lane above alive.
  private var identity: ListenerIdentity
  /// One for each address; more when this process inherited more sockets than it has workers.
  private let sockets: [ListeningSocket]
  /// What the loop knows of the sockets, while connections are accepted.
  private var acceptors: [Acceptor] = []
  private var connections: [any ServerConnection] = []
  private var isAccepting = false
  /// Accepting stopped for want of descriptors or memory; see `resumeAccepting`.
  private var isStarved = false
  private static let starvation = RateLimitedLog(Log.http, perSecond: 1)

  init(
    worker: Worker, configuration: ListenerConfiguration, sockets: [ListeningSocket], identity: ListenerIdentity
  ) {
    self.worker = worker
    self.configuration = configuration
    self.sockets = sockets
    self.identity = identity
    manager = ConnectionManager(worker: worker, configuration: configuration.manager, listener: identity)
    stats = identity.stats.lane(worker.index)
  }

  var connectionCount: Int { connections.count }

  func startAccepting() {
    guard !isAccepting else { return }
    isAccepting = true
    do {
      for socket in sockets {
        let acceptor = Acceptor(self, socket)
        // Of those who share a queue one is woken, not all.
        let interest: IOInterest = socket.isShared ? .exclusiveAccept : .levelRead
        try worker.loop.register(socket.descriptor, acceptor, interest: interest)
        acceptors.append(acceptor)
      }
    } catch { worker.log.error("listener \(configuration.name): \(error)") }
  }

  private func leaveSockets() {
    for acceptor in acceptors { worker.loop.deregister(acceptor.socket.descriptor) }
    acceptors.removeAll()
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
    for socket in sockets { accept(socket, atMost: 100_000) }
    isAccepting = false
    leaveSockets()
  }

  /// Every connection closes after its next response; idle ones without, after `patience` (nil: the configured
  /// `drain_timeout`).
  func drainConnections(idleFor patience: Nanoseconds?) {
    for connection in connections { connection.drain(idleFor: patience) }
  }

  /// Ends what is left.
  func closeConnections() { for connection in connections { connection.close(.local) } }

  /// One socket, as the loop sees it.
  private final class Acceptor: IOHandler {
    let socket: ListeningSocket
    /// Ends when the listener leaves its sockets.
    private let listener: ActiveListener

    init(_ listener: ActiveListener, _ socket: ListeningSocket) {
      self.listener = listener
      self.socket = socket
    }

    func ready(_ events: IOEvents) { listener.connectionsWait(socket) }
  }

  private func connectionsWait(_ socket: ListeningSocket) {
    // Bounded, so that a flood of connections does not starve those that are established.
    accept(socket, atMost: configuration.acceptsPerEvent)
    worker.publishStaleEvents()
  }

  private func accept(_ socket: ListeningSocket, atMost budget: Int) {
    for _ in 0..<budget {
      let accepted = Socket.accept(socket.descriptor)
      if accepted.fd >= 0 {
        if mayOpen() { open(accepted, on: socket.address) } else { Socket.close(accepted.fd) }
      } else {
        if Int(accepted.fd) != Socket.wouldBlock { starve(accepted.fd) }
        break
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
    leaveSockets()
    worker.after(.milliseconds(100)) { [weak self] in
      guard let self, isStarved else { return }
      isStarved = false
      guard isAccepting else { return }
      isAccepting = false
      startAccepting()
    }
  }

  private func open(_ accepted: Accepted, on address: SocketAddress) {
    let local = address.isUnspecified ? (Socket.localAddress(accepted.fd) ?? address).unmapped : address
    // Clients of a Unix socket have no address of their own: they go by the socket's, as in Envoy.
    let remote = address.isUnix ? address : accepted.peer.unmapped
    let info = ConnectionInfo(
      remoteAddress: remote, localAddress: local, identifier: worker.nextConnectionIdentifier())
    let connection = HTTP1ServerConnection(
      loop: worker.loop, transport: Transport(descriptor: accepted.fd, isWritable: true),
      settings: configuration.manager.connection,
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

  func openStream(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ start: RequestStart
  ) { manager.open(sender, connection, headers, start) }

  func refuse(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, status: Int,
    _ details: StaticString
  ) {
    manager.stats.add(.connectionProtocolError)
    manager.refuse(sender, connection, headers, .codecError(status: status, details))
  }

  func headersTimedOut(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap) {
    manager.stats.add(.requestHeaderTimeout)
    manager.refuse(sender, connection, headers, .headersTimeout)
  }

  func reached(_ limit: ServerConnectionLimit) {
    manager.stats.add(limit == .duration ? .connectionMaximumDuration : .connectionMaximumRequests)
  }

  func refusedField() { manager.codecStats.add(.rejectedUnderscores) }

  func droppedFields(_ count: Int) { manager.codecStats.add(.droppedUnderscores, Int64(count)) }

  func connectionTransferred(received: Int, sent: Int) {
    if received > 0 { manager.stats.add(.connectionReceivedBytes, Int64(received)) }
    if sent > 0 { manager.stats.add(.connectionSentBytes, Int64(sent)) }
  }

  func connectionClosed(_ connection: any ServerConnection, _ reason: ServerCloseReason) {
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
