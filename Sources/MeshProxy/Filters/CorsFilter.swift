import MeshAPI
import MeshHTTP
import MeshPrimitives
import MeshRouting

/// `envoy.filters.http.cors`: lets pages of other origins use a service, as far as the route's `CorsPolicy` says (the Fetch
/// standard §3.2). Answers preflights itself. Counts in `http.<stat_prefix>.cors.…`. Position: before whatever asks who the
/// client is: a preflight brings nothing that would tell.
final class CorsFilter: StreamFilter {
  static let name = "envoy.filters.http.cors"

  struct Configuration: FilterConfiguration {
    let stats: StatBlock<CorsStat>
    let lease: StatsLease

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      CorsFilter(callbacks, stats.lane(worker.index))
    }
  }

  /// `CorsPolicy`, checked and compiled.
  struct Policy: RouteFilterConfiguration {
    let origins: [HeaderMatching]
    let allowMethods: [UInt8]
    let allowHeaders: [UInt8]
    let exposeHeaders: [UInt8]
    let maxAge: [UInt8]
    let allowsCredentials: Bool
    let allowsPrivateNetwork: Bool
    let forwardsOthers: Bool
    let share: RuntimeFraction
    let shadowShare: RuntimeFraction

    init(_ message: CorsPolicy, _ runtime: Runtime) throws(FilterProblem) {
      var origins: [HeaderMatching] = []
      for (index, matcher) in message.allowOriginStringMatch.enumerated() {
        var header = HeaderMatcher()
        header.name = "origin"
        header.stringMatch = matcher
        switch HeaderMatching.build([header], path: "") {
        case .success(let matching): origins.append(matching)
        case .failure(let failure):
          throw FilterProblem(
            path: "allow_origin_string_match[\(index)]", message: failure.problems.first?.message ?? "is wrong")
        }
      }
      self.origins = origins
      for (name, value) in [
        ("allow_methods", message.allowMethods), ("allow_headers", message.allowHeaders),
        ("expose_headers", message.exposeHeaders), ("max_age", message.maxAge),
      ] where !value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) {
        throw FilterProblem(path: name, message: "holds a control character")
      }
      allowMethods = Array(message.allowMethods.utf8)
      allowHeaders = Array(message.allowHeaders.utf8)
      exposeHeaders = Array(message.exposeHeaders.utf8)
      maxAge = Array(message.maxAge.utf8)
      allowsCredentials = message.allowCredentials.value
      allowsPrivateNetwork = message.allowPrivateNetworkAccess.value
      forwardsOthers = !message.hasForwardNotMatchingPreflights || message.forwardNotMatchingPreflights.value
      func share(_ fraction: RuntimeFractionalPercent, _ isGiven: Bool, otherwise: UInt32) -> RuntimeFraction {
        RuntimeFraction(
          fraction.runtimeKey.isEmpty ? nil : runtime.value(fraction.runtimeKey),
          or: isGiven ? Fraction(fraction.defaultValue) : Fraction(otherwise, of: .hundred))
      }
      self.share = share(message.filterEnabled, message.hasFilterEnabled, otherwise: 100)
      shadowShare = share(message.shadowEnabled, message.hasShadowEnabled, otherwise: 0)
    }

    func allows(_ headers: HeaderMap) -> Bool { origins.contains { $0.matches(RoutingView(headers)) } }
  }

  private static let origin = HeaderName("origin")
  private static let requestMethod = HeaderName("access-control-request-method")
  private static let requestPrivateNetwork = HeaderName("access-control-request-private-network")
  private static let allowOrigin = HeaderName("access-control-allow-origin")
  private static let allowCredentials = HeaderName("access-control-allow-credentials")
  private static let allowMethods = HeaderName("access-control-allow-methods")
  private static let allowHeaders = HeaderName("access-control-allow-headers")
  private static let exposeHeaders = HeaderName("access-control-expose-headers")
  private static let maxAge = HeaderName("access-control-max-age")
  private static let allowPrivateNetwork = HeaderName("access-control-allow-private-network")

  private let callbacks: StreamFilterCallbacks
  private let stats: StatLane<CorsStat>
  /// Set for a request whose origin is allowed, and for a preflight that is answered here.
  private var policy: Policy?
  private var origin: [UInt8] = []
  private var isPreflight = false
  private var asksForPrivateNetwork = false

  private init(_ callbacks: StreamFilterCallbacks, _ stats: StatLane<CorsStat>) {
    self.callbacks = callbacks
    self.stats = stats
  }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    guard let policy = callbacks.routeConfiguration() as? Policy else { return .proceed }
    let random = callbacks.random()
    let isEnabled = policy.share.includes(random)
    guard isEnabled || policy.shadowShare.includes(random) else { return .proceed }
    guard let origin = headers.value(Self.origin), origin.count > 0 else { return .proceed }
    let isAllowed = policy.allows(headers)
    stats.add(isAllowed ? .originValid : .originInvalid)
    guard isEnabled else { return .proceed }
    let asks = headers.value(.method)?.equals("OPTIONS") == true && headers.value(Self.requestMethod) != nil
    let isAnswered = asks && (isAllowed || !policy.forwardsOthers)
    guard isAllowed || isAnswered else { return .proceed }
    self.policy = policy
    // Without it the page's browser takes no permission from the rest.
    if isAllowed { self.origin = Array(origin) }
    guard isAnswered else { return .proceed }
    isPreflight = true
    asksForPrivateNetwork = headers.value(Self.requestPrivateNetwork)?.equals("true") == true
    callbacks.sendLocalReply(LocalReply(status: 200, details: .init("cors_response")))
    return .stop
  }

  func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    guard let policy else { return .proceed }
    set(headers, Self.allowOrigin, origin)
    if policy.allowsCredentials { set(headers, Self.allowCredentials, Array("true".utf8)) }
    if !origin.isEmpty { set(headers, Self.exposeHeaders, policy.exposeHeaders) }
    guard isPreflight else { return .proceed }
    set(headers, Self.allowMethods, policy.allowMethods)
    set(headers, Self.allowHeaders, policy.allowHeaders)
    set(headers, Self.maxAge, policy.maxAge)
    if asksForPrivateNetwork, policy.allowsPrivateNetwork { set(headers, Self.allowPrivateNetwork, Array("true".utf8)) }
    return .proceed
  }

  private func set(_ headers: HeaderMap, _ name: HeaderName, _ value: [UInt8]) {
    if !value.isEmpty { value.withUnsafeBufferPointer { headers.set(name, $0) } }
  }
}
