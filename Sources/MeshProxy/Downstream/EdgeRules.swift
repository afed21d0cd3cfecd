import MeshHTTP
import MeshPrimitives

/// What a connection manager does to every request before a filter sees it, and to every response behind the filters:
/// who the client is, which headers it may set, what its path and host are made into, what the proxy adds. Immutable.
struct EdgeRules: Sendable {
  enum ServerHeader: Sendable { case overwrite, appendIfAbsent, passThrough }

  /// What a request's scheme is (`scheme_header_transformation`).
  enum SchemeRule: Equatable, Sendable {
    /// That of an absolute target, else what `x-forwarded-proto` says.
    case asForwarded
    /// This, and `x-forwarded-proto` too.
    case overwrite([UInt8])
    /// That of the connection to the upstream.
    case matchUpstream
  }

  /// Values of `user-agent` and its like (`add_user_agent`).
  struct UserAgent: Sendable {
    /// `node.cluster`.
    var cluster: [UInt8]
    /// `node.id`; may be empty.
    var node: [UInt8]
  }

  var client = ClientAddressRules()
  var requestID = RequestIDRules()
  var path = PathNormalization()
  var host = HostNormalization()
  /// Whether a target that is a whole URL is served (`http_protocol_options.allow_absolute_url`).
  var allowsAbsoluteTarget = true
  var clientCertificate = ForwardedClientCertificate()
  /// Routes ask for the client's certificate.
  var notesCertificate = false
  var scheme = SchemeRule.asForwarded
  var userAgent: UserAgent?
  /// Appended to `via` on both ways; empty: nothing.
  var via: [UInt8] = []
  /// `append_x_forwarded_port`.
  var setsForwardedPort = false
  var serverName: [UInt8] = Array("envoy".utf8)
  var serverHeader = ServerHeader.overwrite
  // One test each for rules that most do without.
  /// Whether the target of a request may be changed or refused.
  private(set) var checksTarget = false
  /// Whether something is said in every request.
  private(set) var addsToRequest = false
  /// Whether `via` is not empty.
  private(set) var appendsVia = false

  init() {}

  /// To be called when all rules are set.
  mutating func seal() {
    client.seal()
    appendsVia = !via.isEmpty
    checksTarget = !path.isIdle || !host.isIdle || !allowsAbsoluteTarget
    addsToRequest =
      userAgent != nil || appendsVia || scheme != .asForwarded || clientCertificate.asksConnection
      || notesCertificate
  }
}

/// What happens to `x-request-id`.
struct RequestIDRules: Sendable {
  /// `generate_request_id`.
  var generates = true
  /// `preserve_external_request_id`.
  var keepsExternal = false
  /// `always_set_request_id_in_response`.
  var returnsAlways = false
  /// `UuidRequestIdConfig.pack_trace_reason`.
  var packsTraceReason = true
  /// `UuidRequestIdConfig.use_request_id_for_trace_sampling`.
  var decidesSampling = true
}
