import MeshHTTP
import MeshPrimitives
import MeshRouting

/// Which streams an access log has lines of, or which local replies a mapper changes
/// (`envoy.config.accesslog.v3.AccessLogFilter`), compiled. Immutable; shared by all threads.
indirect enum AccessLogFilter: Sendable {
  /// How a stream's number is compared with a configured one, which the runtime can replace.
  struct Comparison: Sendable {
    enum Operator: Sendable { case equal, greaterOrEqual, lessOrEqual, notEqual }

    let operation: Operator
    let fallback: UInt64
    /// Nil if no runtime key is configured.
    let runtime: RuntimeValue?

    func holds(_ number: UInt64) -> Bool {
      let value = runtime?.integer(or: fallback) ?? fallback
      return switch operation {
      case .equal: number == value
      case .greaterOrEqual: number >= value
      case .lessOrEqual: number <= value
      case .notEqual: number != value
      }
    }
  }

  /// A condition on text that a filter noted.
  struct NotedText: Sendable {
    enum Test: Sendable {
      case present(Bool)
      case text(TextCondition)
    }

    /// `namespace.key`.
    let key: String
    let test: Test
    let isInverted: Bool
    /// The verdict where nothing is noted.
    let otherwise: Bool

    func holds(_ noted: [String: String]) -> Bool {
      guard var text = noted[key] else {
        if case .present(let wanted) = test { return !wanted != isInverted }
        return otherwise
      }
      return switch test {
      case .present(let wanted): wanted != isInverted
      case .text(let condition): text.withUTF8 { condition.holds($0) } != isInverted
      }
    }
  }

  case statusCode(Comparison)
  case duration(Comparison)
  /// The filter `envoy.filters.http.health_check` has not taken the request for a check.
  case notHealthCheck
  case traceable
  /// A share, chosen by the request's identifier unless it is to be chosen afresh.
  case share(RuntimeFraction, isIndependent: Bool)
  case all([AccessLogFilter])
  case any([AccessLogFilter])
  case header(HeaderMatching)
  /// Empty: any flag.
  case flags(ResponseFlags)
  /// The statuses of gRPC, one bit each.
  case grpcStatus(UInt32, excludes: Bool)
  case metadata(NotedText?)
  case logType(Set<Int>, excludes: Bool)

  /// Whether the stream is among them.
  func includes<Source: SubstitutionSource>(_ stream: Source) -> Bool {
    switch self {
    case .statusCode(let comparison): comparison.holds(UInt64(clamping: stream.info.responseCode))
    case .duration(let comparison): comparison.holds(Self.duration(stream.info))
    case .notHealthCheck: !stream.info.isHealthCheck
    case .traceable: stream.info.trace.sampled == true
    case .share(let fraction, let isIndependent): Self.isChosen(fraction, isIndependent, stream)
    case .all(let filters): filters.allSatisfy { $0.includes(stream) }
    case .any(let filters): filters.contains { $0.includes(stream) }
    case .header(let matching): matching.matches(RoutingView(stream.requestHeaders))
    case .flags(let flags): flags.isEmpty ? !stream.info.flags.isEmpty : !stream.info.flags.isDisjoint(with: flags)
    case .grpcStatus(let statuses, let excludes): Self.isStatus(statuses, stream) != excludes
    case .metadata(let condition): condition?.holds(stream.info.metadata) ?? true
    case .logType(let types, let excludes): types.contains(Int(stream.info.logType.rawValue)) != excludes
    }
  }

  private static func duration(_ info: StreamInfo) -> UInt64 {
    (info.endedAt ?? info.loggedAt.known ?? info.startedAt).since(info.startedAt).wholeMilliseconds
  }

  /// The same requests everywhere: their identifier says whether they are chosen, where it can.
  private static func isChosen<Source: SubstitutionSource>(
    _ fraction: RuntimeFraction, _ isIndependent: Bool, _ stream: Source
  ) -> Bool {
    let random =
      isIndependent
      ? nil : stream.requestHeaders.value(.xRequestID).flatMap { RequestID.isUUID($0) ? RequestID.head($0) : nil }
    let share = fraction.current
    return (random ?? stream.randomBits().0) % share.denominator.value < UInt64(share.numerator)
  }

  private static func isStatus<Source: SubstitutionSource>(_ statuses: UInt32, _ stream: Source) -> Bool {
    let code = GRPCStatus.ofAnyResponse(stream).code
    return code >= 0 && code < 32 && statuses & (1 << UInt32(code)) != 0
  }
}

/// A condition on text (Envoy's `StringMatcher`).
struct TextCondition: Sendable {
  enum Test: Sendable { case exact, prefix, suffix, contains }

  let test: Test
  /// In lower case if `ignoresCase`.
  let text: [UInt8]
  let ignoresCase: Bool

  init(_ test: Test, _ text: String, ignoresCase: Bool) {
    self.test = test
    self.text = ignoresCase ? text.utf8.map(\.asciiLowercased) : Array(text.utf8)
    self.ignoresCase = ignoresCase
  }

  func holds(_ value: Bytes) -> Bool {
    text.withUnsafeBufferPointer { text in
      func same(_ offset: Int) -> Bool {
        let part = value.slice(offset, text.count)
        return ignoresCase ? part.equalsIgnoringCase(text) : part.equals(text)
      }
      guard value.count >= text.count else { return false }
      return switch test {
      case .exact: value.count == text.count && same(0)
      case .prefix: same(0)
      case .suffix: same(value.count - text.count)
      case .contains: (0...value.count - text.count).contains(where: same)
      }
    }
  }
}
