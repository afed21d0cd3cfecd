import MeshHTTP
import MeshPrimitives
import MeshRouting

/// A request that has failed, as the process log tells of it: what its details mean, and the values of whatever limit or timer
/// it met. Made when the stream is over, while everything that it met is still there; confined to its worker.
struct RequestFailure {
  let stream: Stream
  let manager: ConnectionManager
  private let details: ResponseCodeDetails

  /// nil: nothing of the kind has happened, or it is nobody's business.
  init?(_ stream: Stream, _ manager: ConnectionManager) {
    // Whoever asks whether the proxy is well hears it; a configured answer is none that failed.
    guard !stream.info.isHealthCheck, let details = stream.info.details, !Bytes(details.word).equals("direct_response")
    else { return nil }
    self.stream = stream
    self.manager = manager
    self.details = details
  }

  private var info: StreamInfo { stream.info }

  private var words: FailureWords.Entry {
    if let known = FailureWords.detail(details.word) { return known }
    return info.flags.contains(.downstreamProtocolError) ? FailureWords.brokenRule : FailureWords.unknown
  }

  private var level: LogLevel {
    // A request that did not arrive in time is its client's.
    if info.responseCode == 408 { return min(words.level, .info) }
    // Behind an outbound listener there is another proxy, which tells of it; but not of retries here.
    if Bytes(details.word).equals("via_upstream"), manager.configuration.isOutbound, retryRefusal == nil {
      return .debug
    }
    return words.level
  }

  /// Writes the line, or counts it.
  func write(to log: FailureLog) {
    let level = level
    guard log.isEnabled(level) else { return }
    let cause = FailureCause(
      details, status: info.responseCode, place: info.cluster.map { $0.identity } ?? manager.configuration)
    log.write(
      FailureLog.Entry(level: level, cause: cause, common: { common() }, own: { addOwn(to: &$0) }), stream.worker)
  }

  // MARK: Words

  private var phrase: String {
    var text = FailureWords.fill(words.phrase, fact)
    if let refusal = retryRefusal.flatMap({ FailureWords.refusal($0) }) {
      text += "; not sent again: \(FailureWords.fill(refusal.phrase, fact))"
    }
    return text
  }

  private var retryRefusal: String? { info.metadata["martlet.retry.refused"] }

  /// What a name in a phrase's braces stands for.
  private func fact(_ name: Substring) -> String {
    switch name {
    case "cluster": FailureLine.plain(info.cluster?.name ?? "")
    case "details": FailureLine.plain(details.text)
    case "moment":
      info.upstreamResponseStartedAt == nil ? "before there was a response" : "before the response was complete"
    case "no_route": missingRoute
    case "endpoints": info.cluster.map { EndpointsInWords.text($0, stream.router.priority) } ?? ""
    case "reset_reason":
      details.reason.map { reason in
        FailureWords.reset(reason).map { FailureWords.fill($0.phrase, fact) } ?? "\(reason)"
      }
        ?? ""
    case "connect_error":
      FailureWords.connectError(details.more, isHandshake: info.transportFailure != nil).description
    case "rule": details.more.map { $0.utf8CodeUnitCount > 0 ? ": \($0)" : "" } ?? ""
    case "rate_limit": stream.refusedBy?.words ?? "of \(FailureLine.plain(manager.configuration.statPrefix))"
    case "overload": stream.worker.overload?.words ?? "there is not enough memory"
    default: timer(name) ?? limit(name) ?? String(name)
    }
  }

  private func timer(_ name: Substring) -> String? {
    let router = stream.router
    switch name {
    case "timeout":
      return forward?.timeout == router.timeout
        ? "the route's timeout of \(router.timeout.words)"
        : "the timeout of \(router.timeout.words) that the request asks for"
    case "per_try_timeout": return retry?.attemptTimeout.words
    case "per_try_idle_timeout": return retry?.attemptIdleTimeout.words
    case "upstream_duration": return router.attemptTimeout?.words
    case "connect_timeout": return info.cluster?.configuration.connectTimeout.words
    case "max_stream_duration":
      let asked = forward?.callTimeout?.limit(stream.requestHeaders.grpcTimeout)
      return (asked ?? forward?.maximumStreamDuration ?? manager.configuration.maximumStreamDuration)?.words
    case "idle_timeout":
      let owner = forward?.idleTimeout == nil ? "stream_idle_timeout" : "the route's idle_timeout"
      return "\(owner) of \(stream.idleTimeout?.words ?? "0 s")"
    case "request_timeout": return manager.configuration.requestTimeout?.words
    case "request_headers_timeout": return manager.configuration.connection.headersTimeout?.words
    default: return nil
    }
  }

  private func limit(_ name: Substring) -> String? {
    let priority = stream.router.priority
    let limits = info.cluster?.limits[priority]
    switch name {
    case "limit":
      guard let limits else { return "a limit" }
      if stream.worker.overload.map({ $0.state[.newConnection] > 0 }) == true,
        stream.router.reachedLimit == .pendingRequests
      {
        return "overload: the limit of new connections"
      }
      switch stream.router.reachedLimit {
      case .requests: return "max_requests of \(limits.requests)\(priority.words)"
      case .pendingRequests: return "max_pending_requests of \(limits.pendingRequests)\(priority.words)"
      }
    case "retry_limit":
      guard let limits else { return "a limit" }
      guard let budget = limits.retryBudget else { return "max_retries of \(limits.retries)\(priority.words)" }
      let percent = Int(exactly: budget.percent).map { "\($0)" } ?? "\(budget.percent)"
      return "the retry budget of \(percent) % of the requests, at least \(budget.least)\(priority.words),"
    case "num_retries": return retry.map { "\($0.maximum)" }
    case "retry_buffer": return retry.map { "\($0.bodyLimit) bytes" }
    case "request_buffer": return "\(stream.requestPath.limit) bytes"
    case "response_buffer": return "\(stream.responsePath.limit) bytes"
    default: return nil
    }
  }

  /// What there was to know of this request's retries; nil: there could be none.
  private var retry: RetryState? { stream.router.retryState.flatMap { $0.request == stream.generation ? $0 : nil } }

  private var forward: ForwardAction? {
    if case .forward(let action)? = info.route?.action { return action }
    return nil
  }

  /// Where the search for a route ended.
  private var missingRoute: String {
    let authority = stream.requestHeaders.value(.host) ?? Bytes(start: nil, count: 0)
    guard let host = manager.routes.table.virtualHost(serving: authority) else {
      return "no virtual host has a domain for its authority"
    }
    return "of the \(host.routes) routes of virtual host \(FailureLine.plain(host.name)) none matches"
  }

  // MARK: Fields

  /// The phrase, and what all requests of the same cause have in common.
  private func common() -> FailureLine {
    var line = FailureLine(phrase)
    if info.responseCode > 0 { line.add("code", number: info.responseCode) }
    line.add("flags", info.flags.text)
    line.add("details", details.text)
    if let status = stream.responseHeaders?.value(GRPCStatus.name) { line.add("grpc_status", status, limit: 16) }
    line.add("listener", manager.configuration.logging.listenerName)
    line.add("stat_prefix", manager.configuration.statPrefix)
    line.add("cluster", info.cluster?.name ?? forward?.cluster ?? "")
    return line
  }

  private func addOwn(to line: inout FailureLine) {
    let headers = stream.requestHeaders
    line.add("method", headers.value(.method) ?? Bytes(start: nil, count: 0), limit: 32)
    line.add("authority", headers.value(.host) ?? Bytes(start: nil, count: 0), limit: 128)
    // What the client asked for, without the query, which may hold secrets.
    let path = headers.value(.xEnvoyOriginalPath) ?? headers.value(.path) ?? Bytes(start: nil, count: 0)
    line.add("path", path.slice(0, path.firstIndex(of: UInt8(ascii: "?")) ?? path.count))
    line.add("protocol", stream.start.version.text)
    if let connection = info.connection { line.add(connection) }
    if let workload = stream.peers.downstream { line.add("source_workload", workload) }
    if let route = info.route {
      line.add("virtual_host", route.virtualHostName, limit: 128)
      line.add("route", route.name.isEmpty ? "routes[\(route.routeIndex)]" : route.name, limit: 128)
    }
    addAttempts(to: &line)
    stream.refusedBy?.descriptor.withUnsafeBufferPointer { line.add("descriptor", $0) }
    if let ended = info.endedAt { line.add("duration_ms", number: ended.since(info.startedAt).wholeMilliseconds) }
    if info.upstreamResponseStartedAt != nil, !Bytes(details.word).equals("via_upstream") {
      line.add("bytes_sent", number: info.bytesSent)
    }
    line.add("request_id", headers.value(.xRequestID) ?? Bytes(start: nil, count: 0), limit: 64)
    line.add(info.trace)
  }

  private func addAttempts(to line: inout FailureLine) {
    guard info.attempts > 0 else { return }
    line.add("endpoint", info.endpoint?.address.description ?? "")
    if let workload = stream.peers.upstream ?? info.endpoint?.workload { line.add("destination_workload", workload) }
    let most = max(info.attempts, 1 &+ min(retry?.maximum ?? 0, .max - 1))
    line.add("attempt", "\(info.attempts)/\(most)")
    if let earlier = info.earlierAttempts {
      line.add("tried_before", earlier.endpoints.suffix(4).map { "\($0.address)" }.joined(separator: ","))
    }
    line.add("retry_refused", retryRefusal ?? "")
    line.add("transport_failure", info.transportFailure?.text ?? "")
  }
}

extension FailureLine {
  /// Who is at the other end of a client's connection.
  mutating func add(_ connection: ConnectionInfo) {
    add("client", connection.remoteAddress.description)
    if connection.directRemoteAddress != connection.remoteAddress {
      add("connected_from", connection.directRemoteAddress.description)
    }
    guard let peer = connection.tls?.peer else { return }
    let name = peer.uris.first ?? peer.dnsNames.first ?? peer.subject
    add(connection.tls?.isPeerValidated == true ? "peer" : "unverified_peer", name)
  }

  /// Which workload is at an end, as it says of itself: `name.namespace`.
  mutating func add(_ name: StaticString, _ workload: WorkloadIdentity) {
    let names = workload.names
    (names.workload + [UInt8(ascii: ".")] + names.namespace).withUnsafeBufferPointer { add(name, $0, limit: 128) }
  }

  mutating func add(_ trace: TraceContext) {
    guard trace.hasTrace else { return }
    let low = Self.hexadecimal(trace.traceIDLow)
    add("trace_id", trace.is64Bit ? low : Self.hexadecimal(trace.traceIDHigh) + low)
    if trace.spanID != 0 { add("span_id", Self.hexadecimal(trace.spanID)) }
    add("sampled", trace.recorded || trace.sampled == true ? "true" : "false")
  }

  private static func hexadecimal(_ number: UInt64) -> String {
    String(unsafeUninitializedCapacity: 16) { buffer in
      guard let base = buffer.baseAddress else { return 0 }
      Hex.write(number, into: base)
      return 16
    }
  }
}

extension RoutePriority {
  /// Behind the name of a limit that each priority has.
  var words: String { self == .normal ? "" : " for the priority HIGH" }
}

extension ResponseFlags {
  /// As in the access log, but empty if there is none.
  var text: String {
    Self.names.filter { contains($0.flag) }.map(\.short.description).joined(separator: ",")
  }
}
