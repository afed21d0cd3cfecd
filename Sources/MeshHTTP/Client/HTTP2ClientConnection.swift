import MeshIO
import MeshPrimitives

/// One HTTP/2 connection to an upstream (RFC 9113): its socket and its clocks. The streams are `HTTP2ClientStream`s, the
/// protocol is `HTTP2Session`'s.
public final class HTTP2ClientConnection: ClientConnection, IOHandler, Flushable, TimerTarget {
  public let loop: EventLoop
  public let settings: ClientConnectionSettings
  public let info: UpstreamConnectionInfo
  public var listIndex = 0
  public private(set) var requestCount: UInt32 = 0
  public private(set) var wasBusy = false
  public private(set) var isClosed = false

  /// Kept alive: it lets go of this when it hears `connectionClosed`.
  private let owner: any ClientConnectionOwner
  private let session: HTTP2Session
  private var transport: Transport
  private let timer: Timer
  private var isFlushScheduled = false
  private var isReading = false
  private var freeStreams: [HTTP2ClientStream] = []
  /// It takes no further request, and ends for this reason when it has none.
  private var retirement: ClientCloseReason?
  private var closeReason = ClientCloseReason.local
  /// How many requests could be begun when that was last told.
  private var wasFull = false

  // MARK: Clocks

  private var idleSince: MonotonicTime
  private var expiresAt = MonotonicTime.never
  private var pings: HTTP2PingClock

  /// Bytes framed, and bytes of these that the kernel has taken.
  private(set) var framedBytes: UInt64 = 0
  private(set) var sentBytes: UInt64 = 0
  /// Bytes that wait to be framed, as last told.
  private var reportedWaiting = 0

  /// - Parameter transport: an established connection; from `start` on its events come here.
  public init(
    loop: EventLoop, transport: consuming Transport, info: UpstreamConnectionInfo, settings: ClientConnectionSettings,
    headerMaps: HeaderMapPool, owner: any ClientConnectionOwner
  ) {
    session = HTTP2Session(
      isServer: false, options: settings.http2, limits: settings.limits, watermark: settings.highWatermark,
      pool: loop.bufferPool, headerMaps: headerMaps)
    self.loop = loop
    self.transport = transport
    self.info = info
    self.settings = settings
    self.owner = owner
    timer = Timer(loop)
    idleSince = loop.now
    pings = HTTP2PingClock(settings.http2.keepAlive, seed: info.identifier, now: loop.now)
  }

  public func start() throws(SystemError) {
    timer.aim(at: self)
    session.owner = self
    try loop.take(over: transport.descriptor, self)
    // Counted from here, as in Envoy.
    if let duration = settings.maximumDuration { expiresAt = loop.now + duration }
    session.start()
    rearm()
    scheduleFlush()
  }

  public var protocolVersion: HTTPVersion { .http2 }
  public var activeRequests: Int { session.streams.count }

  public var capacity: Int {
    guard !isClosed, retirement == nil, session.allowsRequests else { return 0 }
    let allowed = Int(min(settings.http2.maximumStreams, session.peerMaximumStreams))
    let room = max(0, allowed - session.streams.count)
    guard settings.maximumRequests > 0 else { return room }
    return min(room, Int(settings.maximumRequests) - Int(requestCount))
  }

  // MARK: Requests

  public func send(
    _ headers: HeaderMap, method: HTTPMethod, endStream: Bool, receiver: any ResponseReceiver
  ) -> any RequestSender {
    requestCount &+= 1
    if pings.beforeRequest(loop.now) {
      session.ping()
      rearm()
    }
    let stream = takeStream()
    stream.begin(self, receiver, method: method, headers)
    owner.streamsChanged(by: 1)
    let before = session.output.count
    let isSent = session.send(
      request: headers, of: stream, scheme: info.tls != nil ? "https" : "http", endStream: endStream)
    framedBytes &+= UInt64(max(0, session.output.count - before))
    // A stream that could not be opened ends like any other, but not below the one who asked for it.
    if !isSent { loop.defer { [self] in lose(stream) } }
    if settings.maximumRequests > 0, requestCount >= settings.maximumRequests { retire(.maximumRequests) }
    wasFull = capacity == 0
    scheduleFlush()
    return stream
  }

  private func takeStream() -> HTTP2ClientStream {
    while !freeStreams.isEmpty {
      // Whoever had it last may not have let go of it.
      if isKnownUniquelyReferenced(&freeStreams[freeStreams.count - 1]) { return freeStreams.removeLast() }
      freeStreams.removeLast()
    }
    return HTTP2ClientStream(session: session, connection: info)
  }

  private func lose(_ stream: HTTP2ClientStream) {
    if stream.identifier == 0 {
      stream.isClosed = true
      stream.ended(.refusedStream, isRemote: true)
      streamEnded(stream)
    } else {
      close(.local)
    }
  }

  // MARK: Events

  public func ready(_ events: IOEvents) {
    guard !isClosed else { return }
    transport.note(events)
    if transport.isReadable { read() }
    if !isClosed, transport.isWritable { writeOut() }
  }

  public func flush() {
    isFlushScheduled = false
    guard !isClosed else { return }
    session.resumeStreams()
    writeOut()
    if !isClosed, transport.isReadable { read() }
  }

  private func scheduleFlush() {
    guard !isFlushScheduled else { return }
    isFlushScheduled = true
    loop.flushAfterBatch(self)
  }

  /// Reads at the top of an event only: the receive buffer is shared by the whole loop.
  private func read() {
    guard !isReading else { return }
    isReading = true
    defer { isReading = false }
    var turns = 0
    while !isClosed, transport.isReadable {
      // A fast sender does not keep the loop from the others: the rest comes after them.
      turns += 1
      if turns > HTTP1ServerConnection.readsPerTurn { return loop.defer { [self] in flush() } }
      let count = transport.receive(loop.receiveBuffer, EventLoop.receiveBufferSize)
      guard count > 0 else {
        if count == Socket.wouldBlock { return }
        return close(.remote)
      }
      owner.connectionTransferred(received: count, sent: 0)
      pings.heard(loop.now)
      if !session.receive(Bytes(start: loop.receiveBuffer, count: count)) {
        endIfOver()
      } else if session.wantsWrite {
        scheduleFlush()
      }
    }
  }

  private func writeOut() {
    defer { notePending() }
    var turns = 0
    while !isClosed {
      if !transport.isFlushed {
        let waiting = transport.output.count
        let sound = transport.flush(loop.bufferPool)
        noteSent(waiting - transport.output.count)
        guard sound else { return noteBroken() }
        guard transport.isFlushed else {
          session.outputBlocked()
          return endIfOver()
        }
      }
      let before = session.output.count
      session.pull(upTo: EventLoop.receiveBufferSize)
      framedBytes &+= UInt64(max(0, session.output.count - before))
      endIfOver()
      guard !isClosed else { return }
      guard !session.output.isEmpty else {
        session.framesWaiting = 0
        return
      }
      let bytes = session.output.bytes
      let sound = transport.send(bytes, loop.bufferPool)
      noteSent(bytes.count - transport.output.count)
      session.output.clear(loop.bufferPool)
      guard sound else { return noteBroken() }
      turns += 1
      if turns >= HTTP1ServerConnection.readsPerTurn { return loop.defer { [self] in flush() } }
    }
  }

  private func notePending() {
    let waiting = session.waitingOutput
    guard waiting != reportedWaiting else { return }
    owner.count(.pendingBytes, waiting - reportedWaiting)
    reportedWaiting = waiting
  }

  /// The kernel refused our bytes: the upstream is gone, yet its answers may already be here. Let the read find out.
  private func noteBroken() {
    transport.output.clear(loop.bufferPool)
    session.output.clear(loop.bufferPool)
    transport.note([.readable, .peerClosed])
    scheduleFlush()
  }

  private func noteSent(_ count: Int) {
    guard count > 0 else { return }
    sentBytes &+= UInt64(count)
    owner.connectionTransferred(received: 0, sent: count)
  }

  // MARK: Clocks

  private func rearm() {
    guard !isClosed else { return }
    var deadline = pings.deadline
    if retirement == nil { deadline = min(deadline, expiresAt) }
    if session.streams.isEmpty, let limit = settings.idleTimeout { deadline = min(deadline, idleSince + limit) }
    timer.arm(at: deadline)
  }

  public func timerFired(_ tag: UInt8) {
    guard !isClosed else { return }
    let now = loop.now
    switch pings.check(now) {
    case .none: break
    case .send: session.ping()
    case .dead:
      owner.count(.keepAliveTimeout, 1)
      return close(.remote)
    }
    if session.streams.isEmpty, let limit = settings.idleTimeout, now >= idleSince + limit {
      return close(.idleTimeout)
    }
    if now >= expiresAt, retirement == nil { retire(.maximumDuration) }
    rearm()
  }

  // MARK: The end

  public func drain() { retire(.local) }

  /// Takes no further request; ends when those under way are done.
  private func retire(_ reason: ClientCloseReason) {
    guard !isClosed, retirement == nil else { return }
    retirement = reason
    if session.streams.isEmpty { close(reason) } else { owner.connectionRetires(self) }
  }

  /// The session has come to its end: for an error, or because nothing is left to do.
  private func endIfOver() {
    guard !isClosed, !session.wantsRead else { return }
    if session.failure != nil || session.isPeerAtFault { return close(.protocolError) }
    if session.streams.isEmpty { close(retirement ?? .announced) }
  }

  /// What our side still has to say is tried once.
  private func close(_ reason: ClientCloseReason) {
    guard !isClosed else { return }
    isClosed = true
    closeReason = reason
    wasBusy = !session.streams.isEmpty
    timer.disarm()
    if reason != .remote, transport.isWritable, transport.isFlushed {
      session.finishSilently()
      if !session.output.isEmpty { _ = transport.send(session.output.bytes, loop.bufferPool) }
    }
    session.output.clear(loop.bufferPool)
    transport.close(loop)
    // The owner first: whoever hears of a lost stream may want another connection.
    owner.connectionClosed(self, reason)
    session.endAll()
    notePending()
    freeStreams.removeAll()
  }

  /// A request has ended before its response was complete.
  func streamReset(_ reason: StreamResetReason) { owner.requestReset(reason) }

  /// What a stream that has ended before its time is told.
  func resetReason(_ code: HTTP2ErrorCode, isRemote: Bool) -> StreamResetReason {
    if isClosed { return closeReason == .protocolError ? .protocolError : .connectionTermination }
    if isRemote { return code == .refusedStream ? .remoteRefusedStream : .remoteReset }
    return code == .protocolError ? .protocolError : .localReset
  }

  /// Which rule the peer broke.
  var failureDetail: StaticString { session.failure ?? session.streamFailure }
}

// MARK: HTTP2SessionOwner

extension HTTP2ClientConnection: HTTP2SessionOwner {
  func makeStream() -> HTTP2Stream? { nil }

  func streamEnded(_ stream: HTTP2Stream) {
    guard let stream = stream as? HTTP2ClientStream else { return }
    owner.streamsChanged(by: -1)
    stream.release()
    guard !isClosed else { return }
    if freeStreams.count < 64 {
      stream.clear()
      freeStreams.append(stream)
    }
    if session.streams.isEmpty {
      idleSince = loop.now
      if let retirement { return close(retirement) }
      rearm()
    }
    noteRoom()
  }

  /// Tells the owner if there was no room and now there is.
  private func noteRoom() {
    guard wasFull, capacity > 0 else { return }
    wasFull = false
    owner.connectionHasRoom(self)
  }

  func receivedGoAway(lastStream: Int32, _ code: HTTP2ErrorCode) { retire(.announced) }

  func receivedSettings() {
    wasFull = capacity == 0
    if !wasFull { owner.connectionHasRoom(self) }
  }

  func receivedPong() {
    pings.answered()
    rearm()
  }

  func headBegan() {}
  func headEnded() {}
  func sessionWantsFlush() { scheduleFlush() }
  func count(_ event: HTTP2Event, _ amount: Int) { owner.count(event, amount) }
}
