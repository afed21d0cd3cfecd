import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// One request and its response, from the last byte of the request's head to the last byte of the response: carries the
/// headers, the filters, the timers and everything known of it. Assumes nothing of the wire below: codecs talk to it as
/// `RequestReceiver` and it talks to them as `ResponseSender`.
///
/// Reused: a worker keeps finished streams on a free list. `generation` tells one life from the next.
public final class Stream: RequestReceiver, TimerTarget {
  let worker: Worker
  private(set) var generation: UInt64 = 0
  /// Nothing more may happen: finished, not yet reused.
  private(set) var isOver = true
  public var info = StreamInfo()
  /// What the codec said of the request.
  private(set) var start = RequestStart(method: .other, expectsContinue: false, endStream: true)
  public internal(set) var requestHeaders: HeaderMap
  public internal(set) var responseHeaders: HeaderMap?
  /// Kept for the access log only.
  private(set) var responseTrailers: HeaderMap?
  /// What others want the request's span to be called; empty: nobody said.
  var spanName: [UInt8] = []
  /// The body of the local reply whose format is being filled in.
  var localReplyBody: [UInt8] = []

  private(set) var manager: ConnectionManager?
  private(set) var sender: (any ResponseSender)?
  var filters: [any StreamFilter] = []
  let requestPath = FilterPath<RequestDirection>()
  let responsePath = FilterPath<ResponseDirection>()
  let router = RouterFilter()

  private let timer: Timer
  /// Only where lines are written at intervals.
  private var logTimer: Timer?
  var idleDeadline: MonotonicTime = .never
  var idleTimeout: Nanoseconds?
  private var bodyClock = RequestBodyClock()
  private var responseDeadline: MonotonicTime = .never
  private var durationDeadline: MonotonicTime = .never

  private var isRouteResolved = false
  /// Decides about shares and weights, however often the route is chosen; 0: not yet drawn.
  private var routeRandom: UInt64 = 0
  /// The filters are made; before that, and for a request that is refused before, an answer meets none.
  private var hasFilters = false
  /// The response's headers are with the codec.
  private(set) var responseBegan = false
  /// The response is complete for the filters; the codec may still have to hear of it.
  private var isReplying = false
  /// The upstream has granted the tunnel that the request asks for: each direction ends for itself.
  var isTunnelOpen = false
  /// Of a tunnel: the client has all that the upstream will send.
  var isResponseEnded = false
  /// `downstream_cx_upgrades_active` counts this.
  var isCountedAsUpgrade = false
  /// Who is at the two ends, for observers; empty where there are none.
  var peers = StreamPeers()
  /// The rate limit that refused the request, for the log.
  var refusedBy: RateLimitRefusal?
  /// The filters of the request's upgrade, where it has its own.
  var upgradeChain: UpgradeFilters?

  init(worker: Worker) {
    self.worker = worker
    timer = Timer(worker.loop)
    requestHeaders = worker.noHeaders
    timer.aim(at: self)
    router.stream = self
  }

  // MARK: Beginning and end

  /// Makes this the stream of a new request. The caller has attached it to its codec.
  func begin(
    _ manager: ConnectionManager, _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap,
    _ start: RequestStart
  ) {
    generation &+= 1
    isOver = false
    responseBegan = false
    isReplying = false
    isRouteResolved = false
    routeRandom = 0
    hasFilters = false
    self.manager = manager
    self.sender = sender
    self.start = start
    requestHeaders = headers
    info = StreamInfo()
    let now = worker.loop.now
    info.startedAt = now
    info.startedAtWallClock = worker.loop.wallClock
    info.connection = connection
    info.version = start.version
    if start.endStream { info.requestCompleteAt = now }

    let configuration = manager.configuration
    requestPath.begin(limit: configuration.bufferLimit)
    responsePath.begin(limit: configuration.bufferLimit)
    idleTimeout = manager.streamIdleTimeout
    idleDeadline = idleTimeout.map { now + $0 } ?? .never
    if !start.endStream, start.tunnel == .none {
      bodyClock.begin(now, timeout: configuration.requestTimeout, rate: configuration.minimumBodyRate)
    }
    durationDeadline = configuration.maximumStreamDuration.map { now + $0 } ?? .never
    responseDeadline = .never
    rearm()
    if let interval = configuration.logging.interval { startLogTimer(interval) }
  }

  @inline(never)
  private func startLogTimer(_ interval: Nanoseconds) {
    let timer = logTimer ?? Timer(worker.loop, self, tag: 1)
    logTimer = timer
    timer.arm(after: interval)
  }

  /// Makes the filters of this stream: once the request is known to be one that filters should see.
  func makeFilters() {
    guard let manager else { return }
    let configurations = upgradeChain?.filters ?? manager.configuration.filters
    // Gates need no filter.
    let places = upgradeChain?.places ?? manager.configuration.gates.filterPlaces
    if !places.isEmpty {
      let routeFilters = upgradeChain?.routeFilters ?? manager.configuration.routeFilters
      for place in places {
        let configuration = configurations[place]
        // Only where filters depend on it is the route needed already.
        if routeFilters.isConditional, !routeFilters.isEnabled(place, for: route) { continue }
        let callbacks = StreamFilterCallbacks(
          stream: self, generation: generation, index: filters.count, place: place)
        filters.append(configuration.makeFilter(callbacks, worker: worker))
      }
    }
    if let overload = worker.overload, overload.checksFilters { addOverloadFilter() }
    hasFilters = true
    router.begin(upgradeChain?.router ?? manager.configuration.router)
  }

  /// The end, however it came about. Idempotent.
  private func finish() {
    guard !isOver else { return }
    isOver = true
    info.endedAt = worker.loop.now
    timer.disarm()
    if let logTimer { logTimer.disarm() }
    if bodyClock.deadline != .never { bodyClock = RequestBodyClock() }
    if !filters.isEmpty {
      for filter in filters { filter.destroy() }
      filters.removeAll(keepingCapacity: true)
    }
    if hasFilters { router.destroy() }
    requestPath.end(self)
    responsePath.end(self)
    if start.tunnel != .none { forgetTunnel() }
    manager?.streamFinished(self)
    if !spanName.isEmpty { spanName = [] }
    manager = nil
    sender = nil
    let maps = worker.headerMaps
    var headers = worker.noHeaders
    swap(&headers, &requestHeaders)
    maps.recycle(headers)
    if let headers = responseHeaders.take() { maps.recycle(headers) }
    if let trailers = responseTrailers {
      worker.headerMaps.recycle(trailers)
      responseTrailers = nil
    }
    worker.recycle(self)
  }

  // MARK: RequestReceiver

  public func receiveData(_ bytes: Bytes, endStream: Bool) {
    guard !isOver else { return }
    info.bytesReceived &+= UInt64(bytes.count)
    touch()
    if endStream { requestComplete() }
    requestPath.data(self, bytes, endStream: endStream)
    if isResponseEnded, endStream { finish() }
  }

  public func receiveTrailers(_ trailers: HeaderMap) {
    guard !isOver else { return worker.headerMaps.recycle(trailers) }
    touch()
    requestComplete()
    requestPath.trailers(self, trailers)
    if isResponseEnded { finish() }
  }

  public func requestReset(_ reason: StreamResetReason) { requestFailed(reason, "http2.violation.of.messaging.rule") }

  /// The request is no message of HTTP/2, for a rule that `details` names, and is not answered.
  func requestMalformed(_ details: StaticString) { requestFailed(.protocolError, details) }

  private func requestFailed(_ reason: StreamResetReason, _ rule: StaticString) {
    guard !isOver else { return }
    info.mayHaveFailed = true
    switch reason {
    case .protocolError:
      info.flags.insert(.downstreamProtocolError)
      info.details = .init(rule)
    case .remoteReset:
      info.flags.insert(.downstreamRemoteReset)
      info.details = .init("http2.remote_reset")
    default:
      info.flags.insert(.downstreamConnectionTermination)
      info.details = .init("downstream_remote_disconnect")
      if reason == .localReset { info.details = .init("downstream_local_disconnect") }
    }
    manager?.stats.add(.requestReceivedReset)
    if info.cluster == nil { noteClusterOfRoute() }
    finish()
  }

  /// The client sends no more, and has most likely left.
  var clientHasEnded: Bool { sender?.clientHasEnded ?? true }

  public func clientEnded() {
    // While nobody works for it there is nothing that it could still be waiting for.
    if !isOver, router.retry?.isWaiting == true { clientLeft() }
  }

  /// The client has left while it was the only one to wait for.
  func clientLeft() {
    let codec = sender
    requestFailed(.connectionTermination, "")
    codec?.resetStream()
  }

  public func requestMalformed(status: Int, _ details: StaticString) {
    guard !isOver else { return }
    manager?.stats.add(.connectionProtocolError)
    sendLocalReply(.codecError(status: status, details))
  }

  public func responseBlocked() { if !isOver { pauseResponse(true) } }
  public func responseUnblocked() { if !isOver { pauseResponse(false) } }

  private func requestComplete() {
    info.requestCompleteAt = worker.loop.now
    bodyClock = RequestBodyClock()
  }

  /// Whether the client has sent all of its request.
  var isRequestComplete: Bool { info.requestCompleteAt != nil }

  @inline(__always)
  func count(_ stat: ConnectionManagerStat) { manager?.stats.add(stat) }

  // MARK: Flow control

  func pauseRequest(_ pause: Bool) {
    manager?.stats.add(pause ? .flowControlPaused : .flowControlResumed)
    bodyClock.pause(pause)
    sender?.pauseRequest(pause)
  }

  func pauseResponse(_ pause: Bool) { router.pauseResponse(pause) }

  func requestTooLarge() {
    manager?.stats.add(.requestTooLarge)
    sendLocalReply(.requestTooLarge)
  }

  func responseTooLarge() {
    manager?.stats.add(.responseTooLarge)
    router.abandon()
    guard !responseBegan else { return reset() }
    if let headers = responseHeaders { worker.headerMaps.recycle(headers) }
    responseHeaders = nil
    responsePath.end(self)
    isReplying = false
    reply(.responseTooLarge, throughFilters: false)
  }

  // MARK: Route

  /// The route of this request; nil if none matches. Chosen once, unless a filter asks for another choice.
  var route: RouteEntry? {
    if !isRouteResolved { resolveRoute() }
    return info.route
  }

  @inline(__always)
  func resolveRoute() {
    isRouteResolved = true
    if routeRandom == 0 { routeRandom = worker.random.next() | 1 }
    info.route = manager?.routes.match(requestHeaders, start.tunnel, random: routeRandom)
  }

  /// The same where nothing can change the choice any more: no filter comes before the router.
  @inline(__always)
  func resolveRoute(_ routes: RouteBinding, _ headers: HeaderMap) {
    isRouteResolved = true
    routeRandom = worker.random.next() | 1
    info.route = routes.match(headers, random: routeRandom)
  }

  func clearRoute() {
    isRouteResolved = false
    info.route = nil
  }

  /// What the route says to the filter at a place of the configured chain.
  func routeConfiguration(ofFilterAt place: Int) -> (any RouteFilterConfiguration)? {
    route.flatMap {
      let filters = upgradeChain?.routeFilters ?? manager?.configuration.routeFilters
      return filters?.configuration(ofFilterAt: place, for: $0)
    }
  }

  // MARK: Response

  /// A response from an upstream begins. The map belongs to the stream now.
  func respond(status: Int, _ headers: HeaderMap, endStream: Bool) {
    info.responseCode = status
    info.details = .init("via_upstream")
    responseHeaders = headers
    if let route = info.route { RequestRewrite.applyToResponse(headers, of: self, route: route) }
    touch()
    responsePath.headers(self, endStream: endStream)
  }

  func respondData(_ bytes: Bytes, endStream: Bool) {
    touch()
    responsePath.data(self, bytes, endStream: endStream)
  }

  func respondTrailers(_ trailers: HeaderMap) {
    touch()
    responsePath.trailers(self, trailers)
  }

  func respondInformational(status: Int, _ headers: HeaderMap) {
    guard !responseBegan else { return }
    for filter in filters.reversed() { filter.informationalHeaders(status: status, headers) }
    sender?.sendInformational(status: status, headers)
  }

  /// Answers here and now. If the response has begun already there is no second one: the stream is reset.
  func sendLocalReply(_ reply: LocalReply) {
    guard !isOver else { return }
    guard !responseBegan, !isReplying else {
      info.flags.formUnion(reply.flags)
      info.details = reply.details
      return reset()
    }
    router.abandon()
    self.reply(reply, throughFilters: hasFilters)
  }

  private func reply(_ reply: LocalReply, throughFilters: Bool) {
    isReplying = true
    isTunnelOpen = false
    info.flags.formUnion(reply.flags)
    info.details = reply.details
    info.mayHaveFailed = reply.status >= 400 || !reply.flags.isEmpty
    if let headers = responseHeaders { worker.headerMaps.recycle(headers) }
    let headers = worker.headerMaps.take()
    responseHeaders = headers
    if !reply.location.isEmpty { reply.location.withUnsafeBufferPointer { headers.set(.location, $0) } }
    // A request that has come as far as routes has its route's headers in every answer, as in Envoy.
    if hasFilters || isRouteResolved, let route { RequestRewrite.applyToResponse(headers, of: self, route: route) }
    for (name, value) in reply.fields { value.withUnsafeBufferPointer { headers.add(name, $0) } }
    if let mutations = reply.mutations { RequestRewrite.mutate(headers, of: self, mutations) }
    if info.cluster == nil { noteClusterOfRoute() }
    info.responseCode = reply.status
    if !reply.contentType.isEmpty, !headers.has(.contentType) {
      reply.contentType.withUnsafeBufferPointer { headers.set(.contentType, $0) }
    }
    for (name, value) in reply.headers { headers.set(name, value) }
    // By HTTP/2 other requests are on the connection, and the end of this one does not depend on it.
    if reply.closesConnection, start.version != .http2 { sender?.closeAfterResponse() }
    let body = describe(reply.body, reply.grpcStatus, headers)
    let isEmpty = body.isEmpty || start.method == .head
    if throughFilters { responsePath.headers(self, endStream: isEmpty) } else { encodeHeaders(endStream: isEmpty) }
    guard !isEmpty, !isOver else { return }
    body.withUnsafeBufferPointer {
      if throughFilters { responsePath.data(self, $0, endStream: true) } else { encodeData($0, endStream: true) }
    }
  }

  /// The log knows which cluster the request would have gone to, even if it never did.
  private func noteClusterOfRoute() { if info.route != nil { info.cluster = clusterOfRoute } }

  /// Where the route leads, as far as the headers say now.
  var clusterOfRoute: ActiveCluster? {
    guard case .forward(let action)? = route?.action else { return nil }
    return manager?.routes.cluster(action, requestHeaders, worker)
  }

  /// Past the last filter: the headers go to the codec.
  func encodeHeaders(endStream: Bool) {
    guard let manager, let sender, let headers = responseHeaders else { return }
    manager.finishResponseHeaders(headers, self)
    responseBegan = true
    info.responseStartedAt = worker.loop.now
    if worker.mayEndConnections || manager.isDraining { endConnection(manager, sender) }
    sender.sendHeaders(status: info.responseCode, headers, endStream: endStream)
    if endStream { responseEnded() }
  }

  func encodeData(_ bytes: Bytes, endStream: Bool) {
    info.bytesSent &+= UInt64(bytes.count)
    sender?.sendData(bytes, endStream: endStream)
    if endStream { responseEnded() }
  }

  func encodeTrailers(_ trailers: HeaderMap) {
    sender?.sendTrailers(trailers)
    responseTrailers = trailers
    responseEnded()
  }

  /// Trailers that the client gets in another form.
  func keepForLog(_ trailers: HeaderMap) { responseTrailers = trailers }

  /// The codec has all of the response. A tunnel goes on until the client has ended it, too.
  private func responseEnded() {
    if isTunnelOpen, !isRequestComplete { isResponseEnded = true } else { finish() }
  }

  /// Ends the response so that the client cannot take it for a complete one.
  func reset() {
    guard !isOver else { return }
    let codec = sender
    info.mayHaveFailed = true
    manager?.stats.add(.requestSentReset)
    finish()
    codec?.resetStream()
  }

  // MARK: Timers

  /// Something moved: the idle timer begins anew. The timer itself is not touched; it looks when it fires.
  @inline(__always)
  func touch() { if let idleTimeout { idleDeadline = worker.loop.now + idleTimeout } }

  /// The route's own idle timeout replaces the connection manager's; zero switches it off.
  func setIdleTimeout(_ timeout: Nanoseconds) {
    idleTimeout = timeout == .zero ? nil : timeout
    if let overload = worker.overload { idleTimeout = overload.reduced(idleTimeout, .streamIdle) }
    idleDeadline = idleTimeout.map { worker.loop.now + $0 } ?? .never
    rearm()
  }

  /// The route's own bound for the whole stream, or what a call of gRPC asks for itself, replaces the connection
  /// manager's; zero: none.
  @inline(never)
  func setMaximumDuration(_ action: ForwardAction, _ headers: HeaderMap) {
    var maximum = action.maximumStreamDuration
    if let limit = action.callTimeout, let asked = limit.limit(headers.grpcTimeout) { maximum = asked }
    guard let maximum else { return }
    durationDeadline = maximum == .zero ? .never : info.startedAt + maximum
    rearm()
  }

  /// The whole response must be here by then (route `timeout`).
  @inline(__always)
  func setResponseDeadline(_ deadline: MonotonicTime) {
    responseDeadline = deadline
    rearm()
  }

  @inline(__always)
  func rearm() {
    timer.arm(at: min(min(idleDeadline, bodyClock.deadline), min(responseDeadline, durationDeadline)))
  }

  public func timerFired(_ tag: UInt8) {
    guard !isOver else { return }
    if tag == 1, let interval = manager?.configuration.logging.interval {
      logNow(.downstreamPeriodic)
      return startLogTimer(interval)
    }
    let now = worker.loop.now
    if now >= responseDeadline {
      responseDeadline = .never
      router.responseTimedOut()
    } else if now >= bodyClock.deadline {
      checkBody(now)
    } else if now >= durationDeadline {
      durationDeadline = .never
      manager?.stats.add(.requestMaximumDurationReached)
      sendLocalReply(isRequestComplete ? .maximumDuration : .maximumDurationBeforeRequestEnd)
    } else if now >= idleDeadline {
      idleDeadline = .never
      manager?.stats.add(.requestIdleTimeout)
      sendLocalReply(isRequestComplete ? .idleBeforeResponse : .idleBeforeRequestEnd)
    }
    if !isOver { rearm() }
  }

  private func checkBody(_ now: MonotonicTime) {
    guard let manager else { return }
    switch bodyClock.check(now, received: info.bytesReceived, rate: manager.configuration.minimumBodyRate) {
    case .goesOn: break
    case .timeout:
      manager.stats.add(.requestTimeout)
      sendLocalReply(.requestTimeout)
    case .tooSlow:
      manager.stats.add(.requestBodyTooSlow)
      sendLocalReply(.requestBodyTooSlow)
    }
  }
}
