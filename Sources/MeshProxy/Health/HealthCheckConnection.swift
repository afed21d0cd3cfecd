import MeshHTTP
import MeshIO
import MeshPrimitives

/// Who checks an endpoint over a connection. Called on the main thread.
protocol HealthCheckConnectionUser: AnyObject {
  /// The connection takes a request.
  func connectionReady(_ connection: any ClientConnection)
  /// There will be none.
  func connectionFailed()
}

/// The connection that one endpoint's checks go over: made when it is needed, kept for the next check, made again when it
/// is gone. As the cluster's own connections are made: source address, socket options, PROXY header, TLS. Not counted
/// among them. Confined to the main thread.
final class HealthCheckConnection: ClientConnectionOwner, ConnectAttemptOwner {
  private let loop: EventLoop
  private let headerMaps: HeaderMapPool
  private let cluster: ClusterConfiguration
  private let endpoint: Endpoint
  private let address: SocketAddress
  private let codec: PoolKey.Codec
  private let applicationProtocols: [String]
  private let timeout: Nanoseconds
  private let lane: Int
  private let settings: ClientConnectionSettings
  weak var user: (any HealthCheckConnectionUser)?
  private var attempt: ConnectAttempt?
  /// The user waits for an answer to `acquire`.
  private var isWanted = false
  private var current: (any ClientConnection)?

  /// - Parameter timeout: to an established connection; that of the check.
  init(
    _ endpoint: Endpoint, at address: SocketAddress, of cluster: ClusterConfiguration, codec: PoolKey.Codec,
    applicationProtocols: [String], timeout: Nanoseconds, loop: EventLoop, lane: Int, headerMaps: HeaderMapPool
  ) {
    self.endpoint = endpoint
    self.address = address
    self.cluster = cluster
    self.codec = codec
    self.applicationProtocols = applicationProtocols
    self.timeout = timeout
    self.loop = loop
    self.lane = lane
    self.headerMaps = headerMaps
    var settings = cluster.connection
    // It lives from check to check.
    settings.idleTimeout = nil
    settings.maximumDuration = nil
    settings.maximumRequests = 0
    settings.spelling = nil
    self.settings = settings
  }

  /// Calls the user when there is a connection, or when there will be none; perhaps at once.
  func acquire() {
    if let current, current.capacity > 0 {
      isWanted = true
      return ready(current)
    }
    close()
    isWanted = true
    let tls: ConnectAttempt.TLS?
    if let configured = cluster.tls {
      guard let context = configured.cell.current else { return failed() }
      var target = configured.target(endpoint, host: "", codec: codec)
      if !applicationProtocols.isEmpty {
        target.applicationProtocols = applicationProtocols
        target.overridesProtocols = true
      }
      tls = ConnectAttempt.TLS(context, target)
    } else {
      tls = nil
    }
    let source = cluster.pool.source(for: address)
    guard case .success(let descriptor) = Socket.connect(to: address, bindTo: source.address, options: source.options)
    else { return failed() }
    let attempt = ConnectAttempt(
      loop: loop, descriptor: descriptor, address: address, timeout: timeout,
      preamble: cluster.proxyHeader?.bytes(for: nil) ?? [], tls: tls, owner: self)
    self.attempt = attempt
    do { try attempt.start() } catch {
      self.attempt = nil
      failed()
    }
  }

  /// Lets go of the connection, whatever is under way on it; whoever sent a request gives it up first.
  func close() {
    isWanted = false
    attempt?.cancel()
    attempt = nil
    let old = current
    current = nil
    old?.drain()
  }

  // The caller has not returned from `acquire` when the answer is there at once.
  private func failed() { loop.defer { [weak self] in self?.tellFailure() } }
  private func ready(_ connection: any ClientConnection) {
    loop.defer { [weak self] in
      guard let self, isWanted else { return }
      // It may have ended meanwhile.
      guard current === connection, connection.capacity > 0 else { return acquire() }
      isWanted = false
      user?.connectionReady(connection)
    }
  }

  private func tellFailure() {
    guard isWanted else { return }
    isWanted = false
    user?.connectionFailed()
  }

  // MARK: ConnectAttemptOwner

  func connectSucceeded(_ attempt: ConnectAttempt, _ transport: consuming Transport) {
    self.attempt = nil
    let details = transport.tls?.details(loop)
    if let details { cluster.tls?.stats.count(details, lane: lane) }
    let info = UpstreamConnectionInfo(
      address: attempt.address, localAddress: attempt.address.isUnix ? nil : transport.localAddress, identifier: 0,
      openedAt: attempt.openedAt, establishedAt: loop.now, tls: details)
    let connection: any ClientConnection
    switch codec {
    case .tcp:
      connection = TCPClientConnection(
        loop: loop, transport: transport, info: info, settings: settings, headerMaps: headerMaps, owner: self)
    case .http2:
      connection = HTTP2ClientConnection(
        loop: loop, transport: transport, info: info, settings: settings, headerMaps: headerMaps, owner: self)
    case .http1, .negotiated:
      connection = HTTP1ClientConnection(
        loop: loop, transport: transport, info: info, settings: settings, headerMaps: headerMaps, owner: self)
    }
    current = connection
    do { try connection.start() } catch {
      tellFailure()
      return close()
    }
    guard isWanted else { return }
    isWanted = false
    user?.connectionReady(connection)
  }

  func connectFailed(_ attempt: ConnectAttempt, _ failure: ConnectFailure) {
    self.attempt = nil
    if let tls = failure.tls { cluster.tls?.stats.count(tls, lane: lane) }
    tellFailure()
  }

  // MARK: ClientConnectionOwner

  func connectionHasRoom(_ connection: any ClientConnection) {}
  func connectionRetires(_ connection: any ClientConnection) { forget(connection) }
  func connectionClosed(_ connection: any ClientConnection, _ reason: ClientCloseReason) { forget(connection) }
  func connectionTransferred(received: Int, sent: Int) {}

  private func forget(_ connection: any ClientConnection) { if current === connection { current = nil } }
}
