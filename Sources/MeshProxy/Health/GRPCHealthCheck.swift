import MeshHTTP
import MeshIO
import MeshPrimitives

/// A check by a call of `grpc.health.v1.Health.Check` (`grpc_health_check`). Confined to the main thread.
final class GRPCHealthCheck: HealthCheckExchange, HealthCheckConnectionUser, ResponseReceiver {
  /// More of an answer is not taken.
  static let maximumResponse = 64 * 1024

  private unowned let session: HealthCheckSession
  private let call: HealthCheckSettings.GRPCCall
  private let authority: String
  private let message: [UInt8]
  private let connection: HealthCheckConnection
  private var upstream: (any RequestSender)?
  private var body: [UInt8] = []

  init(_ session: HealthCheckSession, _ call: HealthCheckSettings.GRPCCall) {
    self.session = session
    self.call = call
    authority = session.host(call.authority)
    message = HealthServiceMessage.request(service: call.service)
    connection = session.makeConnection(.http2)
    connection.user = self
  }

  func begin() {
    body.removeAll(keepingCapacity: true)
    connection.acquire()
  }

  func abandon() {
    let open = upstream
    upstream = nil
    open?.cancel()
    connection.close()
  }

  func connectionFailed() { session.checkEnded(.failure(.network, "no connection")) }

  func connectionReady(_ connection: any ClientConnection) {
    let headers = session.headerMaps.take()
    headers.set(.method, "POST")
    headers.set(.path, "/grpc.health.v1.Health/Check")
    headers.set(.host, text: Array(authority.utf8))
    headers.set(.te, "trailers")
    headers.set(.contentType, "application/grpc")
    headers.set(.userAgent, "Envoy/HC")
    session.mutate(headers, call.metadata)
    headers.setGRPCTimeout(session.settings.timings.timeout)
    let upstream = connection.send(headers, method: .post, endStream: false, receiver: self)
    self.upstream = upstream
    let frame = GRPCFrameScanner.head(length: UInt32(message.count)) + message
    frame.withUnsafeBufferPointer { upstream.sendData($0, endStream: true) }
    session.headerMaps.recycle(headers)
  }

  // MARK: ResponseReceiver

  func receiveInformational(status: Int, _ headers: HeaderMap) {}

  func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    defer { session.headerMaps.recycle(headers) }
    let code = headers.value(GRPCStatus.name).flatMap { DecimalNumber.parse($0) }
    guard status == 200 else { return end(.failure(.active, status: status, "status \(status)"), endStream) }
    guard GRPCStatus.isCall(headers) else {
      return end(.failure(.active, status: status, "the response is not one of gRPC"), endStream)
    }
    // Without a message there is nothing to judge by.
    if endStream { end(judge(code), true) }
  }

  func receiveData(_ bytes: Bytes, endStream: Bool) {
    guard body.count + bytes.count <= Self.maximumResponse else {
      return end(.failure(.active, status: 200, "the response is too large"), endStream)
    }
    body += bytes
    if endStream { end(.failure(.active, status: 200, "the response has no grpc-status"), true) }
  }

  func receiveTrailers(_ trailers: HeaderMap) {
    let code = trailers.value(GRPCStatus.name).flatMap { DecimalNumber.parse($0) }
    session.headerMaps.recycle(trailers)
    end(judge(code), true)
  }

  func responseReset(_ reason: StreamResetReason, detail: StaticString) {
    upstream = nil
    if !session.settings.reusesConnection { connection.close() }
    session.checkEnded(.failure(.network, "\(reason.text)"))
  }

  func requestBlocked() {}
  func requestUnblocked() {}

  private func judge(_ code: UInt64?) -> HealthCheckResult {
    guard let code else { return .failure(.active, status: 200, "the response has no grpc-status") }
    guard code == 0 else {
      let name = Int(exactly: code).flatMap { GRPCStatus(code: $0).constant?.description } ?? "\(code)"
      return .failure(.active, status: 200, "grpc-status \(name)")
    }
    guard let status = HealthServiceMessage.status(ofResponse: body) else {
      return .failure(.active, status: 200, "the response holds no HealthCheckResponse")
    }
    guard status == HealthServiceMessage.serving else {
      return .failure(.active, status: 200, "the service says \(HealthServiceMessage.name(of: status))")
    }
    return HealthCheckResult(outcome: .success(isDegraded: false), status: 200)
  }

  private func end(_ result: HealthCheckResult, _ isComplete: Bool) {
    let sent = upstream
    upstream = nil
    if !isComplete { sent?.cancel() }
    if !session.settings.reusesConnection {
      // The codec is in the middle of its callback.
      session.loop.defer { [connection] in connection.close() }
    }
    session.checkEnded(result)
  }
}

/// The messages of `grpc.health.v1`.
enum HealthServiceMessage {
  static let serving: UInt64 = 1

  static func name(of status: UInt64) -> String {
    let names = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]
    return status < names.count ? names[Int(status)] : "\(status)"
  }

  /// `HealthCheckRequest`.
  static func request(service: String) -> [UInt8] {
    let text = Array(service.utf8)
    guard !text.isEmpty else { return [] }
    var message: [UInt8] = [0x0a]
    var length = text.count
    while length > 127 {
      message.append(UInt8(length & 127) | 128)
      length >>= 7
    }
    message.append(UInt8(length))
    return message + text
  }

  /// The status in a response's body: one message without compression, a `HealthCheckResponse`. Nil if it is anything
  /// else.
  static func status(ofResponse body: [UInt8]) -> UInt64? {
    guard body.count >= 5, body[0] == 0 else { return nil }
    let length = body[1..<5].reduce(0) { $0 << 8 | Int($1) }
    guard length == body.count - 5 else { return nil }
    var rest = body[5...]
    var status: UInt64 = 0
    while !rest.isEmpty {
      guard let tag = varint(&rest) else { return nil }
      switch tag & 7 {
      case 0:
        guard let value = varint(&rest) else { return nil }
        if tag >> 3 == 1 { status = value }
      case 1:
        guard rest.count >= 8 else { return nil }
        rest = rest.dropFirst(8)
      case 2:
        guard let length = varint(&rest), length <= UInt64(rest.count) else { return nil }
        rest = rest.dropFirst(Int(length))
      case 5:
        guard rest.count >= 4 else { return nil }
        rest = rest.dropFirst(4)
      default: return nil
      }
    }
    return status
  }

  private static func varint(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 64, by: 7) {
      guard let byte = bytes.popFirst() else { return nil }
      value |= UInt64(byte & 127) << UInt64(shift)
      if byte < 128 { return value }
    }
    return nil
  }
}
