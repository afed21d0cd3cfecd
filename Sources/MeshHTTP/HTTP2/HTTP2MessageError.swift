/// Why a message that came by HTTP/2 is refused: one case per rule of RFC 9113 §8 and of our own limits. The frames that
/// carried it were in order.
public enum HTTP2MessageError: UInt8, Error, CaseIterable, Sendable {
  // MARK: Fields

  /// A name with an upper-case letter, or one that is no token (§8.2.1).
  case invalidName
  /// A value with a control character, or with white space at an end (§8.2.1).
  case invalidValue
  /// Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade, or a TE other than `trailers` (§8.2.2);
  /// Content-Length or Host as a trailer (RFC 9110 §6.5.1).
  case connectionSpecificField
  /// A Content-Length that is no number, is there twice, or is over 2^63 - 1 (RFC 9110 §8.6).
  case invalidContentLength

  // MARK: Pseudo headers

  /// One that is not defined, or not for this kind of message (§8.3).
  case unknownPseudoHeader
  /// One behind a field (§8.3).
  case latePseudoHeader
  /// The same one twice (§8.3).
  case duplicatePseudoHeader
  /// One of `:method`, `:scheme` and `:path`, or `:status`, is missing, or is there where it must not be (§8.3.1, §8.3.2, §8.5).
  case missingPseudoHeader
  /// `:method` is no token.
  case invalidMethod
  /// `:path` is empty, or holds what no target may hold (§8.3.1).
  case invalidPath
  /// `:path` does not begin with `/` (§8.3.1).
  case relativePath
  /// `:scheme` is neither `http` nor `https`.
  case invalidScheme
  /// `:authority` or Host is no `uri-host [":" port]`, or holds user information (§8.3.1).
  case invalidAuthority
  /// `:authority` and Host name different servers (§8.3.1).
  case differentAuthorities
  /// `:status` is not three digits of 100...599, or is 101, which HTTP/2 does not have (§8.3.2, §8.6).
  case invalidStatus

  // MARK: Message

  /// The body is not as long as Content-Length says (§8.1.1).
  case contentLengthMismatch
  /// Trailers that do not end the stream, or DATA before the response's head (§8.1).
  case invalidSequence

  // MARK: Our own

  /// The head is over its limit; 431 (RFC 6585 §5).
  case headTooLarge
  /// More fields than allowed; 431 (RFC 6585 §5).
  case tooManyFields
  /// `:path` is over its limit; 414.
  case pathTooLong
  /// The method is longer than any that is known; 501.
  case methodTooLong
  /// Neither `:authority` nor Host; 400.
  case missingHost
  /// An expectation other than `100-continue`; 417 (RFC 9110 §10.1.1).
  case unsupportedExpectation
  /// More interim responses to one request than are passed on.
  case tooManyInformational
  /// A field name with an underscore, where these are not accepted.
  case underscoreInFieldName

  /// The status to answer a request with; nil if the message is malformed, which is a stream error, or a connection's
  /// (§8.1.1).
  public var status: Int? {
    switch self {
    case .headTooLarge, .tooManyFields: 431
    case .pathTooLong: 414
    case .methodTooLong: 501
    case .missingHost, .underscoreInFieldName: 400
    case .unsupportedExpectation: 417
    case .tooManyInformational: 502
    default: nil
    }
  }

  /// The response code details (`%RESPONSE_CODE_DETAILS%`), Envoy's words.
  public var details: StaticString {
    switch self {
    case .invalidName, .invalidValue, .connectionSpecificField, .invalidContentLength, .unknownPseudoHeader,
      .latePseudoHeader, .duplicatePseudoHeader, .invalidMethod, .invalidPath, .invalidScheme, .invalidAuthority,
      .invalidStatus:
      "http2.invalid.header.field"
    case .missingPseudoHeader, .relativePath, .differentAuthorities, .contentLengthMismatch, .invalidSequence:
      "http2.violation.of.messaging.rule"
    case .headTooLarge: "http2.headers_too_large"
    case .tooManyFields: "http2.too_many_headers"
    case .pathTooLong: "http2.path_too_long"
    case .methodTooLong: "http2.method_too_long"
    case .missingHost: "missing_host_header"
    case .unsupportedExpectation: "http2.unsupported_expectation"
    case .tooManyInformational: "http2.too_many_informational"
    case .underscoreInFieldName: "http2.unexpected_underscore"
    }
  }
}
