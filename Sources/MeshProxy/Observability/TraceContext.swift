import MeshPrimitives

/// Which trace headers came in, and so which are sent on.
public struct TraceFormats: OptionSet, Sendable {
  public let rawValue: UInt8

  @inlinable @inline(__always)
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// `traceparent` and `tracestate` (W3C Trace Context).
  @inlinable public static var w3c: Self { Self(rawValue: 1) }
  /// The single header `b3`.
  @inlinable public static var b3Single: Self { Self(rawValue: 2) }
  /// `x-b3-traceid`, `x-b3-spanid`, `x-b3-parentspanid`, `x-b3-sampled`, `x-b3-flags`.
  @inlinable public static var b3Multi: Self { Self(rawValue: 4) }
}

/// A request's place in its trace: what the trace headers say, and what this hop says in them.
///
/// `extract` reads the caller's context, `child` makes this hop's own, the `write` functions spell it. The rules:
///
/// - If several formats came in, W3C wins, then `b3`, then the `x-b3-` fields; a format that is malformed counts as
///   silent and the next one is asked. The winner gives identifiers, sampling decision and debug flag together.
/// - Every format that came in, malformed or not, is written anew, so that all of them agree and nothing malformed is
///   passed on. With nothing incoming, W3C is written, and the trace begins here.
/// - `tracestate` is passed on unchanged if `traceparent` won, and dropped otherwise (W3C §3.3).
///
/// A value; confined to nothing. Nothing here allocates.
public struct TraceContext: Equatable, Sendable {
  /// The upper half of the trace id; 0 if the trace came with a 64-bit id.
  public var traceIDHigh: UInt64 = 0
  /// The lower half of the trace id.
  public var traceIDLow: UInt64 = 0
  /// The span the headers name: the caller's after `extract`, this hop's after `child`. 0: none.
  public var spanID: UInt64 = 0
  /// The span above `spanID`. 0: none.
  public var parentSpanID: UInt64 = 0
  /// The caller's decision whether the trace is kept; nil if it left that open (B3 only).
  public var sampled: Bool?
  /// Whether this proxy keeps its span. Apart from `sampled`: a proxy may record what nobody has decided to keep yet
  /// (tail sampling), and never changes the header by it. Set by whoever records.
  public var recorded = false
  /// B3's debug flag: sampled, and not to be dropped later on.
  public var debug = false
  /// W3C's random-trace-id flag: the lower 56 bits of the trace id are random.
  public var random = false
  /// The trace id came as 16 digits and is written so in B3.
  public var is64Bit = false
  /// Whether `tracestate` is passed on.
  public var keepsTracestate = false
  /// The parent is a span of whoever sent the request.
  public var isParentRemote = false
  /// The formats to be written.
  public var formats: TraceFormats = []

  @inlinable @inline(__always)
  public init() {}

  /// Whether there is a trace to belong to.
  @inlinable @inline(__always)
  public var hasTrace: Bool { traceIDHigh | traceIDLow != 0 }

  /// This hop's context: a new span under the caller's; the beginning of a trace if there was none.
  /// - Parameters:
  ///   - samplingIfUndecided: the decision if the caller took none; nil leaves it open (W3C then says "not sampled",
  ///     B3 nothing).
  @inlinable @inline(__always)
  public func child(_ generator: inout Random, samplingIfUndecided: Bool?) -> TraceContext {
    var child = self
    child.recorded = false
    child.isParentRemote = false
    if child.sampled == nil { child.sampled = samplingIfUndecided }
    child.parentSpanID = spanID
    child.spanID = Self.makeID(&generator)
    if !hasTrace { child.beginTrace(&generator) }
    return child
  }

  /// The same with another decision whether the trace is kept.
  func with(sampled: Bool) -> TraceContext {
    var trace = self
    trace.sampled = sampled
    trace.debug = trace.debug && sampled
    return trace
  }

  @usableFromInline @inline(__always)
  mutating func beginTrace(_ generator: inout Random) {
    traceIDHigh = generator.next()
    traceIDLow = Self.makeID(&generator)
    parentSpanID = 0
    random = true
    is64Bit = false
    keepsTracestate = false
    if formats.isEmpty { formats = .w3c }
  }

  /// 64 random bits that are not all zero, which is no valid identifier.
  @usableFromInline @inline(__always)
  static func makeID(_ generator: inout Random) -> UInt64 {
    let id = generator.next()
    return id == 0 ? 1 : id
  }
}
