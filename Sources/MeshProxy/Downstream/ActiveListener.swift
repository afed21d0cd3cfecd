import MeshHTTP
import MeshIO
import MeshPrimitives

/// A listener as one worker has it: accepts connections and keeps them. The socket is the main thread's and outlives it.
final class ActiveListener {
  let worker: Worker
  private(set) var configuration: ListenerConfiguration
  private var stats: StatLane<ListenerStat>
  /// Keeps the lane above alive.
  private var identity: ListenerIdentity
  /// One for each address; more when this process inherited more sockets than it has workers.
  private let sockets: [ListeningSocket]
  /// What the loop knows of the sockets, while connections are accepted.
  private var acceptors: [Acceptor] = []
  /// Those of the configuration, in its order.
  private var chains: [any ActiveFilterChain] = []
  /// The chain of every connection, if they have no choice; see `ListenerConfiguration.direct`.
  private var direct: (any ActiveFilterChain)?
  /// Chains that no configuration has any more, and whose connections are ending.
  private var endingChains: [any ActiveFilterChain] = []
  /// Connections that nobody serves yet.
  private var pending: [PendingConnection] = []
  /// Connections that are open.
  private(set) var connectionCount = 0
  /// Those of them that a filter chain was chosen for.
  private var servedCount = 0
  private var isAccepting = false
  private var isDraining = false
  /// Accepting stopped for want of descriptors or memory; see `resumeAccepting`.
  private var isStarved = false
  /// Connections wait in the kernel; see `suspend`.
  private var isSuspended = false
  /// Nil if there are none, which is usual.
  private var accessLogs: [AccessLogLane]?
  private static let starvation = RateLimitedLog(Log.http, perSecond: 1)

  init(
    worker: Worker, configuration: ListenerConfiguration, sockets: [ListeningSocket], identity: ListenerIdentity
  ) {
    self.worker = worker
    self.configuration = configuration
    self.sockets = sockets
    self.identity = identity
    stats = identity.stats.lane(worker.index)
    takeChains()
    takeLogs()
  }

  func startAccepting() {
    guard !isAccepting else { return }
    isAccepting = true
    if !isSuspended { enterSockets() }
  }

  private func enterSockets() {
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

  /// Lets connections wait in the kernel, or accepts them again.
  func suspend(_ suspends: Bool) {
    guard suspends != isSuspended else { return }
    isSuspended = suspends
    guard isAccepting, !isStarved else { return }
    suspends ? leaveSockets() : enterSockets()
  }

  private func leaveSockets() {
    for acceptor in acceptors { worker.loop.deregister(acceptor.socket.descriptor) }
    acceptors.removeAll()
  }

  /// Takes the next configuration of the same listener: for new connections, and for those of its filter chains that
  /// stay. The connections of the others end as soon as their protocol allows.
  func update(_ new: ListenerConfiguration, identity: ListenerIdentity) {
    let open = Int64(servedCount)
    stats.subtract(.connectionActive, open)
    configuration = new
    stats = identity.stats.lane(worker.index)
    self.identity = identity
    // The open connections now count under the names of the new configuration.
    stats.add(.connectionActive, open)
    takeChains()
    takeLogs()
  }

  private func takeLogs() {
    let logs = configuration.logging.accessLogs
    accessLogs = logs.isEmpty ? nil : logs.map { AccessLogLane($0, worker) }
  }

  private func takeChains() {
    var gone = chains
    chains = configuration.filterChains.map { configuration in
      guard let index = gone.firstIndex(where: { $0.configuration.identity == configuration.identity }) else {
        let chain = configuration.activate(self)
        if isDraining { chain.beginDraining() }
        return chain
      }
      let chain = gone.remove(at: index)
      chain.update(configuration)
      return chain
    }
    direct = configuration.direct == nil ? nil : chains.first
    for chain in gone where chain.connectionCount > 0 {
      endingChains.append(chain)
      chain.drainConnections(idleFor: nil)
    }
  }

  /// From now on every response is its connection's last.
  func beginDraining() {
    isDraining = true
    for chain in chains { chain.beginDraining() }
  }

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
    for chain in chains + endingChains { chain.drainConnections(idleFor: patience) }
  }

  /// The overload manager makes timeouts shorter, or gives them back.
  func timeoutsChanged() {
    for connection in pending { connection.timeoutsChanged() }
    for chain in chains + endingChains { chain.timeoutsChanged() }
  }

  /// Calls `body` with every stream of HTTP.
  func forEachStream(_ body: (Stream) -> Void) { for chain in chains + endingChains { chain.forEachStream(body) } }

  /// Ends what is left.
  func closeConnections() {
    for connection in pending { connection.close(.local) }
    for chain in chains + endingChains { chain.closeConnections() }
  }

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
    if let overload = worker.overload, overload.refusesConnections, overload.refusesConnection() {
      stats.add(.overloadReject)
      return false
    }
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
    connectionCount += 1
    let transport = Transport(descriptor: accepted.fd, isWritable: true)
    if let direct {
      direct.connectionBegan()
      direct.serve(transport, info, initial: ByteQueue())
    } else {
      let connection = PendingConnection(self, transport, info)
      connection.listIndex = pending.count
      pending.append(connection)
      connection.start()
    }
  }

  /// Takes a connection that another listener has accepted, and that was made to this one's address.
  /// - Returns: whether it did; if not, there are as many connections as may be.
  func adopt(_ transport: inout Transport, _ info: ConnectionInfo) -> Bool {
    guard mayOpen() else { return false }
    connectionCount += 1
    var taken = Transport(descriptor: -1, isWritable: false)
    swap(&taken, &transport)
    let connection = PendingConnection(self, taken, info)
    connection.listIndex = pending.count
    pending.append(connection)
    connection.start()
    return true
  }

  // MARK: What connections and filter chains say

  /// Listener filters look at a connection; `inspectionEnded` follows.
  func inspectionBegan() { stats.add(.beforeConnectionActive) }
  func inspectionEnded() { stats.subtract(.beforeConnectionActive) }
  func inspectionTimedOut() { stats.add(.beforeConnectionTimeout) }

  /// A connection is closed while listener filters look at it.
  func inspectionFailed(isRemote: Bool) { stats.add(isRemote ? .listenerFilterRemoteClose : .listenerFilterError) }

  /// The filter chain for a connection; nil if there is none.
  func filterChain(for facts: ConnectionFacts) -> (any ActiveFilterChain)? {
    if let index = configuration.chain(for: facts) { return chains[index] }
    stats.add(.noFilterChainMatch)
    return nil
  }

  /// A pending connection is served from now on, or closed.
  func pendingEnded(_ connection: PendingConnection) {
    let last = pending.count - 1
    let index = connection.listIndex
    if index < last {
      pending[index] = pending[last]
      pending[index].listIndex = index
    }
    pending.removeLast()
  }

  /// A filter chain has been chosen for a connection.
  func connectionBegan() {
    servedCount += 1
    stats.add(.connectionTotal)
    stats.add(.connectionActive)
  }

  /// A connection's transport was not established in time.
  func transportTimedOut() { stats.add(.transportTimeout) }

  /// A connection that `connectionBegan` counted is closed.
  func connectionEnded(_ info: ConnectionInfo, openedAt: MonotonicTime, _ refusal: ConnectionRefusal?) {
    if let refusal, let failures = worker.failures {
      ConnectionFailure(refusal, info, openedAt: openedAt, worker, listener: configuration.name).write(to: failures)
    }
    if accessLogs != nil {
      let record = ConnectionRecord(worker, info, openedAt: openedAt, configuration.logging)
      if let refusal { record.note(refusal) }
      log(record)
    }
    countEnd(info.identifier, openedAt: openedAt)
  }

  /// The same, of a connection of which more is known.
  func connectionEnded(_ session: TCPSession) {
    log(session)
    countEnd(session.info.connectionIdentifier, openedAt: session.openedAt)
  }

  private func log<Source: SubstitutionSource>(_ source: Source) {
    guard let accessLogs else { return }
    for log in accessLogs { log.write(source) }
  }

  private func countEnd(_ identifier: UInt64, openedAt: MonotonicTime) {
    worker.forgetConnection(identifier)
    servedCount -= 1
    stats.subtract(.connectionActive)
    stats.add(.connectionDestroy)
    identity.connectionTime.lane(worker.index).record(worker.loop.now.since(openedAt).rawValue / 1000)
    leave()
  }

  /// A connection is closed that no filter chain was chosen for.
  /// - Parameter isUnmatched: none fits it.
  func connectionLeft(_ info: ConnectionInfo, openedAt: MonotonicTime, isUnmatched: Bool) {
    if isUnmatched, let failures = worker.failures {
      ConnectionFailure(unmatched: info, openedAt: openedAt, worker, listener: configuration.name).write(to: failures)
    }
    if accessLogs != nil {
      let record = ConnectionRecord(worker, info, openedAt: openedAt, configuration.logging)
      if isUnmatched {
        record.info.flags.insert(.noRouteFound)
        record.info.details = .init("filter_chain_not_found")
      }
      log(record)
    }
    leave()
  }

  /// A connection goes on at another listener.
  func handedOver() { leave() }

  private func leave() {
    connectionCount -= 1
    identity.limit.leave()
    identity.globalLimit.leave()
    if connectionCount == 0 { worker.listenerBecameEmpty(self) }
  }

  /// The last connection of a filter chain is gone.
  func becameEmpty(_ chain: any ActiveFilterChain) { endingChains.removeAll { $0 === chain } }
}
