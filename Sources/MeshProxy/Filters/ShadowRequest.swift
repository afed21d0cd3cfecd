import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// The copy of a request that a mirror gets (`request_mirror_policies`). Goes through the cluster's balancer, pool,
/// breaker and statistics like any request; its answer is thrown away. It never holds up the request it copies: a mirror
/// that reads too slowly loses its copy. Confined to the worker's thread.
///
/// Kept alive by the pool while it waits for a connection, then by the connection.
final class ShadowRequest: PoolClient, ResponseReceiver, TimerTarget {
  private let worker: Worker
  private let cluster: ActiveCluster
  private let headers: HeaderMap
  private let method: HTTPMethod
  /// Body bytes that may wait, for a connection or for the mirror to read.
  private let limit: Int
  /// From the end of the request to the end of the response; zero: unbounded.
  private let timeout: Nanoseconds
  private var endpoint: ActiveEndpoint?
  private var ticket: ConnectionPool.Ticket?
  private var upstream: (any RequestSender)?
  private var pending = ByteQueue()
  private var pendingTrailers: HeaderMap?
  private var timer: Timer?
  private var startedAt: MonotonicTime
  private var isRequestComplete = false
  private var hasAnswered = false
  /// nil: the copy is not traced.
  private var span: MirrorSpan?
  private var isOver = false

  /// Begins the copy of a request whose headers are as its own upstream gets them; nil if there is no room or no endpoint
  /// for it.
  static func start(
    _ mirror: RequestMirror, of stream: Stream, _ headers: HeaderMap, to cluster: ActiveCluster,
    timeout: Nanoseconds, endStream: Bool
  ) -> ShadowRequest? {
    let worker = stream.worker
    guard cluster.admitRequest(.normal) else {
      cluster.stats.add(.requestActiveOverflow)
      return refuse(.upstreamReset(.overflow, ""), cluster)
    }
    guard let endpoint = cluster.pickEndpoint(EndpointChoice(headers: headers)) else {
      cluster.breakers.normal.requests.leave()
      cluster.stats.add(.connectionNoneHealthy)
      return refuse(.noHealthyUpstream, cluster)
    }
    let copy = worker.headerMaps.take()
    copy.copy(from: headers)
    rename(copy, mirror)
    let trace = Self.trace(mirror, stream, copy)
    if !mirror.requestHeaders.isEmpty { RequestRewrite.mutate(copy, of: stream, mirror.requestHeaders) }
    let shadow = ShadowRequest(
      worker, cluster, endpoint, copy, stream.start.method, limit: stream.requestPath.limit, timeout: timeout)
    if let trace, trace.recorded { shadow.trace(as: trace, stream.manager?.tracing) }
    shadow.begin(endpoint, endStream: endStream)
    return shadow.isOver ? nil : shadow
  }

  /// The copy's place in the request's trace: where requests are traced, a span of its own.
  private static func trace(_ mirror: RequestMirror, _ stream: Stream, _ headers: HeaderMap) -> TraceContext? {
    var trace = stream.info.trace
    let isTraced = stream.manager?.tracing != nil && trace.hasTrace
    guard isTraced || mirror.sampled != nil else { return nil }
    if isTraced {
      let isRecorded = trace.recorded
      trace = trace.child(&stream.worker.random, samplingIfUndecided: nil)
      trace.recorded = mirror.sampled ?? isRecorded
    }
    if let sampled = mirror.sampled { trace = trace.with(sampled: sampled) }
    headers.write(trace)
    return trace
  }

  private func trace(as trace: TraceContext, _ tracing: TracingLane?) {
    guard let tracing else { return }
    var span = AttemptSpan()
    span.trace = trace
    span.startedAt = startedAt
    self.span = MirrorSpan(span: span, tracing: tracing, startedAt: worker.loop.wallClock)
  }

  /// The cluster's response codes count what a request would have been answered in the mirror's place.
  private static func refuse(_ reply: LocalReply, _ cluster: ActiveCluster) -> ShadowRequest? {
    cluster.responseCodes.add(reply.status)
    cluster.stats.add(.requestCompleted)
    return nil
  }

  /// What the copy says its host is.
  private static func rename(_ headers: HeaderMap, _ mirror: RequestMirror) {
    if !mirror.hostRewrite.isEmpty {
      return mirror.hostRewrite.withUnsafeBufferPointer { headers.set(.host, $0) }
    }
    guard mirror.appendsSuffix, let host = headers.value(.host) else { return }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: host.count + 7) { buffer in
      guard let base = buffer.baseAddress else { return }
      headers.set(.host, Bytes(start: base, count: RequestMirror.appendSuffix(host, into: base)))
    }
  }

  private init(
    _ worker: Worker, _ cluster: ActiveCluster, _ endpoint: ActiveEndpoint, _ headers: HeaderMap, _ method: HTTPMethod,
    limit: Int, timeout: Nanoseconds
  ) {
    self.worker = worker
    self.cluster = cluster
    self.endpoint = endpoint
    self.headers = headers
    self.method = method
    self.limit = limit
    self.timeout = timeout
    startedAt = worker.loop.now
    cluster.stats.add(.requestActive)
    endpoint.stats.add(.requestActive)
  }

  private func begin(_ endpoint: ActiveEndpoint, endStream: Bool) {
    if endStream { complete() }
    ticket = endpoint.pool.acquire(self)
  }

  /// The request has been sent to its end: from now on the copy is on its own.
  private func complete() {
    isRequestComplete = true
    guard timeout != .zero else { return }
    timer = Timer(worker.loop, self)
    timer?.arm(after: timeout)
  }

  func data(_ bytes: Bytes, endStream: Bool) {
    guard !isOver else { return }
    if endStream { complete() }
    if let upstream {
      upstream.sendData(bytes, endStream: endStream)
    } else {
      pending.append(bytes, worker.loop.bufferPool)
      if pending.count > limit { abandon() }
    }
  }

  func trailers(_ trailers: HeaderMap) {
    guard !isOver else { return }
    complete()
    if let upstream { return upstream.sendTrailers(trailers) }
    let copy = worker.headerMaps.take()
    copy.copy(from: trailers)
    pendingTrailers = copy
  }

  /// The request that is copied is over. What it has sent to its end goes on.
  func originalEnded() { if !isRequestComplete { finish() } }

  private func abandon() {
    cluster.stats.add(.retryOrShadowAbandoned)
    finish()
  }

  private func finish() {
    guard !isOver else { return }
    isOver = true
    timer?.disarm()
    if upstream != nil || ticket != nil { span?.span.isCanceled = true }
    span?.write(worker, cluster, endpoint)
    ticket?.giveUp()
    ticket = nil
    let open = upstream
    upstream = nil
    open?.cancel()
    if !pending.isEmpty { pending.clear(worker.loop.bufferPool) }
    worker.headerMaps.recycle(headers)
    pendingTrailers = nil
    endpoint?.stats.subtract(.requestActive)
    endpoint = nil
    cluster.stats.subtract(.requestActive)
    cluster.breakers.normal.requests.leave()
  }

  // MARK: PoolClient

  func poolReady(_ connection: any ClientConnection) {
    ticket = nil
    cluster.stats.add(.requestTotal)
    endpoint?.stats.add(.requestTotal)
    endpoint?.note(.connected)
    span?.span.version = connection.protocolVersion
    let endsWithData = isRequestComplete && pendingTrailers == nil
    let upstream = connection.send(
      headers, method: method, endStream: endsWithData && pending.isEmpty, receiver: self)
    self.upstream = upstream
    if !pending.isEmpty {
      upstream.sendData(pending.bytes, endStream: endsWithData)
      pending.clear(worker.loop.bufferPool)
    }
    if let trailers = pendingTrailers {
      pendingTrailers = nil
      upstream.sendTrailers(trailers)
      worker.headerMaps.recycle(trailers)
    }
  }

  func poolFailed(_ reason: StreamResetReason, _ detail: StaticString, _ transport: TransportFailure?) {
    ticket = nil
    endpoint?.stats.add(.requestError)
    endpoint?.note(.failed(reason))
    span?.span.failure = reason
    failed(.upstreamReset(reason, detail))
  }

  private func failed(_ reply: LocalReply) {
    _ = Self.refuse(reply, cluster)
    finish()
  }

  func poolUnavailable() {
    ticket = nil
    finish()
  }

  // MARK: ResponseReceiver

  func receiveInformational(status: Int, _ headers: HeaderMap) {}

  func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    cluster.responseCodes.add(status)
    cluster.stats.add(.requestCompleted)
    hasAnswered = true
    span?.span.status = status
    endpoint?.stats.add(status >= 500 ? .requestError : .requestSuccess)
    endpoint?.note(.status(status))
    worker.headerMaps.recycle(headers)
    if endStream { responseEnded() }
  }

  func receiveData(_ bytes: Bytes, endStream: Bool) { if endStream { responseEnded() } }

  func receiveTrailers(_ trailers: HeaderMap) {
    worker.headerMaps.recycle(trailers)
    responseEnded()
  }

  private func responseEnded() {
    cluster.requestTime.record(worker.loop.now.since(startedAt).rawValue / 1000)
    // An answer that came before the request was complete leaves the connection in the middle of a body.
    if isRequestComplete { upstream = nil }
    finish()
  }

  func responseReset(_ reason: StreamResetReason, detail: StaticString) {
    upstream = nil
    endpoint?.stats.add(.requestError)
    endpoint?.note(.failed(reason))
    span?.span.failure = reason
    hasAnswered ? finish() : failed(.upstreamReset(reason, detail))
  }

  /// The mirror does not read what has been sent so far.
  func requestBlocked() { worker.loop.defer { [self] in abandon() } }
  func requestUnblocked() {}

  func timerFired(_ tag: UInt8) {
    cluster.stats.add(.requestTimeout)
    endpoint?.stats.add(.requestTimeout)
    endpoint?.note(.timedOut)
    finish()
  }
}

/// The span of a mirror's copy, which may outlive its request. Confined to the worker.
private struct MirrorSpan: SpanWriting {
  var span: AttemptSpan
  let tracing: TracingLane
  /// Nanoseconds since 1970.
  let startedAt: UInt64
  private var address: SocketAddress?
  private var cluster: ActiveCluster?
  private var endedAt: UInt64 = 0

  init(span: AttemptSpan, tracing: TracingLane, startedAt: UInt64) {
    self.span = span
    self.tracing = tracing
    self.startedAt = startedAt
  }

  func write(_ worker: Worker, _ cluster: ActiveCluster, _ endpoint: ActiveEndpoint?) {
    var complete = self
    complete.address = endpoint?.endpoint.address
    complete.cluster = cluster
    complete.endedAt = startedAt &+ worker.loop.now.since(span.startedAt).rawValue
    tracing.write { complete }
  }

  func write<Writer: SpanWriter>(to writer: inout Writer) {
    writer.begin(
      SpanHead(trace: span.trace, kind: .client, startedAt: startedAt), name: Bytes("mirror"), tracestate: Bytes(""))
    writer.tags(tracing.configuration.rules.upstreamConstants)
    let isFailure = span.writeTags(&writer, address, cluster)
    writer.end(at: endedAt, isError: isFailure)
  }
}
