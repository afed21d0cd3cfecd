import MeshPrimitives

/// One stream of an `HTTP2Session`: what the codec's two sides have in common. The bytes of the body that wait to be
/// sent, those that came while nobody wanted them, and how far both directions have come. Reused by its connection.
///
/// The session calls; the subclasses make of it what their side's contract says.
public class HTTP2Stream {
  /// Its number; 0 while it belongs to none.
  final var identifier: Int32 = 0
  final unowned(unsafe) let session: HTTP2Session
  /// Where the session keeps this stream in its list.
  final var listIndex = 0

  // MARK: Sending

  /// Bytes of the body that no frame has taken yet.
  final var output = ByteQueue()
  /// Nothing comes after `output` but perhaps `outputTrailers`.
  final var outputEnds = false
  final var outputTrailers: HeaderMap?
  /// nghttp2 has been told to wait for more.
  final var isDeferred = false
  /// Whoever writes was told to stop.
  final var isOutputBlocked = false
  /// END_STREAM is on its way.
  final var sentEnd = false
  /// It takes turns with the others.
  final var takesTurns = false

  // MARK: Receiving

  /// What came while the receiver wanted nothing.
  final var input = ByteQueue()
  final var inputEnds = false
  final var inputTrailers: HeaderMap?
  /// The session's stream is no more, and what came by it has not all been delivered.
  final var isOverForPeer = false
  /// How many parties want the body to wait.
  final var pauses: UInt16 = 0
  /// Bytes taken on for which the peer's window has not been opened again.
  final var withheld = 0
  /// Bytes of the body still to come, if that was said; -1 if not.
  final var remaining: Int64 = -1
  /// The response has no body, whatever its fields say: it answers HEAD.
  final var isBodiless = false
  /// END_STREAM has come.
  final var receivedEnd = false
  final var receivedHead = false

  /// RST_STREAM was sent, is about to be, or has come: nothing is passed on any more.
  final var isReset = false
  /// The stream broke a rule, and was reset for it.
  final var isFaulty = false
  /// The session does not know it: it must not be called.
  final var isClosed = true
  final var wire = WireBytes()

  init(session: HTTP2Session) { self.session = session }

  /// Makes it as new.
  final func clear() {
    output.clear(session.pool)
    input.clear(session.pool)
    identifier = 0
    outputEnds = false
    outputTrailers = nil
    isDeferred = false
    isOutputBlocked = false
    sentEnd = false
    takesTurns = false
    inputEnds = false
    inputTrailers = nil
    isOverForPeer = false
    pauses = 0
    withheld = 0
    remaining = -1
    isBodiless = false
    receivedEnd = false
    receivedHead = false
    isReset = false
    isFaulty = false
    isClosed = true
    wire = WireBytes()
  }

  // MARK: What the sides make of it

  /// A head is complete: a request's (`status` is 0) or a response's, perhaps an interim one.
  func take(head: HeaderMap, start: RequestStart?, status: Int, endStream: Bool) {}
  /// A run of the body.
  func take(_ bytes: Bytes, endStream: Bool) {}
  func take(trailers: HeaderMap) {}
  /// The message breaks a rule. Nothing more of it is passed on.
  func refuse(_ map: HeaderMap, _ error: HTTP2MessageError) {}
  /// The stream is gone; `isRemote`: because the peer said so.
  func ended(_ code: HTTP2ErrorCode, isRemote: Bool) {}
  /// The output is half empty again.
  func outputDrained() {}
  /// The last frame of what we send has been framed.
  func outputComplete() {}

  // MARK: The body, as it comes

  /// Notes how long the body is said to be. A message that ends with its head must not promise one.
  final func expectBody(_ length: UInt64?, endStream: Bool, _ reader: inout HTTP2HeadReader) {
    guard let length else { return }
    if endStream {
      if length != 0 { reader.fail(.contentLengthMismatch) }
    } else {
      remaining = Int64(clamping: length)
    }
  }

  /// The same of a response, which may speak of a body that it does not have (RFC 9110 §8.6).
  final func expectResponseBody(_ map: HeaderMap, status: Int, endStream: Bool, _ reader: inout HTTP2HeadReader) {
    if isBodiless || status == 204 || status == 304 {
      if !endStream { remaining = 0 }
      if status == 204 { map.remove(.contentLength) }
    } else {
      expectBody(map.contentLength, endStream: endStream, &reader)
    }
  }

  /// A run of the body came, or its end.
  final func receive(_ bytes: Bytes, endStream: Bool) {
    if remaining >= 0 {
      remaining -= Int64(bytes.count)
      guard remaining >= 0, !endStream || remaining == 0 else { return session.fail(self, .contentLengthMismatch) }
    }
    if pauses > 0 || !input.isEmpty {
      input.append(bytes, session.pool)
      session.hold(self, bytes.count)
      inputEnds = inputEnds || endStream
      return
    }
    if bytes.count > 0 { session.hold(self, bytes.count) }
    take(bytes, endStream: endStream)
    if pauses == 0 { openWindow() }
  }

  final func receive(trailers: HeaderMap) {
    if remaining > 0 { return session.fail(self, .contentLengthMismatch) }
    if pauses > 0 || !input.isEmpty {
      inputTrailers = trailers
    } else {
      take(trailers: trailers)
    }
  }

  /// Lets the peer send as much as was taken on since.
  private func openWindow() {
    guard withheld > 0, !isClosed else { return }
    session.release(self, opensWindow: !receivedEnd && !isOverForPeer)
  }

  /// Stops (`true`) or resumes the delivery of the body. Calls nest.
  final func pause(_ pause: Bool) {
    if pause {
      pauses += 1
    } else if pauses > 0 {
      pauses -= 1
      if pauses == 0, !isClosed { session.resumeLater(self) }
    }
  }

  /// Whether something waits to be delivered.
  final var hasInput: Bool { !input.isEmpty || inputEnds || inputTrailers != nil }

  /// What waited is delivered: from the top of an event, not below whoever ended the pause.
  final func resumeInput() {
    guard pauses == 0, !isReset else { return }
    if !input.isEmpty {
      var waiting = ByteQueue()
      swap(&waiting, &input)
      let ends = inputEnds
      inputEnds = false
      take(waiting.bytes, endStream: ends)
      waiting.clear(session.pool)
    } else if inputEnds, inputTrailers == nil, identifier != 0 {
      inputEnds = false
      take(Bytes(start: nil, count: 0), endStream: true)
    }
    guard pauses == 0, !isReset else { return }
    if let trailers = inputTrailers {
      inputTrailers = nil
      take(trailers: trailers)
    }
    if pauses == 0 { openWindow() }
    if isOverForPeer, !hasInput, !isClosed { session.end(self, .noError, isRemote: false) }
  }

  // MARK: The body, as it goes

  /// Puts a run of the body, perhaps the last one, behind what waits.
  /// - Returns: whether the writer should stop now.
  final func write(_ bytes: Bytes, endStream: Bool) -> Bool {
    guard !isReset, !isClosed, !outputEnds else { return false }
    output.append(bytes, session.pool)
    // As if each run had a frame of its own: when the last of it is framed, whoever counts has gone.
    wire.sent &+= UInt64(bytes.count &+ 9)
    session.waitingOutput += bytes.count
    if endStream { outputEnds = true }
    if !takesTurns, output.count > HTTP2Session.frameSize { session.takeTurns(self) }
    session.wake(self)
    guard !isOutputBlocked, output.count > session.streamWatermark else { return false }
    isOutputBlocked = true
    return true
  }

  /// The trailers end the message. They are copied.
  final func write(trailers: HeaderMap) {
    guard !isReset, !isClosed, !outputEnds else { return }
    let copy = session.headerMaps.take()
    copy.copy(from: trailers)
    outputTrailers = copy
    outputEnds = true
    session.wake(self)
  }
}
