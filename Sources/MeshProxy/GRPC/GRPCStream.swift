import MeshHTTP
import MeshIO
import MeshPrimitives

/// Who has a `GRPCStream`. All calls come on its worker's thread.
protocol GRPCStreamOwner: AnyObject {
  /// The service has a connection: messages can be sent.
  func streamOpened(_ stream: GRPCStream)
  /// The service has sent a message.
  func stream(_ stream: GRPCStream, received message: [UInt8])
  /// After `send` had said that there is no more room: there is.
  func streamHasRoom(_ stream: GRPCStream)
  /// It is over: the last call, once.
  func stream(_ stream: GRPCStream, ended end: GRPCStream.End)
}

/// A call of gRPC that streams, as the proxy itself makes it of a cluster's service: as many messages there and back as both
/// sides like. Goes through the cluster's balancer, pool, TLS, breakers and statistics like any request. What the service
/// does not read waits here within bounds: whoever sends asks first (`hasRoom`).
///
/// Confined to the worker's thread. Its owner keeps it.
final class GRPCStream: PoolClient, ResponseReceiver, TimerTarget {
  /// What is called, and how.
  struct Call: Sendable {
    var cluster: String
    /// `/package.Service/Method`
    var path: String
    /// `:authority`
    var authority: String
    /// Further headers; names in lower case.
    var metadata: [(name: String, value: String)] = []
    /// The longest message that is taken, in bytes; a longer one ends the stream.
    var maximumMessage = 1024 * 1024
    /// A service that reads nothing for so long ends the stream.
    var patience = Nanoseconds.seconds(60)
  }

  /// How it ended.
  struct End: Equatable {
    /// gRPC's; for what never was an answer, the one that comes nearest.
    var status: GRPCStatus
    /// In words, for the log; empty if the service said nothing.
    var message: String
  }

  private let worker: Worker
  private let call: Call
  private let headers: HeaderMap
  private unowned let owner: any GRPCStreamOwner
  private var place = ClusterPlace()
  private var ticket: ConnectionPool.Ticket?
  private var upstream: (any RequestSender)?
  private var timer: Timer?
  private var isBlocked = false
  private var isOver = false
  /// A response has begun, and is one of gRPC.
  private var isAnswered = false
  private var isHalfClosed = false
  private var scanner = GRPCFrameScanner()
  private var incoming: [UInt8] = []

  /// - Parameter owner: outlives the stream, or cancels it.
  init(_ worker: Worker, _ call: Call, owner: any GRPCStreamOwner) {
    self.worker = worker
    self.call = call
    self.owner = owner
    headers = worker.headerMaps.take()
    func set(_ id: HeaderID, _ text: String) {
      Array(text.utf8).withUnsafeBufferPointer { headers.set(id, $0) }
    }
    set(.method, "POST")
    set(.path, call.path)
    set(.host, call.authority)
    set(.contentType, "application/grpc")
    for (name, value) in [("te", "trailers")] + call.metadata {
      Array(value.utf8).withUnsafeBufferPointer { headers.set(HeaderName(name), $0) }
    }
    timer = Timer(worker.loop, self)
  }

  /// Begins. The owner may hear of the end before this returns.
  func start() {
    switch place.take(in: call.cluster, worker, headers) {
    case .refused(let reason): end(.unavailable, reason)
    case .endpoint(let endpoint): ticket = endpoint.pool.acquire(self)
    }
  }

  // MARK: Sending

  /// Messages can be sent, and there is room for one.
  var hasRoom: Bool { !isBlocked && !isHalfClosed && upstream != nil }

  /// Sends a message; to be asked for only when there is room. More than one may wait: the bound is the cluster's
  /// `per_connection_buffer_limit_bytes`, and the one message with which it is passed.
  /// - Returns: whether there is room for another.
  @discardableResult
  func send(_ message: [UInt8]) -> Bool {
    guard let upstream, !isHalfClosed, message.count <= Int(UInt32.max) else { return false }
    GRPCFrameScanner.head(length: UInt32(message.count)).withUnsafeBufferPointer {
      upstream.sendData($0, endStream: false)
    }
    // What is sent may end the stream.
    guard !isOver, !message.isEmpty else { return hasRoom }
    message.withUnsafeBufferPointer { upstream.sendData($0, endStream: false) }
    return hasRoom
  }

  /// No more messages will be sent; the service may go on.
  func halfClose() {
    guard let upstream, !isHalfClosed else { return }
    isHalfClosed = true
    upstream.sendData(Bytes(start: nil, count: 0), endStream: true)
  }

  /// Gives the call up; the owner hears no more of it.
  func cancel() {
    guard !isOver else { return }
    isOver = true
    release()
  }

  // MARK: The end

  private func end(_ status: GRPCStatus, _ message: String) {
    guard !isOver else { return }
    isOver = true
    release()
    owner.stream(self, ended: End(status: status, message: message))
  }

  private func release() {
    timer?.disarm()
    ticket?.giveUp()
    ticket = nil
    let open = upstream
    upstream = nil
    open?.cancel()
    place.leave()
    worker.headerMaps.recycle(headers)
  }

  /// There is no response, or no more of it.
  /// - Parameter status: what a client would be answered in its place.
  private func fail(_ reason: String, _ status: Int) {
    if !isAnswered { place.count(status) }
    end(.unavailable, reason)
  }

  // MARK: The pool

  func poolReady(_ connection: any ClientConnection) {
    ticket = nil
    guard connection.protocolVersion == .http2 else {
      // Streams of messages both ways are beyond HTTP/1.1.
      return fail("the cluster does not speak HTTP/2", 503)
    }
    place.connected()
    upstream = connection.send(headers, method: .post, endStream: false, receiver: self)
    owner.streamOpened(self)
  }

  func poolFailed(_ reason: StreamResetReason, _ detail: StaticString, _ transport: TransportFailure?) {
    ticket = nil
    place.failed(reason)
    fail(reason.text.description, LocalReply.upstreamReset(reason, detail).status)
  }

  func poolUnavailable() {
    ticket = nil
    fail("no healthy upstream", 503)
  }

  // MARK: The response

  func receiveInformational(status: Int, _ headers: HeaderMap) {}

  func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    place.answered(status)
    isAnswered = true
    defer { worker.headerMaps.recycle(headers) }
    if endStream { upstream = nil }
    guard status == 200 else { return end(GRPCStatus(http: status), "HTTP \(status)") }
    guard GRPCStatus.isCall(headers) else { return end(GRPCStatus(code: 2), "no gRPC") }
    if endStream { end(by: headers) }
  }

  func receiveData(_ bytes: Bytes, endStream: Bool) {
    var rest = bytes
    while rest.count > 0, !isOver {
      let (run, _, ends) = scanner.next(&rest)
      incoming.append(contentsOf: run)
      if incoming.count > call.maximumMessage + GRPCUnary.headLength {
        return end(.resourceExhausted, "a message is too large")
      }
      guard ends else { continue }
      guard incoming[0] == 0 else { return end(GRPCStatus(code: 13), "a message is compressed") }
      let message = Array(incoming[GRPCUnary.headLength...])
      incoming.removeAll(keepingCapacity: incoming.capacity <= 64 * 1024)
      owner.stream(self, received: message)
    }
    guard endStream, !isOver else { return }
    upstream = nil
    end(GRPCStatus(code: 2), "no status")
  }

  func receiveTrailers(_ trailers: HeaderMap) {
    upstream = isHalfClosed ? nil : upstream
    end(by: trailers)
    worker.headerMaps.recycle(trailers)
  }

  private func end(by fields: HeaderMap) {
    guard let field = fields.value(GRPCStatus.name), let code = DecimalNumber.parse(field).flatMap({ Int(exactly: $0) })
    else { return end(GRPCStatus(code: 2), "no status") }
    let message = fields.value(GRPCStatus.messageName)?.text ?? ""
    end(GRPCStatus(code: code), String(message.prefix(200)))
  }

  func responseReset(_ reason: StreamResetReason, detail: StaticString) {
    upstream = nil
    place.failed(reason)
    fail(reason.text.description, LocalReply.upstreamReset(reason, detail).status)
  }

  // MARK: Flow

  func requestBlocked() {
    isBlocked = true
    timer?.arm(after: call.patience)
  }

  func requestUnblocked() {
    guard isBlocked else { return }
    isBlocked = false
    timer?.disarm()
    if !isOver { owner.streamHasRoom(self) }
  }

  /// The service takes nothing.
  func timerFired(_ tag: UInt8) {
    place.timedOut()
    end(.deadlineExceeded, "the service does not read")
  }
}
