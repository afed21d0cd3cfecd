import MeshHTTP
import MeshPrimitives
import MeshRouting

/// Attempts after the first (Envoy's `RetryPolicy`), and the bounds of each.
extension RouterFilter {
  // MARK: The request

  /// The route or the client says something of retries.
  @inline(never)
  func beginRetries(
    _ stream: Stream, _ headers: HeaderMap, _ action: ForwardAction, _ timeout: inout UpstreamTimeout
  ) {
    let retry = retryState ?? makeRetryState(stream)
    usesRetries = true
    let limit = stream.requestPath.limit
    let isAdmitted = retry.begin(
      action.retry, headers,
      bodyLimit: min(action.replayLimit?.bytes(connection: limit) ?? limit, RetryState.maximumBody),
      request: stream.generation)
    if !isAdmitted { note(.requestNotRetriable, stream) }
    retry.bound(by: timeout.response)
    hasTryTimers = retry.hasTimers
    looksAtSuccess = hasTryTimers || retry.looksAtSuccess
    choosesEndpoints = retry.choosesEndpoints
    guard retry.attemptTimeout != .zero else { return }
    // What the upstream is told is how long this attempt may take.
    timeout.announced = retry.attemptTimeout
    if let call = timeout.call, action.callTimeout?.kind == .response { timeout.call = min(call, retry.attemptTimeout) }
  }

  private func makeRetryState(_ stream: Stream) -> RetryState {
    let made = RetryState(self, stream.worker.loop)
    retryState = made
    return made
  }

  /// Keeps a run of the body that may have to be sent again. Of more than may be kept nothing is: it is sent once.
  /// - Returns: whether it will be sent from there; if not, it is the caller's.
  @inline(never)
  func keep(_ bytes: Bytes, for retry: RetryState, _ stream: Stream) -> Bool {
    guard retry.isBuffering else { return tooLargeToWait(stream) }
    if retry.body.count + bytes.count <= retry.bodyLimit {
      retry.body.append(bytes, stream.worker.loop.bufferPool)
      keepsContent = !retry.body.isEmpty
      looksAtSuccess = true
      return true
    }
    cluster?.stats.add(.retryOrShadowAbandoned)
    note(.bodyTooLarge, stream)
    if retry.isWaiting { return tooLargeToWait(stream) }
    if upstream == nil, !retry.body.isEmpty {
      holdBack(retry.body.bytes, stream)
    }
    giveUp(retry, stream)
    return false
  }

  /// There is nobody to send the body to, and nowhere to keep it.
  private func tooLargeToWait(_ stream: Stream) -> Bool {
    stream.sendLocalReply(.tooLargeToRetry)
    return true
  }

  /// Sends what is kept of the request; it stays kept.
  @inline(never)
  func replay(_ retry: RetryState, _ stream: Stream, _ upstream: any RequestSender) {
    let endsWithData = requestEnded && retry.trailers == nil
    if !retry.body.isEmpty || endsWithData { upstream.sendData(retry.body.bytes, endStream: endsWithData) }
    if let trailers = retry.trailers { upstream.sendTrailers(trailers) }
    if requestEnded { stream.info.upstreamTiming.requestSentAt = stream.worker.loop.now }
  }

  // MARK: Endpoints

  /// The endpoint for an attempt, where more than the cluster has a say in it.
  @inline(never)
  func pickEndpoint(_ stream: Stream, _ cluster: ActiveCluster) -> ActiveEndpoint? {
    var choice = endpointChoice(stream, cluster)
    guard let retry, let policy = retry.policy else { return pickEndpoint(stream, cluster, choice) }
    choice.triedPriorities = retry.leftOutPriorities(of: cluster.priorityCount)
    var picked: ActiveEndpoint?
    for refusals in 0...policy.hostSelectionAttempts {
      choice.refusals = refusals
      picked = pickEndpoint(stream, cluster, choice)
      guard retry.count > 0, let candidate = picked, retry.avoids(candidate.endpoint, stream.info) else { break }
    }
    if policy.priorityUpdateFrequency != nil, let picked { retry.noteTried(cluster.priority(of: picked)) }
    return picked
  }

  // MARK: Outcomes

  /// A response begins. - Returns: whether it is given up for another attempt.
  @inline(never)
  func takesAnotherAttempt(
    _ retry: RetryState, _ stream: Stream, _ status: Int, _ headers: HeaderMap, endStream: Bool
  ) -> Bool {
    guard let cluster else { return false }
    // An attempt's bound ends with its response's headers.
    retry.attemptDeadline = .never
    if !retry.conditions.isEmpty {
      if !retry.covers(status: status, headers, now: stream.worker.loop.wallClock / 1_000_000_000) {
        if retry.count > 0 { cluster.stats.add(.requestRetrySuccess) }
        if retry.count > 0, let scopes { scopes.add(.requestRetrySuccess, lane: stream.worker.index) }
        if status >= 500 { noteUncovered(stream, cluster) }
      } else if admitAttempt(retry, stream, cluster) {
        endpoint?.stats.add(.requestError)
        if let endpoint { noteResponse(status, headers, endpoint, stream) }
        cluster.parts.addRetried(status, cluster)
        stream.worker.headerMaps.recycle(headers)
        giveUpAttempt(stream, isComplete: endStream)
        wait(retry, stream, cluster)
        return true
      }
    }
    // This is the response; what was kept for another attempt can go.
    giveUp(retry, stream)
    if isRetryCounted { leaveRetry(cluster) }
    return false
  }

  /// An attempt has ended without a response. - Returns: whether there is another.
  @inline(never)
  func retries(
    _ retry: RetryState, _ stream: Stream, after reason: StreamResetReason, hasStarted: Bool, timedOut: Bool = false
  ) -> Bool {
    guard let cluster, retry.policy != nil || !retry.conditions.isEmpty else { return false }
    guard !responseBegan else {
      note(.responseStarted, stream)
      return false
    }
    guard !retry.conditions.isEmpty else { return false }
    isCoveredByPolicy = retry.covers(reason, hasStarted: hasStarted)
    guard isCoveredByPolicy else {
      noteUncovered(stream, cluster)
      return false
    }
    guard admitAttempt(retry, stream, cluster) else { return false }
    wait(retry, stream, cluster, timedOut: timedOut)
    return true
  }

  /// Whether there may be one more attempt; if not, flags and statistics say why.
  private func admitAttempt(_ retry: RetryState, _ stream: Stream, _ cluster: ActiveCluster) -> Bool {
    // A tunnel that is granted cannot be asked for again.
    guard !stream.isTunnelOpen else { return false }
    // It may only have said that it sends no more, and gets what there is; but nothing is tried again for it.
    guard !stream.clientHasEnded else {
      note(.clientLeft, stream)
      return false
    }
    if isRetryCounted { leaveRetry(cluster) }
    guard retry.spend() else {
      cluster.stats.add(.requestRetryLimitExceeded)
      if let scopes { scopes.add(.requestRetryLimitExceeded, lane: stream.worker.index) }
      stream.info.flags.insert(.upstreamRetryLimitExceeded)
      note(.limitExceeded, stream)
      return false
    }
    guard admitRetry(stream, cluster) else {
      stream.info.flags.insert(.upstreamOverflow)
      return false
    }
    guard cluster.retrySettings.isOn(stream.worker.random.next()) else {
      leaveRetry(cluster)
      note(.switchedOff, stream)
      return false
    }
    return true
  }

  /// Takes a permit for a request that is sent once more.
  func admitRetry(_ stream: Stream, _ cluster: ActiveCluster) -> Bool {
    isRetryCounted = cluster.breakers[priority].retries.enter(limit: cluster.retryLimit(priority))
    if !isRetryCounted {
      cluster.stats.add(.requestRetryOverflow)
      if let scopes { scopes.add(.requestRetryOverflow, lane: stream.worker.index) }
      note(.overflow, stream)
    }
    return isRetryCounted
  }

  func leaveRetry(_ cluster: ActiveCluster) {
    isRetryCounted = false
    cluster.breakers[priority].retries.leave()
  }

  func countRetry(_ stream: Stream, _ cluster: ActiveCluster) {
    cluster.stats.add(.requestRetry)
    if let scopes { scopes.add(.requestRetry, lane: stream.worker.index) }
  }

  /// What nobody has asked a retry for.
  private func noteUncovered(_ stream: Stream, _ cluster: ActiveCluster) {
    cluster.stats.add(.requestRetryNotCovered)
    note(.notCovered, stream)
  }

  private func note(_ refusal: RetryState.Refusal, _ stream: Stream) {
    stream.info.metadata["martlet.retry.refused"] = refusal.text
  }

  /// What has come of an attempt is not for the client.
  /// - Parameter isComplete: the response was complete with its headers: the connection is as good as before.
  private func giveUpAttempt(_ stream: Stream, isComplete: Bool = false) {
    if !isComplete { attemptSpan?.isCanceled = true }
    releaseEndpoint()
    guard let upstream else { return }
    self.upstream = nil
    stream.info.endExchange(upstream)
    if !isComplete || !requestEnded || tunnel.isHeldBack { upstream.cancel() }
  }

  // MARK: Between attempts

  private func wait(_ retry: RetryState, _ stream: Stream, _ cluster: ActiveCluster, timedOut: Bool = false) {
    attemptDeadline = .never
    // What waited for a connection is among what is kept.
    if !tunnel.isHeldBack {
      if !pendingBody.isEmpty { pendingBody.clear(stream.worker.loop.bufferPool) }
      // Each pause needs a resume of its own.
      if isRequestPaused {
        isRequestPaused = false
        stream.pauseRequest(false)
      }
      if isRequestBlocked {
        isRequestBlocked = false
        stream.pauseRequest(false)
      }
    }
    retry.wait(stream.worker, afterTimeout: timedOut, base: cluster.retrySettings.base)
    looksAtSuccess = true
    choosesEndpoints = retry.choosesEndpoints
    // Between attempts the upstream has nothing to do with the request.
    if isCounted { leave(cluster) }
    leaveMember()
    stream.setResponseDeadline(nextDeadline)
  }

  /// The time between two attempts is over.
  func retryNow() {
    guard let stream, let cluster, let retry, !stream.isOver else { return }
    if stream.clientHasEnded { return stream.clientLeft() }
    countRetry(stream, cluster)
    cluster.stats.add(retry.wasAsked ? .requestRetryBackoffRateLimited : .requestRetryBackoffExponential)
    if let route = stream.info.route, case .forward(let action) = route.action {
      prepare(stream, retry, action)
    }
    guard admit(cluster) else {
      stream.info.attempts &+= 1
      return fail(stream, reset(.overflow, "", stream))
    }
    attempt(stream, cluster, fresh: false)
  }

  /// What the upstream is told of an attempt after the first.
  private func prepare(_ stream: Stream, _ retry: RetryState, _ action: ForwardAction) {
    let headers = stream.requestHeaders
    if action.tellsOfTimeouts {
      headers.set(RetryState.timeoutRetryName, Bytes(retry.followsTimeout ? "true" : "false"))
    }
    guard !configuration.suppressesEnvoyHeaders else { return }
    var expected = retry.attemptTimeout == .zero ? timeout : retry.attemptTimeout
    guard expected != .zero else { return }
    if timeout != .zero, responseDeadline != .never {
      let now = stream.worker.loop.now
      // Nothing left would mean no bound at all.
      expected = min(expected, responseDeadline > now ? responseDeadline.since(now) : .milliseconds(1))
    }
    headers.set(.xEnvoyExpectedRequestTimeout, number: max(1, expected.wholeMilliseconds))
  }

  // MARK: Bounds of an attempt

  /// There is a connection, and perhaps all of the request.
  @inline(never)
  func startTryTimers(_ stream: Stream, _ retry: RetryState) {
    let now = stream.worker.loop.now
    if requestEnded, !responseBegan, retry.attemptTimeout != .zero, retry.attemptDeadline == .never {
      retry.attemptDeadline = now + retry.attemptTimeout
    }
    if retry.attemptIdleTimeout != .zero { retry.idleDeadline = now + retry.attemptIdleTimeout }
    if retry.attemptTimeout != .zero || retry.attemptIdleTimeout != .zero { stream.setResponseDeadline(nextDeadline) }
  }

  /// Something moved in an attempt. The timer itself looks when it fires.
  @inline(never)
  func touchTry(_ retry: RetryState, _ stream: Stream) {
    guard retry.attemptIdleTimeout != .zero, retry.idleDeadline != .never else { return }
    retry.idleDeadline = stream.worker.loop.now + retry.attemptIdleTimeout
  }

  /// An attempt may have taken too long.
  @inline(never)
  func tryTimedOut(_ stream: Stream, _ now: MonotonicTime) {
    guard let retry, let cluster else { return }
    let isIdle = now < retry.attemptDeadline
    guard !isIdle || now >= retry.idleDeadline else { return stream.setResponseDeadline(nextDeadline) }
    retry.attemptDeadline = .never
    if isIdle { retry.idleDeadline = .never }
    cluster.stats.add(isIdle ? .requestPerTryIdleTimeout : .requestPerTryTimeout)
    endpoint?.stats.add(.requestTimeout)
    endpoint?.stats.add(.requestError)
    endpoint?.note(.timedOut)
    attemptSpan?.flags = .upstreamRequestTimeout
    giveUpAttempt(stream)
    if retries(retry, stream, after: .localReset, hasStarted: true, timedOut: true) { return }
    var reply: LocalReply = isIdle ? .tryIdleTimeout : .tryTimeout
    if answersNoContent {
      reply.status = 204
      reply.body = []
    }
    if responseBegan {
      stream.count(.routerResetAfterResponseStarted)
      stream.info.flags.formUnion(reply.flags)
      stream.info.details = reply.details
      stream.reset()
    } else {
      fail(stream, reply)
    }
  }

  // MARK: The end

  func endRetries() {
    usesRetries = false
    choosesEndpoints = false
    // Nothing has been kept, nothing waits: what the state says is said anew for the next request.
    guard looksAtSuccess, let retryState, let stream else { return }
    hasTryTimers = false
    looksAtSuccess = false
    retryState.cancel()
    giveUp(retryState, stream)
  }

  private func giveUp(_ retry: RetryState, _ stream: Stream) {
    keepsContent = false
    retry.giveUp(stream.worker)
  }
}
