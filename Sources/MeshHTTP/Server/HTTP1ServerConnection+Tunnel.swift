import MeshIO
import MeshPrimitives

/// A connection that becomes a tunnel (RFC 9110 §7.8, §9.3.6). Nothing is read as HTTP behind the request that asks for
/// it, whatever the answer is.
extension HTTP1ServerConnection {
  /// A request for a tunnel has begun: all that follows is its body.
  func askForTunnel(_ kind: TunnelKind, _ start: inout RequestStart) {
    tunnel = kind
    start.tunnel = kind
    start.endStream = false
    phase = .body
    body = HTTP1BodyDecoder(framing: .untilClose, limits: settings.limits)
    keepAlive = false
  }

  func openTunnel(status: Int, _ headers: HeaderMap, endStream: Bool) {
    isTunnelOpen = true
    responsePhase = .body
    responseFraming = .untilClose
    let before = transport.output.count
    let fields = HTTP1Encoder.tunnelResponseHead(
      status: status, headers, tunnel, style: style, into: &transport.output, pool: loop.bufferPool)
    wire.headerSent = UInt32(truncatingIfNeeded: fields)
    noteEncoded(since: before)
    scheduleFlush()
    if endStream { sendData(Bytes(start: nil, count: 0), endStream: true) }
  }

  /// The client sends no more. It still reads.
  func endTunnelRequest() {
    guard phase == .body else { return }
    phase = .response
    receiver?.receiveData(Bytes(start: nil, count: 0), endStream: true)
    if isTunnelOpen, responsePhase == .done { finishTunnel() }
  }

  /// The upstream sends no more: once the client has it all, our direction ends. It may still send.
  func endTunnelResponse() {
    isBlocked = false
    guard phase == .body else { return finishTunnel() }
    endsAfterFlush = true
    phaseStartedAt = loop.now
    timer.arm(at: settings.flushTimeout.map { phaseStartedAt + $0 } ?? .never)
    scheduleFlush()
  }

  private func finishTunnel() {
    guard phase != .closed else { return }
    receiver = nil
    endAfterFlush()
  }
}
