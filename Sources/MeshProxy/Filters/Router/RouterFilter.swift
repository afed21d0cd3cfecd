import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// `envoy.filters.http.router`, the last filter of every chain: chooses cluster and endpoint, sends the request there,
/// brings the response back. Sets UH, UF, UO, UC, UPE, UT, NR, NC.
///
/// A request that a *reused* connection lost before a byte of the response came is sent once more, on a new connection,
/// if the upstream cannot have acted on it: because nothing of it left this machine, or because its method is idempotent
/// (RFC 9110 §9.2.2) and it has no body.
final class RouterFilter: ResponseReceiver, PoolClient {
  struct Configuration: Sendable {
    /// `suppress_envoy_headers`: no `x-envoy-upstream-service-time`, no `x-envoy-expected-rq-timeout-ms`.
    var suppressesEnvoyHeaders = false
    /// `respect_expected_rq_timeout`: the timeout that an earlier proxy has announced holds here too.
    var respectsExpectedTimeout = false
    /// `dynamic_stats`: responses are counted by status, time and origin.
    var countsResponses = true
  }

  /// The stream it is a part of.
  unowned(unsafe) var stream: Stream?
  private(set) var configuration = Configuration()
  var cluster: ActiveCluster?
  var endpoint: ActiveEndpoint?
  /// The request on its way to the endpoint.
  var upstream: (any RequestSender)?
  private(set) var ticket: ConnectionPool.Ticket?
  private(set) var timeout = Nanoseconds.zero
  /// Bounds one attempt, from its connection to the end of its response.
  private(set) var attemptTimeout: Nanoseconds?
  var responseDeadline: MonotonicTime = .never
  var attemptDeadline: MonotonicTime = .never
  private(set) var answersNoContent = false
  /// The response has something to tell the client: by what cookie it is known.
  var hasNews = false
  /// Copies of the request that still get what comes of it.
  var shadows: [ShadowRequest] = []
  /// Body bytes that came before there was a connection.
  var pendingBody = ByteQueue()
  private var pendingTrailers: HeaderMap?
  private(set) var attemptStartedAt: MonotonicTime = .never
  var isRequestPaused = false
  /// The upstream takes no more for now.
  var isRequestBlocked = false
  var isResponsePaused = false
  var hasBody = false
  var requestEnded = false
  private(set) var responseBegan = false
  /// The one attempt has been made that needs no policy.
  private var isReplayed = false
  /// Attempts after the first, if there may be any, and bounds of each; nil: neither.
  var retry: RetryState? {
    @inline(__always) get { usesRetries ? retryState : nil }
  }
  /// Flags of their own, because most requests need no more of it than them.
  var usesRetries = false
  /// Attempts have bounds of their own.
  var hasTryTimers = false
  /// Something of the request is kept to be sent again, beside its headers.
  var keepsContent = false
  /// A response that is no failure has to be looked at, too.
  var looksAtSuccess = false
  /// Earlier attempts have a say in which endpoint the next one gets.
  var choosesEndpoints = false
  /// Whether there is another attempt was the policy's to say.
  var isCoveredByPolicy = false
  /// Made for the first request that needs one, and kept.
  var retryState: RetryState?
  /// What is known of the choice of an endpoint; nil if it is the cluster's alone.
  var choice: RouterChoice?
  /// Which of the cluster's circuit breakers counts this request.
  private(set) var priority = RoutePriority.normal
  /// The client is trusted (`x-envoy-internal`).
  var isInternal = false
  /// The upstream says that it is a new version on trial.
  var isCanary = false
  /// Where else the request is counted: its virtual cluster, its route.
  var scopes: RequestScopes?
  /// Of a request for a tunnel.
  var tunnel = RouterTunnel()
  /// The request's headers depend on the attempt.
  private var preparesAttempts = false
  /// Each attempt has a span.
  var tracesAttempts = false
  /// Of the attempt that is being made.
  var attemptSpan: AttemptSpan?
  /// A permit of the cluster's circuit breaker is held, and `upstream_rq_active` counts this request.
  private(set) var isCounted = false
  /// Which limit of the cluster was in the way last.
  private(set) var reachedLimit = ReachedLimit.requests
  /// A permit for a retry is held.
  var isRetryCounted = false

  func begin(_ configuration: Configuration) {
    self.configuration = configuration
    hasBody = false
    requestEnded = false
    responseBegan = false
    isReplayed = false
    isCoveredByPolicy = false
    isCanary = false
    responseDeadline = .never
    attemptDeadline = .never
    isRequestPaused = false
    isRequestBlocked = false
    isResponsePaused = false
    if tunnel.isUsed { tunnel = RouterTunnel() }
  }

  // MARK: The request

  // Each method takes its stream, cluster and endpoint into local constants first: one reference for the whole method
  // instead of one for each use.

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) {
    guard let stream else { return }
    requestEnded = endStream
    hasBody = !endStream
    stream.count(.routerTotal)
    guard let route = stream.route else {
      stream.count(.routerNoRoute)
      return stream.sendLocalReply(.noRoute)
    }
    switch route.action {
    case .redirect(let redirect):
      stream.count(.routerDirectResponse)
      var reply = LocalReply(status: redirect.status, details: .init("direct_response"))
      reply.location = RequestRewrite.location(redirect, stream)
      stream.sendLocalReply(reply)
    case .nonForwarding:
      stream.count(.routerNoCluster)
      stream.sendLocalReply(.noCluster)
    case .directResponse(let response):
      stream.count(.routerDirectResponse)
      var reply = LocalReply(status: response.status, body: response.body, details: .init("direct_response"))
      if response.bodyFormat != nil, let format = stream.manager?.configuration.bodyFormats[ObjectIdentifier(response)]
      {
        reply.body = LocalReplyMapping.write(format.format, stream, response.body)
        reply.contentType = format.contentType
      }
      stream.sendLocalReply(reply)
    case .forward(let action):
      forward(stream, headers, route, action)
    }
  }

  private func forward(_ stream: Stream, _ headers: HeaderMap, _ route: RouteEntry, _ action: ForwardAction) {
    guard let cluster = stream.manager?.routes.cluster(action, headers, stream.worker) else {
      stream.count(.routerNoCluster)
      var reply = LocalReply.noCluster
      reply.status = action.clusterNotFoundStatus
      return stream.sendLocalReply(reply)
    }
    if stream.start.tunnel != .none || action.takesPostAsTunnel {
      guard admitTunnel(stream, headers, route, action) else { return }
    }
    self.cluster = cluster
    stream.info.cluster = cluster
    beginCounting(stream, headers, route)
    hasNews = false
    if cluster.isSpecial, !beginChoice(stream, cluster, headers) { return }
    if let idle = action.idleTimeout { stream.setIdleTimeout(idle) }
    if action.boundsStream { stream.setMaximumDuration(action, headers) }
    var timeout = UpstreamTimeout(action, headers, respectsExpected: configuration.respectsExpectedTimeout)
    self.timeout = timeout.response
    if action.retry != nil || timeout.asksForRetries { beginRetries(stream, headers, action, &timeout) }
    answersNoContent = timeout.answersNoContent
    attemptTimeout = timeout.attempt ?? cluster.maximumStreamDuration
    priority = action.priority
    guard admit(cluster) else { return fail(stream, reset(.overflow, "", stream)) }
    guard
      RequestRewrite.apply(
        to: headers, of: stream, route: route, action: action, timeout: timeout,
        announcesTimeout: !configuration.suppressesEnvoyHeaders)
    else { return stream.sendLocalReply(.rewrittenPathTooLong) }
    preparesAttempts = action.takesEndpointHost || route.attemptCount.contains(.inRequest)
    if stream.info.trace.recorded, stream.manager?.tracing?.configuration.tracesAttempts == true {
      tracesAttempts = true
      preparesAttempts = true
    }
    if !action.mirrors.isEmpty, !tunnel.isHeldBack { mirror(stream, headers, action) }
    attempt(stream, cluster, fresh: false)
    if requestEnded || tunnel.isHeldBack { startResponseTimer(stream) }
  }

  func attempt(_ stream: Stream, _ cluster: ActiveCluster, fresh: Bool) {
    let picked =
      cluster.picksPlainly && !choosesEndpoints
      ? cluster.pickEndpoint() : pickEndpoint(stream, cluster)
    guard let endpoint = picked else { return noEndpoint(stream, cluster) }
    self.endpoint = endpoint
    let now = stream.worker.loop.now
    attemptStartedAt = now
    stream.info.beginAttempt(endpoint.endpoint, now)
    if preparesAttempts { prepareAttempt(stream, endpoint) }
    endpoint.stats.add(.requestActive)
    // Most clusters have one pool for everybody: what tells others apart is not even looked at.
    let isPlain = priority == .normal && cluster.hasOnePool && !tunnel.endsHere
    let pool = isPlain ? endpoint.pool : specialPool(stream, endpoint)
    ticket = pool.acquire(self, fresh: fresh)
  }

  @inline(never)
  private func specialPool(_ stream: Stream, _ endpoint: ActiveEndpoint) -> ConnectionPool {
    let connection = stream.info.connectionIdentifier
    let pool =
      tunnel.endsHere
      ? endpoint.tunnelPool(priority, downstream: connection)
      : endpoint.pool(priority, stream.start.version, downstream: connection, stream.requestHeaders)
    if endpoint.cluster.hasPrivatePools { pool.downstream = stream.info.connection }
    return pool
  }

  func poolReady(_ connection: any ClientConnection) {
    guard let stream else { return }
    ticket = nil
    endpoint?.stats.add(.requestTotal)
    endpoint?.note(.connected)
    if let scopes { scopes.add(.requestTotal, lane: stream.worker.index) }
    let now = stream.worker.loop.now
    stream.info.beginExchange(connection.info, now)
    if tracesAttempts { noteAttemptConnection(connection) }
    if cluster?.notesConnections == true {
      noteConnection(connection.info, stream)
    } else {
      cluster?.stats.add(.requestTotal)
    }
    let endsWithHeaders =
      requestEnded && pendingBody.isEmpty && pendingTrailers == nil && !tunnel.isHeldBack && !keepsContent
    if tunnel.isHeldBack { prepareTunnel(stream, connection) }
    let upstream = connection.send(
      stream.requestHeaders, method: stream.start.method, endStream: endsWithHeaders, receiver: self)
    self.upstream = upstream
    if isResponsePaused { upstream.pauseResponse(true) }
    if let attemptTimeout { startAttemptTimer(stream, attemptTimeout) }
    if hasTryTimers, let retry { startTryTimers(stream, retry) }
    if endsWithHeaders {
      stream.info.upstreamTiming.requestSentAt = now
    } else if !tunnel.isHeldBack {
      if keepsContent, let retry { replay(retry, stream, upstream) } else { sendPending(stream, upstream) }
    }
  }

  @inline(never)
  func sendPending(_ stream: Stream, _ upstream: any RequestSender) {
    let trailers = pendingTrailers
    pendingTrailers = nil
    if !pendingBody.isEmpty || (requestEnded && trailers == nil) {
      upstream.sendData(pendingBody.bytes, endStream: requestEnded && trailers == nil)
      if requestEnded, trailers == nil { stream.info.upstreamTiming.requestSentAt = stream.worker.loop.now }
      pendingBody.clear(stream.worker.loop.bufferPool)
    }
    if let trailers { send(trailers, on: upstream, stream) }
    if isRequestPaused {
      isRequestPaused = false
      stream.pauseRequest(false)
    }
  }

  func poolFailed(_ reason: StreamResetReason, _ detail: StaticString, _ transport: TransportFailure?) {
    ticket = nil
    endpoint?.stats.add(.requestError)
    endpoint?.note(.failed(reason))
    attemptSpan?.failure = reason
    releaseEndpoint()
    if reason == .overflow { reachedLimit = .pendingRequests }
    guard let stream else { return }
    stream.info.upstreamFailure = detail
    stream.info.transportFailure = transport
    if let retry, retries(retry, stream, after: reason, hasStarted: false) { return }
    fail(stream, reset(reason, detail, stream))
  }

  func poolUnavailable() {
    ticket = nil
    releaseEndpoint()
    guard let stream else { return }
    stream.info.endpoint = nil
    fail(stream, .noHealthyUpstream)
  }

  func requestData(_ bytes: Bytes, endStream: Bool) {
    guard let stream else { return }
    requestEnded = endStream
    if tunnel.isHeldBack { return holdBack(bytes, stream) }
    hasBody = true
    if !shadows.isEmpty { for shadow in shadows { shadow.data(bytes, endStream: endStream) } }
    var isKept = false
    if let retry, retry.isBuffering || retry.isWaiting {
      isKept = keep(bytes, for: retry, stream)
      if stream.isOver { return }
    }
    if let upstream {
      upstream.sendData(bytes, endStream: endStream)
      if endStream { stream.info.upstreamTiming.requestSentAt = stream.worker.loop.now }
      if hasTryTimers, let retry { touchTry(retry, stream) }
    } else if ticket != nil, !isKept {
      holdBack(bytes, stream)
    }
    if endStream { requestComplete(stream) }
  }

  /// Keeps what the upstream is to get later.
  func holdBack(_ bytes: Bytes, _ stream: Stream) {
    pendingBody.append(bytes, stream.worker.loop.bufferPool)
    if !isRequestPaused, pendingBody.count > stream.requestPath.limit {
      isRequestPaused = true
      stream.pauseRequest(true)
    }
  }

  @inline(__always)
  private func requestComplete(_ stream: Stream) {
    if hasTryTimers, upstream != nil, let retry { startTryTimers(stream, retry) }
    // The time that a tunnel may take to be granted runs already, or is over.
    if stream.start.tunnel == .none { return startResponseTimer(stream) }
    if tunnel.isResponseEnded { exchangeEnded(stream, stream.worker.loop.now) }
  }

  func requestTrailers(_ trailers: HeaderMap) {
    guard let stream else { return }
    requestEnded = true
    for shadow in shadows { shadow.trailers(trailers) }
    if let retry, retry.isBuffering {
      retry.trailers = trailers
      keepsContent = true
      looksAtSuccess = true
      if let upstream, !tunnel.isHeldBack { upstream.sendTrailers(trailers) }
    } else if let upstream, !tunnel.isHeldBack {
      send(trailers, on: upstream, stream)
    } else if ticket != nil || tunnel.isHeldBack {
      pendingTrailers = trailers
    }
    requestComplete(stream)
  }

  private func send(_ trailers: HeaderMap, on upstream: any RequestSender, _ stream: Stream) {
    upstream.sendTrailers(trailers)
    stream.info.upstreamTiming.requestSentAt = stream.worker.loop.now
    stream.worker.headerMaps.recycle(trailers)
  }

  /// The route's timeout runs from the end of the request and covers every attempt.
  @inline(__always)
  private func startResponseTimer(_ stream: Stream) {
    guard timeout != .zero, !stream.isOver else { return }
    responseDeadline = stream.worker.loop.now + timeout
    stream.setResponseDeadline(nextDeadline)
  }

  /// The attempt has its connection; from here on its own bound runs (Envoy's upstream `max_stream_duration`).
  @inline(never)
  private func startAttemptTimer(_ stream: Stream, _ limit: Nanoseconds) {
    guard limit != .zero else { return }
    attemptDeadline = stream.worker.loop.now + limit
    stream.setResponseDeadline(nextDeadline)
  }

  /// When the first of the bounds is reached that are this one's to see to.
  @inline(__always)
  var nextDeadline: MonotonicTime {
    let deadline = min(responseDeadline, attemptDeadline)
    guard hasTryTimers, let retry else { return deadline }
    return min(deadline, min(retry.attemptDeadline, retry.idleDeadline))
  }

  // MARK: The response

  func receiveInformational(status: Int, _ headers: HeaderMap) {
    stream?.respondInformational(status: status, headers)
  }

  func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    guard let stream, let cluster, let endpoint else { return }
    if tracesAttempts { noteAttemptResponse(status, headers, stream.worker.loop.now) }
    // A success whose request is complete and not kept leaves nothing to decide.
    if usesRetries, status >= 500 || looksAtSuccess || !requestEnded, let retry,
      takesAnotherAttempt(retry, stream, status, headers, endStream: endStream)
    {
      return
    }
    responseBegan = true
    let now = stream.worker.loop.now
    stream.info.upstreamResponseStartedAt = now
    count(status, stream, cluster)
    if headers.has(.xEnvoyUpstreamCanary) { countCanary(status, headers, stream, cluster) }
    endpoint.stats.add(status >= 500 ? .requestError : .requestSuccess)
    noteResponse(status, headers, endpoint, stream)
    if isReplayed, status < 500 { cluster.stats.add(.requestRetrySuccess) }
    let isTunnel = stream.start.tunnel != .none
    if !configuration.suppressesEnvoyHeaders, !isTunnel, let began = stream.info.upstreamRequestStartedAt {
      headers.set(.xEnvoyUpstreamServiceTime, number: now.since(began).wholeMilliseconds)
    }
    if hasNews { addCookies(to: headers) }
    if isTunnel { return respondToTunnel(stream, status, headers, endStream: endStream) }
    if endStream { exchangeEnded(stream, now) }
    stream.respond(status: status, headers, endStream: endStream)
  }

  func receiveData(_ bytes: Bytes, endStream: Bool) {
    guard let stream else { return }
    let now = stream.worker.loop.now
    if stream.info.upstreamTiming.bodyStartedAt == .never { stream.info.upstreamTiming.bodyStartedAt = now }
    if hasTryTimers, let retry { touchTry(retry, stream) }
    if endStream { exchangeEnded(stream, now) }
    stream.respondData(bytes, endStream: endStream)
  }

  func receiveTrailers(_ trailers: HeaderMap) {
    guard let stream else { return }
    if tracesAttempts { noteAttemptCall(trailers) }
    exchangeEnded(stream, stream.worker.loop.now)
    stream.respondTrailers(trailers)
  }

  func responseReset(_ reason: StreamResetReason, detail: StaticString) {
    guard let stream, let cluster, let lost = upstream else { return }
    upstream = nil
    stream.info.endExchange(lost)
    endpoint?.stats.add(.requestError)
    endpoint?.note(.failed(reason))
    attemptSpan?.failure = reason
    releaseEndpoint()
    let hasStarted = lost.requestBytesSent > 0
    if let retry, retries(retry, stream, after: reason, hasStarted: hasStarted) { return }
    if !isCoveredByPolicy, mayReplay(lost, reason, stream.start.method), admitRetry(stream, cluster) {
      isReplayed = true
      countRetry(stream, cluster)
      // A connection that refuses one stream is as good as any for another.
      return attempt(stream, cluster, fresh: reason != .remoteRefusedStream)
    }
    if responseBegan {
      stream.count(.routerResetAfterResponseStarted)
      stream.info.flags.formUnion(reason.upstreamFlags)
      stream.info.details = .init("upstream_reset_after_response_started", reason.detail, detail)
      stream.reset()
    } else {
      fail(stream, reset(reason, detail, stream))
    }
  }

  /// What is answered where a response was lost before it began.
  func reset(_ reason: StreamResetReason, _ detail: StaticString, _ stream: Stream) -> LocalReply {
    var reply = LocalReply.upstreamReset(reason, detail, isRetried: stream.info.attempts > 1)
    if configuration.suppressesEnvoyHeaders { reply.headers = [] }
    return reply
  }

  /// Takes the cluster's permit for the request.
  @inline(__always)
  func admit(_ cluster: ActiveCluster) -> Bool {
    guard cluster.admitRequest(priority) else {
      cluster.stats.add(.requestActiveOverflow)
      reachedLimit = .requests
      return false
    }
    isCounted = true
    cluster.stats.add(.requestActive)
    return true
  }

  func leave(_ cluster: ActiveCluster) {
    isCounted = false
    cluster.stats.subtract(.requestActive)
    cluster.breakers[priority].requests.leave()
  }

  /// The request has got its connection. Its cluster may be one of several behind an aggregate cluster; its endpoint's address
  /// may have changed since the connection was made.
  @inline(never)
  private func noteConnection(_ connection: UpstreamConnectionInfo, _ stream: Stream) {
    (choice?.member ?? cluster)?.stats.add(.requestTotal)
    guard let endpoint = endpoint?.endpoint, endpoint.address != connection.address else { return }
    stream.info.endpoint = Endpoint(endpoint, at: connection.address)
  }

  private func mayReplay(_ lost: any RequestSender, _ reason: StreamResetReason, _ method: HTTPMethod) -> Bool {
    // Refused, it was not begun (RFC 9113 §8.7).
    if reason == .remoteRefusedStream { return !isReplayed && !hasBody }
    guard reason == .connectionTermination, lost.isOnReusedConnection, !isReplayed, !hasBody,
      lost.responseBytesReceived == 0
    else {
      return false
    }
    return lost.requestBytesSent == 0 || method.isIdempotent
  }

  /// The last byte of the response is here.
  func exchangeEnded(_ stream: Stream, _ now: MonotonicTime) {
    if stream.isTunnelOpen, !requestEnded {
      tunnel.isResponseEnded = true
      return
    }
    if let cluster { countTime(now.since(attemptStartedAt).rawValue / 1000, stream, cluster) }
    if upstream != nil { stream.info.upstreamTiming.responseCompleteAt = now }
    releaseEndpoint()
    guard let upstream else { return }
    self.upstream = nil
    stream.info.endExchange(upstream)
    // A response that came before the request was complete leaves the connection in the middle of a body.
    if !requestEnded || tunnel.isHeldBack { upstream.cancel() }
  }

  func responseTimedOut() {
    guard let stream else { return }
    let now = stream.worker.loop.now
    if now >= attemptDeadline { return attemptTimedOut(stream) }
    guard now >= responseDeadline else { return tryTimedOut(stream, now) }
    cluster?.stats.add(.requestTimeout)
    endpoint?.stats.add(.requestTimeout)
    if !responseBegan { endpoint?.note(.timedOut) }
    if let scopes { scopes.add(.requestTimeout, lane: stream.worker.index) }
    if responseBegan {
      stream.info.flags.insert(.upstreamRequestTimeout)
      stream.info.details = .init("response_timeout")
      stream.reset()
    } else {
      let reply: LocalReply = answersNoContent ? .upstreamTimeoutNoContent : .upstreamTimeout
      // Between two attempts no upstream is to blame.
      if retry?.isWaiting == true { stream.sendLocalReply(reply) } else { fail(stream, reply) }
    }
  }

  private func attemptTimedOut(_ stream: Stream) {
    cluster?.stats.add(.requestMaximumDurationReached)
    attemptSpan?.flags = .upstreamMaximumStreamDurationReached
    if responseBegan {
      stream.info.flags.insert(.upstreamMaximumStreamDurationReached)
      stream.info.details = .init("upstream_max_stream_duration_reached")
      stream.reset()
    } else {
      stream.sendLocalReply(stream.isRequestComplete ? .attemptTimeout : .attemptTimeoutBeforeRequestEnd)
    }
  }

  // MARK: The end

  /// Gives the upstream up: something else answers.
  func abandon() {
    if usesRetries { retryState?.cancel() }
    if upstream != nil || ticket != nil { attemptSpan?.isCanceled = true }
    if let ticket {
      self.ticket = nil
      ticket.giveUp()
    }
    if let upstream {
      self.upstream = nil
      stream?.info.endExchange(upstream)
      upstream.cancel()
    }
    releaseEndpoint()
  }

  @inline(__always)
  func releaseEndpoint() {
    guard let endpoint else { return }
    if tracesAttempts { endAttemptSpan() }
    endpoint.stats.subtract(.requestActive)
    self.endpoint = nil
  }

  func destroy() {
    if upstream != nil || ticket != nil || endpoint != nil { abandon() }
    if !pendingBody.isEmpty, let stream { pendingBody.clear(stream.worker.loop.bufferPool) }
    if pendingTrailers != nil { pendingTrailers = nil }
    if !shadows.isEmpty {
      for shadow in shadows { shadow.originalEnded() }
      shadows.removeAll(keepingCapacity: true)
    }
    if usesRetries { endRetries() }
    tracesAttempts = false
    guard let cluster else { return }
    if isCounted { leave(cluster) }
    if isRetryCounted { leaveRetry(cluster) }
    if choice != nil { endChoice() }
    self.cluster = nil
  }
}
