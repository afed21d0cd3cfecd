import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// A request that waits for a connection, or has one.
protocol PoolClient: AnyObject {
  /// A connection is free for this request. Called at once from `ConnectionPool.acquire`, or later.
  func poolReady(_ connection: HTTP1ClientConnection)
  /// There will be none.
  func poolFailed(_ reason: StreamResetReason, _ detail: StaticString)
  /// There are as many pools as the cluster may have, and this is none of them: the endpoint is as good as not there.
  func poolUnavailable()
}

/// One worker's connections to one endpoint for requests of one priority: HTTP/1.1, one request at a time on each, the
/// most recently used first.
final class ConnectionPool: ClientConnectionOwner {
  /// A place in the queue for a connection.
  final class Ticket {
    fileprivate(set) var client: (any PoolClient)?
    private let pool: ConnectionPool

    fileprivate init(_ client: any PoolClient, _ pool: ConnectionPool) {
      self.client = client
      self.pool = pool
    }

    /// The client waits no longer.
    func giveUp() { pool.giveUp(self) }
  }

  /// Where new connections go.
  var endpoint: Endpoint
  /// Called when the last connection has gone and no request waits; once.
  var whenEmpty: (() -> Void)?
  private let worker: Worker
  private let cluster: ActiveCluster
  private let priority: RoutePriority
  private let stats: StatLane<ClusterStat>
  private let endpointStats: StatLane<EndpointStat>
  private let breaker: CircuitBreaker

  private var connections: [HTTP1ClientConnection] = []
  private var idle: [HTTP1ClientConnection] = []
  private var waiting: [Ticket] = []
  private var connecting = 0
  private var isDraining = false
  /// The limit of pools counts this one: it has connections, or requests that wait for one.
  private var isCounted = false
  /// Connections are made before there are requests for them.
  private let connectsAhead: Bool

  init(cluster: ActiveCluster, endpoint: Endpoint, priority: RoutePriority) {
    worker = cluster.worker
    self.cluster = cluster
    self.endpoint = endpoint
    self.priority = priority
    stats = cluster.stats
    endpointStats = endpoint.stats.lane(worker.index)
    breaker = cluster.breakers[priority]
    connectsAhead = cluster.configuration.pool.preconnectRatio > 1
  }

  private var limits: CircuitBreaker.Limits { cluster.limits[priority] }

  /// Gets a connection for `client`: an idle one at once, else a new one or the next that becomes free. Returns the
  /// ticket with which to give the wait up; nil if `client` has been called already.
  /// - Parameter fresh: do not use an idle connection, which might be as dead as the last one was.
  @inline(__always)
  func acquire(_ client: any PoolClient, fresh: Bool = false) -> Ticket? {
    if !fresh, let connection = idle.popLast() {
      client.poolReady(connection)
      if connectsAhead { connectAhead() }
      return nil
    }
    return wait(client)
  }

  @inline(never)
  private func wait(_ client: any PoolClient) -> Ticket? {
    if !isCounted {
      isCounted = breaker.pools.enter(limit: limits.pools)
      guard isCounted else {
        stats.add(.connectionPoolOverflow)
        client.poolUnavailable()
        noteIfEmpty()
        return nil
      }
    }
    guard breaker.pendingRequests.enter(limit: limits.pendingRequests) else {
      stats.add(.requestPendingOverflow)
      client.poolFailed(.overflow, "")
      noteIfEmpty()
      return nil
    }
    stats.add(.requestPendingTotal)
    stats.add(.requestPendingActive)
    endpointStats.add(.requestPendingActive)
    let ticket = Ticket(client, self)
    waiting.append(ticket)
    if connecting < waiting.count { connect() }
    if connectsAhead { connectAhead() }
    // A connection that could not even be started has emptied the queue.
    return ticket.client == nil ? nil : ticket
  }

  private func giveUp(_ ticket: Ticket) {
    guard ticket.client != nil else { return }
    ticket.client = nil
    waiting.removeAll { $0 === ticket }
    leaveQueue()
    stats.add(.requestCancelled)
    noteIfEmpty()
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
    if breaker.connections.enter(limit: limits.connections) {
      open()
    } else {
      stats.add(.connectionOverflow)
      // A worker without any connection could never serve the queue: it may always have one.
      guard connections.isEmpty else { return }
      breaker.connections.enterAlways()
      open()
    }
  }

  /// Makes connections until there are as many as the ratio asks for, or three are made at once (as in Envoy). Never the
  /// one above the limit that a request may have.
  private func connectAhead() {
    guard !isDraining else { return }
    let ratio = cluster.configuration.pool.preconnectRatio
    for _ in 0..<3 {
      let busy = connections.count - idle.count - connecting
      let wanted = Double(waiting.count + busy) * ratio
      guard Double(connections.count) < wanted, !connections.isEmpty,
        breaker.connections.current < limits.connections
      else { return }
      connect()
    }
  }

  /// If nothing is here any more, the limit of pools, and whoever keeps pools of passing things, forget this one.
  private func noteIfEmpty() {
    guard connections.isEmpty, waiting.isEmpty else { return }
    if isCounted {
      isCounted = false
      breaker.pools.leave()
    }
    guard let report = whenEmpty else { return }
    whenEmpty = nil
    report()
  }

  private func open() {
    stats.add(.connectionTotal)
    stats.add(.connectionHTTP1Total)
    endpointStats.add(.connectionTotal)
    let source = cluster.configuration.pool.source(for: endpoint.address)
    switch Socket.connect(to: endpoint.address, bindTo: source.address, options: source.options) {
    case .failure(let error):
      breaker.connections.leave()
      stats.add(.connectionFail)
      endpointStats.add(.connectionConnectFail)
      failWaiting(
        ConnectFailure.isRemote(errno: error.errno) ? .remoteConnectionFailure : .localConnectionFailure,
        ConnectFailure.detail(immediate: error.errno))
    case .success(let descriptor):
      let connection = HTTP1ClientConnection(
        loop: worker.loop, descriptor: descriptor, address: endpoint.address,
        settings: cluster.configuration.connection, headerMaps: worker.headerMaps, owner: self)
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
    endpointStats.subtract(.requestPendingActive)
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
    noteIfEmpty()
  }

  private func offer(_ connection: HTTP1ClientConnection) {
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

  func connectionEstablished(_ connection: HTTP1ClientConnection) {
    connecting -= 1
    cluster.connectTime.record(worker.loop.now.since(connection.openedAt).rawValue / 1000)
    offer(connection)
  }

  func connectionFailed(_ connection: HTTP1ClientConnection, _ reason: StreamResetReason, errno: Int32) {
    stats.add(.connectionFail)
    if reason == .connectionTimeout { stats.add(.connectionTimeout) }
    endpointStats.add(.connectionConnectFail)
    failWaiting(reason, ConnectFailure.detail(delayed: errno))
  }

  func connectionIdle(_ connection: HTTP1ClientConnection) { offer(connection) }

  func connectionClosed(_ connection: HTTP1ClientConnection, _ reason: HTTP1ClientConnection.CloseReason) {
    if connection.wasConnecting { connecting -= 1 }
    breaker.connections.leave()
    stats.subtract(.connectionActive)
    stats.add(.connectionDestroy)
    cluster.countLifetime(of: connection)
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
    case .maximumDuration:
      stats.add(.connectionDestroyLocal)
      stats.add(.connectionMaximumDuration)
    case .announced:
      stats.add(.connectionDestroyLocal)
      stats.add(.connectionCloseNotify)
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
    noteIfEmpty()
  }

  func connectionTransferred(received: Int, sent: Int) {
    if received > 0 { stats.add(.connectionReceivedBytes, Int64(received)) }
    if sent > 0 { stats.add(.connectionSentBytes, Int64(sent)) }
  }
}

/// Words for why `connect` failed, as response code details have them.
enum ConnectFailure {
  /// Whether it was the other end that did not want, or was not there: nobody listens (at a Unix socket's path: no such
  /// file, or its queue is full), or no way leads there.
  static func isRemote(errno: Int32) -> Bool {
    switch errno {
    case 111, 113, 101, 2, 11: true
    default: false
    }
  }

  /// The kernel refused at once.
  static func detail(immediate errno: Int32) -> StaticString {
    switch errno {
    case 0: ""
    case 2: "immediate_connect_error:_No_such_file_or_directory"
    case 11: "immediate_connect_error:_Resource_temporarily_unavailable"
    case 13: "immediate_connect_error:_Permission_denied"
    case 22: "immediate_connect_error:_Invalid_argument"
    case 24: "immediate_connect_error:_Too_many_open_files"
    case 99: "immediate_connect_error:_Cannot_assign_requested_address"
    case 101: "immediate_connect_error:_Network_is_unreachable"
    case 111: "immediate_connect_error:_Connection_refused"
    case 113: "immediate_connect_error:_No_route_to_host"
    default: "immediate_connect_error"
    }
  }

  /// The attempt was on its way.
  static func detail(delayed errno: Int32) -> StaticString {
    switch errno {
    case 0: ""
    case 101: "delayed_connect_error:_Network_is_unreachable"
    case 104: "delayed_connect_error:_Connection_reset_by_peer"
    case 110: "delayed_connect_error:_Connection_timed_out"
    case 111: "delayed_connect_error:_Connection_refused"
    case 113: "delayed_connect_error:_No_route_to_host"
    default: "delayed_connect_error"
    }
  }
}
