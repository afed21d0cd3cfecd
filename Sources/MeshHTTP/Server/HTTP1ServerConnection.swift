import MeshIO
import MeshPrimitives

/// One HTTP/1.1 connection from a client (RFC 9112): reads requests one after the other, hands each to a stream, writes
/// the responses in order. An idle connection owns no buffer.
public final class HTTP1ServerConnection: ServerConnection, IOHandler, Flushable, TimerTarget, ResponseSender {
  enum Phase: UInt8 {
    case idle  // between requests
    case head  // a part of a head is here
    case body  // the request's body is coming
    case response  // the request is complete, the response is not
    case lingering  // our side is closed; the peer's last bytes are thrown away until it closes too
    case closed
  }
  enum ResponsePhase: UInt8 { case none, body, done }

  public let loop: EventLoop
  public internal(set) var settings: ServerConnectionSettings
  public let info: ConnectionInfo
  /// Where the owner keeps this connection in its list.
  public var listIndex = 0
  private var isFlushScheduled = false
  /// Requests whose head has arrived.
  public internal(set) var requestCount: UInt32 = 0

  /// Kept alive: it lets go of this when it hears `connectionClosed`.
  let handler: any ServerConnectionHandler
  let headerMaps: HeaderMapPool
  var transport: Transport
  /// A partial head, or bytes that arrived before they were wanted (pipelining, back-pressure).
  var input: ByteQueue
  var parser: HTTP1RequestParser
  var body: HTTP1BodyDecoder
  /// Trailers that have begun to arrive.
  var trailers: HeaderMap?
  var receiver: (any RequestReceiver)?
  let timer: Timer
  public let openedAt: MonotonicTime
  /// Whether the settings have something to do for every request.
  let hasRequestRules: Bool
  /// When the current phase (`idle`, `head`, `lingering`) began.
  var phaseStartedAt: MonotonicTime
  /// How many parties want the request's body to wait.
  var pauses: UInt16 = 0
  var phase = Phase.idle
  var responsePhase = ResponsePhase.none
  var responseFraming = BodyFraming.none
  var method = HTTPMethod.get
  /// What has crossed the wire for the current request and its response.
  public internal(set) var wire = WireBytes()
  var keepAlive = true
  /// The current request came by HTTP/1.0.
  var isHTTP10 = false
  /// Set once the connection is to end: when it closes even if no request comes.
  var drainDeadline: MonotonicTime?
  /// The stream was told that the output is above the high watermark.
  var isBlocked = false
  /// The current request asks for a tunnel. The connection takes no other after it.
  var tunnel = TunnelKind.none
  /// The tunnel is granted: bytes go both ways, each until its own end.
  var isTunnelOpen = false
  /// Bytes have been looked at, as far as somebody wants to know.
  var hasDispatched = false
  /// `process` is on the stack.
  var isProcessing = false
  /// The response is complete and the connection's last: once the kernel has it, our direction ends.
  var endsAfterFlush = false

  /// - Parameters:
  ///   - transport: an established connection; from `start` on its events come here.
  ///   - initial: what has been read from it already.
  public init(
    loop: EventLoop, transport: consuming Transport, initial: consuming ByteQueue = ByteQueue(),
    settings: ServerConnectionSettings, headerMaps: HeaderMapPool, handler: any ServerConnectionHandler,
    info: ConnectionInfo
  ) {
    self.loop = loop
    self.settings = settings
    self.headerMaps = headerMaps
    self.handler = handler
    self.info = info
    self.transport = transport
    input = initial
    parser = HTTP1RequestParser(limits: settings.limits, acceptsHTTP10: settings.acceptsHTTP10)
    body = HTTP1BodyDecoder(framing: .none, limits: settings.limits)
    hasRequestRules = settings.underscores != .keep || settings.spelling != nil
    timer = Timer(loop)
    openedAt = loop.now
    phaseStartedAt = loop.now
  }

  /// Begins to serve. Call once, after the owner has stored the connection.
  public func start() throws(SystemError) {
    timer.aim(at: self)
    try loop.take(over: transport.descriptor, self)
    becomeIdle()
    if !input.isEmpty { handler.connectionTransferred(received: input.count, sent: 0) }
    // What an earlier owner of the transport has read, or left unread.
    if transport.isReadable || !input.isEmpty { scheduleFlush() }
  }

  /// Whether a request was in flight when the connection closed.
  public private(set) var hadRequest = false
  public var isClosed: Bool { phase == .closed }
  public var protocolVersion: HTTPVersion { .http11 }
  public var clientHasEnded: Bool { transport.peerClosed }
  /// Between requests: nothing in flight, nothing half received.
  public var isIdle: Bool { phase == .idle && transport.isFlushed && input.isEmpty }

  // MARK: Events

  public func ready(_ events: IOEvents) {
    guard phase != .closed else { return }
    let hadEnded = transport.peerClosed
    transport.note(events)
    if !hadEnded, transport.peerClosed, phase == .response, !isTunnelOpen {
      receiver?.clientEnded()
      guard phase != .closed else { return }
    }
    // RST, or both directions ended: the client is gone. FIN alone only says that it will send no more.
    if !events.isDisjoint(with: [.error, .hangup]), phase == .response || phase == .body {
      // Of a tunnel both directions may have ended in order, and what the client said last is still to be read.
      guard isTunnelOpen, !events.contains(.error) else { return close(.remote) }
    }
    if transport.isWritable, !transport.isFlushed { writeOut() }
    if phase != .closed, transport.isReadable { read() }
  }

  public func flush() {
    isFlushScheduled = false
    guard phase != .closed else { return }
    writeOut()
    // A pipelined request may wait behind the response that has just gone out, or a pause has ended.
    if phase != .closed, transport.isReadable || !input.isEmpty { read() }
  }

  public func timerFired(_ tag: UInt8) {
    let now = loop.now
    switch phase {
    case .idle:
      if let limit = settings.flushTimeout, !transport.isFlushed, now >= phaseStartedAt + limit {
        return close(.local)
      }
      if let drainDeadline, now >= drainDeadline { return close(.local) }
      if let limit = settings.idleTimeout, now >= phaseStartedAt + limit { return close(.idleTimeout) }
      if let maximum = settings.maximumDuration, now >= openedAt + maximum, keepAlive {
        handler.reached(.duration)
        settings.waitsForLastRequest ? closeAfterResponse() : beginDraining(settings.drainTimeout)
      }
      armIdle()
    case .head:
      if let limit = settings.idleTimeout, now >= phaseStartedAt + limit { return close(.idleTimeout) }
      endWhenOld(now)
      guard let limit = settings.headersTimeout, now >= phaseStartedAt + limit else { return armHead() }
      beginRefusal()
      handler.headersTimedOut(self, info, headerMaps.take())
    case .lingering: close(.local)
    case .body, .response:
      // What the stream itself may take is not the connection's to know.
      guard endsAfterFlush else { return endWhenOld(now) }
      guard let limit = settings.flushTimeout else { return }
      now >= phaseStartedAt + limit ? close(.local) : timer.arm(at: phaseStartedAt + limit)
    case .closed: break
    }
  }

  public func take(timeoutsOf settings: ServerConnectionSettings) {
    guard phase != .closed else { return }
    self.settings.take(timeoutsOf: settings)
    switch phase {
    case .idle: armIdle()
    case .head: armHead()
    case .body, .response:
      if endsAfterFlush {
        timer.arm(at: settings.flushTimeout.map { phaseStartedAt + $0 } ?? .never)
      } else {
        endWhenOld(loop.now)
      }
    case .lingering, .closed: break
    }
    receiver?.timeoutsChanged()
  }

  public func forEachReceiver(_ body: (any RequestReceiver) -> Void) { if let receiver { body(receiver) } }

  public var waitingOutput: Int { transport.output.count }

  /// The next response is the connection's last; without a request it closes after `patience`. A request that is on its
  /// way when the decision falls is so answered, not lost.
  /// - Parameter patience: nil for the settings' `drainTimeout`.
  public func drain(idleFor patience: Nanoseconds?) {
    beginDraining(patience ?? settings.drainTimeout)
    if phase == .idle { armIdle() }
  }

  /// A connection that has lived long enough while a request is on its way ends with the response to it.
  private func endWhenOld(_ now: MonotonicTime) {
    guard keepAlive, let maximum = settings.maximumDuration else { return }
    guard now >= openedAt + maximum else {
      timer.arm(at: openedAt + maximum)
      return
    }
    handler.reached(.duration)
    keepAlive = false
  }

  private func beginDraining(_ patience: Nanoseconds) {
    keepAlive = false
    drainDeadline = min(drainDeadline ?? .never, loop.now + patience)
  }

  // MARK: Phases

  func becomeIdle() {
    phase = .idle
    phaseStartedAt = loop.now
    armIdle()
  }

  private func armIdle() {
    var deadline = settings.idleTimeout.map { phaseStartedAt + $0 } ?? .never
    if let limit = settings.flushTimeout, !transport.isFlushed { deadline = min(deadline, phaseStartedAt + limit) }
    if let drainDeadline {
      deadline = min(deadline, drainDeadline)
    } else if let maximum = settings.maximumDuration {
      deadline = min(deadline, openedAt + maximum)
    }
    timer.arm(at: deadline)
  }

  /// A head that never comes to an end is an idle connection too.
  func armHead() {
    var deadline = settings.idleTimeout.map { phaseStartedAt + $0 } ?? .never
    if let limit = settings.headersTimeout { deadline = min(deadline, phaseStartedAt + limit) }
    // The timer stays as it is when the head is complete: for the age of a connection that is busy, too.
    if keepAlive, let maximum = settings.maximumDuration { deadline = min(deadline, openedAt + maximum) }
    if deadline != .never { timer.arm(at: deadline) }
  }

  /// The connection ends when the kernel has the rest of the output, or takes nothing of it for the flush timeout.
  func endAfterFlush() {
    keepAlive = false
    endsAfterFlush = true
    phaseStartedAt = loop.now
    timer.arm(at: settings.flushTimeout.map { phaseStartedAt + $0 } ?? .never)
    scheduleFlush()
  }

  /// From here on nothing is read as HTTP; one answer goes out and the connection closes.
  func beginRefusal() {
    phase = .response
    responsePhase = .none
    method = .get
    isHTTP10 = false
    wire = WireBytes()
    keepAlive = false
    input.clear(loop.bufferPool)
  }

  public var roundTripTime: Nanoseconds? { Socket.roundTripTime(transport.descriptor) }

  /// Output is sent, and input looked at again, as soon as the callback that runs now returns.
  func scheduleFlush() {
    guard !isFlushScheduled else { return }
    isFlushScheduled = true
    loop.flushLater(self)
  }

  func writeOut() {
    if !transport.isFlushed {
      let waiting = transport.output.count
      let sound = transport.flush(loop.bufferPool)
      let sent = waiting - transport.output.count
      handler.connectionTransferred(received: 0, sent: sent)
      guard sound else { return close(.remote) }
      if sent > 0, endsAfterFlush || phase == .idle { phaseStartedAt = loop.now }
    }
    // Also when nothing waited: a large run may have gone out, and all before it, while the stream was writing.
    afterWrite()
  }

  /// Watermarks, and what waits for an empty output.
  func afterWrite() {
    if isBlocked, transport.output.count <= settings.highWatermark / 2 {
      isBlocked = false
      receiver?.responseUnblocked()
    }
    guard transport.isFlushed, phase != .closed else { return }
    if endsAfterFlush { endConnection() }
  }

  /// The last response is with the kernel. If the peer may still be sending, closing now could make its kernel throw
  /// the response away (RFC 9112 §9.6): end our direction and wait for the other's end, for a bounded time.
  private func endConnection() {
    endsAfterFlush = false
    if isTunnelOpen, phase == .body { return transport.shutdownWrite() }
    let peerIsSilent = phase == .response && input.isEmpty && !transport.isReadable
    guard !peerIsSilent, !transport.peerClosed, let limit = settings.delayedCloseTimeout else { return close(.local) }
    transport.shutdownWrite()
    phase = .lingering
    input.clear(loop.bufferPool)
    timer.arm(at: loop.now + limit)
    if transport.isReadable { scheduleFlush() }
  }

  /// Closes now. The stream in flight, if any, is told that its client is gone.
  public func close(_ reason: ServerCloseReason, reset: Bool) {
    guard phase != .closed else { return }
    hadRequest = receiver != nil
    phase = .closed
    timer.disarm()
    transport.close(loop, reset: reset)
    input.clear(loop.bufferPool)
    if let stream = receiver {
      receiver = nil
      stream.requestReset(reason == .local ? .localReset : .connectionTermination)
    }
    handler.connectionClosed(self, reason)
  }
}
