import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// What a filter wants to happen after it has seen headers or trailers.
public enum FilterStatus: Sendable {
  /// The next filter sees them now.
  case proceed
  /// They wait here. Body and trailers still come to this filter; when one of those calls returns `.proceed`, or on
  /// `resume…`, the headers go on first.
  case stop
  /// Everything waits here, unseen by this filter, until `resume…`. The sender is slowed down when too much waits.
  case stopAll
}

/// What a filter wants to happen after it has seen a run of the body.
public enum FilterDataStatus: Sendable {
  /// The next filter sees the run now (and first whatever waits here).
  case proceed
  /// The run is kept, with what is kept already. More than the buffer limit is answered by 413 (a response: by 500).
  case stopAndBuffer
  /// The filter has taken the run for itself; nothing is kept. What it makes of it goes on by `passRequestData`,
  /// `passResponseData`.
  case stopAndDrop
}

/// A filter of one stream: sees a request on its way in and its response on the way out, and may change, delay, answer
/// or end it. Made for each stream by its `FilterConfiguration`; confined to the worker's thread. Every call may lead to
/// `destroy`, after which nothing more is called.
///
/// Order: filters see a request in the configured order and the response in the reverse one.
public protocol StreamFilter: AnyObject {
  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus
  /// `bytes` is valid during the call only; empty when only `endStream` is news.
  func requestData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus
  func requestTrailers(_ trailers: HeaderMap) -> FilterStatus
  /// An interim response (1xx) passes; it cannot be stopped.
  func informationalHeaders(status: Int, _ headers: HeaderMap)
  func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus
  func responseData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus
  func responseTrailers(_ trailers: HeaderMap) -> FilterStatus
  /// The stream is over, however it ended: give up timers and calls. The last call.
  func destroy()
}

extension StreamFilter {
  public func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus { .proceed }
  public func requestData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus { .proceed }
  public func requestTrailers(_ trailers: HeaderMap) -> FilterStatus { .proceed }
  public func informationalHeaders(status: Int, _ headers: HeaderMap) {}
  public func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus { .proceed }
  public func responseData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus { .proceed }
  public func responseTrailers(_ trailers: HeaderMap) -> FilterStatus { .proceed }
  public func destroy() {}
}

/// What a filter may ask of its stream. A value that is safe to keep: once the stream is over it does nothing.
public struct StreamFilterCallbacks {
  // Kept alive by whoever keeps this, so that `generation` can always be asked.
  let stream: Stream
  let generation: UInt64
  /// Among the filters of the stream.
  let index: Int
  /// In the configured chain, of which a route may leave filters out.
  let place: Int

  private var live: Stream? { stream.generation == generation && !stream.isOver ? stream : nil }

  /// Lets a request that this filter stopped go on, with everything that waits.
  public func resumeRequest() { if let stream = live { stream.requestPath.resume(stream, at: index) } }

  /// Lets a response that this filter stopped go on.
  public func resumeResponse() { if let stream = live { stream.responsePath.resume(stream, at: index) } }

  /// Answers the request here and now. If a response has begun already, the stream is reset instead.
  public func sendLocalReply(_ reply: LocalReply) { live?.sendLocalReply(reply) }

  /// Everything known of the stream so far.
  public var info: StreamInfo { stream.info }
  /// Adds to what is known: flags, details, metadata for other filters and the log.
  public func updateInfo(_ change: (inout StreamInfo) -> Void) { if let stream = live { change(&stream.info) } }

  /// The route is chosen again, by the headers as they are then. Call before the router has seen the request.
  public func clearRouteCache() { live?.clearRoute() }
  /// The route of this request; nil if none matches. Chosen at the first call.
  public var route: RouteEntry? { live?.route }
  /// The configuration that the route has for this filter (`typed_per_filter_config` under the filter's name), if any.
  public func routeConfiguration() -> (any RouteFilterConfiguration)? { live?.routeConfiguration(ofFilterAt: place) }

  /// The cluster that the route leads to, as far as the headers say now.
  var cluster: ActiveCluster? { live?.clusterOfRoute }
  /// Bytes that a filter may keep of a body, as the connection manager says.
  var bufferLimit: Int { live?.manager?.configuration.bufferLimit ?? 0 }
  /// Answers a request that is larger than may be kept with 413.
  func requestTooLarge() { live?.requestTooLarge() }
  /// The same of a response: 500.
  func responseTooLarge() { live?.responseTooLarge() }

  /// The bytes that wait in the request's buffer.
  public var bufferedRequest: Int { live?.requestPath.buffered ?? 0 }
  /// Bytes of a request that may wait; more is answered by 413. At most the connection's limit unless a filter says so.
  public func setRequestBufferLimit(_ bytes: Int) { live?.requestPath.limit = bytes }
  /// Bytes of a response that may wait.
  var responseBufferLimit: Int { live?.responsePath.limit ?? 0 }
  public func setResponseBufferLimit(_ bytes: Int) { live?.responsePath.limit = bytes }

  /// Hands a run of the request's body to the filters behind this one, in place of what it has taken (`stopAndDrop`);
  /// headers that it holds go first. With `endStream` the body ends, and trailers that this filter is looking at are
  /// taken out. `bytes` is valid during the call only.
  public func passRequestData(_ bytes: Bytes, endStream: Bool) {
    guard let stream = live else { return }
    stream.touch()
    stream.requestPath.pass(stream, from: index, bytes, endStream: endStream)
  }

  /// The same for the response's body.
  public func passResponseData(_ bytes: Bytes, endStream: Bool) {
    guard let stream = live else { return }
    stream.touch()
    stream.responsePath.pass(stream, from: index, bytes, endStream: endStream)
  }

  /// Slows the client down, or lets it go on: for a filter that sends the body somewhere slower.
  public func pauseRequest(_ pause: Bool) { live?.pauseRequest(pause) }
  /// Slows the upstream down, or lets it go on.
  public func pauseResponse(_ pause: Bool) { live?.pauseResponse(pause) }

  /// Calls another cluster, beside the request. `completion` is called once, on this thread, unless the call is
  /// cancelled first: cancel it in `destroy`.
  public func call(
    _ cluster: String, _ request: SideCall.Request, completion: @escaping (SideCall.Outcome) -> Void
  ) -> SideCall? {
    live.flatMap { SideCall.start(worker: $0.worker, cluster: cluster, request, completion: completion) }
  }

  /// The worker's random numbers.
  public func random() -> UInt64 { stream.worker.random.next() }
  /// The worker's event loop, for timers.
  public var loop: EventLoop { stream.worker.loop }
}

/// A filter's configuration, checked once and shared by all threads; makes the filter of each stream.
public protocol FilterConfiguration: Sendable {
  func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter
}

/// What a route says to a filter, checked once.
public protocol RouteFilterConfiguration: Sendable {}
