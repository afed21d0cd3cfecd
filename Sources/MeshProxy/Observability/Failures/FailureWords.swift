import MeshPrimitives

/// What the process log says of a failure: for each response code detail, and each of its parts, one phrase. The same phrases
/// are in docs/operations.md (`scripts/check-docs` compares them).
///
/// What stands in braces is filled in, see `RequestFailure.fact`. Nothing that a peer has said gets into a phrase: that
/// stands in the fields behind it. A phrase has no `=` and no quotation mark, so that whatever reads fields does not stumble
/// over it.
enum FailureWords {
  /// How much it matters to whoever operates the proxy: `warning` for what the proxy, its configuration or the way to the
  /// upstream is to blame for, `info` for what the client or the upstream's application did, `debug` for clients that left.
  struct Entry: Sendable {
    let word: StaticString
    let level: LogLevel
    let phrase: StaticString

    init(_ word: StaticString, _ level: LogLevel, _ phrase: StaticString) {
      self.word = word
      self.level = level
      self.phrase = phrase
    }
  }

  /// By response code detail.
  static let details: [Entry] = [
    Entry("route_not_found", .warning, "there is no route for the request: {no_route}"),
    Entry("cluster_not_found", .warning, "the route leads to a cluster that does not exist"),
    Entry("no_healthy_upstream", .warning, "no endpoint of cluster {cluster} may have the request: {endpoints}"),
    Entry("drop_overload", .warning, "drop_overloads of cluster {cluster} refuse a share of the requests"),
    Entry("unconditional_drop_overload", .warning, "drop_overloads of cluster {cluster} refuse all requests"),
    Entry("response_timeout", .warning, "{timeout} passed {moment}"),
    Entry("upstream_per_try_timeout", .warning, "per_try_timeout of {per_try_timeout} passed in the last attempt"),
    Entry(
      "upstream_per_try_idle_timeout", .warning,
      "nothing moved in the last attempt for per_try_idle_timeout of {per_try_idle_timeout}"),
    Entry(
      "upstream_max_stream_duration_reached", .warning,
      "max_stream_duration of cluster {cluster}, {upstream_duration}, passed {moment}"),
    Entry("max_duration_timeout", .warning, "max_stream_duration of {max_stream_duration} passed {moment}"),
    Entry("stream_idle_timeout", .warning, "nothing moved for {idle_timeout}"),
    Entry(
      "request_payload_exceeded_retry_buffer_limit", .warning,
      "more of the body came between two attempts than the {retry_buffer} that may be kept"),
    Entry(
      "response_payload_too_large", .warning,
      "a filter wanted all of a response that is over per_connection_buffer_limit_bytes of {response_buffer}"),
    Entry("rewritten_path_too_long", .warning, "the route's rewrite made a path of more than 64 KiB"),
    Entry("overload", .warning, "the overload manager gave the request up: {overload}"),
    Entry("fault_filter_abort", .warning, "the fault filter answered, as it is configured to"),
    Entry("local_rate_limited", .warning, "a local rate limit is reached: {rate_limit}"),
    Entry("request_rate_limited", .warning, "the rate limit service says that a limit is reached: {rate_limit}"),
    Entry("rate_limiter_error", .warning, "the rate limit service did not answer, and failure_mode_deny is set"),
    Entry(
      "upstream_reset_before_response_started", .warning, "{reset_reason}"),
    Entry(
      "upstream_reset_after_response_started", .warning, "the response broke off: {reset_reason}"),
    Entry("filter_chain_not_found", .warning, "no filter chain of the listener is for the connection"),
    Entry("downstream_local_disconnect", .warning, "this proxy closed the connection under the request"),
    Entry("via_upstream", .info, "the upstream answered so itself"),
    Entry("request_overall_timeout", .info, "the client took longer than request_timeout of {request_timeout}"),
    Entry(
      "request_header_timeout", .info,
      "the request's head took longer than request_headers_timeout of {request_headers_timeout}"),
    Entry(
      "request_body_too_slow", .info,
      "the request's body came more slowly than martlet.http.min_request_body_rate allows"),
    Entry("request_payload_too_large", .info, "a filter wanted all of a body that is over {request_buffer}"),
    Entry("upgrade_failed", .info, "no upgrade_configs allow the upgrade or CONNECT"),
    Entry("absolute_path_rejected", .info, "the target is a whole URL, and allow_absolute_url is false"),
    Entry("path_normalization_failed", .info, "the path has an escaped slash or NUL that is refused"),
    Entry("rejecting_because_detection_failed", .info, "the header that must name the client holds no address"),
    Entry("grpc_base_64_decode_failed", .info, "a body of grpc-web text is no base64"),
    Entry("downstream_remote_disconnect", .debug, "the client closed its connection {moment}"),
    Entry("http2.remote_reset", .debug, "the client gave the request up {moment}"),
  ]

  /// Any other detail of a request that breaks the rules of HTTP: the detail itself names the rule.
  static let brokenRule = Entry(
    "http1.…, http2.… and others with DPE", .info, "the request breaks a rule of HTTP: {details}")
  /// A detail that nobody has found words for.
  static let unknown = Entry("", .warning, "{details}")

  /// By the reason of a reset.
  static let resets: [Entry] = [
    Entry("connection_termination", .warning, "the upstream closed the connection {moment}"),
    Entry("remote_connection_failure", .warning, "no connection to the endpoint came about: {connect_error}"),
    Entry(
      "local_connection_failure", .warning, "no connection could be begun on this machine: {connect_error}"),
    Entry(
      "connection_timeout", .warning, "connect_timeout of {connect_timeout} passed and there was no connection"),
    Entry("overflow", .warning, "{limit} of cluster {cluster} is reached"),
    Entry("protocol_error", .warning, "the upstream's response breaks a rule of HTTP{rule}"),
    Entry("remote_reset", .warning, "the upstream gave the request up by RST_STREAM {moment}"),
    Entry(
      "remote_refused_stream_reset", .warning,
      "the upstream refused the stream: it takes no more at once, or is going away"),
    Entry("local_reset", .warning, "this proxy gave the attempt up"),
  ]

  /// By the end of the word for why there was no connection: the kernel's reason, or what was missing.
  static let connectErrors: [Entry] = [
    Entry("Connection_refused", .warning, "refused, nobody listens there"),
    Entry("Connection_timed_out", .warning, "the kernel gave up, nobody answers"),
    Entry("Connection_reset_by_peer", .warning, "reset while it was being made"),
    Entry("Network_is_unreachable", .warning, "the network is unreachable"),
    Entry("No_route_to_host", .warning, "there is no route to the host"),
    Entry("Cannot_assign_requested_address", .warning, "no local port is free for this destination"),
    Entry("No_such_file_or_directory", .warning, "the Unix socket's file does not exist"),
    Entry("Resource_temporarily_unavailable", .warning, "the Unix socket's queue is full"),
    Entry("Permission_denied", .warning, "this user may not connect to the Unix socket"),
    Entry("Invalid_argument", .warning, "the source address is not of the endpoint's IP version"),
    Entry("Too_many_open_files", .warning, "the limit of open descriptors is reached"),
    Entry("TLS_secrets_not_ready", .warning, "a secret of the cluster's TLS has not come yet"),
  ]
  /// A handshake; the field `transport_failure` has OpenSSL's reason.
  static let handshake: StaticString = "the TLS handshake failed"
  /// None of these.
  static let otherConnectError: StaticString = "the kernel gave another reason"

  /// Why a request was not sent again, by `RetryState.Refusal`.
  static let retryRefusals: [Entry] = [
    Entry("limit_exceeded", .warning, "num_retries of {num_retries} are used up"),
    Entry("overflow", .warning, "{retry_limit} of cluster {cluster} is reached"),
    Entry("not_covered", .warning, "retry_on does not name this"),
    Entry("request_not_retriable", .warning, "retriable_request_headers do not hold for the request"),
    Entry("body_too_large", .warning, "more of the body came than the {retry_buffer} that may be kept"),
    Entry("response_started", .warning, "the response had begun"),
    Entry("client_left", .warning, "the client sends no more"),
    Entry("switched_off", .warning, "upstream.use_retry switches retries off"),
  ]

  /// TCP connections, and connections that came to no request.
  static let connections: [Entry] = [
    Entry("no_cluster", .warning, "the TCP proxy's cluster does not exist"),
    Entry("no_endpoint", .warning, "no endpoint of cluster {cluster} may have the connection: {endpoints}"),
    Entry("overflow", .warning, "max_connections of {max_connections} of cluster {cluster} is reached"),
    Entry("not_connected", .warning, "no connection to an endpoint of cluster {cluster} came about: {connect_error}"),
    Entry("upstream_reset", .warning, "the upstream reset the connection"),
    Entry("overload", .warning, "the overload manager closed the connection: {overload}"),
    Entry("max_duration", .info, "max_downstream_connection_duration of {max_duration} passed"),
    Entry("idle", .info, "nothing moved for idle_timeout of {idle_timeout}"),
    Entry("client_reset", .debug, "the client reset the connection"),
    Entry("rate_limited", .warning, "local_ratelimit of the filter chain refused the connection"),
    Entry("connection_limit", .warning, "connection_limit of the filter chain refused the connection"),
    Entry("peer_rejected", .warning, "the TLS handshake failed: {peer_fault}"),
    Entry("handshake", .info, "the TLS handshake failed"),
  ]

  private static let byDetail = index(details)
  private static let byReset = index(resets)
  private static let byRefusal = index(retryRefusals)
  private static let byConnection = index(connections)

  private static func index(_ entries: [Entry]) -> [String: Entry] {
    Dictionary(entries.map { ($0.word.description, $0) }) { first, _ in first }
  }

  static func detail(_ word: StaticString) -> Entry? { byDetail[word.description] }
  static func reset(_ word: StaticString) -> Entry? { byReset[word.description] }
  static func refusal(_ word: String) -> Entry? { byRefusal[word] }
  static func connection(_ word: StaticString) -> Entry { byConnection[word.description] ?? unknown }

  /// Why there was no connection.
  /// - Parameter word: behind the bar of the details; may be empty.
  static func connectError(_ word: StaticString?, isHandshake: Bool) -> StaticString {
    if isHandshake { return handshake }
    let text = word?.description ?? ""
    return connectErrors.first { text.hasSuffix($0.word.description) }?.phrase ?? otherConnectError
  }

  /// Fills in what stands in braces.
  /// - Parameter fact: what a name in braces stands for.
  static func fill(_ phrase: StaticString, _ fact: (Substring) -> String) -> String {
    var text = ""
    var rest = phrase.description[...]
    while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
      text += rest[..<open]
      text += fact(rest[rest.index(after: open)..<close])
      rest = rest[rest.index(after: close)...]
    }
    return text + rest
  }
}

extension Nanoseconds {
  /// For people: `15 s`, `1.5 s`, `250 ms`.
  var words: String {
    let milliseconds = wholeMilliseconds
    if milliseconds < 1000 { return "\(milliseconds) ms" }
    var text = "\(milliseconds / 1000)"
    let rest = milliseconds % 1000
    if rest > 0 {
      text += ".\(rest / 100)"
      if rest % 100 > 0 { text += "\(rest / 10 % 10)" }
      if rest % 10 > 0 { text += "\(rest % 10)" }
    }
    return text + " s"
  }
}
