import MeshHTTP
import MeshIO
import MeshPrimitives

/// A call that a filter makes to another cluster while its request waits: for tokens, authorisation, quotas. Bounded in
/// time and size. Goes through the cluster's balancer, pool, breaker and statistics like any request. Confined to the
/// worker's thread.
public final class SideCall: PoolClient, ResponseReceiver, TimerTarget {
  public struct Request: Sendable {
    /// An upper-case token.
    public var method = "GET"
    /// Origin form, with query.
    public var path = "/"
    /// The `host` header.
    public var host: String
    /// Names in lower case.
    public var headers: [(name: String, value: String)] = []
    public var body: [UInt8] = []
    /// Whether a body's `content-length` is sent.
    public var announcesLength = true
    /// From the call to the last byte of the response; nil: no bound.
    public var timeout: Duration?
    /// The only status that is of interest: with another the call is given up at once; nil: any is.
    public var requiredStatus: Int?
    /// A longer response body is a failure.
    public var maximumResponse = 64 * 1024

    public init(host: String, timeout: Duration?) {
      self.host = host
      self.timeout = timeout
    }
  }

  public struct Response: Sendable {
    public var status: Int
    public var headers: [(name: String, value: String)]
    public var body: [UInt8]
    /// Behind the body.
    public var trailers: [(name: String, value: String)] = []
  }

  public enum Outcome: Sendable {
    case response(Response)
    /// In words, for the log: `no cluster`, `no healthy upstream`, `timeout`, a reset reason, `response too large`.
    case failure(String)
  }

  private let worker: Worker
  private let request: Request
  private let headers: HeaderMap
  private let method: HTTPMethod
  private var completion: ((Outcome) -> Void)?
  private var cluster: ActiveCluster?
  private var endpoint: ActiveEndpoint?
  private var ticket: ConnectionPool.Ticket?
  private var upstream: (any RequestSender)?
  private var timer: Timer?
  private var response: Response?
  /// Among the cluster's active requests.
  private var isCounted = false
  private var isInternal: Bool { headers.has(.xEnvoyInternal) }

  private init(_ worker: Worker, _ request: Request, _ completion: @escaping (Outcome) -> Void) {
    self.worker = worker
    self.request = request
    self.completion = completion
    headers = worker.headerMaps.take()
    method = Self.set(request, in: headers)
  }

  private static func set(_ request: Request, in headers: HeaderMap) -> HTTPMethod {
    func bytes(_ text: String, _ body: (Bytes) -> Void) { Array(text.utf8).withUnsafeBufferPointer(body) }
    bytes(request.method) { headers.set(.method, $0) }
    bytes(request.path) { headers.set(.path, $0) }
    bytes(request.host) { headers.set(.host, $0) }
    for (name, value) in request.headers { bytes(value) { headers.set(HeaderName(name), $0) } }
    if !request.body.isEmpty, request.announcesLength {
      headers.set(.contentLength, number: UInt64(request.body.count))
    }
    return Array(request.method.utf8).withUnsafeBufferPointer { HTTPMethod($0) }
  }

  /// Starts a call; nil if it has failed already (`completion` has been called).
  static func start(
    worker: Worker, cluster name: String, _ request: Request, completion: @escaping (Outcome) -> Void
  ) -> SideCall? {
    let call = SideCall(worker, request, completion)
    call.begin(name)
    return call.completion == nil ? nil : call
  }

  private func begin(_ name: String) {
    guard let cluster = worker.clusters[name] else { return finish(.failure("no cluster")) }
    self.cluster = cluster
    guard cluster.admitRequest(.normal) else {
      cluster.stats.add(.requestActiveOverflow)
      return fail("overflow", 503)
    }
    isCounted = true
    cluster.stats.add(.requestActive)
    guard let endpoint = cluster.pickEndpoint(EndpointChoice(headers: headers)) else {
      cluster.stats.add(.connectionNoneHealthy)
      return fail("no healthy upstream", 503)
    }
    self.endpoint = endpoint
    endpoint.stats.add(.requestActive)
    if let timeout = request.timeout {
      timer = Timer(worker.loop, self)
      timer?.arm(after: Nanoseconds(timeout))
    }
    ticket = endpoint.pool.acquire(self)
  }

  /// Gives the call up; `completion` is not called.
  public func cancel() {
    completion = nil
    finish(.failure(""))
  }

  private func finish(_ outcome: Outcome) {
    timer?.disarm()
    ticket?.giveUp()
    ticket = nil
    let open = upstream
    upstream = nil
    open?.cancel()
    endpoint?.stats.subtract(.requestActive)
    endpoint = nil
    if isCounted {
      isCounted = false
      cluster?.stats.subtract(.requestActive)
      cluster?.breakers.normal.requests.leave()
    }
    let done = completion
    completion = nil
    done?(outcome)
  }

  private func complete() {
    upstream = nil
    if let response { finish(.response(response)) }
  }

  /// There is no response, or no more of it.
  /// - Parameter status: what a client would be answered in its place.
  private func fail(_ reason: String, _ status: Int) {
    if response == nil { cluster?.count(status, isInternal: isInternal) }
    finish(.failure(reason))
  }

  func poolReady(_ connection: any ClientConnection) {
    ticket = nil
    cluster?.stats.add(.requestTotal)
    endpoint?.stats.add(.requestTotal)
    endpoint?.note(.connected)
    let upstream = connection.send(headers, method: method, endStream: request.body.isEmpty, receiver: self)
    self.upstream = upstream
    if !request.body.isEmpty { request.body.withUnsafeBufferPointer { upstream.sendData($0, endStream: true) } }
  }

  func poolFailed(_ reason: StreamResetReason, _ detail: StaticString, _ transport: TransportFailure?) {
    ticket = nil
    endpoint?.stats.add(.requestError)
    endpoint?.note(.failed(reason))
    fail(reason.text.description, LocalReply.upstreamReset(reason, detail).status)
  }

  func poolUnavailable() {
    ticket = nil
    fail("no healthy upstream", 503)
  }

  public func receiveInformational(status: Int, _ headers: HeaderMap) {}

  public func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    cluster?.count(status, isInternal: isInternal)
    endpoint?.stats.add(status >= 500 ? .requestError : .requestSuccess)
    endpoint?.note(.status(status))
    response = Response(status: status, headers: Self.fields(of: headers), body: [])
    if let required = request.requiredStatus, status != required {
      worker.headerMaps.recycle(headers)
      if endStream { upstream = nil }
      return finish(.failure("HTTP \(status)"))
    }
    worker.headerMaps.recycle(headers)
    if endStream { complete() }
  }

  private static func fields(of headers: HeaderMap) -> [(name: String, value: String)] {
    var fields: [(name: String, value: String)] = []
    headers.forEach { id, name, value in if id != .status { fields.append((name.text, value.text)) } }
    return fields
  }

  public func receiveData(_ bytes: Bytes, endStream: Bool) {
    response?.body.append(contentsOf: bytes)
    if (response?.body.count ?? 0) > request.maximumResponse { return finish(.failure("response too large")) }
    if endStream { complete() }
  }

  public func receiveTrailers(_ trailers: HeaderMap) {
    response?.trailers = Self.fields(of: trailers)
    worker.headerMaps.recycle(trailers)
    complete()
  }

  public func responseReset(_ reason: StreamResetReason, detail: StaticString) {
    upstream = nil
    endpoint?.stats.add(.requestError)
    endpoint?.note(.failed(reason))
    fail(reason.text.description, LocalReply.upstreamReset(reason, detail).status)
  }

  public func requestBlocked() {}
  public func requestUnblocked() {}

  public func timerFired(_ tag: UInt8) {
    cluster?.stats.add(.requestTimeout)
    endpoint?.stats.add(.requestTimeout)
    endpoint?.note(.timedOut)
    fail("timeout", 504)
  }
}
