import MeshHTTP
import MeshIO
import MeshPrimitives

/// What the proxy itself says in the headers of every request and response.
extension ConnectionManager {
  /// Fields by which one Envoy speaks to the next. At the edge they come from strangers and mean nothing.
  @inline(__always)
  private static var internalFields: HeaderIDSet {
    HeaderIDSet().adding(.xEnvoyDownstreamServiceCluster).adding(.xEnvoyDownstreamServiceNode)
      .adding(.xEnvoyDecoratorOperation).adding(.xEnvoyForceTrace).adding(.xEnvoyIPTags).adding(.xEnvoyOriginalURL)
      .adding(.xEnvoyRetryOn).adding(.xEnvoyRetryGRPCOn).adding(.xEnvoyMaxRetries).adding(.xEnvoyRetriableStatusCodes)
      .adding(.xEnvoyRetriableHeaderNames).adding(.xEnvoyUpstreamRequestTimeout)
      .adding(.xEnvoyUpstreamRequestPerTryTimeout).adding(.xEnvoyUpstreamRequestTimeoutAltResponse)
      .adding(.xEnvoyExpectedRequestTimeout).adding(.xEnvoyHedgeOnPerTryTimeout).adding(.xEnvoyOriginalPath)
      .adding(.xEnvoyAttemptCount)
  }

  /// Every field that can carry a trace context.
  @inline(__always)
  private static var traceFields: HeaderIDSet {
    HeaderIDSet().adding(.traceparent).adding(.tracestate).adding(.b3).adding(.xB3TraceID).adding(.xB3SpanID)
      .adding(.xB3ParentSpanID).adding(.xB3Sampled).adding(.xB3Flags)
  }

  @inline(never)
  private func removeInternalFields(_ headers: HeaderMap) {
    for field in HeaderID.allCases where Self.internalFields.contains(field) { headers.remove(field) }
  }

  /// Who the client is, the request's identifier, the trace it belongs to. Before the filters, so that they see it.
  func prepareRequestHeaders(_ headers: HeaderMap, _ stream: Stream, _ connection: ConnectionInfo) {
    if configuration.usesRemoteAddress {
      if headers.hasAny(Self.internalFields) { removeInternalFields(headers) }
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: SocketAddress.maximumText) { buffer in
        guard let base = buffer.baseAddress else { return }
        let address = Bytes(start: base, count: connection.remoteAddress.writeText(into: base))
        headers.appendValue(.xForwardedFor, separator: ",", address)
        headers.set(.xEnvoyExternalAddress, address)
      }
      headers.set(.xForwardedProto, "http")
    } else if !headers.has(.xForwardedProto) {
      headers.set(.xForwardedProto, "http")
    }
    if headers.has(.xEnvoyInternal) { headers.remove(.xEnvoyInternal) }
    let keepsRequestID =
      headers.has(.xRequestID) && (!configuration.usesRemoteAddress || configuration.preservesExternalRequestID)
    let reason = keepsRequestID ? headers.value(.xRequestID).flatMap { RequestID.reason(of: $0) } : nil
    joinTrace(headers, stream, reason)
    let sampled = stream.info.trace.sampled ?? true
    if keepsRequestID {
      if let reason, (reason != .notTraced) != sampled { rewriteRequestID(headers, sampled) }
    } else if configuration.generatesRequestID {
      writeRequestID(headers, sampled)
    } else if configuration.usesRemoteAddress {
      headers.remove(.xRequestID)
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
    // Two contexts are none: which of them is the caller's cannot be known.
    if headers.isRepeated(.traceparent) { headers.remove(.traceparent) }
    let incoming = TraceContext.extract(
      TraceHeaders(
        traceparent: headers.value(.traceparent), tracestate: headers.value(.tracestate), b3: headers.value(.b3),
        b3TraceID: headers.value(.xB3TraceID), b3SpanID: headers.value(.xB3SpanID),
        b3ParentSpanID: headers.value(.xB3ParentSpanID), b3Sampled: headers.value(.xB3Sampled),
        b3Flags: headers.value(.xB3Flags)))
    let trace = incoming.child(&worker.random, samplingIfUndecided: reason != .notTraced)
    stream.info.trace = trace
    if trace.formats.contains(.w3c) {
      headers.remove(.traceparent)
      trace.writeTraceparent(into: headers.reserveTail(TraceContext.traceparentLength))
      headers.addReserved(.traceparent, TraceContext.traceparentLength)
    }
    if headers.has(.tracestate), !trace.keepsTracestate { headers.remove(.tracestate) }
    if trace.formats.contains(.b3Single) {
      headers.remove(.b3)
      headers.addReserved(.b3, trace.writeB3(into: headers.reserveTail(TraceContext.maximumB3Length)))
    }
    if trace.formats.contains(.b3Multi) { writeB3Fields(headers, trace) }
  }

  private func writeB3Fields(_ headers: HeaderMap, _ trace: TraceContext) {
    headers.remove(.xB3TraceID)
    headers.addReserved(.xB3TraceID, trace.writeB3TraceID(into: headers.reserveTail(32)))
    headers.remove(.xB3SpanID)
    trace.writeB3SpanID(into: headers.reserveTail(16))
    headers.addReserved(.xB3SpanID, 16)
    headers.remove(.xB3ParentSpanID)
    if trace.parentSpanID != 0 {
      trace.writeB3ParentSpanID(into: headers.reserveTail(16))
      headers.addReserved(.xB3ParentSpanID, 16)
    }
    headers.remove(.xB3Sampled)
    if let sampled = trace.b3SampledValue {
      headers.reserveTail(1).pointee = sampled
      headers.addReserved(.xB3Sampled, 1)
    }
    headers.remove(.xB3Flags)
    if trace.debug { headers.set(.xB3Flags, "1") }
  }

  /// `server`, `date`, and the request identifier where it is wanted. Past the filters: their answers get them too.
  func finishResponseHeaders(_ headers: HeaderMap, _ stream: Stream) {
    switch configuration.serverHeader {
    case .overwrite: configuration.serverName.withUnsafeBufferPointer { headers.set(.server, $0) }
    case .appendIfAbsent:
      if !headers.has(.server) { configuration.serverName.withUnsafeBufferPointer { headers.set(.server, $0) } }
    case .passThrough: break
    }
    if !headers.has(.date) { headers.add(.date, worker.date) }
    if configuration.setsRequestIDInResponse, let identifier = stream.requestHeaders.value(.xRequestID) {
      headers.set(.xRequestID, identifier)
    }
  }
}
