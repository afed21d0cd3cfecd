import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

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
    tracing.write { AttemptSpanWriting(span: span, stream: stream, tracing: tracing) }
  }
}

/// The span of an attempt with all that is known of its request. Lives for the writing.
private struct AttemptSpanWriting: SpanWriting {
  let span: AttemptSpan
  let stream: Stream
  let tracing: TracingLane

  func write<Writer: SpanWriter>(to writer: inout Writer) {
    let info = stream.info
    let headers = stream.requestHeaders
    let rules = tracing.configuration.rules(for: info.route)
    let tracestate = span.trace.keepsTracestate ? headers.value(.tracestate) ?? Bytes("") : Bytes("")
    let head = SpanHead(trace: span.trace, kind: .client, startedAt: info.wallClock(span.startedAt))
    withName(rules) { writer.begin(head, name: $0, tracestate: tracestate) }
    writer.tags(rules.upstreamConstants)
    if info.attempts > 1 { writer.tag("retry.count", number: UInt64(info.attempts - 1)) }
    let isFailure = span.writeTags(&writer, info.endpoint?.address, info.cluster)
    if !rules.tags.isEmpty { stream.manager?.writeTags(rules, stream, &writer) }
    if tracing.configuration.isVerbose { writer.upstreamEvents(info, respondedAt: span.respondedAt) }
    writer.end(at: info.wallClock(stream.worker.loop.now), isError: isFailure)
  }

  private func withName(_ rules: SpanRules, _ body: (Bytes) -> Void) {
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
