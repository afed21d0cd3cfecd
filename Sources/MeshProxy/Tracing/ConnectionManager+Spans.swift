import MeshHTTP
import MeshPrimitives
import MeshRouting

/// What the span of a request says: Envoy's tags, under Envoy's names.
extension ConnectionManager {
  /// The stream is over: writes its span.
  func writeSpan(_ tracing: TracingLane, _ stream: Stream) {
    switch tracing.tracer.format {
    case .otlp:
      var writer = OTLPSpanWriter(tracing.buffer.output)
      write(stream, tracing, &writer)
    case .zipkin(let format):
      var writer = ZipkinSpanWriter(tracing.buffer.output, format)
      write(stream, tracing, &writer)
    case .zipkinProtobuf(let format):
      var writer = ZipkinProtobufSpanWriter(tracing.buffer.output, format)
      write(stream, tracing, &writer)
    }
    tracing.buffer.spanWritten()
  }

  private func write<Writer: SpanWriter>(_ stream: Stream, _ tracing: TracingLane, _ writer: inout Writer) {
    let rules = tracing.configuration.rules(for: stream.info.route)
    guard !rules.replaced.isEmpty else { return write(stream, tracing, rules, &writer) }
    var selective = SelectiveSpanWriter(writer, without: rules.replaced)
    write(stream, tracing, rules, &selective)
    writer = selective.writer
  }

  @inline(__always)
  private func write<Writer: SpanWriter>(
    _ stream: Stream, _ tracing: TracingLane, _ rules: SpanRules, _ writer: inout Writer
  ) {
    // The stream's information is large: parts of it are read where it is.
    let headers = stream.requestHeaders
    let head = SpanHead(
      trace: stream.info.trace, kind: tracing.configuration.kind, startedAt: stream.info.startedAtWallClock,
      isShared: stream.info.sharesSpan, isParentRemote: stream.info.trace.isParentRemote)
    let tracestate = head.trace.keepsTracestate ? headers.value(.tracestate) ?? Bytes("") : Bytes("")
    withSpanName(stream, tracing, rules) { writer.begin(head, name: $0, tracestate: tracestate) }
    writer.tags(rules.constants)
    let call = writeCall(stream, headers, &writer)
    let outcome = outcome(of: stream, headers, call)
    writer.tags(of: outcome, stream.info.cluster, tracing)
    if outcome.method == .other { writeMethod(headers, &writer) }
    if let caller = headers.value(.xEnvoyDownstreamServiceCluster) { writer.tag("downstream_cluster", caller) }
    if let identifier = headers.value(.xRequestID) { writer.tag("guid:x-request-id", identifier) }
    writer.tag("http.url", url(of: headers, tracing))
    writer.tag("user_agent", headers.value(.userAgent) ?? Bytes("-"))
    if let connection = stream.info.connection { writer.tag(client: connection.directRemoteAddress, tracing) }
    if let identifier = headers.value(.xClientTraceID) { writer.tag("guid:x-client-trace-id", identifier) }
    if !outcome.isPlain { writer.tag("request_size", number: stream.info.bytesReceived) }
    writer.tag("response_size", number: stream.info.bytesSent)
    if !rules.tags.isEmpty { writeTags(rules, stream, &writer) }
    if tracing.configuration.isVerbose { writeEvents(stream, &writer) }
    writer.end(
      at: stream.info.wallClock(stream.info.endedAt ?? worker.loop.now),
      isError: head.kind.isFailure(outcome.status, call))
  }

  @inline(__always)
  private func outcome(of stream: Stream, _ headers: HeaderMap, _ call: GRPCStatus?) -> SpanOutcome {
    let status = stream.info.responseCode
    return SpanOutcome(
      method: stream.start.method, version: stream.info.version,
      hasCaller: headers.has(.xEnvoyDownstreamServiceCluster), isPlain: stream.info.bytesReceived == 0,
      isError: status == 0 || status >= 500 || call?.isServerError == true, status: status, flags: stream.info.flags,
      cluster: stream.info.cluster.map { ObjectIdentifier($0) })
  }

  // MARK: Parts

  /// Scheme, host, and the path that the client asked for, cut to its greatest length.
  @inline(__always)
  private func url(of headers: HeaderMap, _ tracing: TracingLane) -> Bytes {
    let scratch = tracing.scratch
    scratch.removeAll()
    if let scheme = headers.value(.scheme) ?? headers.value(.xForwardedProto) { scratch.append(scheme) }
    scratch.append("://")
    if let host = headers.value(.host) { scratch.append(host) }
    if let path = headers.value(.xEnvoyOriginalPath) ?? headers.value(.path) {
      scratch.append(
        path.count > tracing.configuration.maximumPath ? path.slice(0, tracing.configuration.maximumPath) : path)
    }
    return scratch.bytes
  }

  /// What is known of a call of gRPC. - Returns: its status; nil if it is none, or has none.
  @inline(__always)
  private func writeCall<Writer: SpanWriter>(
    _ stream: Stream, _ headers: HeaderMap, _ writer: inout Writer
  ) -> GRPCStatus? {
    let isCall = headers.has(.contentType) && GRPCStatus.isCall(headers)
    guard isCall || stream.responseTrailers != nil else { return nil }
    return writeCall(stream, headers, isCall: isCall, &writer)
  }

  @inline(never)
  private func writeCall<Writer: SpanWriter>(
    _ stream: Stream, _ headers: HeaderMap, isCall: Bool, _ writer: inout Writer
  ) -> GRPCStatus? {
    if isCall {
      if let path = headers.value(.path) { writer.tag("grpc.path", path) }
      if let host = headers.value(.host) { writer.tag("grpc.authority", host) }
      if let type = headers.value(.contentType) { writer.tag("grpc.content_type", type) }
      if let timeout = headers.value(GRPCStatus.timeoutName) { writer.tag("grpc.timeout", timeout) }
    }
    let source = [stream.responseTrailers, isCall ? stream.responseHeaders : nil].first {
      $0?.value(GRPCStatus.name) != nil
    }
    guard let source = source ?? nil, let text = source.value(GRPCStatus.name) else { return nil }
    writer.tag("grpc.status_code", text)
    if let message = source.value(GRPCStatus.messageName) { writer.tag("grpc.message", message) }
    return GRPCStatus(text: text)
  }

  /// A method that is not a common one: OpenTelemetry's conventions keep such names out.
  @inline(never)
  private func writeMethod<Writer: SpanWriter>(_ headers: HeaderMap, _ writer: inout Writer) {
    if Writer.leavesOutUncommonMethods { return writer.tag("http.method", "_OTHER") }
    writer.tag("http.method", headers.value(.method) ?? Bytes("-"))
  }

  /// Custom tags whose values the request decides.
  @inline(never)
  func writeTags<Writer: SpanWriter>(_ rules: SpanRules, _ stream: Stream, _ writer: inout Writer) {
    for tag in rules.tags {
      tag.name.withUnsafeBufferPointer { name in
        switch tag.value {
        case .header(let header):
          if let value = stream.requestHeaders.value(header) { return writer.tag(name, value) }
        case .format(let format):
          let isKnown = worker.withSubstitution(format, stream) { value in
            if !value.isEmpty { writer.tag(name, value) }
            return !value.isEmpty
          }
          if isKnown { return }
        }
        if !tag.fallback.isEmpty { tag.fallback.withUnsafeBufferPointer { writer.tag(name, $0) } }
      }
    }
  }

  /// When bytes came and went.
  @inline(never)
  private func writeEvents<Writer: SpanWriter>(_ stream: Stream, _ writer: inout Writer) {
    let info = stream.info
    func event(_ name: StaticString, _ time: MonotonicTime?) {
      if let time, time != .never { writer.event(name, at: info.wallClock(time)) }
    }
    event("last_downstream_rx_byte_received", info.requestCompleteAt)
    writer.upstreamEvents(info, respondedAt: info.upstreamResponseStartedAt ?? .never)
    event("first_downstream_tx_byte_sent", info.responseStartedAt)
    if info.responseStartedAt != nil { event("last_downstream_tx_byte_sent", info.endedAt) }
  }
}

extension SpanKind {
  /// Whether a span has failed, by OpenTelemetry's conventions: what a client got wrong is its own failure, not the
  /// server's. Where nothing was answered nobody can say.
  @inline(__always)
  func isFailure(_ status: Int, _ call: GRPCStatus?) -> Bool {
    if status >= (self == .client ? 400 : 500) { return true }
    guard let call else { return false }
    return self == .client ? call.code != 0 : call.isServerError
  }
}

extension StreamInfo {
  /// An instant of the stream on the wall clock, in nanoseconds since 1970.
  @inline(__always)
  func wallClock(_ time: MonotonicTime) -> UInt64 {
    time > startedAt ? startedAtWallClock &+ time.since(startedAt).rawValue : startedAtWallClock
  }
}

extension SpanWriter {
  @inline(never)
  mutating func tag(_ key: StaticString, text: String) {
    var text = text
    text.withUTF8 { tag(key, $0) }
  }

  /// When bytes went to the upstream and came from it, in the last attempt.
  mutating func upstreamEvents(_ info: StreamInfo, respondedAt: MonotonicTime) {
    let timing = info.upstreamTiming
    if timing.connectionReadyAt != .never {
      event("first_upstream_tx_byte_sent", at: info.wallClock(timing.connectionReadyAt))
    }
    if timing.requestSentAt != .never {
      event("last_upstream_tx_byte_sent", at: info.wallClock(timing.requestSentAt))
    }
    if respondedAt != .never { event("first_upstream_rx_byte_received", at: info.wallClock(respondedAt)) }
    if timing.responseCompleteAt != .never {
      event("last_upstream_rx_byte_received", at: info.wallClock(timing.responseCompleteAt))
    }
  }
}
