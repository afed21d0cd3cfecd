import MeshHTTP
import MeshPrimitives

/// The request's identifier, and the trace that it belongs to.
extension ConnectionManager {
  /// Every field that can carry a trace context.
  @inline(__always)
  static var traceFields: HeaderIDSet {
    HeaderIDSet().adding(.traceparent).adding(.tracestate).adding(.b3).adding(.xB3TraceID).adding(.xB3SpanID)
      .adding(.xB3ParentSpanID).adding(.xB3Sampled).adding(.xB3Flags)
  }

  /// Keeps or makes `x-request-id`, and puts this hop's span into the trace, in step with the identifier.
  func identifyRequest(_ headers: HeaderMap, _ stream: Stream, isEdge: Bool) {
    if tracing != nil { return identifyTracedRequest(headers, stream, isEdge: isEdge) }
    let rules = configuration.edge.requestID
    let keepsRequestID =
      headers.value(.xRequestID)?.isEmpty == false && (!isEdge || rules.keepsExternal || !rules.generates)
    let reason = keepsRequestID ? headers.value(.xRequestID).flatMap { RequestID.reason(of: $0) } : nil
    joinTrace(headers, stream, reason)
    let sampled = stream.info.trace.sampled ?? true
    if keepsRequestID {
      if rules.packsTraceReason, let reason, (reason != .notTraced) != sampled { rewriteRequestID(headers, sampled) }
    } else if rules.generates {
      writeRequestID(headers, sampled && rules.packsTraceReason)
    }
  }

  private func writeRequestID(_ headers: HeaderMap, _ sampled: Bool) {
    headers.remove(.xRequestID)
    let buffer = headers.reserveTail(RequestID.length)
    RequestID.write(
      worker.random.next(), worker.random.next(), reason: sampled ? .sampled : .notTraced, into: buffer)
    headers.addReserved(.xRequestID, RequestID.length)
  }

  /// The identifier carries the decision whether the request is traced; keep the two in step.
  private func rewriteRequestID(_ headers: HeaderMap, _ sampled: Bool) {
    guard let value = headers.value(.xRequestID), value.count == RequestID.length else { return }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: RequestID.length) { copy in
      _ = copy.update(from: value)
      if RequestID.setReason(sampled ? .sampled : .notTraced, in: copy) {
        headers.set(.xRequestID, Bytes(copy))
      }
    }
  }

  /// This hop's span: a new span id under the caller's, in the formats the caller used.
  private func joinTrace(_ headers: HeaderMap, _ stream: Stream, _ reason: TraceReason?) {
    guard headers.hasAny(Self.traceFields) else {
      // The trace begins here.
      let trace = TraceContext().child(&worker.random, samplingIfUndecided: reason != .notTraced)
      stream.info.trace = trace
      trace.writeTraceparent(into: headers.reserveTail(TraceContext.traceparentLength))
      return headers.addReserved(.traceparent, TraceContext.traceparentLength)
    }
    continueTrace(headers, stream, reason)
  }

  private func continueTrace(_ headers: HeaderMap, _ stream: Stream, _ reason: TraceReason?) {
    let incoming = incomingTrace(headers, prefersB3: false)
    let trace = incoming.child(&worker.random, samplingIfUndecided: reason != .notTraced)
    stream.info.trace = trace
    headers.write(trace)
  }

  /// The caller's place in its trace.
  func incomingTrace(_ headers: HeaderMap, prefersB3: Bool) -> TraceContext {
    // Two contexts are none: which of them is the caller's cannot be known.
    if headers.isRepeated(.traceparent) { headers.remove(.traceparent) }
    return TraceContext.extract(
      TraceHeaders(
        traceparent: headers.value(.traceparent), tracestate: headers.value(.tracestate), b3: headers.value(.b3),
        b3TraceID: headers.value(.xB3TraceID), b3SpanID: headers.value(.xB3SpanID),
        b3ParentSpanID: headers.value(.xB3ParentSpanID), b3Sampled: headers.value(.xB3Sampled),
        b3Flags: headers.value(.xB3Flags)), prefersB3: prefersB3)
  }
}
