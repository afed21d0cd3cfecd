import MeshAPI
import MeshHTTP
import MeshPrimitives
import MeshRouting
import SwiftProtobuf

/// What the fault filter does, as the configuration says it (`envoy.extensions.filters.http.fault.v3.HTTPFault`), with the
/// runtime values that override it. Immutable; shared by all threads.
final class FaultSettings: Sendable {
  /// A number that the configuration gives, or the request.
  enum Amount: Sendable {
    case fixed(UInt64)
    /// What a header of the request says; without it there is no fault.
    case header

    var isHeader: Bool { if case .header = self { true } else { false } }
  }

  /// What an aborted request is answered with.
  enum Answer: Equatable {
    case http(Int)
    /// With 200, and this where a call of gRPC looks.
    case grpc(Int)
  }

  private enum Abort: Sendable {
    case http(UInt64)
    case grpc(UInt64)
    /// What a header of the request says; without it there is no fault.
    case header
  }

  /// `delay`, in milliseconds; nil: none.
  private let delay: Amount?
  private let delayShare: RuntimeFraction
  private let delayDuration: RuntimeValue
  /// nil: none.
  private let abort: Abort?
  private let abortShare: RuntimeFraction
  private let abortStatus: RuntimeValue
  private let abortGRPCStatus: RuntimeValue
  /// `response_rate_limit`, in KiB per second; nil: none.
  private let responseRate: Amount?
  private let responseRateShare: RuntimeFraction
  /// What the log is told of requests that are delayed or aborted (`filter_metadata`).
  let metadata: StructValue
  /// Faults are counted by calling cluster, too.
  let countsCallers: Bool
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
      case .httpStatus(let status): .http(UInt64(status))
      case .grpcStatus(let status): .grpc(UInt64(status))
      case .headerAbort: .header
      case nil: nil
      }
    abortShare = RuntimeFraction(
      value(message.abortPercentRuntime, "fault.http.abort.abort_percent"), or: Fraction(message.abort.percentage))
    abortStatus = value(message.abortHTTPStatusRuntime, "fault.http.abort.http_status")
    abortGRPCStatus = value(message.abortGrpcStatusRuntime, "fault.http.abort.grpc_status")
    responseRate =
      switch message.responseRateLimit.limitType {
      case .fixedLimit(let limit): .fixed(limit.limitKbps)
      case .headerLimit: .header
      case nil: nil
      }
    responseRateShare = RuntimeFraction(
      value(message.responseRateLimitPercentRuntime, "fault.http.rate_limit.response_percent"),
      or: Fraction(message.responseRateLimit.percentage))
    metadata = message.filterMetadata
    countsCallers = !message.disableDownstreamClusterStats
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
    guard let delay else { return nil }
    let header = delay.isHeader ? Self.delayPercentage : nil
    guard chosen(delayShare, header, request, "delay.fixed_delay_percent", random) else { return nil }
    let configured: UInt64
    switch delay {
    case .fixed(let milliseconds): configured = milliseconds
    case .header:
      guard let asked = asked(Self.delayRequest, request) else { return nil }
      configured = asked
    }
    var milliseconds = delayDuration.integer(or: configured)
    if let own = entry("delay.fixed_duration_ms", request)?.integer { milliseconds = own }
    return milliseconds == 0 ? nil : .milliseconds(min(milliseconds, Self.longestDelay))
  }

  /// What this request is answered with; nil: it goes on.
  func abort(of request: HeaderMap, random: UInt64) -> Answer? {
    guard let abort else { return nil }
    var header: HeaderName?
    if case .header = abort { header = Self.abortPercentage }
    guard chosen(abortShare, header, request, "abort.abort_percent", random) else { return nil }
    let answer: Answer
    switch abort {
    case .http(let status): answer = .http(Int(status))
    case .grpc(let status): answer = .grpc(Int(status))
    case .header:
      // Of both, HTTP's.
      if let status = asked(Self.abortRequest, request), Self.statuses.contains(status) {
        answer = .http(Int(status))
      } else if let status = asked(Self.abortGRPCRequest, request), Self.grpcStatuses.contains(status) {
        answer = .grpc(Int(status))
      } else {
        return nil
      }
    }
    // The runtime may say anything; a response may not.
    switch answer {
    case .http(let status): return .http(replaced(status, by: abortStatus, "abort.http_status", request, Self.statuses))
    case .grpc(let status):
      return .grpc(replaced(status, by: abortGRPCStatus, "abort.grpc_status", request, Self.grpcStatuses))
    }
  }

  private func replaced(
    _ configured: Int, by runtime: RuntimeValue, _ key: String, _ request: HeaderMap, _ range: Range<UInt64>
  ) -> Int {
    var value = runtime.integer(or: UInt64(configured))
    if let own = entry(key, request)?.integer { value = own }
    return range.contains(value) ? Int(value) : configured
  }

  /// How fast this request's response may be, in KiB per second; nil: as fast as it likes.
  func responseRate(of request: HeaderMap, random: UInt64) -> UInt64? {
    guard let responseRate else { return nil }
    let rate: UInt64
    switch responseRate {
    case .fixed(let configured): rate = configured
    case .header:
      guard let asked = asked(Self.rateRequest, request), asked > 0 else { return nil }
      rate = asked
    }
    let configured = share(responseRateShare, responseRate.isHeader ? Self.ratePercentage : nil, request)
    return (responseRateShare.value?.fraction(or: configured) ?? configured).includes(random) ? rate : nil
  }

  /// The number in a header; nil if there is none.
  private func asked(_ header: HeaderName, _ request: HeaderMap) -> UInt64? {
    request.value(header).flatMap { DecimalNumber.parse($0) }
  }

  /// The configured share, or what the request makes of it: it may ask for less than the configuration allows, not for
  /// more.
  private func share(_ share: RuntimeFraction, _ header: HeaderName?, _ request: HeaderMap) -> Fraction {
    guard let header, let asked = asked(header, request) else { return share.fallback }
    return Fraction(min(UInt32(clamping: asked), share.fallback.numerator), of: share.fallback.denominator)
  }

  /// - Parameter header: by which the request may lower its share; nil if it may not.
  private func chosen(
    _ share: RuntimeFraction, _ header: HeaderName?, _ request: HeaderMap, _ key: StaticString, _ random: UInt64
  ) -> Bool {
    let configured = self.share(share, header, request)
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
  private static let grpcStatuses: Range<UInt64> = 0..<17
  /// A day, in milliseconds: what a request asks for must not be taken for any number.
  private static let longestDelay: UInt64 = 86_400_000
  private static let abortRequest = HeaderName("x-envoy-fault-abort-request")
  private static let abortGRPCRequest = HeaderName("x-envoy-fault-abort-grpc-request")
  private static let rateRequest = HeaderName("x-envoy-fault-throughput-response")
  private static let ratePercentage = HeaderName("x-envoy-fault-throughput-response-percentage")
  private static let abortPercentage = HeaderName("x-envoy-fault-abort-request-percentage")
  private static let delayRequest = HeaderName("x-envoy-fault-delay-request")
  private static let delayPercentage = HeaderName("x-envoy-fault-delay-request-percentage")
}
