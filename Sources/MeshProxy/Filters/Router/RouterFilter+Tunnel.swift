import MeshHTTP
import MeshPrimitives
import MeshRouting

/// What the router knows of a request for a tunnel.
struct RouterTunnel {
  /// The rest means something.
  var isUsed = false
  /// The tunnel is not granted yet: what comes for it waits. Whoever is asked might take it for something else.
  var isHeldBack = false
  /// The upstream gets the request's body as it is, over a connection of its own (`connect_config`).
  var endsHere = false
  /// The upstream sends no more.
  var isResponseEnded = false
  /// The key by which the upstream proves that it speaks WebSocket, where the client gave none; else empty.
  var webSocketKey: [UInt8] = []
  /// The upstream proves nothing, yet the client wants a proof.
  var lacksProof = false
}

/// Requests for tunnels: let in, asked for, granted or not.
extension RouterFilter {
  /// A WebSocket that came without a key cannot go on by HTTP/1.1, nor one with a key end without its answer.
  @inline(never)
  func prepareTunnel(_ stream: Stream, _ connection: any ClientConnection) {
    let headers = stream.requestHeaders
    guard WebSocketHandshake.isAsked(headers) else { return }
    let isFromHTTP2 = stream.start.version == .http2
    tunnel.lacksProof = connection.protocolVersion == .http2 && !isFromHTTP2
    guard isFromHTTP2, connection.protocolVersion != .http2, headers.value(WebSocketHandshake.key) == nil else {
      return
    }
    tunnel.webSocketKey = WebSocketHandshake.makeKey(&stream.worker.random)
    tunnel.webSocketKey.withUnsafeBufferPointer { headers.set(WebSocketHandshake.key, $0) }
  }

  /// Whether the upstream has understood what it grants.
  func isProof(_ headers: HeaderMap) -> Bool {
    if tunnel.webSocketKey.isEmpty { return true }
    let wanted = tunnel.webSocketKey.withUnsafeBufferPointer { WebSocketHandshake.accept($0) }
    tunnel.webSocketKey = []
    defer { headers.remove(WebSocketHandshake.accept) }
    return headers.value(WebSocketHandshake.accept)?.elementsEqual(wanted) == true
  }

  /// The upstream grants a tunnel, or does not.
  @inline(never)
  func respondToTunnel(_ stream: Stream, _ status: Int, _ headers: HeaderMap, endStream: Bool) {
    guard stream.start.tunnel.isGranted(by: status) else {
      if endStream { exchangeEnded(stream, stream.worker.loop.now) }
      return stream.respond(status: status, headers, endStream: endStream)
    }
    guard isProof(headers) else {
      stream.worker.headerMaps.recycle(headers)
      abandon()
      // Counted as the 101 that it was.
      return stream.sendLocalReply(.upstreamReset(.protocolError, WebSocketHandshake.detail))
    }
    if tunnel.lacksProof { WebSocketHandshake.complete(headers, to: stream.requestHeaders) }
    tunnel.isHeldBack = false
    stream.tunnelGranted()
    responseDeadline = .never
    stream.setResponseDeadline(attemptDeadline)
    if endStream { exchangeEnded(stream, stream.worker.loop.now) }
    let generation = stream.generation
    stream.respond(status: status, headers, endStream: endStream)
    // A filter may have answered in the upstream's place, or ended it all.
    guard !stream.isOver, stream.generation == generation, let upstream else { return }
    sendPending(stream, upstream)
    if tunnel.isResponseEnded, requestEnded { exchangeEnded(stream, stream.worker.loop.now) }
  }

  /// Whether the configuration allows the tunnel that the request asks for. Filters may have led it to another route than
  /// the one by which it was let in.
  @inline(never)
  func admitTunnel(
    _ stream: Stream, _ headers: HeaderMap, _ route: RouteEntry, _ action: ForwardAction
  ) -> Bool {
    tunnel.isUsed = true
    guard stream.start.tunnel != .none else {
      tunnel.endsHere = stream.start.method == .post
      return true
    }
    guard let manager = stream.manager, manager.admission(headers, stream.start.tunnel, route) != nil else {
      stream.manager?.refuseTunnel(stream)
      return false
    }
    tunnel.isHeldBack = true
    hasBody = false
    tunnel.endsHere = stream.start.tunnel == .connect && action.upgrade(Bytes("connect"))?.termination != nil
    return true
  }
}
