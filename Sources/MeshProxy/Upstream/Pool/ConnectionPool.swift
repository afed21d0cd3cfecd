import MeshHTTP
import MeshIO
import MeshPrimitives

/// A request that waits for a connection, or has one.
protocol PoolClient: AnyObject {
  /// A connection is free for this request. Called at once from `ConnectionPool.acquire`, or later.
  func poolReady(_ connection: ClientConnection)
  /// There will be none.
  func poolFailed(_ reason: StreamResetReason, _ detail: StaticString)
}

/// One worker's connections to one endpoint: HTTP/1.1, one request at a time on each, the most recently used first.
final class ConnectionPool: ClientConnectionOwner {
  /// A place in the queue for a connection.
  final class Ticket {
    fileprivate(set) var client: (any PoolClient)?
    fileprivate init(_ client: any PoolClient) { self.client = client }
  }

  private let worker: Worker
  private let cluster: ActiveCluster
  private let endpoint: Endpoint
  private let stats: StatLane<ClusterStat>
  private let endpointStats: StatLane<EndpointStat>
  private let breaker: CircuitBreaker

  private var connections: [ClientConnection] = []
  private var idle: [ClientConnection] = []
  private var waiting: [Ticket] = []
  private var connecting = 0
  private var isDraining = false

  init(worker: Worker, cluster: ActiveCluster, endpoint: Endpoint) {
    self.worker = worker
    self.cluster = cluster
    self.endpoint = endpoint
    stats = cluster.stats
    endpointStats = endpoint.stats.lane(worker.index)
    breaker = cluster.identity.breaker
  }

  /// Gets a connection for `client`: an idle one at once, else a new one or the next that becomes free. Returns the
  /// ticket with which to give the wait up; nil if `client` has been called already.
  /// - Parameter fresh: do not use an idle connection, which might be as dead as the last one was.
  @inline(__always)
  func acquire(_ client: any PoolClient, fresh: Bool = false) -> Ticket? {
    if !fresh, let connection = idle.popLast() {
      client.poolReady(connection)
      return nil
    }
    return wait(client)
  }

  @inline(never)
  private func wait(_ client: any PoolClient) -> Ticket? {
    guard breaker.pendingRequests.enter(limit: cluster.configuration.limits.pendingRequests) else {
      stats.add(.requestPendingOverflow)
      client.poolFailed(.overflow, "")
      return nil
    }
    stats.add(.requestPendingTotal)
    stats.add(.requestPendingActive)
    let ticket = Ticket(client)
    waiting.append(ticket)
    if connecting < waiting.count { connect() }
    // A connection that could not even be started has emptied the queue.
    return ticket.client == nil ? nil : ticket
  }

  /// The client waits no longer.
  func giveUp(_ ticket: Ticket) {
    guard ticket.client != nil else { return }
    ticket.client = nil
    waiting.removeAll { $0 === ticket }
    leaveQueue()
    stats.add(.requestCancelled)
  }

  /// Closes idle connections now and the others when they become free.
  func drain() {
    isDraining = true
    replaceConnections()
  }

  /// Connections made so far serve their request and no other.
  func replaceConnections() {
    idle.removeAll(keepingCapacity: true)
    for connection in connections { connection.drain() }
  }

  private func connect() {
    if breaker.connections.enter(limit: cluster.configuration.limits.connections) {
      open()
    } else {
      stats.add(.connectionOverflow)
      // A worker without any connection could never serve the queue: it may always have one.
      guard connections.isEmpty else { return }
      breaker.connections.enterAlways()
      open()
    }
  }

  private func open() {
    stats.add(.connectionTotal)
    stats.add(.connectionHTTP1Total)
    endpointStats.add(.connectionTotal)
    switch Socket.connect(to: endpoint.address) {
    case .failure(let error):
      breaker.connections.leave()
      stats.add(.connectionFail)
      endpointStats.add(.connectionConnectFail)
      let isRemote = error.errno == 111 || error.errno == 113 || error.errno == 101
      failWaiting(
        isRemote ? .remoteConnectionFailure : .localConnectionFailure, ConnectFailure.detail(errno: error.errno))
    case .success(let descriptor):
      let connection = ClientConnection(
        loop: worker.loop, descriptor: descriptor, settings: cluster.configuration.connection,
        headerMaps: worker.headerMaps, owner: self)
      connection.listIndex = connections.count
      connection.identifier = worker.nextConnectionIdentifier()
      connections.append(connection)
      connecting += 1
      stats.add(.connectionActive)
      endpointStats.add(.connectionActive)
      do { try connection.start() } catch {
        connection.drain()
        failWaiting(.localConnectionFailure, "")
      }
    }
  }

  private func leaveQueue() {
    breaker.pendingRequests.leave()
    stats.subtract(.requestPendingActive)
  }

  private func failWaiting(_ reason: StreamResetReason, _ detail: StaticString) {
    let failed = waiting
    waiting.removeAll(keepingCapacity: true)
    for ticket in failed {
      leaveQueue()
      let client = ticket.client
      ticket.client = nil
      stats.add(.requestPendingFailureEject)
      client?.poolFailed(reason, detail)
    }
  }

  private func offer(_ connection: ClientConnection) {
    guard !waiting.isEmpty else {
      if isDraining { connection.drain() } else { idle.append(connection) }
      return
    }
    let ticket = waiting.removeFirst()
    leaveQueue()
    let client = ticket.client
    ticket.client = nil
    client?.poolReady(connection)
  }

  // MARK: ClientConnectionOwner

  func connectionEstablished(_ connection: ClientConnection) {
    connecting -= 1
    cluster.connectTime.record(worker.loop.now.since(connection.openedAt).rawValue / 1000)
    offer(connection)
  }

  func connectionFailed(_ connection: ClientConnection, _ reason: StreamResetReason, errno: Int32) {
    stats.add(.connectionFail)
    if reason == .connectionTimeout { stats.add(.connectionTimeout) }
    endpointStats.add(.connectionConnectFail)
    failWaiting(reason, ConnectFailure.detail(errno: errno))
  }

  func connectionIdle(_ connection: ClientConnection) { offer(connection) }

  func connectionClosed(_ connection: ClientConnection, _ reason: ClientConnection.CloseReason) {
    if connection.wasConnecting { connecting -= 1 }
    breaker.connections.leave()
    stats.subtract(.connectionActive)
    stats.add(.connectionDestroy)
    endpointStats.subtract(.connectionActive)
    switch reason {
    case .remote: stats.add(.connectionDestroyRemote)
    case .local: stats.add(.connectionDestroyLocal)
    case .idleTimeout:
      stats.add(.connectionDestroyLocal)
      stats.add(.connectionIdleTimeout)
    case .maximumRequests:
      stats.add(.connectionDestroyLocal)
      stats.add(.connectionMaximumRequests)
    case .protocolError:
      stats.add(.connectionDestroyLocal)
      stats.add(.connectionProtocolError)
    }
    if connection.wasBusy {
      stats.add(.connectionDestroyWithActiveRequest)
      stats.add(
        reason == .remote ? .connectionDestroyRemoteWithActiveRequest : .connectionDestroyLocalWithActiveRequest)
    }
    if let position = idle.lastIndex(where: { $0 === connection }) { idle.remove(at: position) }
    let last = connections.count - 1
    let index = connection.listIndex
    if index < last {
      connections[index] = connections[last]
      connections[index].listIndex = index
    }
    connections.removeLast()
    // The connection that was to serve the queue is gone; the queue needs another.
    if !waiting.isEmpty, connecting < waiting.count { connect() }
  }

  func connectionTransferred(received: Int, sent: Int) {
    if received > 0 { stats.add(.connectionReceivedBytes, Int64(received)) }
    if sent > 0 { stats.add(.connectionSentBytes, Int64(sent)) }
  }
}

/// Words for why `connect` failed, as response code details have them.
enum ConnectFailure {
  static func detail(errno: Int32) -> StaticString {
    switch errno {
    case 0: ""
    case 101: "connect_error:_Network_is_unreachable"
    case 104: "connect_error:_Connection_reset_by_peer"
    case 110: "connect_error:_Connection_timed_out"
    case 111: "connect_error:_Connection_refused"
    case 113: "connect_error:_No_route_to_host"
    case 24: "connect_error:_Too_many_open_files"
    case 99: "connect_error:_Cannot_assign_requested_address"
    default: "connect_error"
    }
  }
}
