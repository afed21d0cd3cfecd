import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// A check by a request (`http_health_check`). Confined to the main thread.
final class HTTPHealthCheck: HealthCheckExchange, HealthCheckConnectionUser, ResponseReceiver {
  private unowned let session: HealthCheckSession
  private let request: HealthCheckSettings.HTTPRequest
  private let host: String
  private let connection: HealthCheckConnection
  private var upstream: (any RequestSender)?
  private var response: (status: Int, headers: HeaderMap)?
  private var body: [UInt8] = []

  init(_ session: HealthCheckSession, _ request: HealthCheckSettings.HTTPRequest) {
    self.session = session
    self.request = request
    host = session.host(request.host)
    connection = session.makeConnection(request.isHTTP2 ? .http2 : .http1)
    connection.user = self
  }

  func begin() {
    response = nil
    body.removeAll(keepingCapacity: true)
    connection.acquire()
  }

  func abandon() {
    let open = upstream
    upstream = nil
    open?.cancel()
    connection.close()
    recycle()
  }

  func connectionFailed() { session.checkEnded(.failure(.network, "no connection")) }

  func connectionReady(_ connection: any ClientConnection) {
    let headers = session.headerMaps.take()
    headers.set(.method, request.methodText)
    headers.set(.path, text: request.path)
    headers.set(.host, text: Array(host.utf8))
    headers.set(.userAgent, "Envoy/HC")
    if !request.body.isEmpty { headers.set(.contentLength, number: UInt64(request.body.count)) }
    session.mutate(headers, request.mutations)
    let upstream = connection.send(headers, method: request.method, endStream: request.body.isEmpty, receiver: self)
    self.upstream = upstream
    if !request.body.isEmpty { request.body.withUnsafeBufferPointer { upstream.sendData($0, endStream: true) } }
    session.headerMaps.recycle(headers)
  }

  // MARK: ResponseReceiver

  func receiveInformational(status: Int, _ headers: HeaderMap) {}

  func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    recycle()
    response = (status, headers)
    if endStream { complete() }
  }

  func receiveData(_ bytes: Bytes, endStream: Bool) {
    if !request.receive.isEmpty, body.count < request.bufferLimit {
      body += bytes.slice(0, min(bytes.count, request.bufferLimit - body.count))
    }
    if endStream { complete() }
  }

  func receiveTrailers(_ trailers: HeaderMap) {
    session.headerMaps.recycle(trailers)
    complete()
  }

  func responseReset(_ reason: StreamResetReason, detail: StaticString) {
    upstream = nil
    recycle()
    if !session.settings.reusesConnection { connection.close() }
    session.checkEnded(.failure(.network, "\(reason.text)"))
  }

  func requestBlocked() {}
  func requestUnblocked() {}

  private func complete() {
    let sent = upstream
    upstream = nil
    guard let response else { return }
    let result = judge(response.status, response.headers)
    recycle()
    if !session.settings.reusesConnection {
      sent?.cancel()
      // The codec is in the middle of its callback.
      session.loop.defer { [connection] in connection.close() }
    }
    session.checkEnded(result)
  }

  private func recycle() {
    guard let old = response?.headers else { return }
    response = nil
    session.headerMaps.recycle(old)
  }

  private func judge(_ status: Int, _ headers: HeaderMap) -> HealthCheckResult {
    func failed(_ reason: String, isRetriable: Bool = false) -> HealthCheckResult {
      var result = HealthCheckResult.failure(.active, isRetriable: isRetriable, status: status, reason)
      result.isExcluded = headers.value(HealthCheckHeaders.immediateFail) != nil
      return result
    }
    if !request.receive.isEmpty, !PayloadMatcher.matches(request.receive, body) {
      return failed("the response does not hold what it must (status \(status))")
    }
    guard request.expected.contains(where: { $0.contains(status) }) else {
      return failed("status \(status)", isRetriable: request.retriable.contains { $0.contains(status) })
    }
    if let expected = request.serviceName, session.includes(request.verifies) {
      session.countVerification()
      let name = headers.value(HealthCheckHeaders.checkedCluster) ?? Bytes(start: nil, count: 0)
      guard expected.matches(name) else {
        return .failure(.active, status: status, "another service answered: \"\(name.text)\"")
      }
    }
    return HealthCheckResult(
      outcome: .success(isDegraded: headers.value(HealthCheckHeaders.degraded) != nil), status: status)
  }
}

/// Headers by which health checks and services understand each other.
enum HealthCheckHeaders {
  /// Of any response: nobody should send more requests here.
  static let immediateFail = HeaderName("x-envoy-immediate-health-check-fail")
  /// Of a check's response: the service does badly.
  static let degraded = HeaderName("x-envoy-degraded")
  /// Of a check's response: the cluster that has answered.
  static let checkedCluster = HeaderName("x-envoy-upstream-healthchecked-cluster")
}

extension HeaderMap {
  /// Replaces a field's lines by one.
  func set(_ id: HeaderID, text: [UInt8]) { text.withUnsafeBufferPointer { set(id, $0) } }
}
