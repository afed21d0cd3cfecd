import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// What the router knows of one request's attempts: how many more there may be, on what occasions, and what of the request
/// is kept to be sent again. Made for the first request that needs one and reused; confined to the worker.
final class RetryState: TimerTarget {
  /// Why a request was not sent again, for the log.
  enum Refusal {
    /// As many attempts as `num_retries` allows have been made.
    case limitExceeded
    /// The circuit breaker (`max_retries`), or its budget, has no room.
    case overflow
    /// Nothing that `retry_on` names has happened.
    case notCovered
    /// No condition of `retriable_request_headers` holds for the request.
    case requestNotRetriable
    /// More of the body came than is kept.
    case bodyTooLarge
    /// The client has the beginning of a response already.
    case responseStarted
    /// The client has left, or at least sends no more.
    case clientLeft
    /// The runtime says so (`upstream.use_retry`).
    case switchedOff

    var text: String {
      switch self {
      case .limitExceeded: "limit_exceeded"
      case .overflow: "overflow"
      case .notCovered: "not_covered"
      case .requestNotRetriable: "request_not_retriable"
      case .bodyTooLarge: "body_too_large"
      case .responseStarted: "response_started"
      case .clientLeft: "client_left"
      case .switchedOff: "switched_off"
      }
    }
  }

  /// Request headers by which a trusted client changes its retries.
  @inline(__always)
  static var fields: HeaderIDSet {
    HeaderIDSet().adding(.xEnvoyRetryOn).adding(.xEnvoyRetryGRPCOn).adding(.xEnvoyMaxRetries)
      .adding(.xEnvoyRetriableStatusCodes).adding(.xEnvoyRetriableHeaderNames)
      .adding(.xEnvoyUpstreamRequestPerTryTimeout).adding(.xEnvoyHedgeOnPerTryTimeout)
  }

  /// However much a configuration allows: what is kept is one block of memory.
  static let maximumBody = 1 << 30
  static let timeoutRetryName = HeaderName("x-envoy-is-timeout-retry")
  private static let rateLimited = HeaderName("x-envoy-ratelimited")

  private unowned let router: RouterFilter
  /// Until the next attempt begins.
  private let timer: Timer
  /// The route's; nil: the client's headers say everything.
  private(set) var policy: RetryPolicy?
  /// Empty: there is no further attempt.
  private(set) var conditions: RetryConditions = []
  private var remaining: UInt32 = 0
  /// How many attempts after the first there may be.
  private(set) var maximum: UInt32 = 0
  /// Whose retries these are: the stream's `generation`.
  private(set) var request: UInt64 = 0
  /// Attempts after the first.
  private(set) var count: UInt32 = 0
  /// The client's own, beside the policy's.
  private var hasOwnLists = false
  private var statuses: [Int] = []
  private var headerNames: [HeaderName] = []
  /// Bounds an attempt up to its response's headers; zero: no bound.
  private(set) var attemptTimeout = Nanoseconds.zero
  /// Bounds the time in which nothing moves; zero: no bound.
  private(set) var attemptIdleTimeout = Nanoseconds.zero
  var attemptDeadline: MonotonicTime = .never
  var idleDeadline: MonotonicTime = .never
  /// What is asked for by a response that is not taken; nil: it says nothing.
  private var askedWait: Nanoseconds?
  /// A response said how long the last wait was to be.
  private(set) var wasAsked = false
  private var triedPriorities: [UInt32] = []
  private var leftOut: [UInt32] = []
  /// The next attempt follows one that took too long.
  private(set) var followsTimeout = false
  /// The request's body so far, as long as it may have to be sent again.
  var body = ByteQueue()
  var bodyLimit = 0
  var trailers: HeaderMap?
  /// What comes of the request's body is kept.
  private(set) var isBuffering = false
  /// The time between two attempts runs.
  private(set) var isWaiting = false
  /// Attempts have bounds of their own.
  var hasTimers: Bool { attemptTimeout != .zero || attemptIdleTimeout != .zero }
  /// A response with a status below 500 may be one to be tried again for.
  var looksAtSuccess: Bool {
    !conditions.isDisjoint(
      with: RetryConditions.grpc.union([
        .envoyRateLimited, .retriable4xx, .retriableStatusCodes, .retriableHeaders,
      ]))
  }

  init(_ router: RouterFilter, _ loop: EventLoop) {
    self.router = router
    timer = Timer(loop)
    timer.aim(at: self)
  }

  // MARK: What the request says

  /// Begins with a request, takes what is said of retries out of its headers, and does it.
  /// - Returns: false if `retriable_request_headers` forbids any further attempt.
  func begin(_ new: RetryPolicy?, _ headers: HeaderMap, bodyLimit: Int, request: UInt64 = 0) -> Bool {
    self.request = request
    if policy !== new { policy = new }
    conditions = new?.conditions ?? []
    remaining = new?.maximum ?? 1
    count = 0
    if hasOwnLists {
      hasOwnLists = false
      statuses.removeAll()
      headerNames.removeAll()
    }
    attemptTimeout = new?.attemptTimeout ?? .zero
    attemptIdleTimeout = new?.attemptIdleTimeout ?? .zero
    attemptDeadline = .never
    idleDeadline = .never
    askedWait = nil
    followsTimeout = false
    if !triedPriorities.isEmpty {
      triedPriorities = []
      leftOut = []
    }
    self.bodyLimit = bodyLimit
    let asks = headers.hasAny(Self.fields)
    if asks { readConditions(headers) }
    let isAdmitted = new?.admitsAll != false || new?.admits(RoutingView(headers)) != false
    if !isAdmitted { conditions = [] }
    if asks { readLimits(headers) }
    maximum = remaining
    isBuffering = !conditions.isEmpty
    return isAdmitted
  }

  private func readConditions(_ headers: HeaderMap) {
    if let value = headers.value(.xEnvoyRetryOn) {
      conditions.formUnion(RetryConditions.parse(value, isForGRPC: false))
    }
    if let value = headers.value(.xEnvoyRetryGRPCOn) {
      conditions.formUnion(RetryConditions.parse(value, isForGRPC: true))
    }
  }

  private func readLimits(_ headers: HeaderMap) {
    if let number = headers.value(.xEnvoyMaxRetries).flatMap({ DecimalNumber.parse($0) }) {
      remaining = UInt32(clamping: number)
    }
    hasOwnLists = true
    if let codes = headers.value(.xEnvoyRetriableStatusCodes) {
      statuses += codes.text.split(separator: ",").prefix(64).compactMap { Int($0.filter { $0 != " " }) }
    }
    if let names = headers.value(.xEnvoyRetriableHeaderNames) {
      headerNames += names.text.split(separator: ",").prefix(64).map { HeaderName(String($0.filter { $0 != " " })) }
    }
    if let span = headers.value(.xEnvoyUpstreamRequestPerTryTimeout).flatMap({ DecimalNumber.parse($0) }) {
      attemptTimeout = .milliseconds(min(span, 315_360_000_000))
    }
    for field in [
      HeaderID.xEnvoyRetryOn, .xEnvoyRetryGRPCOn, .xEnvoyMaxRetries, .xEnvoyRetriableStatusCodes,
      .xEnvoyRetriableHeaderNames, .xEnvoyUpstreamRequestPerTryTimeout, .xEnvoyHedgeOnPerTryTimeout,
    ] where headers.has(field) {
      headers.remove(field)
    }
  }

  /// The bound of an attempt counts only if it is shorter than that of all attempts.
  func bound(by timeout: Nanoseconds) {
    if timeout != .zero, attemptTimeout >= timeout { attemptTimeout = .zero }
  }

  // MARK: What has happened

  /// Whether a response with this head is one to be tried again for.
  func covers(status: Int, _ headers: HeaderMap, now seconds: UInt64) -> Bool {
    if let asked = policy?.rateLimitedBackOff {
      askedWait = asked.wait(now: seconds) { headers.value($0) }
    }
    if headers.value(Self.rateLimited) != nil { return conditions.contains(.envoyRateLimited) }
    if conditions.contains(.serverErrors), status >= 500 { return true }
    if conditions.contains(.gatewayErrors), (502...504).contains(status) { return true }
    if conditions.contains(.retriable4xx), status == 409 { return true }
    if conditions.contains(.retriableStatusCodes),
      policy?.statuses.contains(status) == true || statuses.contains(status)
    {
      return true
    }
    if conditions.contains(.retriableHeaders), marks(headers) { return true }
    return !conditions.isDisjoint(with: .grpc) && coversCall(headers)
  }

  private func marks(_ headers: HeaderMap) -> Bool {
    if policy?.marks(RoutingView(headers)) == true { return true }
    return headerNames.contains { headers.value($0) != nil }
  }

  private func coversCall(_ headers: HeaderMap) -> Bool {
    switch headers.value(GRPCStatus.name).flatMap({ DecimalNumber.parse($0) }) {
    case 1: conditions.contains(.grpcCancelled)
    case 4: conditions.contains(.grpcDeadlineExceeded)
    case 8: conditions.contains(.grpcResourceExhausted)
    case 13: conditions.contains(.grpcInternal)
    case 14: conditions.contains(.grpcUnavailable)
    default: false
    }
  }

  /// Whether an attempt that ended without a response is one to be tried again for.
  /// - Parameter hasStarted: bytes of the request were sent.
  func covers(_ reason: StreamResetReason, hasStarted: Bool) -> Bool {
    askedWait = nil
    switch reason {
    case .overflow: return false
    case .remoteRefusedStream where conditions.contains(.refusedStream): return true
    case .remoteConnectionFailure, .localConnectionFailure, .connectionTimeout:
      if conditions.contains(.connectFailure) { return true }
    default: break
    }
    if !conditions.isDisjoint(with: [.reset, .serverErrors, .gatewayErrors]) { return true }
    return conditions.contains(.resetBeforeRequest) && !hasStarted
  }

  /// Takes one of the attempts that are left. - Returns: false if there is none.
  func spend() -> Bool {
    guard remaining > 0 else { return false }
    remaining -= 1
    return true
  }

  // MARK: The next attempt

  /// Lets the next attempt begin after a while.
  func wait(_ worker: Worker, afterTimeout: Bool, base: Nanoseconds) {
    count += 1
    followsTimeout = afterTimeout
    isWaiting = true
    attemptDeadline = .never
    idleDeadline = .never
    let span: UInt64
    if let asked = askedWait {
      // Not before the time, and not all at once.
      span = asked.rawValue + worker.random.below(max(1, asked.rawValue / 2))
    } else {
      let bound = (policy?.backOff ?? .init()).bound(retry: count, base: base)
      span = worker.random.below(max(1, bound.rawValue))
    }
    timer.arm(after: Nanoseconds(rawValue: span))
    wasAsked = askedWait != nil
    askedWait = nil
  }

  func timerFired(_ tag: UInt8) {
    guard isWaiting else { return }
    isWaiting = false
    router.retryNow()
  }

  /// Nothing waits any more: something else answers.
  func cancel() {
    isWaiting = false
    timer.disarm()
    attemptDeadline = .never
    idleDeadline = .never
  }

  /// There is no further attempt, whatever happens: what is kept for it can go.
  func giveUp(_ worker: Worker) {
    conditions = []
    isBuffering = false
    if !body.isEmpty { body.clear(worker.loop.bufferPool) }
    if let trailers {
      self.trailers = nil
      worker.headerMaps.recycle(trailers)
    }
  }

  // MARK: Endpoints

  /// It has a say in what endpoint the next attempt gets.
  var choosesEndpoints: Bool {
    guard let policy else { return false }
    return policy.priorityUpdateFrequency != nil || count > 0 && !policy.hostPredicates.isEmpty
  }

  /// An attempt goes to an endpoint of this priority.
  func noteTried(_ priority: UInt32) { triedPriorities.append(priority) }

  /// The priorities that the next attempt should not have.
  /// - Parameter total: how many there are. When all have been tried, they all begin anew.
  func leftOutPriorities(of total: Int) -> [UInt32] {
    guard let frequency = policy?.priorityUpdateFrequency, !triedPriorities.isEmpty else { return [] }
    if triedPriorities.count % frequency == 0 { leftOut = triedPriorities }
    if Set(leftOut).count >= total {
      leftOut = []
      triedPriorities = []
    }
    return leftOut
  }

  /// An endpoint that attempts after the first should not have.
  func avoids(_ endpoint: Endpoint, _ info: StreamInfo) -> Bool {
    guard let policy else { return false }
    return policy.hostPredicates.contains { predicate in
      switch predicate {
      case .tried:
        endpoint.identity === info.endpoint?.identity
          || info.earlierAttempts?.endpoints.contains { $0.identity === endpoint.identity } == true
      case .canary: endpoint.isCanary
      case .metadata(let wanted): endpoint.has(wanted)
      }
    }
  }
}

extension Endpoint {
  /// Whether its metadata has all of `envoy.lb` of another one, which has something there.
  fileprivate func has(_ wanted: Metadata) -> Bool {
    guard let fields = wanted.filterMetadata["envoy.lb"]?.fields, !fields.isEmpty else { return false }
    let own = metadata?.filterMetadata["envoy.lb"]?.fields ?? [:]
    return fields.allSatisfy { own[$0.key] == $0.value }
  }
}
