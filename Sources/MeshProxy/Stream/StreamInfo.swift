import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// `%RESPONSE_CODE_DETAILS%`: one word for how the response came about, and for failures what exactly happened:
/// `upstream_reset_before_response_started{connection_termination|http1.invalid_chunk}`. Literals only, so that
/// noting it allocates nothing.
public struct ResponseCodeDetails: Sendable {
  public var word: StaticString
  public var reason: StaticString?
  public var more: StaticString?

  public init(_ word: StaticString, _ reason: StaticString? = nil, _ more: StaticString? = nil) {
    self.word = word
    self.reason = reason
    self.more = more
  }

  public var text: String {
    guard let reason else { return word.description }
    guard let more, more.utf8CodeUnitCount > 0 else { return "\(word){\(reason)}" }
    return "\(word){\(reason)|\(more)}"
  }
}

/// What is known of a stream: written by whoever learns it, read by filters, access log, statistics and tracer.
/// Confined to the worker.
public struct StreamInfo {
  /// When the request's head was complete.
  public var startedAt: MonotonicTime = .never
  /// The same instant on the wall clock, in nanoseconds since 1970.
  public var startedAtWallClock: UInt64 = 0
  public var requestCompleteAt: MonotonicTime?
  /// When the first attempt began.
  public var upstreamRequestStartedAt: MonotonicTime?
  public var upstreamResponseStartedAt: MonotonicTime?
  /// What the last attempt did when.
  public var upstreamTiming = UpstreamTiming()
  public var responseStartedAt: MonotonicTime?
  public var endedAt: MonotonicTime?
  /// When a line was written of a stream that had not ended; `.never` otherwise.
  public var loggedAt: MonotonicTime = .never
  /// 0 until a response has begun.
  public var responseCode = 0
  public var flags: ResponseFlags = []
  public var details: ResponseCodeDetails?
  /// Body bytes, framing excluded.
  public var bytesReceived: UInt64 = 0
  public var bytesSent: UInt64 = 0
  /// Attempts to reach an upstream.
  public var attempts: UInt32 = 0
  /// The client is one of our own (`internal_address_config`): it may instruct the proxy by `x-envoy-…` headers.
  public var isInternalRequest = false
  /// A filter has made a call of gRPC of the request: answers of the proxy itself are not for it to read.
  var isCallOfFilter = false
  /// The proxy answered in place of an upstream, or broke the stream off: whether that is a failure is looked at when the stream
  /// is over.
  var mayHaveFailed = false
  /// It asks whether this proxy, or the service behind it, is well (`envoy.filters.http.health_check`).
  var isHealthCheck = false
  /// How the request came.
  public var version = HTTPVersion.http11
  public var route: RouteEntry?
  public var cluster: ActiveCluster?
  /// The virtual cluster that the request belongs to, where there are any.
  var virtualCluster: RequestScope?
  public var endpoint: Endpoint?
  /// The connection that the last attempt got; nil if it got none.
  public var upstreamConnection: UpstreamConnectionInfo?
  /// Why the last attempt got no connection.
  public var upstreamFailure: StaticString?
  /// What the transport says of that, if it failed above the kernel.
  var transportFailure: TransportFailure?
  /// What crossed the connections to upstreams for this stream.
  public var upstreamWire = WireBytes()
  /// The attempts before the last one; nil if there was at most one.
  public var earlierAttempts: EarlierAttempts?
  /// Who is at the other end, and who the client is; nil only before the first request.
  public var connection: ConnectionInfo?
  public var trace = TraceContext()
  /// What `x-request-id` says of the trace; nil: there is none that decides. Known where requests are traced.
  var traceReason: TraceReason?
  /// What was decided of the trace.
  var traceOutcome = TracingStat.notTraceable
  /// `x-request-id` has a place for it.
  var keepsTraceReason = false
  /// The first 32 bits of `x-request-id`, which decide whether the request is traced.
  var requestNumber: UInt32 = 0
  /// The span has the caller's identifier: both write it.
  var sharesSpan = false
  /// What filters tell each other and the log: `namespace.key` → text. Empty costs nothing.
  public var metadata: [String: String] {
    get { notes?.texts ?? [:] }
    set { notes = Notes(texts: newValue, structures: notes?.structures ?? [:]) }
  }
  /// The same with whatever values, by namespace.
  var metadataStructures: [String: StructValue] { notes?.structures ?? [:] }
  private var notes: Notes?

  private struct Notes {
    var texts: [String: String]
    var structures: [String: StructValue]
  }

  /// Takes a structure as a namespace's metadata.
  mutating func note(_ structure: StructValue, under namespace: String) {
    var notes = self.notes ?? Notes(texts: [:], structures: [:])
    notes.structures[namespace] = structure
    for (name, value) in structure.fields {
      if case .stringValue(let text)? = value.kind { notes.texts["\(namespace).\(name)"] = text }
    }
    self.notes = notes
  }
  /// On what occasion a line of the access log is being written.
  public var logType = AccessLogType.notSet

  public init() {}

  /// The router tries an endpoint.
  @inline(__always)
  mutating func beginAttempt(_ endpoint: Endpoint, _ now: MonotonicTime) {
    if attempts > 0 { noteEarlierAttempt() }
    self.endpoint = endpoint
    attempts &+= 1
    if upstreamRequestStartedAt == nil { upstreamRequestStartedAt = now }
  }

  /// This end of the connection to the upstream.
  public var upstreamLocalAddress: MeshPrimitives.SocketAddress? { upstreamConnection?.localAddress }
  /// Of the connection to the upstream; 0 if there was none.
  public var upstreamConnectionIdentifier: UInt64 { upstreamConnection?.identifier ?? 0 }
  /// The client, where trusted proxies have named one further away than the connection.
  public var downstreamRemoteAddress: MeshPrimitives.SocketAddress? { connection?.remoteAddress }
  public var downstreamLocalAddress: MeshPrimitives.SocketAddress? { connection?.localAddress }
  public var connectionIdentifier: UInt64 { connection?.identifier ?? 0 }
  /// The socket's other end.
  public var directRemoteAddress: MeshPrimitives.SocketAddress? { connection?.directRemoteAddress }
}
