import MeshHTTP
import MeshPrimitives
import MeshRouting

/// What the span of a request says: Envoy's tags, under Envoy's names.
extension ConnectionManager {
  /// The stream is over: writes its span.
  func writeSpan(_ tracing: TracingLane, _ stream: Stream) {
    // Whoever looks at traces wants to know of requests.
    if stream.info.isHealthCheck { return tracing.stats.add(.healthCheck) }
    switch tracing.configuration.tracer.format {
    case .otlp:
      var writer = OTLPSpanWriter(tracing.buffer.output)
      write(stream, tracing, &writer)
    case .zipkin(let format):
      var writer = ZipkinSpanWriter(tracing.buffer.output, format)
      write(stream, tracing, &writer)
    }
    tracing.buffer.spanWritten()
  }

  private func write<Writer: SpanWriter>(_ stream: Stream, _ tracing: TracingLane, _ writer: inout Writer) {
    let configuration = tracing.configuration
    let headers = stream.requestHeaders
    let info = stream.info
    let rules = configuration.rules(for: info.route)
    let head = SpanHead(
      trace: info.trace, kind: configuration.kind, startedAt: info.startedAtWallClock, isShared: info.sharesSpan,
      isParentRemote: info.trace.isParentRemote)
    let tracestate = info.trace.keepsTracestate ? headers.value(.tracestate) ?? Bytes("") : Bytes("")
    withSpanName(stream, tracing, rules) { writer.begin(head, name: $0, tracestate: tracestate) }
    writer.tags(rules.constants)
    if let identifier = headers.value(.xRequestID) { writer.tag("guid:x-request-id", identifier) }
    writer.tag("http.url", url(of: headers, stream, tracing))
    writer.tag("http.method", headers.value(.method) ?? Bytes("-"))
    writer.tag("downstream_cluster", Self.value(headers, .xEnvoyDownstreamServiceCluster))
    writer.tag("user_agent", Self.value(headers, .userAgent))
    writer.tag("http.protocol", info.version.text)
    if let address = info.directRemoteAddress { writer.tag(address: address, withPort: false) }
    if let identifier = headers.value(.xClientTraceID) { writer.tag("guid:x-client-trace-id", identifier) }
    writer.tag("request_size", number: info.bytesReceived)
    writer.tag("response_size", number: info.bytesSent)
    if let cluster = info.cluster { writer.tags(tracing.tags(of: cluster)) }
    writer.tag("http.status_code", number: UInt64(clamping: info.responseCode))
    writer.tag(info.flags, tracing.scratch)
    let isFailedCall = GRPCStatus.isCall(headers) && writeCall(stream, &writer)
    let isError = isFailedCall || info.responseCode == 0 || info.responseCode >= 500
    if isError { writer.tag("error", "true") }
    if !rules.tags.isEmpty { writeTags(rules, stream, &writer) }
    if configuration.isVerbose { writeEvents(stream, &writer) }
    let ended = info.endedAt ?? worker.loop.now
    writer.end(at: info.wallClock(ended), isError: isError)
  }

  private static func value(_ headers: HeaderMap, _ id: HeaderID) -> Bytes { headers.value(id) ?? Bytes("-") }

  // MARK: Parts

  /// What the span is called.
  private func withSpanName(_ stream: Stream, _ tracing: TracingLane, _ rules: SpanRules, _ body: (Bytes) -> Void) {
    if !stream.spanName.isEmpty { return stream.spanName.withUnsafeBufferPointer(body) }
    if let decorator = stream.info.route?.decorator { return decorator.operation.withUnsafeBufferPointer(body) }
    if let operation = rules.operation {
      let isNamed = worker.withSubstitution(operation, stream) { name in
        if !name.isEmpty { body(name) }
        return !name.isEmpty
      }
      if isNamed { return }
    }
    let host = stream.requestHeaders.value(.host) ?? Bytes("")
    guard case .otlp = tracing.configuration.tracer.format else { return body(host) }
    guard tracing.configuration.isOutbound else { return body(Bytes("ingress")) }
    let scratch = tracing.scratch
    scratch.removeAll()
    scratch.append("egress ")
    scratch.append(host)
    body(scratch.bytes)
  }

  /// Scheme, host, and the path that the client asked for, cut to its greatest length.
  @inline(__always)
  private func url(of headers: HeaderMap, _ stream: Stream, _ tracing: TracingLane) -> Bytes {
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

  /// What is known of a call of gRPC. - Returns: whether the service failed.
  @inline(never)
  private func writeCall<Writer: SpanWriter>(_ stream: Stream, _ writer: inout Writer) -> Bool {
    let headers = stream.requestHeaders
    if let path = headers.value(.path) { writer.tag("grpc.path", path) }
    if let host = headers.value(.host) { writer.tag("grpc.authority", host) }
    if let type = headers.value(.contentType) { writer.tag("grpc.content_type", type) }
    if let timeout = headers.value(GRPCStatus.timeoutName) { writer.tag("grpc.timeout", timeout) }
    guard let status = GRPCStatus.of(stream) else { return false }
    writer.tag("grpc.status_code", number: UInt64(clamping: status.code))
    if let message = stream.responseTrailers?.value(GRPCStatus.messageName)
      ?? stream.responseHeaders?.value(GRPCStatus.messageName)
    {
      writer.tag("grpc.message", message)
    }
    return status.isServerError
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

extension StreamInfo {
  /// An instant of the stream on the wall clock, in nanoseconds since 1970.
  @inline(__always)
  func wallClock(_ time: MonotonicTime) -> UInt64 {
    time > startedAt ? startedAtWallClock &+ time.since(startedAt).rawValue : startedAtWallClock
  }
}

extension SpanWriter {
  /// `peer.address`: an address in text.
  @inline(__always)
  mutating func tag(_ key: StaticString = "peer.address", address: SocketAddress, withPort: Bool) {
    if address.isUnix || withPort { return tag(key, text: address.description) }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: SocketAddress.maximumText) { buffer in
      guard let base = buffer.baseAddress else { return }
      tag(key, Bytes(start: base, count: address.writeText(into: base)))
    }
  }

  @inline(never)
  mutating func tag(_ key: StaticString, text: String) {
    var text = text
    text.withUTF8 { tag(key, $0) }
  }

  /// `response_flags`: the short names with commas between them.
  @inline(__always)
  mutating func tag(_ flags: ResponseFlags, _ scratch: SpanOutput) {
    if flags.isEmpty { tag("response_flags", "-") } else { tagFlags(flags, scratch) }
  }

  @inline(never)
  private mutating func tagFlags(_ flags: ResponseFlags, _ scratch: SpanOutput) {
    scratch.removeAll()
    for entry in ResponseFlags.names where flags.contains(entry.flag) {
      if scratch.count > 0 { scratch.append(UInt8(ascii: ",")) }
      scratch.append(entry.short)
    }
    tag("response_flags", scratch.bytes)
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
