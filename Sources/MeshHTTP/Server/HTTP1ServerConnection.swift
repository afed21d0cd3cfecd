import MeshIO
import MeshPrimitives

/// What is the same for all connections of one connection manager. Immutable; shared by workers.
public struct ServerConnectionSettings: Sendable {
  public var limits = HTTP1Limits()
  /// A connection without a request is closed after this time (`common_http_protocol_options.idle_timeout`); nil: never.
  public var idleTimeout: Nanoseconds? = .seconds(3600)
  /// From the first byte of a request to the end of its head (`request_headers_timeout`); nil: unbounded.
  public var headersTimeout: Nanoseconds?
  /// How long a closed connection waits for the peer to take the last response (`delayed_close_timeout`); nil: not at all.
  public var delayedCloseTimeout: Nanoseconds? = .seconds(1)
  /// After this age the next response says `connection: close` (`max_connection_duration`); nil: never.
  public var maximumDuration: Nanoseconds?
  /// Whether a connection that has reached `maximumDuration` waits for one more request, however long that takes
  /// (`http1_safe_max_connection_duration`), instead of closing after `drainTimeout`.
  public var waitsForLastRequest = false
  /// How long the client may take for the next byte of a response that is ready (`stream_flush_timeout`); nil: unbounded.
  public var flushTimeout: Nanoseconds? = .seconds(300)
  /// A connection that is to end and is idle may still send one request within this time (`drain_timeout`).
  public var drainTimeout: Nanoseconds = .seconds(5)
  /// Requests served by one connection (`max_requests_per_connection`); 0: unlimited.
  public var maximumRequests: UInt32 = 0
  /// Unsent response bytes at which the stream is told to stop (`per_connection_buffer_limit_bytes`).
  public var highWatermark = 1024 * 1024

  /// What happens to a request's fields whose names have an underscore.
  public enum Underscores: UInt8, Sendable { case keep, drop, refuse }
  /// `headers_with_underscores_action`.
  public var underscores = Underscores.keep
  /// Requests by HTTP/1.0 are served (`accept_http_10`).
  public var acceptsHTTP10 = false
  /// The host of an HTTP/1.0 request that names none (`default_host_for_http_10`); empty: it is refused.
  public var defaultHost: [UInt8] = []
  /// How the names of a response's fields are written.
  public var names = HeaderNameStyle.lowercase
  /// The spelling of a request's field names is kept for the upstream; nil: not.
  public var spelling: HeaderSpelling.Rules?

  public init() {}
}

/// Who takes the requests of a server connection. Called on the loop's thread.
public protocol ServerConnectionHandler: AnyObject {
  /// A complete head arrived. The map now belongs to the handler, which attaches a stream to the connection before it
  /// lets the stream begin.
  func openStream(_ connection: HTTP1ServerConnection, _ headers: HeaderMap, _ start: RequestStart)
  /// The bytes are no HTTP that we accept. The handler answers through the connection as for a stream; the connection
  /// closes after the answer.
  func refuse(_ connection: HTTP1ServerConnection, _ headers: HeaderMap, _ error: HTTP1Error)
  /// The head did not arrive within `request_headers_timeout`. Answers as `refuse` does.
  func headersTimedOut(_ connection: HTTP1ServerConnection, _ headers: HeaderMap)
  /// The connection is gone. The last call.
  func connectionClosed(_ connection: HTTP1ServerConnection, _ reason: HTTP1ServerConnection.CloseReason)
  /// The connection is to end because of its age or of how much it has served. Once for a connection.
  func reached(_ limit: HTTP1ServerConnection.Limit)
  /// Bytes that crossed the wire, for statistics.
  func connectionTransferred(received: Int, sent: Int)
  /// So many fields of a request or its trailers were left out for the underscores in their names.
  func droppedFields(_ count: Int)
  /// A request is refused for an underscore in the name of a field or trailer.
  func refusedField()
}

extension ServerConnectionHandler {
  public func droppedFields(_ count: Int) {}
  public func refusedField() {}
}

/// One HTTP/1.1 connection from a client (RFC 9112): reads requests one after the other, hands each to a stream, writes
/// the responses in order. An idle connection owns no buffer.
public final class HTTP1ServerConnection: IOHandler, Flushable, TimerTarget, ResponseSender {
  /// Why a connection ended, for statistics.
  public enum CloseReason: UInt8, Sendable { case remote, local, idleTimeout, protocolError }

  /// `max_connection_duration`, `max_requests_per_connection`.
  public enum Limit: UInt8, Sendable { case duration, requests }

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
  public let settings: ServerConnectionSettings
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
  var input = ByteQueue()
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
  /// `process` is on the stack.
  var isProcessing = false
  /// The response is complete and the connection's last: once the kernel has it, our direction ends.
  var endsAfterFlush = false

  /// - Parameter descriptor: an accepted, non-blocking socket; this owns it from now on.
  public init(
    loop: EventLoop, descriptor: Int32, settings: ServerConnectionSettings, headerMaps: HeaderMapPool,
    handler: any ServerConnectionHandler, info: ConnectionInfo
  ) {
    self.loop = loop
    self.settings = settings
    self.headerMaps = headerMaps
    self.handler = handler
    self.info = info
    transport = Transport(descriptor: descriptor, isWritable: true)
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
    try loop.register(transport.descriptor, self)
    becomeIdle()
  }

  /// Whether a request was in flight when the connection closed.
  public private(set) var hadRequest = false
  public var isClosed: Bool { phase == .closed }
  /// Between requests: nothing in flight, nothing half received.
  public var isIdle: Bool { phase == .idle && transport.output.isEmpty && input.isEmpty }

  // MARK: Events

  public func ready(_ events: IOEvents) {
    guard phase != .closed else { return }
    transport.note(events)
    // RST, or both directions ended: the client is gone. FIN alone only says that it will send no more.
    if !events.isDisjoint(with: [.error, .hangup]), phase == .response || phase == .body { return close(.remote) }
    if transport.isWritable, !transport.output.isEmpty { writeOut() }
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
      if let limit = settings.flushTimeout, !transport.output.isEmpty, now >= phaseStartedAt + limit {
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
      handler.headersTimedOut(self, headerMaps.take())
    case .lingering: close(.local)
    case .body, .response:
      // What the stream itself may take is not the connection's to know.
      guard endsAfterFlush else { return endWhenOld(now) }
      guard let limit = settings.flushTimeout else { return }
      now >= phaseStartedAt + limit ? close(.local) : timer.arm(at: phaseStartedAt + limit)
    case .closed: break
    }
  }

  /// The next response is the connection's last; without a request it closes after `patience`. A request that is on its
  /// way when the decision falls is so answered, not lost.
  /// - Parameter patience: nil for the settings' `drainTimeout`.
  public func drain(idleFor patience: Nanoseconds? = nil) {
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
    if let limit = settings.flushTimeout, !transport.output.isEmpty { deadline = min(deadline, phaseStartedAt + limit) }
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
    let waiting = transport.output.count
    if waiting > 0 {
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
    guard transport.output.isEmpty, phase != .closed else { return }
    if endsAfterFlush { endConnection() }
  }

  /// The last response is with the kernel. If the peer may still be sending, closing now could make its kernel throw
  /// the response away (RFC 9112 §9.6): end our direction and wait for the other's end, for a bounded time.
  private func endConnection() {
    endsAfterFlush = false
    let peerIsSilent = phase == .response && input.isEmpty && !transport.isReadable
    guard !peerIsSilent, !transport.peerClosed, let limit = settings.delayedCloseTimeout else { return close(.local) }
    transport.shutdownWrite()
    phase = .lingering
    input.clear(loop.bufferPool)
    timer.arm(at: loop.now + limit)
    if transport.isReadable { scheduleFlush() }
  }

  /// Closes now. The stream in flight, if any, is told that its client is gone.
  public func close(_ reason: CloseReason, reset: Bool = false) {
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
