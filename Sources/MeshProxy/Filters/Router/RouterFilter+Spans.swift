import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// What is known of the span of an attempt (`spawn_upstream_span`). Confined to the worker.
struct AttemptSpan {
  /// A span below the request's own.
  var trace = TraceContext()
  var startedAt = MonotonicTime.never
  /// How the upstream is spoken to; nil: there was no connection.
  var version: HTTPVersion?
  /// 0: no response began.
  var status = 0
  var respondedAt = MonotonicTime.never
  /// Why there is no response, or no more of it.
  var failure: StreamResetReason?
  /// Which time was up.
  var flags: ResponseFlags = []
  /// `grpc-status`; empty: none.
  var call: [UInt8] = []
  /// Somebody on this side gave it up.
  var isCanceled = false
}

/// A span for each attempt to reach an upstream: Envoy's, below that of the request. Written as soon as the attempt is over.
extension RouterFilter {
  /// An attempt begins: its endpoint is known, its headers are not sent yet.
  func prepareAttempt(_ stream: Stream, _ endpoint: ActiveEndpoint) {
    RequestRewrite.prepareAttempt(stream.requestHeaders, of: stream, endpoint.endpoint)
    guard tracesAttempts else { return }
    var span = AttemptSpan()
    span.trace = stream.info.trace.child(&stream.worker.random, samplingIfUndecided: nil)
    span.startedAt = stream.worker.loop.now
    stream.requestHeaders.write(span.trace)
    attemptSpan = span
  }

  /// The attempt has a connection.
  @inline(never)
  func noteAttemptConnection(_ connection: any ClientConnection) { attemptSpan?.version = connection.protocolVersion }

  /// A response to the attempt begins.
  @inline(never)
  func noteAttemptResponse(_ status: Int, _ headers: HeaderMap, _ now: MonotonicTime) {
    attemptSpan?.status = status
    attemptSpan?.respondedAt = now
    noteAttemptCall(headers)
  }

  /// Its headers or trailers may say how a call went.
  @inline(never)
  func noteAttemptCall(_ fields: HeaderMap) {
    if let status = fields.value(GRPCStatus.name) { attemptSpan?.call = Array(status) }
  }

  /// The endpoint is given back, or given up: the attempt is over.
  @inline(never)
  func endAttemptSpan() {
    guard let span = attemptSpan, let stream, let tracing = stream.manager?.tracing else { return }
    attemptSpan = nil
    switch tracing.configuration.tracer.format {
    case .otlp:
      var writer = OTLPSpanWriter(tracing.buffer.output)
      write(span, stream, tracing, &writer)
    case .zipkin(let format):
      var writer = ZipkinSpanWriter(tracing.buffer.output, format)
      write(span, stream, tracing, &writer)
    }
    tracing.buffer.spanWritten()
  }

  private func write<Writer: SpanWriter>(
    _ span: AttemptSpan, _ stream: Stream, _ tracing: TracingLane, _ writer: inout Writer
  ) {
    let info = stream.info
    let headers = stream.requestHeaders
    let rules = tracing.configuration.rules(for: info.route)
    let head = SpanHead(trace: span.trace, kind: .client, startedAt: info.wallClock(span.startedAt))
    let tracestate = span.trace.keepsTracestate ? headers.value(.tracestate) ?? Bytes("") : Bytes("")
    withSpanName(stream, tracing, rules) { writer.begin(head, name: $0, tracestate: tracestate) }
    writer.tags(rules.upstreamConstants)
    if info.attempts > 1 { writer.tag("retry.count", number: UInt64(info.attempts - 1)) }
    if span.isCanceled { writer.tag("canceled", "true") }
    writer.tag("http.protocol", span.version?.text ?? "-")
    if let address = info.endpoint?.address {
      let text = address.description
      writer.tag("upstream_address", text: text)
      writer.tag("peer.address", text: text)
    }
    if let cluster = info.cluster { writer.tags(tracing.tags(of: cluster)) }
    writer.tag("http.status_code", number: UInt64(clamping: span.status))
    TracingLane.text(of: span.failure?.upstreamFlags ?? span.flags).withUnsafeBufferPointer {
      writer.tag("response_flags", $0)
    }
    var call: GRPCStatus?
    if !span.call.isEmpty {
      call = span.call.withUnsafeBufferPointer {
        writer.tag("grpc.status_code", $0)
        return GRPCStatus(text: $0)
      }
    }
    let isError = span.status == 0 || span.status >= 500 || call?.isServerError == true
    if isError { writer.tag("error", "true") }
    if let failure = span.failure { writer.tag("error.reason", failure.text) }
    if !rules.tags.isEmpty { stream.manager?.writeTags(rules, stream, &writer) }
    if tracing.configuration.isVerbose { writer.upstreamEvents(info, respondedAt: span.respondedAt) }
    writer.end(at: info.wallClock(stream.worker.loop.now), isError: head.kind.isFailure(span.status, call))
  }

  private func withSpanName(_ stream: Stream, _ tracing: TracingLane, _ rules: SpanRules, _ body: (Bytes) -> Void) {
    if let operation = rules.upstreamOperation, stream.manager?.withName(operation, stream, body) == true { return }
    let scratch = tracing.scratch
    scratch.removeAll()
    scratch.append("router ")
    if let cluster = stream.info.cluster {
      var name = cluster.configuration.statName
      name.withUTF8 { scratch.append($0) }
    }
    scratch.append(" egress")
    body(scratch.bytes)
  }
}
