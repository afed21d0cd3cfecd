import MeshHTTP
import MeshPrimitives
import MeshRouting

/// How long an upstream may take for its response, as route and trusted request headers say.
struct UpstreamTimeout {
  /// From the end of the request, over all attempts; zero: unbounded.
  var response: Nanoseconds
  /// From an endpoint's connection to the end of the response, for one attempt; zero: unbounded; nil: the cluster decides.
  var attempt: Nanoseconds?
  /// The client wants 204 instead of 504 when it is over (`x-envoy-upstream-rq-timeout-alt-response`).
  var answersNoContent = false
  /// What the upstream is told of it; nil: what the route says.
  var announced: Nanoseconds?
  /// Headers say something about retries.
  var asksForRetries = false
  /// The call says itself how long it may take: what its upstream is told.
  var call: Nanoseconds?

  /// Fields that change the timeout of their request. Only trusted clients get them this far; see
  /// `ConnectionManager.prepareRequestHeaders`.
  @inline(__always)
  private static var fields: HeaderIDSet {
    HeaderIDSet().adding(.xEnvoyUpstreamRequestTimeout).adding(.xEnvoyUpstreamRequestTimeoutAltResponse)
      .adding(.xEnvoyUpstreamStreamDuration).union(RetryState.fields)
  }

  /// Takes the fields out of the request and does what they say.
  /// - Parameter respectsExpected: an earlier proxy's `x-envoy-expected-rq-timeout-ms` is the timeout
  ///   (`respect_expected_rq_timeout`).
  @inline(__always)
  init(_ action: ForwardAction, _ headers: HeaderMap, respectsExpected: Bool) {
    // A route with a bound for the whole stream has no other, as in Envoy.
    response = action.boundsStream ? .zero : action.timeout
    if let limit = action.callTimeout { bound(limit, headers) }
    if headers.hasAny(Self.fields) || respectsExpected { read(headers, respectsExpected) }
  }

  /// A call's own timeout takes the place of the route's (`max_grpc_timeout`); the upstream hears what is left of it.
  @inline(never)
  private mutating func bound(_ limit: CallTimeout, _ headers: HeaderMap) {
    guard GRPCStatus.isCall(headers) else { return }
    call = limit.limit(headers.grpcTimeout)
    guard limit.kind == .response else { return }
    response = call ?? .zero
    announced = response
  }

  @inline(never)
  private mutating func read(_ headers: HeaderMap, _ respectsExpected: Bool) {
    if respectsExpected, let time = Self.milliseconds(headers, .xEnvoyExpectedRequestTimeout) {
      response = time
      announced = time
    } else if let time = Self.milliseconds(headers, .xEnvoyUpstreamRequestTimeout) {
      response = time
      announced = time
    }
    asksForRetries = headers.hasAny(RetryState.fields)
    headers.remove(.xEnvoyUpstreamRequestTimeout)
    attempt = Self.milliseconds(headers, .xEnvoyUpstreamStreamDuration)
    headers.remove(.xEnvoyUpstreamStreamDuration)
    guard headers.has(.xEnvoyUpstreamRequestTimeoutAltResponse) else { return }
    answersNoContent = true
    headers.remove(.xEnvoyUpstreamRequestTimeoutAltResponse)
  }

  /// A header's value as a time; nil if it is no decimal number, or absent. Longer than ten years is ten years.
  private static func milliseconds(_ headers: HeaderMap, _ field: HeaderID) -> Nanoseconds? {
    guard let value = headers.value(field), let number = DecimalNumber.parse(value) else { return nil }
    return .milliseconds(min(number, 315_360_000_000))
  }
}
