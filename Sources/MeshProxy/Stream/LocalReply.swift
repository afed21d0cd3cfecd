import MeshHTTP
import MeshPrimitives
import MeshRouting

/// An answer that the proxy makes itself. The texts are Envoy's, so that whoever knows them knows these.
public struct LocalReply: Sendable {
  /// 200…599.
  public var status: Int
  /// Sent as `text/plain`; may be empty.
  public var body: [UInt8]
  public var flags: ResponseFlags
  public var details: ResponseCodeDetails
  /// What the body is; empty: plain text.
  public var contentType: [UInt8] = []
  /// Where the client is sent (`location`); empty if nowhere.
  public var location: [UInt8] = []
  /// Further headers of the response.
  public var headers: [(HeaderID, StaticString)]
  /// The connection cannot go on after this answer.
  public var closesConnection: Bool
  /// Header fields that are added behind what the route says.
  var fields: [(name: HeaderName, value: [UInt8])] = []
  /// Changes to the headers after that, with formats that see the stream; nil: none.
  var mutations: HeaderMutations?
  /// What a call of gRPC is told; nil: what the status means.
  var grpcStatus: GRPCStatus?

  public init(
    status: Int, body: [UInt8] = [], flags: ResponseFlags = [], details: ResponseCodeDetails,
    headers: [(HeaderID, StaticString)] = [], closesConnection: Bool = false
  ) {
    self.status = status
    self.body = body
    self.flags = flags
    self.details = details
    self.headers = headers
    self.closesConnection = closesConnection
  }

  public init(
    status: Int, text: StaticString, flags: ResponseFlags = [], details: ResponseCodeDetails,
    headers: [(HeaderID, StaticString)] = [], closesConnection: Bool = false
  ) {
    self.init(
      status: status, body: Array(Bytes(text)), flags: flags, details: details, headers: headers,
      closesConnection: closesConnection)
  }
}

/// The answers the proxy itself gives to failures, once each.
extension LocalReply {
  static let noRoute = LocalReply(status: 404, flags: .noRouteFound, details: .init("route_not_found"))
  static let noCluster = LocalReply(status: 503, flags: .noClusterFound, details: .init("cluster_not_found"))
  static let rewrittenPathTooLong = LocalReply(
    status: 414, text: "URI Too Long", details: .init("rewritten_path_too_long"))
  static let noHealthyUpstream = LocalReply(
    status: 503, text: "no healthy upstream", flags: .noHealthyUpstream, details: .init("no_healthy_upstream"))
  static let upgradeRefused = LocalReply(status: 403, details: .init("upgrade_failed"))
  static let absoluteTarget = LocalReply(status: 404, details: .init("absolute_path_rejected"))
  static let invalidPath = LocalReply(
    status: 400, details: .init("path_normalization_failed"), closesConnection: true)
  static let requestTimeout = LocalReply(
    status: 408, text: "request timeout", details: .init("request_overall_timeout"), closesConnection: true)
  static let requestBodyTooSlow = LocalReply(
    status: 408, text: "request body too slow", details: .init("request_body_too_slow"), closesConnection: true)
  static let headersTimeout = LocalReply(
    status: 408, text: "request header timeout", details: .init("request_header_timeout"), closesConnection: true)
  static let idleBeforeRequestEnd = LocalReply(
    status: 408, text: "stream timeout", flags: .streamIdleTimeout, details: .init("stream_idle_timeout"),
    closesConnection: true)
  static let idleBeforeResponse = LocalReply(
    status: 504, text: "stream timeout", flags: .streamIdleTimeout, details: .init("stream_idle_timeout"))
  static let upstreamTimeout = LocalReply(
    status: 504, text: "upstream request timeout", flags: .upstreamRequestTimeout, details: .init("response_timeout"))
  static let upstreamTimeoutNoContent = LocalReply(
    status: 204, flags: .upstreamRequestTimeout, details: .init("response_timeout"))
  static let tryTimeout = LocalReply(
    status: 504, text: "upstream request timeout", flags: .upstreamRequestTimeout,
    details: .init("upstream_per_try_timeout"))
  static let tryIdleTimeout = LocalReply(
    status: 504, text: "upstream request timeout", flags: .upstreamRequestTimeout,
    details: .init("upstream_per_try_idle_timeout"))
  static let tooLargeToRetry = LocalReply(
    status: 507, text: "exceeded request buffer limit while retrying upstream",
    details: .init("request_payload_exceeded_retry_buffer_limit"), closesConnection: true)
  static let attemptTimeout = LocalReply(
    status: 504, text: "upstream max stream duration reached", flags: .upstreamMaximumStreamDurationReached,
    details: .init("upstream_max_stream_duration_reached"))
  static let attemptTimeoutBeforeRequestEnd = LocalReply(
    status: 408, text: "upstream max stream duration reached", flags: .upstreamMaximumStreamDurationReached,
    details: .init("upstream_max_stream_duration_reached"), closesConnection: true)
  static let maximumDuration = LocalReply(
    status: 504, text: "downstream duration timeout", details: .init("max_duration_timeout")
  ).telling(.deadlineExceeded)
  static let maximumDurationBeforeRequestEnd = LocalReply(
    status: 408, text: "downstream duration timeout", details: .init("max_duration_timeout"), closesConnection: true
  ).telling(.deadlineExceeded)
  static let requestTooLarge = LocalReply(
    status: 413, text: "Payload Too Large", details: .init("request_payload_too_large"), closesConnection: true)
  static let overloaded = LocalReply(status: 503, text: "envoy overloaded", details: .init("overload"))
  static let overloadedDispatch = LocalReply(
    status: 500, text: "Internal Server Error", flags: .downstreamProtocolError, details: .init("overload"),
    closesConnection: true)
  static let responseTooLarge = LocalReply(
    status: 500, text: "Internal Server Error", details: .init("response_payload_too_large"))

  /// The upstream failed before its response began.
  /// - Parameter isRetried: there were attempts before the one that failed so.
  static func upstreamReset(
    _ reason: StreamResetReason, _ detail: StaticString, isRetried: Bool = false
  ) -> LocalReply {
    var body = Array(Bytes("upstream connect error or disconnect/reset before headers. "))
    body += Array(Bytes(isRetried ? "retried and the latest reset reason: " : "reset reason: "))
    body += Array(Bytes(reason.text))
    var reply = LocalReply(
      status: 503, body: body,
      details: .init("upstream_reset_before_response_started", reason.detail, detail))
    reply.flags = reason.upstreamFlags
    if reason == .overflow { reply.headers = [(.xEnvoyOverloaded, "true")] }
    if reason == .protocolError { reply.status = 502 }
    return reply
  }

  /// The same with another status for calls of gRPC.
  func telling(_ status: GRPCStatus) -> LocalReply {
    var reply = self
    reply.grpcStatus = status
    return reply
  }

  /// No detector has found the client's address, and one of them must.
  static func clientNotDetected(status: Int) -> LocalReply {
    LocalReply(status: status, details: .init("rejecting_because_detection_failed"))
  }

  /// The client is to ask for the path as it is in the request's headers now.
  static func normalizedPath(_ headers: HeaderMap) -> LocalReply {
    var reply = LocalReply(status: 307, details: .init("path_normalization_failed"))
    reply.location = headers.value(.path).map { Array($0) } ?? []
    return reply
  }

  /// The client's bytes are no HTTP that we accept.
  static func codecError(status: Int, _ details: StaticString) -> LocalReply {
    let text: StaticString =
      switch status {
      case 414: "URI Too Long"
      case 417: "Expectation Failed"
      case 426: "Upgrade Required"
      case 431: "Request Header Fields Too Large"
      case 501: "Not Implemented"
      case 505: "HTTP Version Not Supported"
      default: "Bad Request"
      }
    return LocalReply(
      status: status, text: text, flags: .downstreamProtocolError, details: .init(details), closesConnection: true)
  }
}
