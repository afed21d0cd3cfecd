import MeshHTTP

extension HeaderMap {
  /// Writes a trace context anew in every format that came in.
  func write(_ trace: TraceContext) {
    if trace.formats.contains(.w3c) {
      remove(.traceparent)
      trace.writeTraceparent(into: reserveTail(TraceContext.traceparentLength))
      addReserved(.traceparent, TraceContext.traceparentLength)
    }
    if has(.tracestate), !trace.keepsTracestate { remove(.tracestate) }
    if trace.formats.contains(.b3Single) {
      remove(.b3)
      addReserved(.b3, trace.writeB3(into: reserveTail(TraceContext.maximumB3Length)))
    }
    if trace.formats.contains(.b3Multi) { writeB3Fields(trace) }
  }

  private func writeB3Fields(_ trace: TraceContext) {
    remove(.xB3TraceID)
    addReserved(.xB3TraceID, trace.writeB3TraceID(into: reserveTail(32)))
    remove(.xB3SpanID)
    trace.writeB3SpanID(into: reserveTail(16))
    addReserved(.xB3SpanID, 16)
    remove(.xB3ParentSpanID)
    if trace.parentSpanID != 0 {
      trace.writeB3ParentSpanID(into: reserveTail(16))
      addReserved(.xB3ParentSpanID, 16)
    }
    remove(.xB3Sampled)
    if let sampled = trace.b3SampledValue {
      reserveTail(1).pointee = sampled
      addReserved(.xB3Sampled, 1)
    }
    remove(.xB3Flags)
    if trace.debug { set(.xB3Flags, "1") }
  }
}
