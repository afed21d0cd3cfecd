import MeshPrimitives

/// Which side of a call a span is (OpenTelemetry's and Zipkin's kind).
enum SpanKind: UInt8, Sendable {
  /// Of a request that came in to be served here.
  case server = 2
  /// Of a request to somebody else.
  case client = 3
}

/// What a span begins with.
struct SpanHead {
  /// Trace, span and parent, and the caller's flags.
  var trace: TraceContext
  var kind: SpanKind
  /// Nanoseconds since 1970.
  var startedAt: UInt64
  /// `trace.spanID` is the caller's: both sides write the same span (Zipkin).
  var isShared = false
  /// `trace.parentSpanID` came with the request.
  var isParentRemote = false
}

/// Writes spans in the form in which a collector takes them, one behind the other. For each span `begin`, then any number of
/// tags, then any number of events, then `end`. On the request path: writers append to memory that is there, and neither
/// make strings nor look at what they write. Confined to the worker.
protocol SpanWriter {
  mutating func begin(_ head: SpanHead, name: Bytes, tracestate: Bytes)
  /// - Parameter key: ASCII that needs no escaping; at most 127 bytes.
  mutating func tag(_ key: StaticString, _ value: Bytes)
  /// - Parameter value: printable ASCII without `"` and `\`; at most 127 bytes. Not looked at.
  mutating func tag(_ key: StaticString, plain value: Bytes)
  /// A key from the configuration.
  mutating func tag(_ key: Bytes, _ value: Bytes)
  /// Tags that have been written before, by a writer of the same kind; see `encoded`.
  mutating func tags(_ encoded: [UInt8])
  /// - Parameter time: nanoseconds since 1970.
  mutating func event(_ name: StaticString, at time: UInt64)
  mutating func end(at time: UInt64, isError: Bool)

  /// What a span says of how its request went; see `TracingLane`.
  mutating func tags(of outcome: SpanOutcome, _ cluster: ActiveCluster?, _ tracing: TracingLane)
  /// `peer.address`.
  mutating func tag(client: SocketAddress, _ tracing: TracingLane)

  /// Methods that are not in the standards are `_OTHER` (OpenTelemetry's conventions).
  static var leavesOutUncommonMethods: Bool { get }

  /// Tags that are the same in every span, written once.
  static func encoded(_ tags: [(key: [UInt8], value: [UInt8])]) -> [UInt8]
}

extension SpanWriter {
  @inline(__always)
  mutating func tags(of outcome: SpanOutcome, _ cluster: ActiveCluster?, _ tracing: TracingLane) {
    tags(tracing.tags(of: outcome, cluster))
  }

  @inline(__always)
  mutating func tag(client: SocketAddress, _ tracing: TracingLane) { tags(tracing.tag(ofClient: client)) }

  @inline(__always)
  mutating func tag(_ key: StaticString, _ value: StaticString) { tag(key, plain: Bytes(value)) }

  @inline(__always)
  mutating func tag(_ key: StaticString, number: UInt64) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
      guard let base = digits.baseAddress else { return }
      tag(key, plain: Bytes(start: base, count: DecimalDigits.write(number, into: base)))
    }
  }
}
