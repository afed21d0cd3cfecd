import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// The statistics of one connection manager, by its `stat_prefix`. Shared by all threads.
final class ConnectionManagerIdentity: Sendable {
  let statPrefix: String
  let stats: StatBlock<ConnectionManagerStat>
  let responseCodes: ResponseCodeCounters
  let requestTime: LatencyHistogram
  /// How long connections lived.
  let connectionTime: LatencyHistogram
  private let lease: StatsLease
  let store: StatsStore
  /// The same for all.
  let codecStats: StatBlock<HTTP1Stat>

  let http2Stats: StatBlock<HTTP2Stat>

  init(
    statPrefix: String, codecStats: StatBlock<HTTP1Stat>, http2Stats: StatBlock<HTTP2Stat>, store: StatsStore
  ) {
    self.codecStats = codecStats
    self.http2Stats = http2Stats
    let scope = "http.\(statPrefix)"
    self.statPrefix = statPrefix
    self.store = store
    lease = store.lease(scope)
    let prometheus = PrometheusScope("envoy_http", labels: [("envoy_http_conn_manager_prefix", statPrefix)])
    stats = store.scope(scope, prometheus: prometheus)
    responseCodes = store.responseCodes(scope, stem: "downstream_rq", prometheus: prometheus, detail: .classes)
    requestTime = store.histogram(
      scope,
      HistogramDefinition(
        name: "downstream_rq_time", help: "From the request's head to the end of the stream, in milliseconds."),
      prometheus: prometheus)
    connectionTime = store.histogram(
      scope, HistogramDefinition(name: "downstream_cx_length_ms", help: "How long connections lived, in milliseconds."),
      prometheus: prometheus)
  }
}

/// Turns what a listener's connections read into streams, and counts and logs what became of them
/// (`envoy.filters.network.http_connection_manager`). One per filter chain and worker; a new one takes over with every
/// configuration, from the next request on, also on connections that exist.
final class ConnectionManager {
  let worker: Worker
  let configuration: ConnectionManagerConfiguration
  let routes: RouteBinding
  /// Its listener is ending: every response says `connection: close`.
  var isDraining = false
  let stats: StatLane<ConnectionManagerStat>
  let codecStats: StatLane<HTTP1Stat>
  let http2Stats: StatLane<HTTP2Stat>
  /// Keeps the lanes below alive.
  let identity: ListenerHTTPIdentity
  private let responseCodes: ResponseCodeLane
  /// The same, of this listener alone.
  private let listenerResponseCodes: ResponseCodeLane
  private let requestTime: HistogramLane
  private let store: StatsStore
  private let accessLogs: [AccessLogLane]
  /// Who is told of every request. The flag is what is looked at for each.
  let observers: [PlacedObserver]
  let hasObservers: Bool
  let observersDependOnRoute: Bool
  /// nil: nothing is traced.
  let tracing: TracingLane?
  /// `stream_idle_timeout`, as it is now.
  var streamIdleTimeout: Nanoseconds?

  init(worker: Worker, configuration: ConnectionManagerConfiguration, identity: ListenerHTTPIdentity) {
    self.worker = worker
    self.configuration = configuration
    self.identity = identity
    streamIdleTimeout = configuration.streamIdleTimeout
    routes = RouteBinding(configuration.routes, worker)
    stats = identity.manager.stats.lane(worker.index)
    codecStats = identity.manager.codecStats.lane(worker.index)
    http2Stats = identity.manager.http2Stats.lane(worker.index)
    responseCodes = identity.manager.responseCodes.lane(worker.index)
    listenerResponseCodes = identity.responseCodes.lane(worker.index)
    requestTime = identity.manager.requestTime.lane(worker.index)
    store = identity.manager.store
    accessLogs = configuration.logging.accessLogs.map { AccessLogLane($0, worker) }
    observers = configuration.makeObservers(worker)
    hasObservers = !observers.isEmpty
    observersDependOnRoute = configuration.routeFilters.isConditional
    tracing = configuration.tracing.map { TracingLane($0, worker) }
  }

  // MARK: Streams

  /// A request's head is complete.
  func open(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ start: RequestStart) {
    stats.add(.requestTotal)
    stats.add(start.version == .http2 ? .requestHTTP2Total : .requestHTTP1Total)
    stats.add(.requestActive)
    let stream = worker.takeStream()
    sender.attach(stream)
    stream.begin(self, sender, connection, headers, start)
    if let overload = worker.overload, overload.refusesRequests, overload.refusesRequest() {
      stats.add(.requestOverloadClose)
      return stream.sendLocalReply(.overloaded)
    }
    guard prepareRequestHeaders(headers, stream, connection, start) else { return }
    if start.method == .options, headers.value(.path)?.equals("*") == true {
      // Not a path, and so not for any route.
      stats.add(.requestNonRelativePath)
      return stream.sendLocalReply(.absoluteTarget)
    }
    if !routes.table.internalOnlyHeaders.isEmpty { routes.removeInternalHeaders(headers) }
    if let tracing {
      if start.tunnel == .none { stream.resolveRoute(routes, headers) }
      beginTrace(tracing, headers, stream)
    }
    if start.tunnel != .none { return openTunnel(stream, headers, start) }
    // The proxy says 100 itself: the upstream gets the body without having been asked (RFC 9110 §10.1.1).
    if start.expectsContinue { sender.sendInformational(status: 100, worker.noHeaders) }
    if configuration.logging.logsNewRequests { stream.logStart() }
    if configuration.makesNoFilters, tracing == nil { stream.resolveRoute(routes, headers) }
    stream.makeFilters()
    guard configuration.gates.count == 0 || passesGates(stream, headers) else { return }
    stream.requestPath.headers(stream, endStream: start.endStream)
  }

  /// Bytes that are no request: answered, counted and logged like one.
  func refuse(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ reply: LocalReply) {
    stats.add(.responseBeforeRequestComplete)
    beginRefused(sender, connection, headers).sendLocalReply(reply)
  }

  /// What is no message at all, by HTTP/2: counted and logged like a request, and not answered.
  func fail(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ details: StaticString
  ) { beginRefused(sender, connection, headers).requestMalformed(details) }

  private func beginRefused(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap) -> Stream
  {
    // What was read of it is not to be trusted, not even by the log.
    headers.removeAll()
    stats.add(.requestTotal)
    stats.add(sender.protocolVersion == .http2 ? .requestHTTP2Total : .requestHTTP1Total)
    stats.add(.requestActive)
    let stream = worker.takeStream()
    sender.attach(stream)
    var start = RequestStart(method: .other, expectsContinue: false, endStream: true)
    start.version = sender.protocolVersion
    stream.begin(self, sender, connection, headers, start)
    return stream
  }

  /// The stream is over. Its information is complete.
  func streamFinished(_ stream: Stream) {
    stats.subtract(.requestActive)
    let code = stream.info.responseCode
    // Whoever looks at these wants to know of requests.
    if code > 0, !stream.info.isHealthCheck {
      stats.add(.requestCompleted)
      responseCodes.add(code)
      listenerResponseCodes.add(code)
    }
    if let ended = stream.info.endedAt {
      requestTime.record(ended.since(stream.info.startedAt).rawValue / 1000)
    }
    if code > 0, !stream.isRequestComplete { stats.add(.responseBeforeRequestComplete) }
    if !accessLogs.isEmpty { log(stream, .downstreamEnd) }
    if store.keepsExemplars, stream.info.trace.sampled == true { noteExemplars(stream) }
    if stream.info.trace.recorded, let tracing { writeSpan(tracing, stream) }
    if code >= 500 || stream.info.mayHaveFailed { noteFailure(stream) }
    if hasObservers { tellOfEnd(stream) }
  }

  /// The process log has a line about it.
  @inline(never)
  private func noteFailure(_ stream: Stream) {
    if let failures = worker.failures { RequestFailure(stream, self)?.write(to: failures) }
    stream.refusedBy = nil
  }

  /// Writes a line about a stream in every access log whose filter wants it.
  func log(_ stream: Stream, _ occasion: AccessLogType) {
    stream.info.logType = occasion
    for log in accessLogs { log.write(stream) }
  }
}
