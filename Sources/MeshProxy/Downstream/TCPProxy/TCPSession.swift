import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// One client's connection to an endpoint of a cluster: bytes in both directions, each of which ends for itself. Sets UF,
/// UH, UO, URX, NC, UR, DT, OM.
///
/// Nothing is read from the client before there is a connection to the upstream. A connection that is reset on one side is
/// reset on the other, so that nobody takes what came for all there was. Confined to its worker.
final class TCPSession: IOHandler, TimerTarget {
  /// Why a session ended.
  enum End {
    /// Both sides have sent all they had.
    case complete
    /// One side broke off.
    case clientReset, upstreamReset
    case idle, maximumDuration
    /// There was no connection to the upstream.
    case notConnected(StaticString)
    /// The proxy, or the listener, ends.
    case drained
    /// There is not enough of something to go on.
    case overload
  }

  private enum Clock: UInt8 { case idle, duration, log }

  /// Where the owner keeps this session in its list.
  var listIndex = 0
  let proxy: TCPProxy
  var info = StreamInfo()
  var openedAt: MonotonicTime { info.startedAt }
  private let chain: TCPFilterChain
  private var downstream: Transport
  private var upstream = Transport(descriptor: -1, isWritable: false)
  /// Bytes of the client that somebody else has read.
  private var early: ByteQueue
  /// From the client to the upstream, and back.
  private(set) var request = TCPDirection()
  private(set) var response = TCPDirection()
  private var attempt: ConnectAttempt?
  /// The upstream's side of the session, as the loop sees it.
  private var upstreamSide: UpstreamSide?
  /// The endpoint's: one of several, if that of the log is an aggregate cluster.
  private var cluster: ActiveCluster?
  private var lease: TCPUpstreamLease?
  private let idleTimer: Timer
  private var durationTimer: Timer?
  private var logTimer: Timer?
  private var movedAt: MonotonicTime
  private var isMoveScheduled = false
  private var isOver = false
  /// The client had sent its last byte when the upstream did.
  private var upstreamEndedLast = false
  /// What has been reported of it, where somebody does.
  var report: ConnectionReporter.Report?
  /// The last endpoint took no connection within `connect_timeout`.
  private(set) var connectTimedOut = false
  /// How the session ended; nil before.
  private(set) var end: End?

  private var worker: Worker { proxy.worker }
  private var loop: EventLoop { proxy.worker.loop }

  init(
    _ chain: TCPFilterChain, _ proxy: TCPProxy, _ transport: consuming Transport, _ connection: ConnectionInfo,
    initial: consuming ByteQueue
  ) {
    self.chain = chain
    self.proxy = proxy
    downstream = transport
    early = initial
    let loop = proxy.worker.loop
    idleTimer = Timer(loop, tag: Clock.idle.rawValue)
    movedAt = loop.now
    info.startedAt = loop.now
    info.startedAtWallClock = loop.wallClock
    info.connection = connection
    if let findings = connection.findings, !findings.metadata.isEmpty { info.metadata = findings.metadata }
  }

  /// Call once, after the owner has stored this.
  func start() {
    idleTimer.aim(at: self)
    do { try loop.take(over: downstream.descriptor, self) } catch { return close(.clientReset) }
    if let duration = proxy.configuration.maximumDuration {
      durationTimer = Timer(loop, self, tag: Clock.duration.rawValue)
      durationTimer?.arm(after: duration)
    }
    if proxy.hasLogs, let interval = proxy.configuration.logging.interval {
      logTimer = Timer(loop, self, tag: Clock.log.rawValue)
      logTimer?.arm(after: interval)
    }
    guard let cluster = proxy.cluster() else {
      proxy.stats.add(.noRoute)
      info.flags.insert(.noClusterFound)
      return close(.notConnected("tcp_initializion_failure:3"))
    }
    if let overload = worker.overload, overload.sheds(.tcpUpstreamConnect) { return shed() }
    info.cluster = cluster
    connect(cluster)
  }

  /// The client has said something, and is not to be heard.
  private var shedsData: Bool {
    guard let overload = worker.overload, downstream.isReadable || !early.isEmpty else { return false }
    return overload.sheds(.tcpData)
  }

  private func shed() {
    proxy.stats.add(.overloadClose)
    info.flags.insert(.overloadManager)
    // What nobody has read would make a reset of the end.
    if downstream.isReadable { _ = downstream.receive(loop.receiveBuffer, EventLoop.receiveBufferSize) }
    close(.overload)
  }

  // MARK: Connecting

  private func connect(_ named: ActiveCluster) {
    let choice = EndpointChoice(hash: hash(for: named), connection: info.connection)
    guard let endpoint = named.pickEndpoint(choice) else {
      named.stats.add(.connectionNoneHealthy)
      info.flags.insert(.noHealthyUpstream)
      return close(.notConnected("tcp_initializion_failure:1"))
    }
    let cluster = endpoint.cluster
    self.cluster = cluster
    guard let lease = TCPUpstreamLease(cluster, endpoint) else {
      info.flags.insert(.upstreamOverflow)
      return close(.notConnected("tcp_initializion_failure:2"))
    }
    self.lease = lease
    info.beginAttempt(endpoint.endpoint, loop.now)
    let tls: ConnectAttempt.TLS?
    do { tls = try cluster.tls(for: endpoint.endpoint, host: "", codec: .tcp) } catch {
      return connectFailed(error.detail, timedOut: false)
    }
    switch cluster.beginConnection(to: endpoint.endpoint, tls, client: info.connection, for: self) {
    case .failure(let error):
      connectFailed(ConnectFailureDetail.detail(immediate: error.errno), timedOut: false)
    case .success(let attempt):
      self.attempt = attempt
      do { try attempt.start() } catch { connectFailed("", timedOut: false) }
    }
  }

  /// The hash of the connection, where endpoints are chosen by it; nil: there is none.
  private func hash(for cluster: ActiveCluster) -> UInt64? {
    guard proxy.configuration.hashesAddress, cluster.usesHash, let address = info.connection?.remoteAddress,
      !address.isUnix
    else { return nil }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: IPAddress.maximumText) { text in
      text.baseAddress.map { XXHash64.hash(Bytes(start: $0, count: address.ip.writeText(into: $0))) }
    }
  }

  private func connectFailed(_ detail: StaticString, _ tls: TLSFailure? = nil, timedOut: Bool) {
    attempt = nil
    connectTimedOut = timedOut
    info.upstreamFailure = detail
    info.transportFailure = tls.flatMap { TransportFailure($0) }
    if let tls { cluster?.tls?.stats.count(tls, lane: worker.index) }
    lease?.connectFailed(timedOut: timedOut)
    lease = nil
    guard let cluster = info.cluster else { return close(.notConnected("")) }
    // The cluster may have gone meanwhile, and another one of its name have come; the next connection finds that one.
    guard info.attempts < proxy.configuration.maximumAttempts, !cluster.isGone else {
      cluster.stats.add(.connectAttemptsExceeded)
      info.flags.formUnion([.upstreamConnectionFailure, .connectAttemptsExceeded])
      return close(.notConnected("tcp_initializion_failure:0"))
    }
    connect(cluster)
  }

  private func connected(_ transport: consuming Transport, _ attempt: ConnectAttempt) {
    self.attempt = nil
    let now = loop.now
    upstream = transport
    let details = upstream.tls?.details(loop)
    if let details { cluster?.tls?.stats.count(details, lane: worker.index) }
    info.beginExchange(
      UpstreamConnectionInfo(
        address: attempt.address, localAddress: attempt.address.isUnix ? nil : upstream.localAddress,
        identifier: worker.nextConnectionIdentifier(), openedAt: attempt.openedAt, establishedAt: now, tls: details),
      now)
    lease?.connected()
    if info.cluster?.configuration.closesConnectionsOfUnhealthy == true {
      lease?.whenUnhealthy = { [weak self] in self?.close(.drained) }
    }
    let side = UpstreamSide(self)
    upstreamSide = side
    do { try loop.take(over: upstream.descriptor, side) } catch { return close(.upstreamReset) }
    proxy.reporter?.didBegin(self)
    if proxy.configuration.logging.logsNewRequests { logNow(.tcpUpstreamConnected) }
    if shedsData { return shed() }
    if !early.isEmpty {
      request.begin(with: early.bytes, to: &upstream, loop.bufferPool)
      count(sent: UInt64(early.count), received: 0)
      early.clear(loop.bufferPool)
    }
    noteMovement()
    move()
  }

  // MARK: Moving bytes

  /// The client's connection.
  func ready(_ events: IOEvents) {
    guard !isOver else { return }
    downstream.note(events)
    if upstream.isOpen { return shedsData ? shed() : move() }
    // Nobody reads yet; a client that is gone for good need not be waited for.
    if !events.isDisjoint(with: [.error, .hangup]) { close(.clientReset) }
  }

  /// The upstream's connection.
  private final class UpstreamSide: IOHandler {
    private unowned let session: TCPSession

    init(_ session: TCPSession) { self.session = session }

    func ready(_ events: IOEvents) {
      guard !session.isOver else { return }
      session.upstream.note(events)
      session.move()
    }
  }

  private func move() {
    let before = request.bytes &+ response.bytes
    let limit = proxy.configuration.bufferLimit
    let wasBlocked = (request.isBlocked, response.isBlocked)
    let sent = request.bytes
    let received = response.bytes
    let hadEnded = response.hasEnded
    let forth = request.move(from: &downstream, to: &upstream, worker, limit: limit)
    let back = response.move(from: &upstream, to: &downstream, worker, limit: limit)
    if request.bytes &+ response.bytes != before {
      count(sent: request.bytes &- sent, received: response.bytes &- received)
      noteMovement()
    }
    if response.hasEnded, !hadEnded { upstreamEndedLast = request.hasEnded }
    if wasBlocked != (request.isBlocked, response.isBlocked) { countFlowControl(wasBlocked) }
    switch (forth, back) {
    case (.sourceBroken, _), (_, .destinationBroken): return close(.clientReset)
    case (_, .sourceBroken): return close(.upstreamReset)
    case (.destinationBroken, _):
      // The upstream takes no more. What it has sent before is still the client's.
      if response.hasEnded || !upstream.isReadable { return close(.upstreamReset) }
      request.abandon()
    default: break
    }
    if request.isComplete, response.isComplete { return close(.complete) }
    if case .again = forth { moveLater() } else if case .again = back { moveLater() }
  }

  private func moveLater() {
    guard !isMoveScheduled else { return }
    isMoveScheduled = true
    loop.defer { [self] in
      isMoveScheduled = false
      if !isOver { move() }
    }
  }

  private func noteMovement() {
    movedAt = loop.now
    if let idle = proxy.configuration.idleTimeout { idleTimer.arm(after: idle) }
  }

  private func count(sent: UInt64, received: UInt64) {
    guard let cluster else { return }
    if sent > 0 {
      proxy.stats.add(.receivedBytes, Int64(sent))
      cluster.stats.add(.connectionSentBytes, Int64(sent))
    }
    if received > 0 {
      proxy.stats.add(.sentBytes, Int64(received))
      cluster.stats.add(.connectionReceivedBytes, Int64(received))
    }
  }

  @inline(never)
  private func countFlowControl(_ before: (request: Bool, response: Bool)) {
    if request.isBlocked != before.request { proxy.stats.add(request.isBlocked ? .paused : .resumed) }
    if response.isBlocked != before.response {
      cluster?.stats.add(response.isBlocked ? .flowControlPaused : .flowControlResumed)
    }
  }

  // MARK: Time

  func timerFired(_ tag: UInt8) {
    switch Clock(rawValue: tag) {
    case .idle:
      proxy.stats.add(.idleTimeout)
      close(.idle)
    case .duration:
      proxy.stats.add(.maximumDuration)
      info.flags.insert(.durationTimeout)
      close(.maximumDuration)
    case .log:
      logNow(.tcpPeriodic)
      if let interval = proxy.configuration.logging.interval { logTimer?.arm(after: interval) }
    case nil: break
    }
  }

  private func logNow(_ occasion: AccessLogType) {
    noteBytes()
    info.loggedAt = loop.now
    proxy.log(self, occasion)
    info.loggedAt = .never
  }

  private func noteBytes() {
    info.bytesReceived = request.bytes
    info.bytesSent = response.bytes
    info.upstreamWire.received = response.bytes
    info.upstreamWire.sent = request.bytes
  }

  // MARK: The end

  /// Ends the session if nothing has moved for so long, else when that is so.
  func close(ifIdleFor patience: Nanoseconds) {
    guard !isOver else { return }
    let idle = loop.now.since(movedAt)
    if idle >= patience { return close(.drained) }
    worker.after(Nanoseconds(rawValue: patience.rawValue - idle.rawValue)) { [weak self] in
      self?.close(ifIdleFor: patience)
    }
  }

  /// The kernel's estimate of the round trip to the client.
  var roundTripTime: Nanoseconds? { downstream.isOpen ? Socket.roundTripTime(downstream.descriptor) : nil }

  /// Ends the session now.
  func close(_ reason: End) {
    guard !isOver else { return }
    isOver = true
    end = reason
    if let attempt {
      self.attempt = nil
      attempt.cancel()
      lease?.cancelled()
      lease = nil
    }
    var resets = false
    var isRemote = false
    switch reason {
    case .clientReset: resets = true
    case .upstreamReset:
      info.flags.insert(.upstreamRemoteReset)
      resets = true
      isRemote = true
    // Who ends last closes the connection.
    case .complete: isRemote = upstreamEndedLast
    default: break
    }
    idleTimer.disarm()
    durationTimer = nil
    logTimer = nil
    early.clear(loop.bufferPool)
    request.end(worker)
    response.end(worker)
    upstream.close(loop, reset: resets)
    downstream.close(loop, reset: resets)
    upstreamSide = nil
    lease?.ended(isRemote: isRemote)
    lease = nil
    noteBytes()
    info.endedAt = loop.now
    proxy.reporter?.didEnd(self)
    chain.sessionEnded(self)
  }
}

extension TCPSession: ConnectAttemptOwner {
  func connectSucceeded(_ attempt: ConnectAttempt, _ transport: consuming Transport) { connected(transport, attempt) }

  func connectFailed(_ attempt: ConnectAttempt, _ failure: ConnectFailure) {
    connectFailed(
      ConnectFailureDetail.detail(delayed: failure.errno), failure.tls, timedOut: failure.kind == .timeout)
  }
}
