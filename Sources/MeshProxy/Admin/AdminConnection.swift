import MeshHTTP
import MeshIO
import MeshPrimitives

/// One client of the admin interface. A connection on which nothing moves while a request or a response is under way is
/// cut: there are few connections, and whoever wants to know whether the proxy is ready must get one.
final class AdminConnection: ServerConnectionHandler, TimerTarget {
  unowned let server: AdminServer
  private(set) var http: HTTP1ServerConnection?
  /// Where the server keeps this connection in its list.
  var listIndex = 0
  /// When bytes last crossed the wire.
  private(set) var lastProgress: MonotonicTime
  /// The request that is being answered.
  private var stream: AdminStream?
  private var timer: Timer?

  init(_ server: AdminServer) {
    self.server = server
    lastProgress = server.loop.now
  }

  func start(_ accepted: Accepted, identifier: UInt64) throws(SystemError) {
    let http = HTTP1ServerConnection(
      loop: server.loop, transport: Transport(descriptor: accepted.fd, isWritable: true),
      settings: server.limits.connection, headerMaps: server.headerMaps, handler: self,
      info: ConnectionInfo(
        remoteAddress: accepted.peer.isUnix ? server.address : accepted.peer.unmapped, localAddress: server.address,
        identifier: identifier))
    self.http = http
    timer = Timer(server.loop, self)
    timer?.arm(after: server.limits.stall)
    try http.start()
  }

  /// Between requests, so that closing it harms no one.
  var isIdle: Bool { http?.isIdle ?? true }

  func close() { http?.close(.local, reset: !isIdle) }

  func timerFired(_ tag: UInt8) {
    let now = server.loop.now
    guard let http, !http.isClosed else { return }
    if let stream, let deadline = stream.bodyDeadline, now >= deadline { return stream.bodyTimedOut() }
    // While nothing is under way the connection itself watches its idle time.
    if !http.isIdle, now >= lastProgress + server.limits.stall { return close() }
    let next = http.isIdle ? now + server.limits.stall : lastProgress + server.limits.stall
    timer?.arm(at: min(next, stream?.bodyDeadline ?? .never))
  }

  // MARK: ServerConnectionHandler

  func reached(_ limit: ServerConnectionLimit) {}

  func openStream(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ start: RequestStart
  ) {
    guard let http else { return }
    let stream = AdminStream(server, http)
    self.stream = stream
    sender.attach(stream)
    stream.begin(headers, start)
    if let deadline = stream.bodyDeadline { timer?.arm(at: min(deadline, server.loop.now + server.limits.stall)) }
  }

  func refuse(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, status: Int,
    _ details: StaticString
  ) {
    server.headerMaps.recycle(headers)
    refuse(sender, status: status)
  }

  func fail(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ details: StaticString
  ) { server.headerMaps.recycle(headers) }

  func headersTimedOut(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap) {
    server.headerMaps.recycle(headers)
    refuse(sender, status: 408)
  }

  private func refuse(_ sender: any ResponseSender, status: Int) {
    guard let http else { return }
    let stream = AdminStream(server, http)
    self.stream = stream
    sender.attach(stream)
    stream.refuse(status: status)
  }

  func connectionClosed(_ connection: any ServerConnection, _ reason: ServerCloseReason) {
    timer = nil
    stream = nil
    server.closed(self)
  }

  func connectionTransferred(received: Int, sent: Int) { lastProgress = server.loop.now }
}
