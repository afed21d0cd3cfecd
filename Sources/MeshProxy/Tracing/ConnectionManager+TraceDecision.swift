import MeshHTTP
import MeshPrimitives
import MeshRouting

/// Which requests are traced, where tracing is configured: Envoy's rules. The decision is packed into `x-request-id`, where
/// the next proxy finds it, and sent on in the trace headers.
extension ConnectionManager {
  /// Keeps or makes `x-request-id`. Whether the request is traced is not known yet: see `beginTrace`.
  func identifyTracedRequest(_ headers: HeaderMap, _ stream: Stream, isEdge: Bool) {
    let rules = configuration.edge.requestID
    if headers.value(.xRequestID)?.isEmpty == false, !isEdge || rules.keepsExternal || !rules.generates {
      guard let value = headers.value(.xRequestID), let number = RequestID.number(of: value) else { return }
      stream.info.requestNumber = number
      let reason = RequestID.reason(of: value)
      stream.info.traceReason = rules.packsTraceReason ? reason ?? .notTraced : .notTraced
      stream.info.keepsTraceReason = reason != nil && rules.packsTraceReason
    } else if rules.generates {
      let high = worker.random.next()
      headers.remove(.xRequestID)
      RequestID.write(high, worker.random.next(), into: headers.reserveTail(RequestID.length))
      headers.addReserved(.xRequestID, RequestID.length)
      stream.info.requestNumber = UInt32(truncatingIfNeeded: high >> 32)
      stream.info.traceReason = .notTraced
      stream.info.keepsTraceReason = rules.packsTraceReason
    }
  }

  /// Decides whether the request is traced, and gives it its place in a trace. Its route is known, no filter has seen it.
  func beginTrace(_ tracing: TracingLane, _ headers: HeaderMap, _ stream: Stream) {
    let isTraced = decide(tracing, headers, stream)
    let tracer = tracing.tracer
    if tracing.tellsNames || headers.has(.xEnvoyDecoratorOperation) { nameSpan(tracing, headers, stream) }
    guard tracer.beginsPlainly, !headers.hasAny(Self.traceFields) else {
      return beginTrace(tracing, tracer, headers, stream, isTraced: isTraced)
    }
    // The trace begins here: by far the most common case at the edge.
    stream.info.trace.begin(&worker.random, isSampled: isTraced, recorded: isTraced || records(tracing, headers))
    stream.info.trace.writeTraceparent(into: headers.reserveTail(TraceContext.traceparentLength))
    headers.addReserved(.traceparent, TraceContext.traceparentLength)
  }

  /// Somebody wants what nobody has decided to keep; health checks nobody wants.
  @inline(__always)
  private func records(_ tracing: TracingLane, _ headers: HeaderMap) -> Bool {
    let share = tracing.tracer.recordsUnsampled.current
    return share.numerator > 0 && share.includes(worker.random.next()) && !tracing.configuration.isHealthCheck(headers)
  }

  @inline(never)
  private func beginTrace(
    _ tracing: TracingLane, _ tracer: Tracer, _ headers: HeaderMap, _ stream: Stream, isTraced: Bool
  ) {
    let configuration = tracing.configuration
    var caller = TraceContext()
    if headers.hasAny(Self.traceFields) { caller = incomingTrace(headers, prefersB3: tracer.prefersB3) }
    let isCalled = caller.hasTrace
    caller.formats.formUnion(tracer.propagation(of: caller.formats))
    var trace = caller.child(&worker.random, samplingIfUndecided: isTraced)
    if configuration.isHealthCheck(headers) {
      // Whoever looks at traces wants to know of requests, whatever the caller says.
      trace.decide(false)
    } else if let sampler = tracer.sampler {
      // What is not to be traced is not, whatever the sampler would say.
      trace.decide(isTraced && sampler.samples(trace, parent: isCalled ? caller.sampled : nil))
    } else if !isTraced, tracer.asksBothSides {
      trace.decide(false)
    }
    // As Envoy has it, also where the trace begins here.
    stream.info.sharesSpan = tracer.sharesSpans && configuration.kind == .server
    if isCalled {
      if stream.info.sharesSpan {
        trace.spanID = caller.spanID
        trace.parentSpanID = caller.parentSpanID
      }
    } else if !tracer.asksBothSides {
      // Zipkin's first span goes by the trace's name.
      if tracer.makes64BitIDs {
        trace.traceIDHigh = 0
        trace.is64Bit = true
      }
      trace.spanID = trace.traceIDLow
    }
    if !isCalled { trace.random = false }
    trace.isParentRemote = isCalled
    trace.recorded = trace.sampled == true || records(tracing, headers)
    stream.info.trace = trace
    headers.write(trace)
  }

  /// Whether the request is to be traced, by its identifier and what it asks for; the identifier says it from then on.
  private func decide(_ tracing: TracingLane, _ headers: HeaderMap, _ stream: Stream) -> Bool {
    let rules = configuration.edge.requestID
    guard rules.decidesSampling else {
      stream.info.traceOutcome = .randomSampling
      return !noteHealthCheck(tracing, headers, stream)
    }
    // Without an identifier that can carry it there is no decision.
    guard let before = stream.info.traceReason else { return false }
    let number = UInt64(stream.info.requestNumber)
    let configuration = tracing.configuration
    let own = configuration.hasRouteRules ? stream.route?.tracing : nil
    var reason = before
    if before == .notTraced {
      if headers.has(.xClientTraceID), configuration.client.includes(number, over: own?.client) {
        reason = .clientTraceID
      } else if headers.has(.xEnvoyForceTrace) {
        reason = .forced
      } else if configuration.random.includes(number, over: own?.random) {
        reason = .sampled
      }
    }
    if reason != .notTraced, !configuration.overall.includes(number, over: own?.overall) { reason = .notTraced }
    if reason != before, stream.info.keepsTraceReason {
      headers.replaceByte(of: .xRequestID, at: RequestID.reasonOffset, with: reason.rawValue)
    }
    stream.info.traceOutcome = TracingStat(reason)
    return !noteHealthCheck(tracing, headers, stream) && reason != .notTraced
  }

  /// Counts a request that asks for the health of proxy or service.
  /// - Returns: whether it is one.
  @inline(__always)
  private func noteHealthCheck(_ tracing: TracingLane, _ headers: HeaderMap, _ stream: Stream) -> Bool {
    guard tracing.configuration.isHealthCheck(headers) else { return false }
    tracing.stats.add(.healthCheck)
    stream.info.traceOutcome = .notTraceable
    return true
  }
}

extension RuntimeFraction {
  /// Whether a number belongs to the share, by its remainder, as every proxy on the way finds it: the runtime's share, else
  /// the route's, else the configured one.
  @inline(__always)
  fileprivate func includes(_ number: UInt64, over route: Fraction?) -> Bool {
    let fraction = value?.fraction(or: route ?? fallback) ?? route ?? fallback
    // The number of an identifier goes to 10,000 only.
    return number % 10_000 % fraction.denominator.value < UInt64(fraction.numerator)
  }
}

extension TraceContext {
  /// Makes this the beginning of a trace, to be written as W3C has it.
  @inline(__always)
  fileprivate mutating func begin(_ generator: inout Random, isSampled: Bool, recorded: Bool) {
    traceIDHigh = generator.next()
    traceIDLow = Self.makeID(&generator)
    spanID = Self.makeID(&generator)
    sampled = isSampled
    self.recorded = recorded
    formats = .w3c
  }

  /// A decision in place of the one there was.
  fileprivate mutating func decide(_ isSampled: Bool) {
    sampled = isSampled
    if !isSampled { debug = false }
  }
}
