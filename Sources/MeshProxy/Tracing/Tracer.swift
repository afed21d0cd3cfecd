import MeshIO
import MeshPrimitives

/// Where spans go, and how a trace is told from proxy to proxy: a provider of traces, checked and compiled. Kept over changes of
/// the configuration for as long as its own is the same. Immutable; shared by all threads.
final class Tracer: Sendable {
  /// How spans are written.
  enum Format: Sendable {
    case otlp
    case zipkin(ZipkinSpanFormat)
    case zipkinProtobuf(ZipkinProtobufSpanWriter.Format)
  }

  let format: Format
  /// The formats of trace headers that are written whatever came in; those that came in are written, too.
  let propagation: TraceFormats
  /// Of several formats that came in B3 has the word.
  let prefersB3: Bool
  /// A span of a request that comes in has the caller's identifier (`shared_span_context`).
  let sharesSpans: Bool
  /// Spans of requests are a server's, whatever the listener's direction (`split_spans_for_request`).
  let makesServerSpans: Bool
  /// Traces that begin here have identifiers of 64 bits.
  let makes64BitIDs: Bool
  /// Decides in place of caller and connection manager; nil: they do.
  let sampler: TraceSampler?
  /// What the caller has decided to trace is not if this proxy would not (Envoy's OpenTelemetry, not its Zipkin).
  let asksBothSides: Bool
  let flushRules: SpanFlushRules
  /// What is recorded although nobody has decided to keep it, for a collector that decides later
  /// (`tracing.record_unsampled`).
  let recordsUnsampled: RuntimeFraction
  let receiver: any SpanReceiver
  /// A trace that begins here has nothing special: W3C's header alone, and nobody to ask.
  let beginsPlainly: Bool

  /// The formats to write beside those that came in: B3's several fields are not needed where its single one was enough.
  @inline(__always)
  func propagation(of incoming: TraceFormats) -> TraceFormats {
    incoming.contains(.b3Single) ? propagation.subtracting(.b3Multi) : propagation
  }

  init(
    format: Format, propagation: TraceFormats, prefersB3: Bool = false, sharesSpans: Bool = false,
    makesServerSpans: Bool = false, makes64BitIDs: Bool = false, sampler: TraceSampler? = nil,
    flushRules: SpanFlushRules,
    recordsUnsampled: RuntimeFraction, receiver: any SpanReceiver
  ) {
    self.format = format
    self.propagation = propagation
    self.prefersB3 = prefersB3
    self.sharesSpans = sharesSpans
    self.makesServerSpans = makesServerSpans
    self.makes64BitIDs = makes64BitIDs
    self.sampler = sampler
    self.flushRules = flushRules
    self.recordsUnsampled = recordsUnsampled
    self.receiver = receiver
    if case .otlp = format { asksBothSides = true } else { asksBothSides = false }
    beginsPlainly = propagation == .w3c && sampler == nil && !makes64BitIDs
  }
}

/// Decides which traces are kept (OpenTelemetry SDK, "Sampling"), in place of the connection manager's shares.
indirect enum TraceSampler: Sendable, Equatable {
  /// All.
  case alwaysOn
  /// None.
  case alwaysOff
  /// This share, by the trace's identifier: the same answer wherever a trace is seen.
  case ratio(Fraction)
  /// As the caller has decided; without one this one decides.
  case parentBased(root: TraceSampler)

  /// - Parameter parent: the caller's decision; nil: there is no caller, or it took none.
  func samples(_ trace: TraceContext, parent: Bool?) -> Bool {
    switch self {
    case .alwaysOn: true
    case .alwaysOff: false
    case .ratio(let fraction):
      // Envoy's arithmetic, so that proxies of both kinds decide alike.
      trace.traceIDHigh.byteSwapped % fraction.denominator.value < UInt64(fraction.numerator)
    case .parentBased(let root): parent ?? root.samples(trace, parent: nil)
    }
  }
}
