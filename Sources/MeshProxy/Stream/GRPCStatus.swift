import MeshHTTP
import MeshPrimitives
import MeshRouting

/// The status of a gRPC call (`grpc-status`).
struct GRPCStatus: Equatable {
  /// 0…16 are gRPC's own; -1 stands for a field that is no number.
  let code: Int

  /// What a stream's response says: by a trailer, else by a header, else by the status of HTTP. Nil if the request was
  /// not one of gRPC.
  static func of<Source: SubstitutionSource>(_ source: Source) -> GRPCStatus? {
    guard isCall(source.requestHeaders), source.info.responseCode != 0 else { return nil }
    return ofAnyResponse(source)
  }

  /// What a stream's response says, whatever the request was.
  static func ofAnyResponse<Source: SubstitutionSource>(_ source: Source) -> GRPCStatus {
    if let field = source.responseTrailers?.value(name) ?? source.responseHeaders?.value(name) {
      return GRPCStatus(code: DecimalNumber.parse(field).flatMap { Int(exactly: $0) } ?? -1)
    }
    return GRPCStatus(http: source.info.responseCode)
  }

  /// The client's patience is over.
  static let deadlineExceeded = GRPCStatus(code: 4)
  /// Nobody is there.
  static let unavailable = GRPCStatus(code: 14)
  /// A limit is reached.
  static let resourceExhausted = GRPCStatus(code: 8)

  static let timeoutName = HeaderName("grpc-timeout")
  static let name = HeaderName("grpc-status")
  static let messageName = HeaderName("grpc-message")

  /// A message as `grpc-message` has it: bytes outside of printable ASCII and `%` are percent-encoded.
  static func encodedMessage(_ text: [UInt8]) -> [UInt8] {
    let digits = Array("0123456789ABCDEF".utf8)
    return text.flatMap { byte -> [UInt8] in
      if byte >= 0x20, byte < 0x7f, byte != UInt8(ascii: "%") { return [byte] }
      return [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }
  }

  /// Whether a request is a call: its content type is `application/grpc`, perhaps with `+proto` or parameters.
  static func isCall(_ headers: HeaderMap) -> Bool {
    guard let type = headers.value(.contentType), type.starts(with: Bytes("application/grpc")) else { return false }
    return type.count == 16 || type[16] == UInt8(ascii: "+")
  }

  /// Whether the service is to blame (OpenTelemetry's conventions for servers, and Envoy's tag `error`): UNKNOWN,
  /// DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
  var isServerError: Bool { [2, 4, 8, 12, 13, 14, 15].contains(code) }

  init(code: Int) { self.code = code }

  /// What a field says; nil if that is no number.
  init?(text: Bytes) {
    guard let number = DecimalNumber.parse(text).flatMap({ Int(exactly: $0) }) else { return nil }
    code = number
  }

  /// What a status of HTTP means for a call.
  init(http status: Int) {
    code =
      switch status {
      case 400: 13
      case 401: 16
      case 403: 7
      case 404: 12
      case 429, 502, 503, 504: 14
      default: 2
      }
  }

  /// The word, as Envoy logs it.
  var name: StaticString? { known?.name }
  /// The word as gRPC's constants have it.
  var constant: StaticString? { known?.constant }

  private var known: (name: StaticString, constant: StaticString)? {
    code >= 0 && code < Self.words.count ? Self.words[code] : nil
  }

  private static let words: [(name: StaticString, constant: StaticString)] = [
    ("OK", "OK"), ("Canceled", "CANCELLED"), ("Unknown", "UNKNOWN"), ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"), ("NotFound", "NOT_FOUND"), ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"), ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"), ("Aborted", "ABORTED"), ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"), ("Internal", "INTERNAL"), ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"), ("Unauthenticated", "UNAUTHENTICATED"),
  ]
}

extension HeaderMap {
  /// How long a call of gRPC may take, as it says itself.
  var grpcTimeout: Nanoseconds? { value(GRPCStatus.timeoutName).flatMap { CallTimeout.parse($0) } }

  /// Tells the upstream of a call how long it may take, in milliseconds as long as that fits.
  func setGRPCTimeout(_ time: Nanoseconds) {
    let milliseconds = max(time.wholeMilliseconds, 1)
    var text: String
    if milliseconds < 100_000_000 {
      text = "\(milliseconds)m"
    } else if milliseconds / 1000 < 100_000_000 {
      text = "\(milliseconds / 1000)S"
    } else {
      text = "\(min(milliseconds / 3_600_000, 99_999_999))H"
    }
    text.withUTF8 { set(GRPCStatus.timeoutName, $0) }
  }
}
