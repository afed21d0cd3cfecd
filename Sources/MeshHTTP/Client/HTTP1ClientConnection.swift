import MeshIO
import MeshPrimitives

/// One HTTP/1.1 connection to an upstream: sends one request at a time, reads its response.
public final class HTTP1ClientConnection: ClientConnection, RequestSender, IOHandler, Flushable, TimerTarget {
  enum Phase: UInt8 { case idle, busy, closed }

  public let loop: EventLoop
  public let settings: ClientConnectionSettings
  public var listIndex = 0
  private var isFlushScheduled = false
  /// Requests begun on this connection; over 1, the connection is a reused one.
  public private(set) var requestCount: UInt32 = 0

  /// Kept alive: it lets go of this when it hears `connectionClosed`.
  let owner: any ClientConnectionOwner
  let headerMaps: HeaderMapPool
  var transport: Transport
  var input = ByteQueue()
  private var parser: HTTP1ResponseParser
  var body: HTTP1BodyDecoder
  /// Trailers that have begun to arrive.
  private var trailers: HeaderMap?
  var receiver: (any ResponseReceiver)?
  private let timer: Timer
  private var idleSince: MonotonicTime = .never
  private var idleLimit: Nanoseconds?
  /// From when on it takes no further request.
  private var expiresAt = MonotonicTime.never
  public let info: UpstreamConnectionInfo
  var phase = Phase.idle
  var method = HTTPMethod.get
  var requestFraming = BodyFraming.none
  var requestDone = false
  var responseBegan = false
  var responseDone = false
  var keepAlive = true
  private var isCloseAnnounced = false
  /// The current request asks for a tunnel. The connection takes no other after it.
  var tunnel = TunnelKind.none
  /// The tunnel is granted: bytes go both ways, each until its own end.
  var isTunnelOpen = false
  /// The protocol that was asked for, in lower case.
  var requestedProtocol: [UInt8] = []
  /// The tunnel's way to the upstream ends when the kernel has the rest of the output.
  var halfClosesAfterFlush = false
  /// The kernel has refused bytes: some of the request are lost.
  private var isBroken = false
  private var isBlocked = false
  private var isProcessing = false
  /// The exchange is over; the owner hears of it when everything that was read has been looked at.
  private var isReleasePending = false
  private var pauses: UInt16 = 0
  private var informational = 0
  /// Bytes of the current request that the kernel has taken; 0 means that the upstream cannot have seen any of it.
  public private(set) var requestBytesSent = 0
  /// Bytes that came since the current request was begun.
  public private(set) var responseBytesReceived = 0
  var requestFieldBytes: UInt32 = 0
  var responseFieldBytes: UInt32 = 0

  public var waitingOutput: Int { transport.output.count }
  /// What has crossed the wire for the current request and its response.
  public var wire: WireBytes {
    WireBytes(
      received: UInt64(responseBytesReceived), sent: UInt64(requestBytesSent), headerReceived: responseFieldBytes,
      headerSent: requestFieldBytes)
  }

  /// - Parameter transport: an established connection; from `start` on its events come here.
  public init(
    loop: EventLoop, transport: consuming Transport, info: UpstreamConnectionInfo, settings: ClientConnectionSettings,
    headerMaps: HeaderMapPool, owner: any ClientConnectionOwner
  ) {
    self.loop = loop
    self.transport = transport
    self.info = info
    self.settings = settings
    self.headerMaps = headerMaps
    self.owner = owner
    parser = HTTP1ResponseParser(limits: settings.limits)
    body = HTTP1BodyDecoder(framing: .none, limits: settings.limits)
    idleLimit = settings.idleTimeout
    timer = Timer(loop)
  }

  public func start() throws(SystemError) {
    timer.aim(at: self)
    try loop.take(over: transport.descriptor, self)
    // Counted from here, as in Envoy.
    if let duration = settings.maximumDuration { expiresAt = loop.now + duration }
    becomeIdle()
    if transport.isReadable { scheduleFlush() }
  }

  public var isClosed: Bool { phase == .closed }
  /// Whether a request was in flight when the connection closed.
  public private(set) var wasBusy = false
  public var isOnReusedConnection: Bool { requestCount > 1 }
  public var connection: UpstreamConnectionInfo { info }
  public var protocolVersion: HTTPVersion { .http11 }
  public var capacity: Int { phase == .idle ? 1 : 0 }
  public var activeRequests: Int { phase == .busy ? 1 : 0 }

  // MARK: Requests

  /// Sends a request's head. The connection must be idle. The response goes to `receiver`, until it ends or `cancel`.
  public func send(
    _ headers: HeaderMap, method: HTTPMethod, endStream: Bool, receiver: any ResponseReceiver
  ) -> any RequestSender {
    phase = .busy
    requestCount &+= 1
    self.receiver = receiver
    self.method = method
    requestDone = endStream
    responseBegan = false
    responseDone = false
    informational = 0
    requestBytesSent = 0
    responseBytesReceived = 0
    isBlocked = false
    pauses = 0
    responseFieldBytes = 0
    if method == .connect || headers.has(.upgrade) {
      askForTunnel(headers, method)
      return self
    }
    if endStream {
      // A method that usually has content says that it has none (RFC 9110 §8.6).
      let announces = headers.has(.contentLength) || method == .post || method == .put || method == .patch
      requestFraming = announces ? .length(0) : .none
    } else if let length = headers.contentLength {
      requestFraming = .length(length)
    } else {
      requestFraming = .chunked
    }
    requestFieldBytes = UInt32(
      truncatingIfNeeded: HTTP1Encoder.requestHead(
        headers, framing: requestFraming, style: settings.style, into: &transport.output, pool: loop.bufferPool))
    scheduleFlush()
    return self
  }

  public func sendData(_ bytes: Bytes, endStream: Bool) {
    guard phase == .busy, !requestDone else { return }
    if bytes.count > 0 {
      if requestFraming == .chunked {
        HTTP1Encoder.chunkHeader(length: bytes.count, into: &transport.output, pool: loop.bufferPool)
      }
      write(bytes)
      guard phase == .busy else { return }
      if requestFraming == .chunked { HTTP1Encoder.chunkEnd(into: &transport.output, pool: loop.bufferPool) }
      if !isBlocked, transport.output.count > settings.highWatermark {
        isBlocked = true
        receiver?.requestBlocked()
      }
    }
    if endStream { finishRequest(trailers: nil) }
    scheduleFlush()
  }

  public func sendTrailers(_ trailers: HeaderMap) {
    guard phase == .busy, !requestDone else { return }
    finishRequest(trailers: trailers)
    scheduleFlush()
  }

  /// Stops or resumes reading the response. Calls nest.
  public func pauseResponse(_ pause: Bool) {
    if pause {
      pauses += 1
    } else if pauses > 0 {
      pauses -= 1
      if pauses == 0, phase != .closed { scheduleFlush() }
    }
  }

  /// The receiver wants nothing more. An exchange that is not complete ends the connection: HTTP/1.1 has no other way.
  public func cancel() {
    receiver = nil
    // A tunnel that has ended both ways closes when the upstream has everything.
    if phase == .busy, !isTunnelOver { close(.local) }
  }

  /// Closes as soon as no request is in flight.
  public func drain() {
    keepAlive = false
    if phase == .idle { close(.local) }
  }

  private func finishRequest(trailers: HeaderMap?) {
    requestDone = true
    if tunnel != .none { return endTunnelRequest() }
    if requestFraming == .chunked {
      HTTP1Encoder.lastChunk(trailers: trailers, into: &transport.output, pool: loop.bufferPool)
    }
    if responseDone { finishExchange() }
  }

  private func write(_ bytes: Bytes) {
    guard bytes.count >= HTTP1ServerConnection.directWriteSize, transport.isWritable else {
      transport.output.append(bytes, loop.bufferPool)
      return
    }
    let before = transport.output.count
    let sound = transport.send(bytes, loop.bufferPool)
    noteSent(before + bytes.count - transport.output.count)
    if !sound { noteBroken() }
  }

  /// The kernel refused our bytes: the upstream is gone, yet its answer may already be here. Let the read find out.
  private func noteBroken() {
    isBroken = true
    transport.output.clear(loop.bufferPool)
    transport.note([.readable, .peerClosed])
  }

  private func noteSent(_ count: Int) {
    requestBytesSent += count
    owner.connectionTransferred(received: 0, sent: count)
  }

  // MARK: Events

  public func ready(_ events: IOEvents) {
    guard phase != .closed else { return }
    transport.note(events)
    if transport.isWritable, !transport.isFlushed { writeOut() }
    if phase != .closed, transport.isReadable { read() }
  }

  func scheduleFlush() {
    guard !isFlushScheduled else { return }
    isFlushScheduled = true
    loop.flushLater(self)
  }

  public func flush() {
    isFlushScheduled = false
    guard phase != .closed else { return }
    writeOut()
    if phase != .closed, transport.isReadable || !input.isEmpty { read() }
  }

  public func timerFired(_ tag: UInt8) {
    switch phase {
    case .idle:
      if loop.now >= expiresAt { return close(.maximumDuration) }
      let idleEnd = idleLimit.map { idleSince + $0 } ?? .never
      loop.now >= idleEnd ? close(.idleTimeout) : timer.arm(at: min(idleEnd, expiresAt))
    case .busy, .closed: break
    }
  }

  private func writeOut() {
    if !transport.isFlushed {
      let waiting = transport.output.count
      let sound = transport.flush(loop.bufferPool)
      noteSent(waiting - transport.output.count)
      guard sound else { return noteBroken() }
    }
    // Also when nothing waited: a large run may have gone out, and all before it, while the stream was writing.
    if isBlocked, transport.output.count <= settings.highWatermark / 2 {
      isBlocked = false
      receiver?.requestUnblocked()
    }
    if halfClosesAfterFlush, transport.isFlushed { tunnelFlushed() }
  }

  /// Reads at the top of an event only: the receive buffer is shared by the whole loop.
  private func read() {
    guard !isProcessing else { return }
    isProcessing = true
    readAndProcess()
    isProcessing = false
    if phase == .idle, isReleasePending { release() }
  }

  private func readAndProcess() {
    if !input.isEmpty, pauses == 0 {
      let consumed = process(input.bytes)
      guard phase != .closed else { return }
      if consumed > 0 { input.drop(min(consumed, input.count), loop.bufferPool) }
    }
    var turns = 0
    while phase != .closed, transport.isReadable, pauses == 0 {
      // A fast sender does not keep the loop from the others: the rest comes after them.
      turns += 1
      if turns > HTTP1ServerConnection.readsPerTurn { return loop.defer { [self] in flush() } }
      let isDirect = input.isEmpty
      let count: Int
      if isDirect {
        count = transport.receive(loop.receiveBuffer, EventLoop.receiveBufferSize)
      } else {
        let room = input.reserve(BufferPool.blockSize / 2, loop.bufferPool)
        count = transport.receive(room, BufferPool.blockSize / 2)
        if count > 0 { input.commit(count) }
      }
      guard count > 0 else {
        if count == Socket.wouldBlock { return }
        return endOfStream(isReset: count < 0)
      }
      responseBytesReceived += count
      owner.connectionTransferred(received: count, sent: 0)
      let bytes = isDirect ? Bytes(start: loop.receiveBuffer, count: count) : input.bytes
      let consumed = process(bytes)
      guard phase != .closed else { return }
      if isDirect {
        if consumed < count { input.append(bytes.slice(consumed, count - consumed), loop.bufferPool) }
      } else if consumed > 0 {
        input.drop(min(consumed, input.count), loop.bufferPool)
      }
    }
  }

  private func process(_ bytes: Bytes) -> Int {
    var offset = 0
    while offset < bytes.count, phase != .closed {
      // Bytes that no request asked for: whatever they are, the connection is of no more use (RFC 9112 §9.3).
      guard phase == .busy, !responseDone else {
        protocolError("http1.unsolicited_response")
        return bytes.count
      }
      if pauses > 0 { return offset }
      let rest = bytes.slice(offset, bytes.count - offset)
      if responseBegan {
        let used = decodeBody(rest)
        offset += used
        if used == 0, !responseDone { return offset }
      } else {
        let headers = headerMaps.take()
        var head = HTTP1ResponseHead()
        switch parser.parse(rest, requestMethod: method, into: headers, head: &head) {
        case .complete:
          offset += head.headLength
          if let rules = settings.spelling {
            headers.spelling = HeaderSpelling(head: rest.slice(0, head.headLength), rules)
          }
          begin(headers, head)
        case .incomplete:
          headerMaps.recycle(headers)
          return offset
        case .invalid(let error):
          headerMaps.recycle(headers)
          protocolError(error.details)
          return bytes.count
        }
      }
    }
    return offset
  }

  private func begin(_ headers: HeaderMap, _ head: HTTP1ResponseHead) {
    if head.status < 200 {
      informational += 1
      if head.status == 101, tunnel == .upgrade { return openTunnel(headers, head) }
      // 101 answers an upgrade, and we sent none.
      if head.status == 101 || informational > settings.maximumInformational {
        headerMaps.recycle(headers)
        return protocolError(head.status == 101 ? "http1.unsolicited_upgrade" : "http1.too_many_informational")
      }
      // The proxy has sent its own 100 where one was asked for.
      if head.status != 100 { receiver?.receiveInformational(status: head.status, headers) }
      headerMaps.recycle(headers)
      return
    }
    if tunnel == .connect, tunnel.isGranted(by: head.status) { return openTunnel(headers, head) }
    responseBegan = true
    responseFieldBytes = head.fieldBytes
    if !head.keepAlive {
      keepAlive = false
      isCloseAnnounced = true
    }
    if let seconds = head.keepAliveTimeout {
      // One second less than the upstream's own clock, so that we let go first.
      let announced = Nanoseconds.seconds(UInt64(max(seconds, 1) - 1))
      idleLimit = min(announced, settings.idleTimeout ?? announced)
    }
    body = HTTP1BodyDecoder(framing: head.framing, limits: settings.limits)
    if trailers != nil { trailers = nil }
    let endStream = head.framing == .none || head.framing == .length(0)
    if endStream { responseDone = true }
    receiver?.receiveHeaders(status: head.status, headers, endStream: endStream)
    if endStream { finishExchange() }
  }

  private func decodeBody(_ bytes: Bytes) -> Int {
    var rest = bytes
    while phase == .busy, !responseDone, pauses == 0 {
      let event = body.next(&rest) { trailersMap() }
      switch event {
      case .data(let run):
        responseDone = body.isDone
        receiver?.receiveData(run, endStream: responseDone)
        if responseDone { finishExchange() }
      case .end:
        responseDone = true
        receiver?.receiveData(Bytes(start: nil, count: 0), endStream: true)
        finishExchange()
      case .trailers:
        responseDone = true
        if let map = takeTrailers() { receiver?.receiveTrailers(map) }
        finishExchange()
      case .needMore:
        return bytes.count - rest.count
      case .invalid(let error):
        protocolError(error.details)
        return bytes.count
      }
    }
    return bytes.count - rest.count
  }

  /// Where trailers are gathered: the same map from their first byte to their last, however they arrive.
  private func trailersMap() -> HeaderMap {
    let map = trailers ?? headerMaps.take()
    trailers = map
    return map
  }

  private func takeTrailers() -> HeaderMap? {
    defer { trailers = nil }
    return trailers
  }

  /// The response is complete. If the request is too, the connection is free for another.
  private func finishExchange() {
    guard phase == .busy, responseDone, requestDone else { return }
    receiver = nil
    let isOld = loop.now >= expiresAt
    let isLast = settings.maximumRequests > 0 && requestCount >= settings.maximumRequests
    guard keepAlive, !isOld, !isLast, !transport.peerClosed, transport.isFlushed else {
      return close(isLast ? .maximumRequests : isOld ? .maximumDuration : isCloseAnnounced ? .announced : .local)
    }
    becomeIdle()
    // Bytes behind the response would otherwise be taken for the next request's answer: look at all that was read first.
    if isProcessing { isReleasePending = true } else { release() }
  }

  /// From here on the idle time runs: also for a new connection whose request has gone elsewhere meanwhile.
  private func becomeIdle() {
    phase = .idle
    idleSince = loop.now
    timer.arm(at: min(idleLimit.map { idleSince + $0 } ?? .never, expiresAt))
  }

  private func release() {
    isReleasePending = false
    guard input.isEmpty else { return protocolError("http1.unsolicited_response") }
    owner.connectionHasRoom(self)
  }

  func protocolError(_ detail: StaticString) { reset(.protocolError, detail, .protocolError) }

  private func endOfStream(isReset: Bool) {
    if isTunnelOpen, !isReset, !isBroken { return endTunnelResponse() }
    if phase == .busy, responseBegan, !responseDone, !isReset, input.isEmpty, body.connectionClosed() == .complete {
      responseDone = true
      keepAlive = false
      receiver?.receiveData(Bytes(start: nil, count: 0), endStream: true)
      if phase != .closed {
        receiver = nil
        close(.remote)
      }
      return
    }
    reset(.connectionTermination, "", .remote)
  }

  func reset(_ reason: StreamResetReason, _ detail: StaticString, _ close: ClientCloseReason) {
    let stream = receiver
    receiver = nil
    self.close(close)
    stream?.responseReset(reason, detail: detail)
  }

  func close(_ reason: ClientCloseReason) {
    guard phase != .closed else { return }
    wasBusy = phase == .busy && !isTunnelOver
    phase = .closed
    timer.disarm()
    // An upstream that is still at work for a request is told at once that nobody waits for it any more: a mere end of what is
    // sent could also mean that the request is complete.
    transport.close(loop, reset: wasBusy && reason == .local && tunnel == .none)
    input.clear(loop.bufferPool)
    owner.connectionClosed(self, reason)
  }
}
