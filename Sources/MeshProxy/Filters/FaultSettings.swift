import MeshAPI
import MeshHTTP
import MeshPrimitives
import MeshRouting

/// What the fault filter does, as the configuration says it (`envoy.extensions.filters.http.fault.v3.HTTPFault`), with the
/// runtime values that override it. Immutable; shared by all threads.
final class FaultSettings: Sendable {
  /// A number that the configuration gives, or the request.
  enum Amount: Sendable {
    case fixed(UInt64)
    /// What a header of the request says; without it there is no fault.
    case header
  }

  /// `delay`, in milliseconds; nil: none.
  let delay: Amount?
  let delayShare: RuntimeFraction
  private let delayDuration: RuntimeValue
  /// `abort`, the status; nil: none.
  let abort: Amount?
  let abortShare: RuntimeFraction
  private let abortStatus: RuntimeValue
  /// `max_active_faults`; nil: no limit.
  private let maximumActive: UInt64?
  private let maximumActiveRuntime: RuntimeValue
  private let headers: HeaderMatching
  /// Empty: requests to any cluster.
  private let upstreamCluster: String
  /// Empty: requests of any node.
  private let downstreamNodes: [[UInt8]]
  private let runtime: Runtime

  init(_ message: HTTPFault, _ runtime: Runtime) throws(FilterProblem) {
    func value(_ key: String, _ standard: String) -> RuntimeValue { runtime.value(key.isEmpty ? standard : key) }
    delay =
      switch message.delay.faultDelaySecifier {
      // Never less than configured, since no delay is none.
      case .fixedDelay(let delay): .fixed((UInt64(max(0, delay.nanoseconds)) + 999_999) / 1_000_000)
      case .headerDelay: .header
      case nil: nil
      }
    delayShare = RuntimeFraction(
      value(message.delayPercentRuntime, "fault.http.delay.fixed_delay_percent"),
      or: Fraction(message.delay.percentage))
    delayDuration = value(message.delayDurationRuntime, "fault.http.delay.fixed_duration_ms")
    abort =
      switch message.abort.errorType {
      case .httpStatus(let status): .fixed(UInt64(status))
      case .headerAbort: .header
      case nil: nil
      }
    abortShare = RuntimeFraction(
      value(message.abortPercentRuntime, "fault.http.abort.abort_percent"), or: Fraction(message.abort.percentage))
    abortStatus = value(message.abortHTTPStatusRuntime, "fault.http.abort.http_status")
    maximumActive = message.hasMaxActiveFaults ? UInt64(message.maxActiveFaults.value) : nil
    maximumActiveRuntime = value(message.maxActiveFaultsRuntime, "fault.http.max_active_faults")
    switch HeaderMatching.build(message.headers, path: "headers") {
    case .success(let matching): headers = matching
    case .failure(let failure):
      let first = failure.problems[0]
      throw FilterProblem(path: first.path, message: first.message)
    }
    upstreamCluster = message.upstreamCluster
    downstreamNodes = message.downstreamNodes.map { Array($0.utf8) }
    self.runtime = runtime
  }

  /// Whether requests of this kind may meet a fault at all.
  /// - Parameter route: asked for only if it matters, since choosing a route costs something.
  func applies(to request: HeaderMap, route: () -> RouteEntry?) -> Bool {
    if !upstreamCluster.isEmpty {
      guard let entry = route(), case .forward(let action) = entry.action, action.cluster == upstreamCluster else {
        return false
      }
    }
    if !downstreamNodes.isEmpty {
      guard let node = request.value(.xEnvoyDownstreamServiceNode),
        downstreamNodes.contains(where: { $0.elementsEqual(node) })
      else { return false }
    }
    return headers.matches(RoutingView(request))
  }

  /// How many faults may be active at once.
  var limit: Int {
    let value = maximumActiveRuntime.integer(or: maximumActive ?? .max)
    return Int(clamping: value)
  }

  /// How long this request waits; nil: not at all.
  func delay(of request: HeaderMap, random: UInt64) -> Nanoseconds? {
    guard let delay, chosen(delayShare, delay, request, Self.delayPercentage, "delay.fixed_delay_percent", random)
    else { return nil }
    let configured: UInt64
    switch delay {
    case .fixed(let milliseconds): configured = milliseconds
    case .header:
      guard let asked = request.value(Self.delayRequest).flatMap({ DecimalNumber.parse($0) }) else { return nil }
      configured = asked
    }
    var milliseconds = delayDuration.integer(or: configured)
    if let own = entry("delay.fixed_duration_ms", request)?.integer { milliseconds = own }
    return milliseconds == 0 ? nil : .milliseconds(min(milliseconds, Self.longestDelay))
  }

  /// What this request is answered with; nil: it goes on.
  func abort(of request: HeaderMap, random: UInt64) -> Int? {
    guard let abort, chosen(abortShare, abort, request, Self.abortPercentage, "abort.abort_percent", random) else {
      return nil
    }
    let configured: UInt64
    switch abort {
    case .fixed(let status): configured = status
    case .header:
      guard let asked = request.value(Self.abortRequest).flatMap({ DecimalNumber.parse($0) }),
        Self.statuses.contains(asked)
      else { return nil }
      configured = asked
    }
    var status = abortStatus.integer(or: configured)
    if let own = entry("abort.http_status", request)?.integer { status = own }
    // The runtime may say anything; a response may not.
    return Int(Self.statuses.contains(status) ? status : configured)
  }

  private func chosen(
    _ share: RuntimeFraction, _ amount: Amount, _ request: HeaderMap, _ header: HeaderName, _ key: StaticString,
    _ random: UInt64
  ) -> Bool {
    var configured = share.fallback
    if case .header = amount, let asked = request.value(header).flatMap({ DecimalNumber.parse($0) }) {
      // A request may ask for less than the configuration allows, not for more.
      configured = Fraction(min(UInt32(clamping: asked), configured.numerator), of: configured.denominator)
    }
    if request.value(.xEnvoyDownstreamServiceCluster) != nil {
      return (entry("\(key)", request)?.fraction ?? configured).includes(random)
    }
    return (share.value?.fraction(or: configured) ?? configured).includes(random)
  }

  /// The runtime's word on requests of the cluster that the request says it comes from:
  /// `fault.http.<x-envoy-downstream-service-cluster>.<key>`. Looked up and not kept: the name is the request's.
  private func entry(_ key: String, _ request: HeaderMap) -> RuntimeEntry? {
    guard let cluster = request.value(.xEnvoyDownstreamServiceCluster), !cluster.isEmpty else { return nil }
    return runtime.entry("fault.http.\(cluster.text).\(key)")
  }

  private static let statuses: Range<UInt64> = 200..<600
  /// A day, in milliseconds: what a request asks for must not be taken for any number.
  private static let longestDelay: UInt64 = 86_400_000
  private static let abortRequest = HeaderName("x-envoy-fault-abort-request")
  private static let abortPercentage = HeaderName("x-envoy-fault-abort-request-percentage")
  private static let delayRequest = HeaderName("x-envoy-fault-delay-request")
  private static let delayPercentage = HeaderName("x-envoy-fault-delay-request-percentage")
}
