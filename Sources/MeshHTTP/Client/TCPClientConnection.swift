import MeshIO
import MeshPrimitives

/// One connection to an upstream that carries the bytes of one request and its response and nothing else: where a CONNECT
/// ends. What is sent as the request's body goes to the upstream as it is, and what comes back is the body of a response
/// with status 200, which this makes up. Each direction ends for itself. Serves one request.
public final class TCPClientConnection: ClientConnection, RequestSender, IOHandler, Flushable, TimerTarget {
  enum Phase: UInt8 { case idle, busy, closed }

  public let info: UpstreamConnectionInfo
  public var listIndex = 0
  public private(set) var requestCount: UInt32 = 0
  public private(set) var wasBusy = false
  public private(set) var requestBytesSent = 0
  public private(set) var responseBytesReceived = 0

  private let loop: EventLoop
  private let settings: ClientConnectionSettings
  /// Kept alive: it lets go of this when it hears `connectionClosed`.
  private let owner: any ClientConnectionOwner
  private let headerMaps: HeaderMapPool
  private var transport: Transport
  private var receiver: (any ResponseReceiver)?
  private let timer: Timer
  private var phase = Phase.idle
  private var requestDone = false
  private var responseBegan = false
  private var responseDone = false
  private var isBlocked = false
  private var isFlushScheduled = false
  private var isReading = false
  /// Our direction ends when the kernel has the rest of the output.
  private var halfClosesAfterFlush = false
  /// The kernel has refused bytes: some are lost.
  private var isBroken = false
  private var pauses: UInt16 = 0

  /// - Parameter transport: an established connection; from `start` on its events come here.
  public init(
    loop: EventLoop, transport: consuming Transport, info: UpstreamConnectionInfo, settings: ClientConnectionSettings,
    headerMaps: HeaderMapPool, owner: any ClientConnectionOwner
  ) {
    self.loop = loop
    self.transport = transport
    self.info = info
    self.settings = settings
    self.headerMaps = headerMaps
    self.owner = owner
    timer = Timer(loop)
  }

  public var isClosed: Bool { phase == .closed }
  public var isOnReusedConnection: Bool { false }
  public var connection: UpstreamConnectionInfo { info }
  public var protocolVersion: HTTPVersion { .http11 }
  public var capacity: Int { phase == .idle ? 1 : 0 }
  public var activeRequests: Int { phase == .busy ? 1 : 0 }
  public var wire: WireBytes {
    WireBytes(
      received: UInt64(responseBytesReceived), sent: UInt64(requestBytesSent), headerReceived: 0, headerSent: 0)
  }

  public func start() throws(SystemError) {
    timer.aim(at: self)
    try loop.take(over: transport.descriptor, self)
    if let limit = settings.idleTimeout { timer.arm(after: limit) }
  }

  // MARK: The request

  public func send(
    _ headers: HeaderMap, method: HTTPMethod, endStream: Bool, receiver: any ResponseReceiver
  ) -> any RequestSender {
    phase = .busy
    requestCount &+= 1
    timer.disarm()
    self.receiver = receiver
    if endStream { finishRequest() }
    // The answer comes when this has returned: the connection is all that there is to wait for.
    scheduleFlush()
    return self
  }

  public func sendData(_ bytes: Bytes, endStream: Bool) {
    guard phase == .busy, !requestDone else { return }
    if bytes.count > 0 {
      write(bytes)
      if !isBlocked, transport.output.count > settings.highWatermark {
        isBlocked = true
        receiver?.requestBlocked()
      }
    }
    if endStream { finishRequest() }
    scheduleFlush()
  }

  /// Trailers have no place among raw bytes; they are the end all the same.
  public func sendTrailers(_ trailers: HeaderMap) { sendData(Bytes(start: nil, count: 0), endStream: true) }

  public func pauseResponse(_ pause: Bool) {
    if pause {
      pauses += 1
    } else if pauses > 0 {
      pauses -= 1
      if pauses == 0, phase == .busy { scheduleFlush() }
    }
  }

  public func cancel() {
    receiver = nil
    // What has ended both ways closes when the upstream has everything.
    if phase == .busy, !isOver { close(.local) }
  }

  public func drain() { if phase == .idle { close(.local) } }

  private var isOver: Bool { requestDone && responseDone }

  private func finishRequest() {
    requestDone = true
    halfClosesAfterFlush = true
    // Both directions have ended: whoever had them may be someone else's by the time the last bytes have left.
    if responseDone { receiver = nil }
  }

  private func write(_ bytes: Bytes) {
    guard bytes.count >= HTTP1ServerConnection.directWriteSize, transport.isWritable else {
      transport.output.append(bytes, loop.bufferPool)
      return
    }
    let before = transport.output.count
    let sound = transport.send(bytes, loop.bufferPool)
    noteSent(before + bytes.count - transport.output.count)
    if !sound { noteBroken() }
  }

  /// The upstream is gone, yet what it said last may be here. Let the read find out.
  private func noteBroken() {
    isBroken = true
    transport.output.clear(loop.bufferPool)
    transport.note([.readable, .peerClosed])
  }

  private func noteSent(_ count: Int) {
    requestBytesSent += count
    owner.connectionTransferred(received: 0, sent: count)
  }

  // MARK: Events

  public func ready(_ events: IOEvents) {
    guard phase != .closed else { return }
    transport.note(events)
    guard phase == .busy else {
      if transport.peerClosed { close(.remote) }
      return
    }
    if transport.isWritable { writeOut() }
    if phase == .busy { read() }
  }

  private func scheduleFlush() {
    guard !isFlushScheduled else { return }
    isFlushScheduled = true
    loop.flushLater(self)
  }

  public func flush() {
    isFlushScheduled = false
    guard phase == .busy else { return }
    if !responseBegan {
      responseBegan = true
      let headers = headerMaps.take()
      headers.set(.status, "200")
      receiver?.receiveHeaders(status: 200, headers, endStream: false)
    }
    if phase == .busy { writeOut() }
    if phase == .busy { read() }
  }

  public func timerFired(_ tag: UInt8) { if phase == .idle { close(.idleTimeout) } }

  private func writeOut() {
    if !transport.isFlushed {
      let waiting = transport.output.count
      let sound = transport.flush(loop.bufferPool)
      noteSent(waiting - transport.output.count)
      if !sound { noteBroken() }
    }
    if isBlocked, transport.output.count <= settings.highWatermark / 2 {
      isBlocked = false
      receiver?.requestUnblocked()
    }
    guard halfClosesAfterFlush, phase == .busy, transport.isFlushed, !isBroken else { return }
    halfClosesAfterFlush = false
    if responseDone { close(.remote) } else { transport.shutdownWrite() }
  }

  /// Reads at the top of an event only: the receive buffer is shared by the whole loop.
  private func read() {
    guard !isReading, responseBegan else { return }
    isReading = true
    defer { isReading = false }
    var turns = 0
    while phase == .busy, transport.isReadable, pauses == 0 {
      // A fast sender does not keep the loop from the others: the rest comes after them.
      turns += 1
      if turns > HTTP1ServerConnection.readsPerTurn { return loop.defer { [self] in flush() } }
      let count = transport.receive(loop.receiveBuffer, EventLoop.receiveBufferSize)
      guard count > 0 else {
        if count == Socket.wouldBlock { return }
        return endOfStream(isReset: count < 0 || isBroken)
      }
      responseBytesReceived += count
      owner.connectionTransferred(received: count, sent: 0)
      receiver?.receiveData(Bytes(start: loop.receiveBuffer, count: count), endStream: false)
    }
  }

  private func endOfStream(isReset: Bool) {
    if isReset {
      let stream = receiver
      receiver = nil
      close(.remote)
      stream?.responseReset(.connectionTermination, detail: "")
      return
    }
    guard !responseDone else { return }
    responseDone = true
    receiver?.receiveData(Bytes(start: nil, count: 0), endStream: true)
    guard phase == .busy, requestDone else { return }
    receiver = nil
    if transport.isFlushed { close(.remote) }
  }

  private func close(_ reason: ClientCloseReason) {
    guard phase != .closed else { return }
    wasBusy = phase == .busy && !isOver
    phase = .closed
    timer.disarm()
    transport.close(loop)
    owner.connectionClosed(self, reason)
  }
}
