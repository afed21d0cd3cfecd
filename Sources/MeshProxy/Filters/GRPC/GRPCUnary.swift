import MeshPrimitives

/// A unary call of gRPC as a filter makes it of another cluster's service: one message there, one message back.
enum GRPCUnary {
  /// Why there is no message: a status of gRPC, and a text for the log.
  struct Failure: Error, Equatable {
    var status: GRPCStatus
    var message: String
  }

  /// - Parameters:
  ///   - path: `/package.Service/Method`.
  ///   - timeout: also told to the service; nil: no bound.
  ///   - limit: the longest message that is taken, in bytes.
  static func request(
    _ path: String, authority: String, message: [UInt8], metadata: [(name: String, value: String)] = [],
    timeout: Duration?, limit: Int
  ) -> SideCall.Request {
    var request = SideCall.Request(host: authority, timeout: timeout)
    request.method = "POST"
    request.path = path
    request.headers = [("te", "trailers"), ("content-type", "application/grpc")]
    if let timeout {
      let milliseconds = max(Nanoseconds(timeout).wholeMilliseconds, 1)
      request.headers.append(("grpc-timeout", "\(milliseconds)m"))
      request.headers.append(("x-envoy-expected-rq-timeout-ms", "\(milliseconds)"))
    }
    request.headers += metadata
    request.announcesLength = false
    request.requiredStatus = 200
    request.maximumResponse = limit + headLength
    request.body = frame(message)
    return request
  }

  static let headLength = 5

  /// The message behind its head: not compressed, so many bytes.
  static func frame(_ message: [UInt8]) -> [UInt8] {
    let length = UInt32(clamping: message.count)
    return [0] + (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + message
  }

  /// The message that a call brought.
  static func message(of outcome: SideCall.Outcome) -> Result<[UInt8], Failure> {
    switch outcome {
    case .failure(let reason): .failure(Failure(status: .unavailable, message: reason))
    case .response(let response): message(of: response)
    }
  }

  private static func message(of response: SideCall.Response) -> Result<[UInt8], Failure> {
    guard let type = value("content-type", in: response.headers), type.hasPrefix("application/grpc") else {
      return .failure(Failure(status: GRPCStatus(code: 2), message: "no gRPC"))
    }
    let fields = response.trailers.isEmpty ? response.headers : response.trailers
    let status = value("grpc-status", in: fields).flatMap { Int($0) } ?? 2
    guard status == 0 else {
      let text = value("grpc-message", in: fields) ?? ""
      return .failure(Failure(status: GRPCStatus(code: status), message: String(text.prefix(200))))
    }
    let body = response.body
    guard body.count >= headLength, body[0] == 0,
      body[1..<headLength].reduce(0, { $0 << 8 | Int($1) }) == body.count - headLength
    else { return .failure(Failure(status: GRPCStatus(code: 13), message: "not one message")) }
    return .success(Array(body[headLength...]))
  }

  private static func value(_ name: String, in fields: [(name: String, value: String)]) -> String? {
    fields.first { $0.name == name }?.value
  }
}
