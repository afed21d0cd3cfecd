import MeshPrimitives

/// A connection that becomes a tunnel (RFC 9110 §7.8, §9.3.6), or ends with the answer that refuses it.
extension HTTP1ClientConnection {
  /// Both directions of the tunnel have ended.
  var isTunnelOver: Bool { isTunnelOpen && requestDone && responseDone }

  /// Sends the head of a request for a tunnel.
  func askForTunnel(_ headers: HeaderMap, _ method: HTTPMethod) {
    keepAlive = false
    tunnel = method == .connect ? .connect : .upgrade
    if tunnel == .upgrade { requestedProtocol = headers.value(.upgrade).map { $0.map(\.asciiLowercased) } ?? [] }
    requestDone = false
    requestFraming = .none
    requestFieldBytes = UInt32(
      truncatingIfNeeded: HTTP1Encoder.tunnelRequestHead(
        headers, tunnel, style: settings.style, into: &transport.output, pool: loop.bufferPool))
    scheduleFlush()
  }

  /// The upstream grants the tunnel: what follows its head is the tunnel's.
  func openTunnel(_ headers: HeaderMap, _ head: HTTP1ResponseHead) {
    guard tunnel == .connect || isRequested(headers, head) else {
      headerMaps.recycle(headers)
      // RFC 9110 §7.8: a server must not switch to a protocol that was not asked for.
      return protocolError("http1.unsolicited_upgrade")
    }
    isTunnelOpen = true
    responseBegan = true
    responseFieldBytes = head.fieldBytes
    body = HTTP1BodyDecoder(framing: .untilClose, limits: settings.limits)
    receiver?.receiveHeaders(status: head.status, headers, endStream: false)
  }

  private func isRequested(_ headers: HeaderMap, _ head: HTTP1ResponseHead) -> Bool {
    guard head.upgrade, !headers.isRepeated(.upgrade), let name = headers.value(.upgrade) else { return false }
    return requestedProtocol.withUnsafeBufferPointer { name.equalsIgnoringCase($0) }
  }

  /// Nothing more goes to the upstream, which may still send.
  func endTunnelRequest() {
    // Without a grant the end of our bytes would be the end of the connection; whoever waits for the answer gives up.
    guard isTunnelOpen else { return }
    halfClosesAfterFlush = true
    // Both directions have ended: whoever had them may be someone else's by the time the last bytes have left.
    if responseDone { receiver = nil }
    scheduleFlush()
  }

  func tunnelFlushed() {
    halfClosesAfterFlush = false
    guard phase == .busy else { return }
    if responseDone { close(.remote) } else { transport.shutdownWrite() }
  }

  /// The upstream sends no more. It may still read.
  func endTunnelResponse() {
    guard !responseDone else { return }
    responseDone = true
    receiver?.receiveData(Bytes(start: nil, count: 0), endStream: true)
    guard phase == .busy, requestDone else { return }
    receiver = nil
    if transport.isFlushed { close(.remote) }
  }
}
