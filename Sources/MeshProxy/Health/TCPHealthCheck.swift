import MeshHTTP
import MeshIO
import MeshPrimitives

/// A check by a connection and, if the endpoint must say something, by bytes over it (`tcp_health_check`). Confined to the
/// main thread.
final class TCPHealthCheck: HealthCheckExchange, HealthCheckConnectionUser, ResponseReceiver {
  /// What an endpoint may send without having sent what it must.
  static let maximumResponse = 64 * 1024

  private unowned let session: HealthCheckSession
  private let exchange: HealthCheckSettings.TCPExchange
  private let connection: HealthCheckConnection
  private var upstream: (any RequestSender)?
  private var received: [UInt8] = []
  private var isAsking = false

  init(_ session: HealthCheckSession, _ exchange: HealthCheckSettings.TCPExchange) {
    self.session = session
    self.exchange = exchange
    connection = session.makeConnection(.tcp)
    connection.user = self
  }

  func begin() {
    isAsking = true
    received.removeAll(keepingCapacity: true)
    if let upstream { send(upstream) } else { connection.acquire() }
  }

  func abandon() {
    isAsking = false
    drop()
  }

  func connectionFailed() { end(.failure(.network, "no connection")) }

  func connectionReady(_ connection: any ClientConnection) {
    guard !exchange.receive.isEmpty else {
      drop()
      return end(HealthCheckResult(outcome: .success(isDegraded: false)))
    }
    let headers = session.headerMaps.take()
    let upstream = connection.send(headers, method: .connect, endStream: false, receiver: self)
    session.headerMaps.recycle(headers)
    self.upstream = upstream
    send(upstream)
  }

  private func send(_ upstream: any RequestSender) {
    guard !exchange.send.isEmpty else { return }
    exchange.send.withUnsafeBufferPointer { upstream.sendData($0, endStream: false) }
  }

  /// Lets go of the connection.
  private func drop() {
    let open = upstream
    upstream = nil
    open?.cancel()
    connection.close()
  }

  private func end(_ result: HealthCheckResult) {
    guard isAsking else { return }
    isAsking = false
    session.checkEnded(result)
  }

  // MARK: ResponseReceiver

  func receiveInformational(status: Int, _ headers: HeaderMap) {}
  /// Made up by the connection: there is one.
  func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) { session.headerMaps.recycle(headers) }

  func receiveData(_ bytes: Bytes, endStream: Bool) {
    guard upstream != nil else { return }
    // What comes unasked is not kept for the next check.
    if isAsking { received += bytes }
    if isAsking, PayloadMatcher.matches(exchange.receive, received) {
      if endStream || !session.settings.reusesConnection { drop() }
      return end(HealthCheckResult(outcome: .success(isDegraded: false)))
    }
    if endStream {
      drop()
      end(.failure(.network, "the connection was closed"))
    } else if received.count > Self.maximumResponse {
      drop()
      end(.failure(.network, "the answer is too long"))
    }
  }

  func receiveTrailers(_ trailers: HeaderMap) { session.headerMaps.recycle(trailers) }

  func responseReset(_ reason: StreamResetReason, detail: StaticString) {
    upstream = nil
    end(.failure(.network, "the connection was lost"))
  }

  func requestBlocked() {}
  func requestUnblocked() {}
}
