import MeshIO
import MeshPrimitives

/// Writing: what the stream says becomes bytes, in the framing that HTTP/1.1 wants (RFC 9112 §6.3).
extension HTTP1ServerConnection {
  /// Body runs of at least this size go to the kernel without being copied first.
  static let directWriteSize = 4096

  public func sendInformational(status: Int, _ headers: HeaderMap) {
    // RFC 9110 §15.2: HTTP/1.0 knows no interim responses.
    guard phase != .closed, responsePhase == .none, !isHTTP10 else { return }
    let before = transport.output.count
    HTTP1Encoder.informational(status: status, headers, style: style, into: &transport.output, pool: loop.bufferPool)
    noteEncoded(since: before)
    scheduleFlush()
  }

  public func sendHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    guard phase != .closed, responsePhase == .none else { return }
    if tunnel.isGranted(by: status) { return openTunnel(status: status, headers, endStream: endStream) }
    let framing: BodyFraming
    if method == .head || status == 204 || status == 304 {
      // No body, whatever the fields say; a Content-Length here describes the body a GET would have got.
      framing = .none
    } else if endStream {
      framing = .length(0)
    } else if let length = headers.contentLength {
      framing = .length(length)
    } else if isHTTP10 {
      // HTTP/1.0 has no chunks: the end of the connection is the end of the body.
      framing = .untilClose
      keepAlive = false
    } else {
      framing = .chunked
    }
    responseFraming = framing
    responsePhase = .body
    // An answer that overtakes its request may end before it: the rest of the request would have to be read for
    // nothing. The client is told, or it would lose what it sends next (as Envoy does).
    if phase == .body { keepAlive = false }
    let before = transport.output.count
    let fields = HTTP1Encoder.responseHead(
      status: status, headers, framing: framing, close: !keepAlive, style: style, into: &transport.output,
      pool: loop.bufferPool)
    wire.headerSent = UInt32(truncatingIfNeeded: fields)
    noteEncoded(since: before)
    scheduleFlush()
    if endStream { responseComplete() }
  }

  var style: HTTP1HeadStyle {
    var style = HTTP1HeadStyle()
    style.names = settings.names
    style.isHTTP10 = isHTTP10
    return style
  }

  public func sendData(_ bytes: Bytes, endStream: Bool) {
    guard phase != .closed, responsePhase == .body else { return }
    if bytes.count > 0 {
      switch responseFraming {
      case .none: break
      case .length, .untilClose: write(bytes)
      case .chunked:
        let before = transport.output.count
        HTTP1Encoder.chunkHeader(length: bytes.count, into: &transport.output, pool: loop.bufferPool)
        // The end of the chunk is two bytes more.
        noteEncoded(since: before - 2)
        write(bytes)
        if phase != .closed { HTTP1Encoder.chunkEnd(into: &transport.output, pool: loop.bufferPool) }
      }
      guard phase != .closed else { return }
      if !isBlocked, transport.output.count > settings.highWatermark {
        isBlocked = true
        receiver?.responseBlocked()
      }
    }
    if endStream {
      if responseFraming == .chunked {
        let before = transport.output.count
        HTTP1Encoder.lastChunk(trailers: nil, into: &transport.output, pool: loop.bufferPool)
        noteEncoded(since: before)
      }
      responseComplete()
    }
    scheduleFlush()
  }

  public func sendTrailers(_ trailers: HeaderMap) {
    guard phase != .closed, responsePhase == .body else { return }
    // Without chunks there is no place for trailers (RFC 9110 §6.5.1); a recipient may drop them.
    if responseFraming == .chunked {
      let before = transport.output.count
      HTTP1Encoder.lastChunk(trailers: trailers, into: &transport.output, pool: loop.bufferPool)
      noteEncoded(since: before)
    }
    responseComplete()
    scheduleFlush()
  }

  public func resetStream() {
    guard phase != .closed else { return }
    receiver = nil
    // What has come so far may still be useful to the client. That more is missing it sees from the framing: a length
    // not reached, a last chunk that never came (RFC 9112 §8). A response that ends with the connection ends with a
    // reset: whoever looks can tell that from its end.
    _ = transport.flush(loop.bufferPool)
    close(.local, reset: isTunnelOpen || responsePhase == .body && responseFraming == .untilClose)
  }

  public func pauseRequest(_ pause: Bool) {
    if pause {
      pauses += 1
    } else if pauses > 0 {
      pauses -= 1
      if pauses == 0, phase != .closed { scheduleFlush() }
    }
  }

  public func closeAfterResponse() { keepAlive = false }

  /// Counts what the encoder has put behind the output's first `count` bytes.
  @inline(__always)
  func noteEncoded(since count: Int) { wire.sent &+= UInt64(transport.output.count - count) }

  private func write(_ bytes: Bytes) {
    wire.sent &+= UInt64(bytes.count)
    guard bytes.count >= Self.directWriteSize else {
      transport.output.append(bytes, loop.bufferPool)
      return
    }
    let before = transport.output.count
    let sound = transport.send(bytes, loop.bufferPool)
    handler.connectionTransferred(received: 0, sent: before + bytes.count - transport.output.count)
    // The stream is on the stack above us: let the loop close the connection when it has returned.
    if !sound { breakLater() }
  }

  /// The peer is gone, noticed while a stream was writing. Nothing more is sent; the close happens at the loop's next turn.
  private func breakLater() {
    transport.output.clear(loop.bufferPool)
    loop.defer { [self] in close(.remote) }
  }

  private func responseComplete() {
    responsePhase = .done
    if isTunnelOpen { return endTunnelResponse() }
    receiver = nil
    isBlocked = false
    pauses = 0
    finishIfComplete()
  }

  /// Both directions of the exchange done: the next request, or the end of the connection.
  func finishIfComplete() {
    guard responsePhase == .done else { return }
    if phase == .response, keepAlive {
      becomeIdle()
      // Whatever was read beyond this request is looked at once the response has been handed to the kernel.
      if transport.isReadable || !input.isEmpty { scheduleFlush() }
    } else if phase == .response || phase == .body {
      // An early response ends the request; its unread rest must not be taken for the next one.
      endAfterFlush()
    }
  }
}
