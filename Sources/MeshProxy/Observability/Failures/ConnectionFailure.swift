import MeshHTTP
import MeshIO
import MeshPrimitives

/// A client's connection that failed, as the process log tells of it: a session of the TCP proxy, or one that nobody came to
/// serve. Confined to its worker.
struct ConnectionFailure {
  private let info: StreamInfo
  private let worker: Worker
  private let words: FailureWords.Entry
  private let listener: String
  private let reason: StaticString?
  /// What names in the phrase stand for, beside those of every connection.
  private var facts: [Substring: String] = [:]
  /// Of the transport, in a field.
  private var transportFailure: String

  private init(
    _ word: FailureWords.Entry, _ info: StreamInfo, _ worker: Worker, listener: String, reason: StaticString? = nil,
    transportFailure: String? = nil
  ) {
    words = word
    self.info = info
    self.worker = worker
    self.listener = listener
    self.reason = reason
    self.transportFailure = transportFailure ?? info.transportFailure?.text ?? ""
  }

  /// nil: the session has ended as sessions do.
  init?(_ session: TCPSession) {
    let word: StaticString
    switch session.end {
    case .notConnected:
      let flags = session.info.flags
      word =
        flags.contains(.noClusterFound)
        ? "no_cluster"
        : flags.contains(.noHealthyUpstream)
          ? "no_endpoint" : flags.contains(.upstreamOverflow) ? "overflow" : "not_connected"
    case .upstreamReset: word = "upstream_reset"
    case .clientReset: word = "client_reset"
    case .idle: word = "idle"
    case .maximumDuration: word = "max_duration"
    case .overload: word = "overload"
    case .complete, .drained, nil: return nil
    }
    let configuration = session.proxy.configuration
    self.init(
      FailureWords.connection(word), session.info, session.proxy.worker, listener: session.listenerName,
      reason: session.localCloseReason)
    facts["idle_timeout"] = configuration.idleTimeout?.words
    facts["max_duration"] = configuration.maximumDuration?.words
    if session.connectTimedOut, let timeout = session.info.cluster?.configuration.connectTimeout {
      facts["connect_error"] = "connect_timeout of \(timeout.words) passed"
    }
  }

  /// A connection that a network filter refused.
  init(
    _ refusal: ConnectionRefusal, _ connection: ConnectionInfo, openedAt: MonotonicTime, _ worker: Worker,
    listener: String
  ) {
    var info = Self.info(connection, openedAt, worker)
    info.flags = refusal.flags
    let isOverRate = Bytes(refusal.closeReason).equals(ConnectionRefusal.overRateLimit.closeReason)
    self.init(
      FailureWords.connection(isOverRate ? "rate_limited" : "connection_limit"), info, worker, listener: listener,
      reason: refusal.closeReason)
  }

  /// A connection for which there was no filter chain.
  init(unmatched connection: ConnectionInfo, openedAt: MonotonicTime, _ worker: Worker, listener: String) {
    var info = Self.info(connection, openedAt, worker)
    info.flags.insert(.noRouteFound)
    let word: StaticString = "filter_chain_not_found"
    self.init(FailureWords.detail(word) ?? FailureWords.unknown, info, worker, listener: listener, reason: word)
  }

  /// A handshake with a client that failed; nil if the client just left.
  init?(
    _ failure: TLSFailure, _ connection: ConnectionInfo, openedAt: MonotonicTime, _ worker: Worker, listener: String
  ) {
    let fault: String?
    switch failure.kind {
    case .closed: return nil
    case .certificateMissing: fault = "the client shows no certificate, and one is required"
    case .certificateInvalid: fault = "the client's certificate cannot be verified"
    case .nameMismatch: fault = "no name in the client's certificate is one of those expected"
    case .pinMismatch: fault = "the client's certificate is none of those pinned"
    case .resources: fault = "this machine could not make what it needs"
    case .protocolError: fault = nil
    }
    self.init(
      FailureWords.connection(fault == nil ? "handshake" : "peer_rejected"), Self.info(connection, openedAt, worker),
      worker, listener: listener, transportFailure: failure.text)
    facts["peer_fault"] = fault
  }

  private static func info(_ connection: ConnectionInfo, _ openedAt: MonotonicTime, _ worker: Worker) -> StreamInfo {
    var info = StreamInfo()
    info.connection = connection
    info.startedAt = openedAt
    info.endedAt = worker.loop.now
    return info
  }

  /// Writes the line, or counts it.
  func write(to log: FailureLog) {
    guard log.isEnabled(words.level) else { return }
    let cause = FailureCause(
      ResponseCodeDetails(words.word, reason, info.upstreamFailure), status: 0, place: info.cluster?.identity)
    log.write(
      FailureLog.Entry(level: words.level, cause: cause, common: { common() }, own: { addOwn(to: &$0) }), worker)
  }

  private func fact(_ name: Substring) -> String {
    switch name {
    case "cluster": FailureLine.plain(info.cluster?.name ?? "")
    case "endpoints": info.cluster.map { EndpointsInWords.text($0, .normal) } ?? ""
    case "max_connections": info.cluster.map { "\($0.limits.normal.connections)" } ?? ""
    case "connect_error":
      facts[name]
        ?? FailureWords.connectError(info.upstreamFailure, isHandshake: info.transportFailure != nil).description
    case "overload": worker.overload?.words ?? "there is not enough of something"
    default: facts[name] ?? String(name)
    }
  }

  private func common() -> FailureLine {
    var line = FailureLine(FailureWords.fill(words.phrase, fact))
    line.add("flags", info.flags.text)
    if let reason { line.add("close_reason", reason) }
    line.add("listener", listener)
    line.add("cluster", info.cluster?.name ?? "")
    return line
  }

  private func addOwn(to line: inout FailureLine) {
    line.add("protocol", "TCP")
    if let connection = info.connection {
      line.add(connection)
      line.add("server_name", connection.requestedServerName)
    }
    line.add("endpoint", info.endpoint?.address.description ?? "")
    if info.attempts > 0 { line.add("attempt", number: info.attempts) }
    if let ended = info.endedAt { line.add("duration_ms", number: ended.since(info.startedAt).wholeMilliseconds) }
    if info.bytesReceived > 0 || info.bytesSent > 0 {
      line.add("bytes_received", number: info.bytesReceived)
      line.add("bytes_sent", number: info.bytesSent)
    }
    line.add("transport_failure", transportFailure)
  }
}
