import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// A request that waits for a connection, or has one.
protocol PoolClient: AnyObject {
  /// A connection is free for this request. Called at once from `ConnectionPool.acquire`, or later.
  func poolReady(_ connection: any ClientConnection)
  /// There will be none.
  func poolFailed(_ reason: StreamResetReason, _ detail: StaticString, _ transport: TransportFailure?)
  /// There are as many pools as the cluster may have, and this is none of them: the endpoint is as good as not there.
  func poolUnavailable()
}

/// One worker's connections to one endpoint for requests of one kind (`PoolKey`): with HTTP/1.1 one request at a time on
/// each, the most recently used first; with HTTP/2 as many as a connection takes.
final class ConnectionPool: ClientConnectionOwner, ConnectAttemptOwner {
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
  /// The connection that a pool with a `PoolKey.connection` is for.
  var downstream: ConnectionInfo?
  /// Called when the last connection has gone and no request waits; once.
  var whenEmpty: (() -> Void)?
  private let worker: Worker
  private let cluster: ActiveCluster
  let key: PoolKey
  private let stats: StatLane<ClusterStat>
  private let endpointStats: StatLane<EndpointStat>
  private let breaker: CircuitBreaker

  private var connections: [any ClientConnection] = []
  /// Those that take a request now, the most recently used last.
  private var available: [any ClientConnection] = []
  private var waiting: [Ticket] = []
  private var attempts: [ConnectAttempt] = []
  /// Connections may take many requests at once.
  private let multiplexes: Bool
  /// The next connection is expected to, as the last one did.
  private var expectsMany: Bool
  private var isDraining = false
  /// The limit of pools counts this one: it has connections, or requests that wait for one.
  private var isCounted = false
  /// Connections are made before there are requests for them.
  private let connectsAhead: Bool

  init(cluster: ActiveCluster, endpoint: Endpoint, key: PoolKey) {
    worker = cluster.worker
    self.cluster = cluster
    self.endpoint = endpoint
    self.key = key
    multiplexes = key.codec == .http2 || key.codec == .negotiated
    expectsMany = multiplexes
    stats = cluster.stats
    endpointStats = endpoint.stats.lane(worker.index)
    breaker = cluster.breakers[key.priority]
    connectsAhead = cluster.configuration.pool.preconnectRatio > 1
  }

  private var limits: CircuitBreaker.Limits { cluster.limits[key.priority] }

  /// Gets a connection for `client`: an idle one at once, else a new one or the next that becomes free. Returns the
  /// ticket with which to give the wait up; nil if `client` has been called already.
  /// - Parameter fresh: do not use an idle connection, which might be as dead as the last one was.
  @inline(__always)
  func acquire(_ client: any PoolClient, fresh: Bool = false) -> Ticket? {
    if !fresh, !available.isEmpty {
      if multiplexes {
        guard beginShared(client) else { return wait(client) }
      } else {
        client.poolReady(available.removeLast())
      }
      if connectsAhead { connectAhead() }
      return nil
    }
    return wait(client)
  }

  @inline(never)
  private func beginShared(_ client: any PoolClient) -> Bool {
    while let connection = available.last {
      let capacity = connection.capacity
      // Taken out of the list before the request is begun: what the request does to the connection comes later.
      if capacity <= 1 { available.removeLast() }
      // An endpoint may take fewer at once than it did.
      if capacity == 0 { continue }
      client.poolReady(connection)
      return true
    }
    return false
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
      client.poolFailed(.overflow, "", nil)
      noteIfEmpty()
      return nil
    }
    stats.add(.requestPendingTotal)
    stats.add(.requestPendingActive)
    endpointStats.add(.requestPendingActive)
    let ticket = Ticket(client, self)
    waiting.append(ticket)
    if capacityToCome < waiting.count { connect() }
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

  /// A request waits, or has a connection.
  var isInUse: Bool { !waiting.isEmpty || !attempts.isEmpty || connections.count > available.count }

  /// Closes idle connections now and the others when they become free.
  func drain() {
    isDraining = true
    replaceConnections()
  }

  /// Connections made so far serve their requests and no other.
  func replaceConnections() {
    available.removeAll(keepingCapacity: true)
    // Closing takes a connection out of the list.
    for connection in Array(connections) { connection.drain() }
    for attempt in Array(attempts) {
      attempt.cancel()
      attemptEnded(attempt)
    }
  }

  /// Requests that the connections now being made will take.
  private var capacityToCome: Int {
    expectsMany ? attempts.count * cluster.configuration.connection.expectedStreams : attempts.count
  }

  /// The endpoint may have one more connection.
  private var endpointHasRoom: Bool {
    limits.connectionsPerEndpoint == .max
      || endpoint.stats.total(.connectionActive) < Int64(limits.connectionsPerEndpoint)
  }

  private func connect() {
    if let overload = worker.overload, overload.sheds(.newConnection) {
      // Whoever waits gets a connection that becomes free, if there is any.
      if connections.isEmpty, attempts.isEmpty { failWaiting(.overflow, "", counting: .requestCancelled) }
      return
    }
    if endpointHasRoom, breaker.connections.enter(limit: limits.connections) {
      open()
    } else {
      stats.add(.connectionOverflow)
      // A worker without any connection could never serve the queue: it may always have one.
      guard connections.isEmpty, attempts.isEmpty else { return }
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
      let made = connections.count + attempts.count
      let active =
        multiplexes ? connections.reduce(0) { $0 + $1.activeRequests } : connections.count - available.count
      let each = expectsMany ? cluster.configuration.connection.expectedStreams : 1
      let wanted = Double(waiting.count + active) * ratio
      guard Double(made * each) < wanted, made > 0,
        breaker.connections.current < limits.connections
      else { return }
      connect()
    }
  }

  /// If nothing is here any more, the limit of pools, and whoever keeps pools of passing things, forget this one.
  private func noteIfEmpty() {
    guard connections.isEmpty, attempts.isEmpty, waiting.isEmpty else { return }
    if isCounted {
      isCounted = false
      breaker.pools.leave()
    }
    guard let report = whenEmpty else { return }
    whenEmpty = nil
    report()
  }

  private func open() {
    let tls: ConnectAttempt.TLS?
    do { tls = try cluster.tls(for: endpoint, host: key.host, codec: key.codec) } catch {
      breaker.connections.leave()
      return failWaiting(.localConnectionFailure, error.detail)
    }
    stats.add(.connectionTotal)
    endpointStats.add(.connectionTotal)
    switch cluster.beginConnection(to: endpoint, tls, client: downstream, for: self) {
    case .failure(let error):
      breaker.connections.leave()
      stats.add(.connectionFail)
      endpointStats.add(.connectionConnectFail)
      failWaiting(
        ConnectFailureDetail.isRemote(errno: error.errno) ? .remoteConnectionFailure : .localConnectionFailure,
        ConnectFailureDetail.detail(immediate: error.errno))
    case .success(let attempt):
      stats.add(.connectionActive)
      endpointStats.add(.connectionActive)
      attempts.append(attempt)
      do { try attempt.start() } catch {
        attemptEnded(attempt)
        failWaiting(.localConnectionFailure, "")
      }
    }
  }

  /// An attempt has not become a connection.
  private func attemptEnded(_ attempt: ConnectAttempt) {
    attempts.removeAll { $0 === attempt }
    breaker.connections.leave()
    countEnd(openedAt: attempt.openedAt, requests: 0)
    stats.add(.connectionDestroyLocal)
    if !waiting.isEmpty, capacityToCome < waiting.count { connect() }
    noteIfEmpty()
  }

  private func countEnd(openedAt: MonotonicTime, requests: UInt32) {
    stats.subtract(.connectionActive)
    endpointStats.subtract(.connectionActive)
    stats.add(.connectionDestroy)
    cluster.countLifetime(openedAt: openedAt, requests: requests)
  }

  private func leaveQueue() {
    breaker.pendingRequests.leave()
    stats.subtract(.requestPendingActive)
    endpointStats.subtract(.requestPendingActive)
  }

  private func failWaiting(
    _ reason: StreamResetReason, _ detail: StaticString, _ transport: TransportFailure? = nil,
    counting stat: ClusterStat = .requestPendingFailureEject
  ) {
    let failed = waiting
    waiting.removeAll(keepingCapacity: true)
    for ticket in failed {
      leaveQueue()
      let client = ticket.client
      ticket.client = nil
      stats.add(stat)
      client?.poolFailed(reason, detail, transport)
    }
    noteIfEmpty()
  }

  /// Gives what a connection can take to those who wait; what is left is for those who come.
  private func offer(_ connection: any ClientConnection) {
    if multiplexes { return share(connection) }
    guard waiting.isEmpty else { return serve(connection) }
    if isDraining { connection.drain() } else { available.append(connection) }
  }

  private func share(_ connection: any ClientConnection) {
    available.removeAll { $0 === connection }
    while !waiting.isEmpty, connection.capacity > 0 { serve(connection) }
    guard !connection.isClosed, connection.capacity > 0 else { return }
    if isDraining { connection.drain() } else { available.append(connection) }
  }

  /// Gives a connection to the first who waits.
  private func serve(_ connection: any ClientConnection) {
    let ticket = waiting.removeFirst()
    leaveQueue()
    let client = ticket.client
    ticket.client = nil
    client?.poolReady(connection)
  }

  // MARK: ConnectAttemptOwner

  func connectSucceeded(_ attempt: ConnectAttempt, _ transport: consuming Transport) {
    attempts.removeAll { $0 === attempt }
    let now = worker.loop.now
    let details = transport.tls?.details(worker.loop)
    if let details { cluster.tls?.stats.count(details, lane: worker.index) }
    cluster.connectTime.record(now.since(attempt.openedAt).rawValue / 1000)
    let info = UpstreamConnectionInfo(
      address: attempt.address, localAddress: attempt.address.isUnix ? nil : transport.localAddress,
      identifier: worker.nextConnectionIdentifier(), openedAt: attempt.openedAt, establishedAt: now, tls: details)
    let connection = makeConnection(transport, info)
    connection.listIndex = connections.count
    connections.append(connection)
    do { try connection.start() } catch {
      connection.drain()
      return failWaiting(.localConnectionFailure, "")
    }
    offer(connection)
  }

  private func makeConnection(_ transport: consuming Transport, _ info: UpstreamConnectionInfo) -> any ClientConnection
  {
    if key.codec == .tcp {
      return TCPClientConnection(
        loop: worker.loop, transport: transport, info: info, settings: cluster.configuration.connection,
        headerMaps: worker.headerMaps, owner: self)
    }
    let isHTTP2 = key.codec == .http2 || key.codec == .negotiated && info.tls?.applicationProtocol == "h2"
    expectsMany = isHTTP2
    if isHTTP2 {
      stats.add(.connectionHTTP2Total)
      return HTTP2ClientConnection(
        loop: worker.loop, transport: transport, info: info, settings: cluster.configuration.connection,
        headerMaps: worker.headerMaps, owner: self)
    }
    stats.add(.connectionHTTP1Total)
    return HTTP1ClientConnection(
      loop: worker.loop, transport: transport, info: info, settings: cluster.configuration.connection,
      headerMaps: worker.headerMaps, owner: self)
  }

  func connectFailed(_ attempt: ConnectAttempt, _ failure: ConnectFailure) {
    stats.add(.connectionFail)
    if failure.kind == .timeout { stats.add(.connectionTimeout) }
    endpointStats.add(.connectionConnectFail)
    if let tls = failure.tls { cluster.tls?.stats.count(tls, lane: worker.index) }
    failWaiting(
      failure.reason, ConnectFailureDetail.detail(delayed: failure.errno), failure.tls.flatMap { TransportFailure($0) })
    attemptEnded(attempt)
  }

  // MARK: ClientConnectionOwner

  func connectionHasRoom(_ connection: any ClientConnection) { offer(connection) }

  func connectionRetires(_ connection: any ClientConnection) {
    if let position = available.lastIndex(where: { $0 === connection }) { available.remove(at: position) }
  }

  func connectionClosed(_ connection: any ClientConnection, _ reason: ClientCloseReason) {
    breaker.connections.leave()
    countEnd(openedAt: connection.info.openedAt, requests: connection.requestCount)
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
    connectionRetires(connection)
    let last = connections.count - 1
    let index = connection.listIndex
    if index < last {
      connections[index] = connections[last]
      connections[index].listIndex = index
    }
    connections.removeLast()
    // The connection that was to serve the queue is gone; the queue needs another.
    if !waiting.isEmpty, capacityToCome < waiting.count { connect() }
    noteIfEmpty()
  }

  func count(_ event: HTTP2Event, _ amount: Int) { cluster.http2.add(HTTP2Stat(event), Int64(amount)) }

  func requestReset(_ reason: StreamResetReason) {
    switch reason {
    case .connectionTermination: stats.add(.requestPendingFailureEject)
    case .localReset, .protocolError: stats.add(.requestSentReset)
    case .remoteReset: stats.add(.requestReceivedReset)
    default: break
    }
  }

  func streamsChanged(by change: Int) { cluster.http2.add(.streamsActive, Int64(change)) }

  func connectionTransferred(received: Int, sent: Int) {
    if received > 0 { stats.add(.connectionReceivedBytes, Int64(received)) }
    if sent > 0 { stats.add(.connectionSentBytes, Int64(sent)) }
  }
}

extension ConnectFailure {
  /// What it means to requests that wait.
  var reason: StreamResetReason {
    switch kind {
    case .remote: .remoteConnectionFailure
    case .local: .localConnectionFailure
    case .timeout: .connectionTimeout
    }
  }
}
