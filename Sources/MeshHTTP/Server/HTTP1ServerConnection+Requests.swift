import MeshIO
import MeshPrimitives

/// Reading: bytes from the socket become heads, body runs and trailers.
extension HTTP1ServerConnection {
  /// Reads in one turn of the loop, each of up to 64 KiB.
  static let readsPerTurn = 16

  /// Reads and processes until the kernel has nothing more, or until what comes next is not wanted yet. Runs at the top
  /// of an event only, never below another connection's callback: the receive buffer is shared by the whole loop.
  func read() {
    guard !isProcessing else { return }
    isProcessing = true
    defer { isProcessing = false }
    if !input.isEmpty {
      // What came before this connection began to serve.
      if settings.asksBeforeDispatch, !hasDispatched, !mayDispatch(input.bytes) { return }
      let consumed = process(input.bytes)
      guard phase != .closed else { return }
      if consumed > 0 { input.drop(min(consumed, input.count), loop.bufferPool) }
    }
    var turns = 0
    while phase != .closed, transport.isReadable, wantsInput {
      // A fast sender does not keep the loop from the others: the rest comes after them.
      turns += 1
      if turns > Self.readsPerTurn { return loop.defer { [self] in flush() } }
      let count: Int
      let isDirect = input.isEmpty
      if isDirect {
        count = transport.receive(loop.receiveBuffer, EventLoop.receiveBufferSize)
      } else {
        let room = input.reserve(BufferPool.blockSize / 2, loop.bufferPool)
        count = transport.receive(room, BufferPool.blockSize / 2)
        if count > 0 { input.commit(count) }
      }
      guard count > 0 else {
        if count == 0 { return endOfStream() }
        if count == Socket.wouldBlock { return }
        return close(.remote)
      }
      handler.connectionTransferred(received: count, sent: 0)
      if settings.asksBeforeDispatch {
        let bytes = isDirect ? Bytes(start: loop.receiveBuffer, count: count) : input.bytes
        if !mayDispatch(bytes) { return }
      }
      if isDirect {
        let bytes = Bytes(start: loop.receiveBuffer, count: count)
        let consumed = process(bytes)
        guard phase != .closed else { return }
        if consumed < count { input.append(bytes.slice(consumed, count - consumed), loop.bufferPool) }
      } else {
        let consumed = process(input.bytes)
        guard phase != .closed else { return }
        if consumed > 0 { input.drop(min(consumed, input.count), loop.bufferPool) }
      }
    }
  }

  /// - Parameter bytes: what is to be looked at.
  @inline(never)
  private func mayDispatch(_ bytes: Bytes) -> Bool {
    // Of what is thrown away anyway nobody has to be asked.
    guard phase != .lingering, responsePhase != .done || phase == .idle || phase == .head else { return true }
    // A connection of HTTP/2 asks for itself.
    if settings.codec == .automatic, requestCount == 0, isPreface(bytes) { return true }
    let isFirst = !hasDispatched
    hasDispatched = true
    switch handler.mayDispatch(on: self, isFirst: isFirst) {
    case .granted, .goAway, .goAwayAndClose: return true
    case .close: close(.local)
    case .abort:
      if phase == .idle || phase == .head {
        beginRefusal()
        parser.reset()
        wire.received = UInt64(bytes.count)
        handler.refuseForOverload(self, info, headerMaps.take())
      } else {
        _ = failBody(bytes.count, 500, "overload")
      }
    }
    return false
  }

  private var wantsInput: Bool {
    switch phase {
    case .idle, .head, .lingering: true
    case .body: pauses == 0 || responsePhase == .done && !isTunnelOpen
    case .response, .closed: false
    }
  }

  /// Returns how many of the bytes are done with; the rest is kept and offered again.
  private func process(_ bytes: Bytes) -> Int {
    var offset = 0
    while offset < bytes.count {
      switch phase {
      case .idle, .head:
        // A request is begun only when the last response is on its way, so that a client that pipelines without
        // reading cannot make us store its responses.
        if transport.output.count >= settings.highWatermark { return offset }
        let rest = bytes.slice(offset, bytes.count - offset)
        let headers = headerMaps.take()
        var head = HTTP1RequestHead()
        switch parser.parse(rest, into: headers, head: &head) {
        case .complete:
          offset += head.headLength
          if hasRequestRules || head.minorVersion == 0 {
            if let error = applyRules(headers, head, rest) { return refuse(headers, error, bytes.count) }
          }
          begin(headers, head)
        case .incomplete:
          headerMaps.recycle(headers)
          if phase == .idle { beginHead() }
          return offset
        case .invalid(let error):
          parser.reset()
          if error == .unsupportedVersion, settings.codec == .automatic, requestCount == 0, isPreface(rest) {
            headerMaps.recycle(headers)
            becomeHTTP2(rest)
            return 0
          }
          return refuse(headers, error, bytes.count)
        }
      case .body:
        // The answer has gone out already: what still comes of the request is thrown away until the connection ends.
        if responsePhase == .done, !isTunnelOpen { return bytes.count }
        if pauses > 0 { return offset }
        offset += decodeBody(bytes.slice(offset, bytes.count - offset))
      case .response:
        return offset
      case .lingering:
        return bytes.count
      case .closed:
        return 0
      }
    }
    return offset
  }

  /// Whether these bytes begin with as much of HTTP/2's preface as is a request line (RFC 9113 §3.4).
  private func isPreface(_ bytes: Bytes) -> Bool { bytes.starts(with: Bytes("PRI * HTTP/2.0\r\n")) }

  /// Hands the transport, and what came by it, to a connection of HTTP/2.
  @inline(never)
  private func becomeHTTP2(_ bytes: Bytes) {
    var moved = Transport(descriptor: -1, isWritable: false)
    swap(&moved, &transport)
    phase = .closed
    timer.disarm()
    defer { input.clear(loop.bufferPool) }
    let successor = HTTP2ServerConnection(
      loop: loop, transport: moved, settings: settings, headerMaps: headerMaps, handler: handler, info: info)
    handler.connectionChanged(self, to: successor)
    do { try successor.start(with: bytes) } catch { successor.close(.local) }
  }

  private func refuse(_ headers: HeaderMap, _ error: HTTP1Error, _ count: Int) -> Int {
    beginRefusal()
    wire.received = UInt64(count)
    handler.refuse(self, info, headers, status: error.status, error.details)
    return count
  }

  private func beginHead() {
    phase = .head
    phaseStartedAt = loop.now
    armHead()
  }

  private func begin(_ headers: HeaderMap, _ head: HTTP1RequestHead) {
    requestCount &+= 1
    method = head.method
    wire = WireBytes(
      received: UInt64(head.headLength), sent: 0, headerReceived: head.fieldBytes, headerSent: 0)
    let maximum = settings.maximumRequests
    let isLast = maximum > 0 && requestCount >= maximum
    let isOld = settings.maximumDuration.map { loop.now >= openedAt + $0 } ?? false
    if keepAlive, isLast || isOld { handler.reached(isOld ? .duration : .requests) }
    keepAlive = keepAlive && head.keepAlive && !isLast && !isOld
    responsePhase = .none
    body = HTTP1BodyDecoder(framing: head.framing, limits: settings.limits)
    if trailers != nil { trailers = nil }
    let endStream = head.framing == .none || head.framing == .length(0)
    phase = endStream ? .response : .body
    var start = RequestStart(
      method: head.method, expectsContinue: head.expectsContinue && !endStream, endStream: endStream)
    if head.tunnel != .none { askForTunnel(head.tunnel, &start) }
    isHTTP10 = head.minorVersion == 0
    if isHTTP10 { start.version = .http10 }
    start.isAbsoluteTarget = head.targetForm == .absolute
    handler.openStream(self, info, headers, start)
  }

  public func attach(_ stream: any RequestReceiver) { receiver = stream }

  private func decodeBody(_ bytes: Bytes) -> Int {
    var rest = bytes
    while phase == .body, pauses == 0, responsePhase != .done || isTunnelOpen {
      let before = rest.count
      let event = body.next(&rest) { trailersMap() }
      wire.received &+= UInt64(before - rest.count)
      switch event {
      case .data(let run):
        let isLast = body.isDone
        if isLast { phase = .response }
        receiver?.receiveData(run, endStream: isLast)
        if isLast { finishIfComplete() }
      case .end:
        phase = .response
        receiver?.receiveData(Bytes(start: nil, count: 0), endStream: true)
        finishIfComplete()
      case .trailers:
        if settings.underscores != .keep, let trailers, let error = checkUnderscores(trailers) {
          return failBody(bytes.count, error.status, error.details)
        }
        phase = .response
        if let map = takeTrailers() { receiver?.receiveTrailers(map) }
        finishIfComplete()
      case .needMore:
        return bytes.count - rest.count
      case .invalid(let error):
        return failBody(bytes.count, error.status, error.details)
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

  /// The body broke its framing. Nothing after it can be trusted: nothing more is read as HTTP, the upstream sees a
  /// request that never ended, and the client gets its 400 if no response has begun.
  private func failBody(_ count: Int, _ status: Int, _ details: StaticString) -> Int {
    keepAlive = false
    pauses += 1
    input.clear(loop.bufferPool)
    receiver?.requestMalformed(status: status, details)
    return count
  }

  /// FIN. Between requests that is a goodbye; inside one it is a truncated request; after a complete request the client
  /// has only closed its sending half and still gets its response (nothing is read until then).
  private func endOfStream() {
    switch phase {
    case .body where tunnel != .none: endTunnelRequest()
    case .idle, .head, .lingering, .body: close(.remote)
    case .response, .closed: break
    }
  }
}
