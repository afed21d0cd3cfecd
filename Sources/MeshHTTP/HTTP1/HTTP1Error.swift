/// Why bytes were refused: one case per rule. What is refused is never passed on in part, and its connection cannot be used
/// again.
public enum HTTP1Error: UInt8, Error, CaseIterable, Sendable {
  // MARK: Request line

  /// More empty lines before the request line than allowed (RFC 9112 §2.2).
  case tooManyEmptyLines
  /// The method is empty or no token (RFC 9112 §3.1).
  case invalidMethod
  /// The method is longer than any that is known; 501 (RFC 9112 §3).
  case methodTooLong
  /// The target is empty or holds a space, a control character, a byte over 0x7e, or `#` (RFC 9112 §3.2).
  case invalidTarget
  /// The target is over its limit; 414 (RFC 9112 §3).
  case targetTooLong
  /// The target has a form that its method does not allow (RFC 9112 §3.2).
  case invalidTargetForm
  /// The authority in the target is empty or malformed, or holds user information (RFC 9110 §4.2.4).
  case invalidAuthority
  /// The scheme of an absolute target is neither `http` nor `https` (RFC 9112 §3.2.2).
  case unsupportedScheme
  /// There is no version, or it does not read `HTTP/` DIGIT `.` DIGIT (RFC 9112 §2.3).
  case malformedVersion
  /// A version that is neither 1.1 nor 1.0; 505 (RFC 9110 §15.6.6).
  case unsupportedVersion
  /// A request by HTTP/1.0; 426 (RFC 9110 §15.5.22). Envoy: `accept_http_10` is off by default.
  case http10NotAccepted

  // MARK: Fields

  /// CR without LF (RFC 9112 §2.2).
  case bareCR
  /// LF without CR. RFC 9112 §2.2 permits to take it for a line end; peers differ, so it is refused.
  case bareLF
  /// White space before the first field (RFC 9112 §2.2).
  case whitespaceBeforeFirstField
  /// A line that continues the one before (RFC 9112 §5.2).
  case obsoleteLineFolding
  /// A field without a name (RFC 9112 §5.1).
  case emptyFieldName
  /// A field name that is no token (RFC 9110 §5.1).
  case invalidFieldName
  /// White space between name and colon (RFC 9112 §5.1).
  case spaceBeforeColon
  /// A field name with an underscore, where these are not accepted.
  case underscoreInFieldName
  /// A field line without a colon (RFC 9112 §5).
  case missingColon
  /// NUL or another control character in a value (RFC 9110 §5.5).
  case invalidFieldValue
  /// The head is over its limit; 431 (RFC 6585 §5).
  case headTooLarge
  /// More fields than allowed; 431 (RFC 6585 §5).
  case tooManyFields

  // MARK: Host

  /// A request without Host (RFC 9112 §3.2).
  case missingHost
  /// More than one Host (RFC 9112 §3.2).
  case duplicateHost
  /// A Host that is not `uri-host [":" port]`, or is empty (RFC 9112 §3.2, RFC 9110 §4.2.1).
  case invalidHost

  // MARK: Framing

  /// Content-Length and Transfer-Encoding together (RFC 9112 §6.3).
  case contentLengthAndTransferEncoding
  /// More than one Content-Length, equal or not (RFC 9112 §6.3).
  case duplicateContentLength
  /// A Content-Length that is not 1*DIGIT (RFC 9110 §8.6).
  case invalidContentLength
  /// A Content-Length over 2^63 - 1 or of more than 19 digits (RFC 9110 §8.6).
  case contentLengthTooLarge
  /// More than one Transfer-Encoding (RFC 9112 §6.1).
  case duplicateTransferEncoding
  /// A Transfer-Encoding that is malformed, names `chunked` twice or does not end in it (RFC 9112 §6.1, §6.3).
  case invalidTransferEncoding
  /// A transfer coding besides `chunked`; 501 (RFC 9112 §6.1).
  case unsupportedTransferEncoding
  /// Transfer-Encoding in a message of HTTP/1.0 (RFC 9112 §6.1).
  case transferEncodingInHTTP10

  /// A request for a tunnel (CONNECT, an upgrade) with a body: where it ends and the tunnel begins is not for guessing
  /// (RFC 9110 §9.3.6).
  case tunnelWithBody

  // MARK: Connection and Expect

  /// A connection option that is no token (RFC 9110 §7.6.1).
  case invalidConnection
  /// Ten connection options or more. Envoy refuses as many.
  case tooManyConnectionOptions
  /// A connection option that would strip a field on which routing, framing or trust depends (RFC 9110 §7.6.1).
  case protectedConnectionOption
  /// An expectation other than `100-continue`; 417 (RFC 9110 §10.1.1).
  case unsupportedExpectation

  // MARK: Responses

  /// A status line that does not read `HTTP/1.x SP 3DIGIT [SP reason]` (RFC 9112 §4).
  case invalidStatusLine
  /// A status below 100 or over 599 (RFC 9110 §15).
  case invalidStatus
  /// A 1xx response with a body (RFC 9110 §8.6, RFC 9112 §6.1).
  case informationalWithBody

  // MARK: Body

  /// A chunk size that is not 1*16HEXDIG (RFC 9112 §7.1).
  case invalidChunkSize
  /// A chunk size over 2^63 - 1 (RFC 9112 §7.1).
  case chunkSizeTooLarge
  /// A chunk extension outside the grammar (RFC 9112 §7.1.1).
  case invalidChunkExtension
  /// Chunk extensions over their limit (RFC 9112 §7.1.1).
  case chunkExtensionsTooLarge
  /// A chunk size or chunk data that does not end in CR LF (RFC 9112 §7.1).
  case invalidChunkEnd
  /// Trailers over their limit; 431 (RFC 9112 §7.1.2).
  case trailersTooLarge
  /// More trailers than allowed; 431.
  case tooManyTrailers
  /// Content-Length, Transfer-Encoding or Host as a trailer (RFC 9110 §6.5.1).
  case forbiddenTrailer

  /// The status to answer a request with. A response that is refused is a 502 to the client, whatever the rule.
  public var status: Int {
    switch self {
    case .methodTooLong, .unsupportedTransferEncoding: 501
    case .targetTooLong: 414
    case .unsupportedVersion: 505
    case .http10NotAccepted: 426
    case .headTooLarge, .tooManyFields, .trailersTooLarge, .tooManyTrailers: 431
    case .unsupportedExpectation: 417
    case .invalidStatusLine, .invalidStatus, .informationalWithBody: 502
    default: 400
    }
  }

  /// The response code details (`%RESPONSE_CODE_DETAILS%`).
  public var details: StaticString {
    switch self {
    case .tooManyEmptyLines: "http1.too_many_empty_lines"
    case .invalidMethod: "http1.invalid_method"
    case .methodTooLong: "http1.method_too_long"
    case .invalidTarget: "http1.invalid_target"
    case .targetTooLong: "http1.target_too_long"
    case .invalidTargetForm: "http1.invalid_target_form"
    case .invalidAuthority: "http1.invalid_authority"
    case .unsupportedScheme: "http1.unsupported_scheme"
    case .malformedVersion: "http1.malformed_version"
    case .unsupportedVersion: "http1.unsupported_version"
    case .http10NotAccepted: "low_version"
    case .bareCR: "http1.bare_cr"
    case .bareLF: "http1.bare_lf"
    case .whitespaceBeforeFirstField: "http1.whitespace_before_first_field"
    case .obsoleteLineFolding: "http1.obsolete_line_folding"
    case .emptyFieldName: "http1.empty_field_name"
    case .invalidFieldName: "http1.invalid_field_name"
    case .spaceBeforeColon: "http1.space_before_colon"
    case .underscoreInFieldName: "http1.unexpected_underscore"
    case .missingColon: "http1.missing_colon"
    case .invalidFieldValue: "http1.invalid_field_value"
    case .headTooLarge: "http1.headers_too_large"
    case .tooManyFields: "http1.too_many_headers"
    case .missingHost: "missing_host_header"
    case .duplicateHost: "http1.duplicate_host"
    case .invalidHost: "http1.invalid_host"
    case .contentLengthAndTransferEncoding: "http1.content_length_and_chunked_not_allowed"
    case .duplicateContentLength: "http1.duplicate_content_length"
    case .invalidContentLength: "http1.invalid_content_length"
    case .contentLengthTooLarge: "http1.content_length_too_large"
    case .duplicateTransferEncoding: "http1.duplicate_transfer_encoding"
    case .invalidTransferEncoding: "http1.invalid_transfer_encoding"
    case .unsupportedTransferEncoding: "http1.unsupported_transfer_encoding"
    case .transferEncodingInHTTP10: "http1.transfer_encoding_in_http_10"
    case .tunnelWithBody: "http1.body_disallowed"
    case .invalidConnection: "http1.invalid_connection"
    case .tooManyConnectionOptions: "http1.too_many_connection_options"
    case .protectedConnectionOption: "http1.connection_header_rejected"
    case .unsupportedExpectation: "http1.unsupported_expectation"
    case .invalidStatusLine: "http1.invalid_status_line"
    case .invalidStatus: "http1.invalid_status"
    case .informationalWithBody: "http1.informational_with_body"
    case .invalidChunkSize: "http1.invalid_chunk_size"
    case .chunkSizeTooLarge: "http1.chunk_size_too_large"
    case .invalidChunkExtension: "http1.invalid_chunk_extension"
    case .chunkExtensionsTooLarge: "http1.chunk_extensions_too_large"
    case .invalidChunkEnd: "http1.invalid_chunk_end"
    case .trailersTooLarge: "http1.trailers_too_large"
    case .tooManyTrailers: "http1.too_many_trailers"
    case .forbiddenTrailer: "http1.forbidden_trailer"
    }
  }
}

/// What a head parser made of the bytes so far.
public enum HTTP1ParseResult: Equatable, Sendable {
  /// The head is there, and all that belongs to it.
  case complete
  /// Nothing wrong so far; call again with the same bytes and more behind them.
  case incomplete
  /// Refused.
  case invalid(HTTP1Error)
}
