import MeshHTTP
import MeshIO
import MeshPrimitives

/// A filter chain that ends in an HTTP connection manager: its connections each have a codec.
final class HTTPFilterChain: ActiveFilterChain, ServerConnectionHandler {
  private(set) var configuration: FilterChainConfiguration
  private(set) var manager: ConnectionManager
  private(set) var connectionCount = 0
  let worker: Worker
  private let hasTLS: Bool
  /// Keeps this chain until its last connection is gone.
  private unowned let listener: ActiveListener
  /// As they are now: the overload manager can make timeouts shorter.
  var settings: ServerConnectionSettings
  /// Keeps the lanes alive that the manager counts in.
  private var identity: ListenerHTTPIdentity
  private(set) var connections: [any ServerConnection] = []
  /// Connections end, those that come included.
  private var isEnding = false

  init(
    _ listener: ActiveListener, _ configuration: FilterChainConfiguration, _ manager: ConnectionManagerConfiguration,
    _ identity: ListenerHTTPIdentity
  ) {
    self.listener = listener
    worker = listener.worker
    self.configuration = configuration
    hasTLS = configuration.transport != .rawBuffer
    self.identity = identity
    settings = manager.connection
    self.manager = ConnectionManager(worker: worker, configuration: manager, identity: identity)
    if worker.overload != nil { timeoutsChanged() }
  }

  /// From their next request on, open connections are served by the new manager.
  func update(_ new: FilterChainConfiguration) {
    configuration = new
    guard case .connectionManager(let configuration, let identity) = new.network else { return }
    let isDraining = manager.isDraining
    countOpen(-1)
    self.identity = identity
    settings = configuration.connection
    manager = ConnectionManager(worker: worker, configuration: configuration, identity: identity)
    manager.isDraining = isDraining
    if worker.overload != nil { timeoutsChanged() }
    // The open connections now count under the names of the new configuration.
    countOpen(1)
  }

  private func countOpen(_ sign: Int) {
    manager.stats.add(.connectionActive, Int64(sign * connectionCount))
    if hasTLS { manager.stats.add(.connectionTLSActive, Int64(sign * connectionCount)) }
    for connection in connections { countActive(connection, Int64(sign)) }
  }

  private func countActive(_ connection: any ServerConnection, _ change: Int64) {
    manager.stats.add(connection.protocolVersion == .http2 ? .connectionHTTP2Active : .connectionHTTP1Active, change)
  }

  fileprivate func countVersion(of connection: any ServerConnection, _ change: Int64) {
    manager.stats.add(connection.protocolVersion == .http2 ? .connectionHTTP2Total : .connectionHTTP1Total, change)
    countActive(connection, change)
  }

  func beginDraining() { manager.isDraining = true }

  func drainConnections(idleFor patience: Nanoseconds?) {
    isEnding = true
    for connection in connections { connection.drain(idleFor: patience) }
  }

  func closeConnections() { for connection in connections { connection.close(.local) } }

  // MARK: Connections

  func connectionBegan() {
    connectionCount += 1
    listener.connectionBegan()
    manager.stats.add(.connectionTotal)
    manager.stats.add(.connectionActive)
    guard hasTLS else { return }
    manager.stats.add(.connectionTLSTotal)
    manager.stats.add(.connectionTLSActive)
  }

  func serve(_ transport: consuming Transport, _ info: ConnectionInfo, initial: consuming ByteQueue) {
    let connection: any ServerConnection
    if settings.codec == .http2 || settings.codec == .automatic && info.tls?.applicationProtocol == "h2" {
      connection = HTTP2ServerConnection(
        loop: worker.loop, transport: transport, initial: initial, settings: settings, headerMaps: worker.headerMaps,
        handler: self, info: info)
    } else {
      connection = HTTP1ServerConnection(
        loop: worker.loop, transport: transport, initial: initial, settings: settings, headerMaps: worker.headerMaps,
        handler: self, info: info)
    }
    connection.listIndex = connections.count
    connections.append(connection)
    countVersion(of: connection, 1)
    do { try connection.start() } catch { return connection.close(.local) }
    if isEnding { connection.drain(idleFor: nil) }
  }

  func connectionEnded(
    _ info: ConnectionInfo, openedAt: MonotonicTime, _ reason: ServerCloseReason, _ refusal: ConnectionRefusal?
  ) {
    connectionCount -= 1
    manager.stats.subtract(.connectionActive)
    if hasTLS { manager.stats.subtract(.connectionTLSActive) }
    manager.stats.add(.connectionDestroy)
    manager.stats.add(reason == .remote ? .connectionDestroyRemote : .connectionDestroyLocal)
    identity.manager.connectionTime.lane(worker.index).record(worker.loop.now.since(openedAt).rawValue / 1000)
    listener.connectionEnded(info, openedAt: openedAt, refusal)
    if connectionCount == 0 { listener.becameEmpty(self) }
  }

  // MARK: ServerConnectionHandler

  func openStream(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ start: RequestStart
  ) { manager.open(sender, connection, headers, start) }

  func refuse(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, status: Int,
    _ details: StaticString
  ) {
    if sender.protocolVersion != .http2 { manager.stats.add(.connectionProtocolError) }
    manager.refuse(sender, connection, headers, .codecError(status: status, details))
  }

  func fail(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ details: StaticString
  ) { manager.fail(sender, connection, headers, details) }

  func headersTimedOut(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap) {
    manager.stats.add(.requestHeaderTimeout)
    manager.refuse(sender, connection, headers, .headersTimeout)
  }

  func reached(_ limit: ServerConnectionLimit) {
    manager.stats.add(limit == .duration ? .connectionMaximumDuration : .connectionMaximumRequests)
  }

  func refusedField() { manager.codecStats.add(.rejectedUnderscores) }

  func droppedFields(_ count: Int) { manager.codecStats.add(.droppedUnderscores, Int64(count)) }

  func connectionTransferred(received: Int, sent: Int) {
    if received > 0 { manager.stats.add(.connectionReceivedBytes, Int64(received)) }
    if sent > 0 { manager.stats.add(.connectionSentBytes, Int64(sent)) }
  }

  func connectionClosed(_ connection: any ServerConnection, _ reason: ServerCloseReason) {
    let last = connections.count - 1
    let index = connection.listIndex
    if index < last {
      connections[index] = connections[last]
      connections[index].listIndex = index
    }
    connections.removeLast()
    countActive(connection, -1)
    if connection.hadRequest {
      manager.stats.add(.connectionDestroyActiveRequest)
      manager.stats.add(
        reason == .remote ? .connectionDestroyRemoteActiveRequest : .connectionDestroyLocalActiveRequest)
    }
    if reason == .idleTimeout { manager.stats.add(.connectionIdleTimeout) }
    // By HTTP/1.1 it is counted where it is answered.
    if reason == .protocolError, connection.protocolVersion == .http2 { manager.stats.add(.connectionProtocolError) }
    connectionEnded(connection.info, openedAt: connection.openedAt, reason, nil)
  }
}

// MARK: HTTP/2

extension HTTPFilterChain {
  func connectionChanged(_ connection: any ServerConnection, to successor: any ServerConnection) {
    countVersion(of: connection, -1)
    successor.listIndex = connection.listIndex
    connections[connection.listIndex] = successor
    countVersion(of: successor, 1)
  }

  func count(_ event: HTTP2Event, _ amount: Int) { manager.http2Stats.add(HTTP2Stat(event), Int64(amount)) }

  func streamsChanged(by change: Int) { manager.http2Stats.add(.streamsActive, Int64(change)) }

  func tooManyResets() { manager.stats.add(.requestTooManyResets) }
}
