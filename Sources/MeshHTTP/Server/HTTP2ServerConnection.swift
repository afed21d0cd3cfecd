import MeshIO
import MeshPrimitives

/// One HTTP/2 connection from a client (RFC 9113): its socket and its clocks. The streams are `HTTP2ServerStream`s, the
/// protocol is `HTTP2Session`'s.
public final class HTTP2ServerConnection: ServerConnection, IOHandler, Flushable, TimerTarget {
  enum Phase: UInt8 {
    case open
    case ending  // what is framed goes out, then our direction ends
    case lingering  // our side is closed; the peer's last bytes are thrown away until it closes too
    case closed
  }
  enum Drain: UInt8 { case none, announced, final }

  public let loop: EventLoop
  public private(set) var settings: ServerConnectionSettings
  public let info: ConnectionInfo
  public var listIndex = 0
  public let openedAt: MonotonicTime
  public private(set) var requestCount: UInt32 = 0
  public private(set) var hadRequest = false

  /// Kept alive: it lets go of this when it hears `connectionClosed`.
  let handler: any ServerConnectionHandler
  let headerMaps: HeaderMapPool
  let session: HTTP2Session
  private var transport: Transport
  /// What had been read before this took over.
  private var initial: ByteQueue
  private let timer: Timer
  private var phase = Phase.open
  private var draining = Drain.none
  private var isFlushScheduled = false
  private var isReading = false
  fileprivate var freeStreams: [HTTP2ServerStream] = []
  private var closeReason = ServerCloseReason.remote

  // MARK: Clocks

  /// When the last stream ended, while there is none.
  private var idleSince: MonotonicTime
  /// When the connection that drains says its last word, or lingers no more.
  private var drainDeadline = MonotonicTime.never
  /// When the head that is coming began.
  private var headSince = MonotonicTime.never
  /// When the kernel last took a byte, while some wait.
  private var flushedAt: MonotonicTime
  private var watchesOutput = false
  private var isOld = false
  var pings: HTTP2PingClock

  /// Bytes that wait to be framed, as last told.
  private var reportedWaiting = 0

  /// Bytes have been looked at, as far as somebody wants to know.
  private var hasDispatched = false

  // MARK: Resets

  private var endedStreams: UInt64 = 0
  private var prematureResets: UInt64 = 0

  /// - Parameters:
  ///   - transport: an established connection; from `start` on its events come here.
  ///   - initial: what has been read from it already.
  public init(
    loop: EventLoop, transport: consuming Transport, initial: consuming ByteQueue = ByteQueue(),
    settings: ServerConnectionSettings, headerMaps: HeaderMapPool, handler: any ServerConnectionHandler,
    info: ConnectionInfo
  ) {
    session = HTTP2Session(
      isServer: true, options: settings.http2, limits: settings.limits, watermark: settings.highWatermark,
      pool: loop.bufferPool, headerMaps: headerMaps)
    self.loop = loop
    self.settings = settings
    self.headerMaps = headerMaps
    self.handler = handler
    self.info = info
    self.transport = transport
    self.initial = initial
    timer = Timer(loop)
    openedAt = loop.now
    idleSince = loop.now
    flushedAt = loop.now
    pings = HTTP2PingClock(settings.http2.keepAlive, seed: info.identifier, now: loop.now)
  }

  public func start() throws(SystemError) {
    if !initial.isEmpty { handler.connectionTransferred(received: initial.count, sent: 0) }
    try begin()
    var bytes = ByteQueue()
    swap(&bytes, &initial)
    if !bytes.isEmpty { receive(bytes.bytes) }
    bytes.clear(loop.bufferPool)
  }

  /// As `start`; `bytes`, which have been counted, came before this took over.
  func start(with bytes: Bytes) throws(SystemError) {
    try begin()
    receive(bytes)
  }

  private func begin() throws(SystemError) {
    timer.aim(at: self)
    session.owner = self
    try loop.take(over: transport.descriptor, self)
    session.start()
    rearm()
    scheduleFlush()
  }

  public var isClosed: Bool { phase == .closed }
  public var protocolVersion: HTTPVersion { .http2 }
  public var isIdle: Bool { session.streams.isEmpty && transport.isFlushed && headSince == .never }
  var roundTripTime: Nanoseconds? { Socket.roundTripTime(transport.descriptor) }

  // MARK: Events

  public func ready(_ events: IOEvents) {
    guard phase != .closed else { return }
    transport.note(events)
    if transport.isWritable { writeOut() }
    if phase != .closed, transport.isReadable { read() }
  }

  public func flush() {
    isFlushScheduled = false
    guard phase != .closed else { return }
    if phase == .open { session.resumeStreams() }
    writeOut()
    if phase != .closed, transport.isReadable { read() }
  }

  func scheduleFlush() {
    guard !isFlushScheduled else { return }
    isFlushScheduled = true
    // Its streams are answered by several upstream connections: one send for what one batch of events brings.
    loop.flushAfterBatch(self)
  }

  /// Reads at the top of an event only: the receive buffer is shared by the whole loop.
  private func read() {
    guard !isReading else { return }
    isReading = true
    defer { isReading = false }
    var turns = 0
    while phase != .closed, transport.isReadable {
      // A fast sender does not keep the loop from the others: the rest comes after them.
      turns += 1
      if turns > HTTP1ServerConnection.readsPerTurn { return loop.defer { [self] in flush() } }
      let count = transport.receive(loop.receiveBuffer, EventLoop.receiveBufferSize)
      guard count > 0 else {
        if count == Socket.wouldBlock { return }
        return close(.remote)
      }
      handler.connectionTransferred(received: count, sent: 0)
      if phase == .open { receive(Bytes(start: loop.receiveBuffer, count: count)) }
      // What one turn's input makes us say does not have to wait for its end.
      if session.framesWaiting >= Self.framesPerSend, phase != .closed { writeOut() }
    }
  }

  private static let framesPerSend = 1000
  static let bytesPerSend = EventLoop.receiveBufferSize

  private func receive(_ bytes: Bytes) {
    if settings.asksBeforeDispatch, !mayDispatch() { return }
    pings.heard(loop.now)
    if !session.receive(bytes) {
      if phase == .open { end() }
      return
    }
    // A head has begun and is not complete.
    if headSince != .never { rearm() }
    if !isFlushScheduled, session.wantsWrite { scheduleFlush() }
  }

  @inline(never)
  private func mayDispatch() -> Bool {
    let isFirst = !hasDispatched
    hasDispatched = true
    // It has been told already.
    guard isFirst || draining == .none else { return true }
    switch handler.mayDispatch(on: self, isFirst: isFirst) {
    case .granted: return true
    case .goAway:
      drain(idleFor: nil)
      return true
    case .close:
      closeReason = .local
      close(.local)
    case .abort, .goAwayAndClose:
      closeReason = .local
      session.goAway()
      end()
    }
    return false
  }

  private func writeOut() {
    var turns = 0
    while phase != .closed {
      if !transport.isFlushed {
        let waiting = transport.output.count
        let sound = transport.flush(loop.bufferPool)
        noteSent(waiting - transport.output.count)
        guard sound else { return close(.remote) }
        guard transport.isFlushed else { return waitForRoom() }
      }
      session.pull(upTo: Self.bytesPerSend)
      // GOAWAY has gone out for an error, or both sides have said it and nothing is left to do.
      if phase == .open, !session.wantsRead { end() }
      guard phase != .closed, !session.output.isEmpty else {
        session.framesWaiting = 0
        break
      }
      let bytes = session.output.bytes
      let sound = transport.send(bytes, loop.bufferPool)
      noteSent(bytes.count - transport.output.count)
      session.output.clear(loop.bufferPool)
      guard sound else { return close(.remote) }
      turns += 1
      if turns >= HTTP1ServerConnection.readsPerTurn {
        loop.defer { [self] in flush() }
        return
      }
    }
    notePending()
    if phase == .ending, transport.isFlushed { endConnection() }
  }

  private func notePending() {
    let waiting = session.waitingOutput
    guard waiting != reportedWaiting else { return }
    handler.count(.pendingBytes, waiting - reportedWaiting)
    reportedWaiting = waiting
  }

  private func noteSent(_ count: Int) {
    guard count > 0 else { return }
    handler.connectionTransferred(received: 0, sent: count)
    flushedAt = loop.now
  }

  /// The kernel takes no more: for a bounded time only.
  private func waitForRoom() {
    notePending()
    session.outputBlocked()
    if session.failure != nil, phase == .open { return end() }
    if settings.flushTimeout != nil { rearm() }
  }

  // MARK: Clocks

  /// A stream's last bytes wait for the client's window.
  func watchOutput() {
    guard !watchesOutput, settings.flushTimeout != nil else { return }
    watchesOutput = true
    rearm()
  }

  private func rearm() {
    var deadline = drainDeadline
    if phase == .open {
      if session.streams.isEmpty, let limit = settings.idleTimeout { deadline = min(deadline, idleSince + limit) }
      if draining == .none, let limit = settings.maximumDuration { deadline = min(deadline, openedAt + limit) }
      if headSince != .never, let limit = settings.headersTimeout { deadline = min(deadline, headSince + limit) }
      deadline = min(deadline, pings.deadline)
    }
    if let limit = settings.flushTimeout {
      if !transport.isFlushed { deadline = min(deadline, flushedAt + limit) }
      for stream in watchedStreams { deadline = min(deadline, stream.waitsSince + limit) }
    }
    timer.arm(at: deadline)
  }

  private var watchedStreams: [HTTP2ServerStream] {
    guard watchesOutput else { return [] }
    return session.streams.compactMap { $0 as? HTTP2ServerStream }.filter { $0.waitsSince != .never }
  }

  public func timerFired(_ tag: UInt8) {
    let now = loop.now
    if let limit = settings.flushTimeout, phase != .lingering {
      if !transport.isFlushed, now >= flushedAt + limit { return close(.local) }
      for stream in watchedStreams where now >= stream.waitsSince + limit { session.reset(stream, .cancel) }
      if watchedStreams.isEmpty { watchesOutput = false }
    }
    switch phase {
    case .closed: return
    case .lingering, .ending: if now >= drainDeadline { return close(closeReason) }
    case .open:
      if now >= drainDeadline { sayLast() }
      if session.streams.isEmpty, let limit = settings.idleTimeout, now >= idleSince + limit {
        closeReason = .idleTimeout
        return end()
      }
      if draining == .none, let limit = settings.maximumDuration, now >= openedAt + limit {
        handler.reached(.duration)
        drain(idleFor: nil)
      }
      if headSince != .never, let limit = settings.headersTimeout, now >= headSince + limit { headTimedOut() }
      checkPings(now)
    }
    if phase != .closed { rearm() }
  }

  private func headTimedOut() {
    headSince = .never
    guard let stream = session.blockStream as? HTTP2ServerStream, !stream.isActive else { return }
    handler.headersTimedOut(stream, info, headerMaps.take())
  }

  private func checkPings(_ now: MonotonicTime) {
    switch pings.check(now) {
    case .none: break
    case .send: session.ping()
    case .dead:
      handler.count(.keepAliveTimeout, 1)
      close(.local)
    }
  }

  public func take(timeoutsOf settings: ServerConnectionSettings) {
    guard phase != .closed else { return }
    self.settings.take(timeoutsOf: settings)
    rearm()
    forEachReceiver { $0.timeoutsChanged() }
  }

  public func forEachReceiver(_ body: (any RequestReceiver) -> Void) {
    for stream in session.streams { if let receiver = (stream as? HTTP2ServerStream)?.receiver { body(receiver) } }
  }

  // MARK: The end

  public func drain(idleFor patience: Nanoseconds?) {
    guard phase == .open else { return }
    if draining == .none {
      draining = .announced
      session.announceShutdown()
    }
    guard draining == .announced else { return }
    drainDeadline = min(drainDeadline, loop.now + (patience ?? settings.drainTimeout))
    rearm()
  }

  /// The time for requests that were on their way is over.
  private func sayLast() {
    drainDeadline = .never
    guard draining == .announced else { return }
    draining = .final
    session.goAway()
    if session.streams.isEmpty { end() }
  }

  /// No frame of the peer counts any more: ours go out, and our direction ends.
  private func end() {
    guard phase == .open else { return }
    if closeReason == .remote { closeReason = session.isPeerAtFault ? .protocolError : .local }
    hadRequest = !session.streams.isEmpty
    phase = .ending
    session.finish()
    drainDeadline = loop.now + (settings.delayedCloseTimeout ?? .zero)
    rearm()
    scheduleFlush()
  }

  /// Everything is with the kernel. If the peer may still be sending, closing now could make its kernel throw our last
  /// frames away: end our direction and wait for the other's end, for a bounded time.
  private func endConnection() {
    guard !transport.peerClosed, let limit = settings.delayedCloseTimeout else { return close(closeReason) }
    transport.shutdownWrite()
    phase = .lingering
    drainDeadline = loop.now + limit
    rearm()
    if transport.isReadable { scheduleFlush() }
  }

  public func close(_ reason: ServerCloseReason, reset: Bool) {
    guard phase != .closed else { return }
    if phase == .open {
      closeReason = reason
      hadRequest = !session.streams.isEmpty
    }
    phase = .closed
    timer.disarm()
    transport.close(loop, reset: reset)
    session.endAll()
    notePending()
    session.output.clear(loop.bufferPool)
    freeStreams.removeAll()
    handler.connectionClosed(self, closeReason == .remote ? reason : closeReason)
  }

  // MARK: Requests

  func take(_ headers: HeaderMap, _ start: RequestStart, _ stream: HTTP2ServerStream) {
    // What came behind the bytes for which the connection ends is not begun.
    guard phase == .open, !session.failedInDelivery else {
      headerMaps.recycle(headers)
      return session.reset(stream, .refusedStream)
    }
    if start.tunnel == .upgrade, !settings.http2.allowsExtendedConnect {
      return stream.refuse(headers, .unknownPseudoHeader)
    }
    if start.tunnel == .upgrade { headers.remove(.protocol) }
    if let error = checkUnderscores(headers) { return stream.refuse(headers, error) }
    requestCount &+= 1
    if settings.maximumRequests > 0, requestCount >= settings.maximumRequests, draining == .none {
      handler.reached(.requests)
      drain(idleFor: nil)
    }
    handler.openStream(stream, info, headers, start)
  }

  /// Removes fields whose names have an underscore, or says that the message is refused for it.
  func checkUnderscores(_ fields: HeaderMap) -> HTTP2MessageError? {
    guard settings.underscores != .keep, fields.hasUnderscores else { return nil }
    if settings.underscores == .refuse {
      handler.count(.refusedUnderscore, 1)
      return .underscoreInFieldName
    }
    handler.count(.droppedUnderscore, fields.removeUnderscores())
    return nil
  }

  /// What a stream that has ended before its time is told.
  func resetReason(_ code: HTTP2ErrorCode, isRemote: Bool) -> StreamResetReason {
    if isRemote { return .remoteReset }
    if phase == .closed || phase == .ending {
      return closeReason == .remote
        ? .connectionTermination : closeReason == .protocolError ? .protocolError : .localReset
    }
    return code == .protocolError ? .protocolError : .localReset
  }

  /// A client that gives up what it has just begun makes us work for nothing (CVE-2023-44487), and so does one that makes
  /// us give it up (CVE-2025-8671).
  private func countReset(of stream: HTTP2ServerStream) {
    endedStreams &+= 1
    guard settings.resets.limit > 0 else { return }
    if stream.isFaulty || stream.isCancelled {
      let lifetime = loop.now.since(stream.startedAt)
      if lifetime < settings.resets.minimumLifetime { prematureResets &+= 1 }
    }
    let limit = settings.resets.limit
    // As in Envoy: also when no good request could make it better any more.
    let allowed = max(endedStreams, limit)
    guard prematureResets * 2 >= allowed, phase == .open else { return }
    handler.tooManyResets()
    closeReason = .local
    loop.defer { [self] in close(.local) }
    phase = .ending
  }
}

// MARK: HTTP2SessionOwner

extension HTTP2ServerConnection: HTTP2SessionOwner {
  func makeStream() -> HTTP2Stream? {
    let stream = takeStream()
    stream.begin(self)
    handler.streamsChanged(by: 1)
    return stream
  }

  private func takeStream() -> HTTP2ServerStream {
    while !freeStreams.isEmpty {
      // Whoever had it last may not have let go of it.
      if isKnownUniquelyReferenced(&freeStreams[freeStreams.count - 1]) { return freeStreams.removeLast() }
      freeStreams.removeLast()
    }
    return HTTP2ServerStream(session: session)
  }

  func streamEnded(_ stream: HTTP2Stream) {
    guard let stream = stream as? HTTP2ServerStream else { return }
    handler.streamsChanged(by: -1)
    countReset(of: stream)
    stream.connection = nil
    if freeStreams.count < 64, phase != .closed {
      stream.clear()
      freeStreams.append(stream)
    }
    guard session.streams.isEmpty, phase == .open else { return }
    idleSince = loop.now
    if draining == .final { end() } else { rearm() }
  }

  func receivedGoAway(lastStream: Int32, _ code: HTTP2ErrorCode) {}
  func receivedSettings() {}
  func receivedPong() { pings.answered() }

  func headBegan() {
    guard settings.headersTimeout != nil else { return }
    headSince = loop.now
  }

  func headEnded() { headSince = .never }

  func sessionWantsFlush() { scheduleFlush() }
  func count(_ event: HTTP2Event, _ amount: Int) { handler.count(event, amount) }
}
