import MeshPrimitives

/// One request and its response on an `HTTP2ServerConnection`. Reused by its connection.
final class HTTP2ServerStream: HTTP2Stream, ResponseSender {
  private enum Phase: UInt8 { case none, body, done }

  /// The client gave the request up.
  private(set) var isCancelled = false
  /// nil while it serves no request.
  var connection: HTTP2ServerConnection?
  private(set) var receiver: (any RequestReceiver)?
  private var phase = Phase.none
  private var method = HTTPMethod.get
  private var tunnel = TunnelKind.none
  /// The tunnel is granted: each direction ends for itself.
  private var isTunnelOpen = false
  /// The receiver has heard that nothing more comes.
  private var requestEnded = false
  private(set) var startedAt = MonotonicTime.never
  /// When a byte of the response was last framed, once the response is complete for its writer.
  private(set) var waitsSince = MonotonicTime.never

  func begin(_ connection: HTTP2ServerConnection) {
    self.connection = connection
    isClosed = false
    phase = .none
    method = .get
    tunnel = .none
    isTunnelOpen = false
    requestEnded = false
    isCancelled = false
    startedAt = connection.loop.now
    waitsSince = .never
  }

  /// Whether the response is not complete for whoever writes it.
  var isActive: Bool { receiver != nil }

  // MARK: The request

  override func take(head: HeaderMap, start: RequestStart?, status: Int, endStream: Bool) {
    guard let connection, let start else { return session.headerMaps.recycle(head) }
    method = start.method
    tunnel = start.tunnel
    connection.take(head, start, self)
    // The head of a tunnel does not end its direction.
    if tunnel != .none, endStream, !isReset { receive(Bytes(start: nil, count: 0), endStream: true) }
  }

  override func take(_ bytes: Bytes, endStream: Bool) {
    if endStream { requestEnded = true }
    receiver?.receiveData(bytes, endStream: endStream)
    if endStream, phase == .done { receiver = nil }
  }

  override func take(trailers: HeaderMap) {
    guard let receiver else { return session.headerMaps.recycle(trailers) }
    if let error = connection?.checkUnderscores(trailers) { return refuse(trailers, error) }
    receiver.receiveTrailers(trailers)
  }

  override func refuse(_ map: HeaderMap, _ error: HTTP2MessageError) {
    guard let connection else { return session.headerMaps.recycle(map) }
    guard let status = error.status else {
      if receiver == nil, phase == .none {
        phase = .done
        connection.handler.fail(self, connection.info, map, error.details)
        receiver = nil
      } else {
        session.headerMaps.recycle(map)
      }
      return session.fail(self, error)
    }
    if let receiver {
      session.headerMaps.recycle(map)
      receiver.requestMalformed(status: status, error.details)
    } else {
      connection.handler.refuse(self, connection.info, map, status: status, error.details)
    }
  }

  override func ended(_ code: HTTP2ErrorCode, isRemote: Bool) {
    guard let receiver else { return }
    self.receiver = nil
    // What was sent is all there is: a response without a body to one that still believes in it.
    if phase == .done || sentEnd, !isTunnelOpen { return }
    isCancelled = isRemote
    receiver.requestReset(connection?.resetReason(code, isRemote: isRemote) ?? .connectionTermination)
  }

  override func outputDrained() { receiver?.responseUnblocked() }

  override func outputComplete() {
    // RFC 9113 §8.1: the answer is complete, the rest of the request is not wanted.
    if !receivedEnd, !isTunnelOpen { session.reset(self, .noError) }
  }

  // MARK: ResponseSender

  func attach(_ stream: any RequestReceiver) { receiver = stream }

  func sendInformational(status: Int, _ headers: HeaderMap) {
    guard phase == .none, !isReset, !isClosed else { return }
    session.send(informational: status, headers, of: self)
  }

  func sendHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    guard phase == .none, !isReset, !isClosed else { return writeNothing(endStream: endStream) }
    phase = .body
    isTunnelOpen = tunnel.isGranted(by: status)
    // No body, whatever comes of one; a Content-Length here describes the body a GET would have got.
    let isBodiless = (method == .head || status == 204 || status == 304) && !isTunnelOpen
    // RFC 8441 §5: what HTTP/1.1 grants with 101, HTTP/2 grants with 200.
    let code = status == 101 && tunnel == .upgrade ? 200 : status
    session.send(status: code, headers, of: self, endStream: endStream || isBodiless)
    if isBodiless { outputEnds = true }
    if endStream { responseComplete() }
  }

  func sendData(_ bytes: Bytes, endStream: Bool) {
    guard phase == .body, !isReset, !isClosed else { return writeNothing(endStream: endStream) }
    let isBlocked = write(bytes, endStream: endStream)
    if endStream { return responseComplete() }
    if isBlocked { receiver?.responseBlocked() }
  }

  func sendTrailers(_ trailers: HeaderMap) {
    guard phase == .body, !isReset, !isClosed else { return writeNothing(endStream: true) }
    write(trailers: trailers)
    responseComplete()
  }

  /// The stream is over for the client already. Whoever has said its last hears nothing more, and may be another's next.
  private func writeNothing(endStream: Bool) {
    if endStream, !isTunnelOpen || requestEnded { receiver = nil }
  }

  func resetStream() {
    receiver = nil
    phase = .done
    guard !isClosed else { return }
    // What the client may have of it, it gets.
    if !output.isEmpty { session.pull(upTo: HTTP2ServerConnection.bytesPerSend) }
    session.reset(self, .internalError)
  }

  func pauseRequest(_ pause: Bool) { self.pause(pause) }

  func closeAfterResponse() { connection?.drain(idleFor: nil) }

  var protocolVersion: HTTPVersion { .http2 }

  var waitingOutput: Int { output.count }

  var roundTripTime: Nanoseconds? { connection?.roundTripTime }

  private func responseComplete() {
    phase = .done
    if isTunnelOpen, !requestEnded {
      isOutputBlocked = false
      return
    }
    receiver = nil
    isOutputBlocked = false
    // What still comes of the request is thrown away.
    if pauses > 0 {
      pauses = 1
      pause(false)
    }
    if let connection, !output.isEmpty {
      waitsSince = connection.loop.now
      connection.watchOutput()
    }
  }
}
