internal import CNGHTTP2
import MeshPrimitives

/// Who has a session: the connection.
protocol HTTP2SessionOwner: AnyObject {
  /// The peer begins a stream; nil: it may not.
  func makeStream() -> HTTP2Stream?
  /// A stream has ended, for both sides; it may be used again.
  func streamEnded(_ stream: HTTP2Stream)
  /// The peer takes no stream above `lastStream`.
  func receivedGoAway(lastStream: Int32, _ code: HTTP2ErrorCode)
  /// The peer's settings have come, perhaps again.
  func receivedSettings()
  /// The answer to a PING.
  func receivedPong()
  /// A header block has begun, or is complete.
  func headBegan()
  func headEnded()
  /// There is something to send, or something to look at again.
  func sessionWantsFlush()
  func count(_ event: HTTP2Event, _ amount: Int)
}

/// One end of an HTTP/2 connection (RFC 9113) without its socket: bytes of the peer in, events to streams out, bytes for
/// the peer into `output`. nghttp2 has the frames, HPACK, windows and stream states; what a message may be is decided here
/// and in `HTTP2HeadReader`.
///
/// nghttp2 must not be called to send while it reads, so what it reports is noted and delivered when it has returned:
/// streams may then do whatever they like. Confined to one thread.
final class HTTP2Session {
  let isServer: Bool
  let options: HTTP2Options
  let limits: HTTP1Limits
  let pool: BufferPool
  let headerMaps: HeaderMapPool
  /// Unsent bytes of one stream at which its writer is told to stop.
  private let watermark: Int
  unowned(unsafe) var owner: (any HTTP2SessionOwner)?

  /// Framed bytes for the peer.
  var output = ByteQueue()
  /// Bytes of bodies that streams have and no frame has taken.
  var waitingOutput = 0
  /// Every stream that has not ended.
  private(set) var streams: [HTTP2Stream] = []
  private let session: OpaquePointer
  /// What nghttp2 has reported and nobody has heard of yet.
  private var events: [Event] = []
  private var isDelivering = false
  /// Streams whose pauses have ended.
  private var resumed: [HTTP2Stream] = []

  // MARK: State of the callbacks

  var reader = HTTP2HeadReader()
  /// Where the block that is being read goes.
  var block: HeaderMap?
  /// Whose it is; nil: nobody's, its fields are read for HPACK's sake.
  var blockStream: HTTP2Stream?
  /// The stream whose head is to be framed now, and whether it has been.
  var headStream: Int32 = 0
  var isHeadSent = false
  /// How far `output` may grow before DATA waits.
  var outputLimit = 0
  var floods = HTTP2FloodGuard()
  /// Frames that were framed since the kernel had last taken everything; the connection sets it to 0 then.
  var framesWaiting: UInt32 = 0
  var closed = HTTP2ClosedStreams()
  /// The highest stream that the peer has begun, or that we have.
  var lastStream: Int32 = 0
  var scan: HTTP2FrameScan
  /// CONTINUATION frames of the block that is coming.
  var continuationBytes = 0
  /// Bytes that streams have taken on and not opened their windows for, and how many of these the connection's window has
  /// not been opened for.
  private var withheld = 0
  private var connectionWithheld = 0
  /// nghttp2 is not called any more: it would call streams that are gone.
  private var isOver = false
  /// Why the connection has to end, if it has.
  private(set) var failure: StaticString?
  /// It has to end for something that was noted: what was noted behind that does not count.
  private(set) var failedInDelivery = false
  /// The rule that a message broke last.
  private(set) var streamFailure: StaticString = ""
  /// Whether a rule of the protocol was broken, by the peer.
  var isPeerAtFault = false

  struct Event {
    enum Kind: UInt8 {
      case request, response, trailers, data, ended, refused, drained, complete, goAway, settings, pong
    }
    var kind: Kind
    var endStream = false
    var stream: Unmanaged<HTTP2Stream>?
    var map: Unmanaged<HeaderMap>?
    var bytes = Bytes(start: nil, count: 0)
    var code: UInt32 = 0
    var lastStream: Int32 = 0
    var start: RequestStart?

    init(kind: Kind, endStream: Bool = false, stream: Unmanaged<HTTP2Stream>? = nil, code: UInt32 = 0) {
      self.kind = kind
      self.endStream = endStream
      self.stream = stream
      self.code = code
    }
  }

  init(
    isServer: Bool, options: HTTP2Options, limits: HTTP1Limits, watermark: Int, pool: BufferPool,
    headerMaps: HeaderMapPool
  ) {
    self.isServer = isServer
    self.options = options
    self.limits = limits
    self.watermark = watermark
    self.pool = pool
    self.headerMaps = headerMaps
    scan = HTTP2FrameScan(preface: isServer ? 24 : 0)
    // As everywhere else, a process without memory ends.
    guard let session = Self.open(isServer, options) else { preconditionFailure("no memory for an HTTP/2 session") }
    self.session = session
    attach(session)
  }

  deinit {
    nghttp2_session_del(session)
    for event in events { event.map?.release() }
    output.clear(pool)
  }

  /// Unsent bytes at which a stream's writer is told to stop: an equal share of what a connection may hold, so that many
  /// streams together cannot hold many times what one may, and none gets ahead because it came first.
  var streamWatermark: Int { min(watermark, max(BufferPool.blockSize, watermark / max(1, streams.count))) }

  // MARK: Bytes

  /// Takes bytes from the peer and tells the streams.
  /// - Returns: whether the session goes on; if not, `failure` may say why, and what is in `output` still goes out.
  func receive(_ bytes: Bytes) -> Bool {
    var offset = 0
    while offset < bytes.count, failure == nil, !isOver {
      // In parts, so that what is noted stays small.
      let part = bytes.slice(offset, min(bytes.count - offset, 16 * 1024))
      read(part)
      deliver()
      offset += part.count
      if isOver { return false }
      if nghttp2_session_get_outbound_queue_size(session) > Int(options.maximumOutboundControlFrames) {
        flooded(.outboundControlFlood, "http2.outbound_control_frames_flood")
      }
    }
    return wantsRead
  }

  func failedToRead(isFlooded: Bool) {
    isPeerAtFault = true
    if isFlooded {
      owner?.count(.outboundControlFlood, 1)
      failure = "http2.outbound_control_frames_flood"
    } else {
      owner?.count(.receivedMessagingError, 1)
      failure = "http2.protocol_error"
    }
  }

  /// Frames what waits, up to about `limit` bytes in `output`.
  func pull(upTo limit: Int) {
    guard !isOver else { return }
    outputLimit = limit
    while output.count < limit {
      var frame: UnsafePointer<UInt8>?
      let count = nghttp2_session_mem_send(session, &frame)
      guard count > 0 else {
        if count < 0, failure == nil { failure = "http2.internal_error" }
        break
      }
      output.append(Bytes(start: frame, count: count), pool)
    }
    outputLimit = 0
    deliver()
  }

  /// The kernel takes no more for now: what waits must not become too much.
  func outputBlocked() {
    if framesWaiting > options.maximumOutboundFrames { flooded(.outboundFlood, "http2.outbound_frames_flood") }
  }

  /// Whether there may be more to frame.
  var wantsWrite: Bool { nghttp2_session_want_write(session) != 0 }
  /// Whether the peer may still say something that counts.
  var wantsRead: Bool { failure == nil && !isOver && nghttp2_session_want_read(session) != 0 }

  // MARK: Events

  func note(_ event: Event) { events.append(event) }

  /// A run of a body; `end` may follow.
  func noteData(_ stream: HTTP2Stream, _ bytes: Bytes) {
    var event = Event(kind: .data)
    event.stream = Unmanaged.passUnretained(stream)
    event.bytes = bytes
    events.append(event)
  }

  /// The end of a body.
  func noteEnd(_ stream: HTTP2Stream) {
    if let last = events.last, last.kind == .data,
      last.stream?.toOpaque() == Unmanaged.passUnretained(stream).toOpaque()
    {
      events[events.count - 1].endStream = true
      return
    }
    noteData(stream, Bytes(start: nil, count: 0))
    events[events.count - 1].endStream = true
  }

  /// Tells the streams what was noted. What they do may add to it.
  func deliver() {
    guard !isDelivering, !events.isEmpty else { return }
    isDelivering = true
    var index = 0
    while index < events.count {
      let event = events[index]
      // `endAll` releases what nobody has heard of.
      events[index].map = nil
      index += 1
      deliver(event)
    }
    events.removeAll(keepingCapacity: events.count <= 256)
    isDelivering = false
  }

  @inline(__always)
  private func deliver(_ event: Event) {
    let map = event.map?.takeRetainedValue()
    guard let stream = event.stream?.takeUnretainedValue() else {
      switch event.kind {
      case .goAway:
        owner?.receivedGoAway(lastStream: event.lastStream, HTTP2ErrorCode(rawValue: event.code))
      case .settings: owner?.receivedSettings()
      case .pong: owner?.receivedPong()
      default: break
      }
      return
    }
    switch event.kind {
    case .request, .response:
      guard let map else { return }
      guard !stream.isReset else { return headerMaps.recycle(map) }
      stream.take(head: map, start: event.start, status: Int(event.code), endStream: event.endStream)
    case .trailers:
      guard let map else { return }
      guard !stream.isReset else { return headerMaps.recycle(map) }
      // As in Envoy: those of requests.
      if isServer { owner?.count(.trailers, 1) }
      stream.receive(trailers: map)
    case .data:
      if stream.isReset {
        if event.bytes.count > 0 { consumeConnection(event.bytes.count) }
      } else {
        stream.receive(event.bytes, endStream: event.endStream)
      }
    case .refused:
      guard let map else { return }
      guard !stream.isReset, let error = HTTP2MessageError(rawValue: UInt8(truncatingIfNeeded: event.code)) else {
        return headerMaps.recycle(map)
      }
      stream.refuse(map, error)
    case .ended:
      // Both sides have said their last, but the receiver has not heard it all yet.
      if event.code == 0, stream.receivedEnd, !stream.isReset, stream.hasInput {
        stream.isOverForPeer = true
      } else {
        end(stream, HTTP2ErrorCode(rawValue: event.code), isRemote: event.endStream)
      }
    case .drained:
      if stream.isOutputBlocked, !stream.isReset, stream.output.count <= streamWatermark / 2 {
        stream.isOutputBlocked = false
        stream.outputDrained()
      }
    case .complete: stream.outputComplete()
    default: break
    }
  }

  // MARK: Streams

  func add(_ stream: HTTP2Stream, _ identifier: Int32) {
    stream.identifier = identifier
    stream.listIndex = streams.count
    streams.append(stream)
  }

  func end(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode, isRemote: Bool) {
    guard !stream.isClosed else { return }
    stream.isClosed = true
    let last = streams.count - 1
    let index = stream.listIndex
    if index < last {
      streams[index] = streams[last]
      streams[index].listIndex = index
    }
    streams.removeLast()
    waitingOutput -= stream.output.count
    release(stream, opensWindow: false)
    stream.ended(code, isRemote: isRemote)
    owner?.streamEnded(stream)
  }

  /// The connection ends: what is framed already is the last that it sends. Every stream hears of it.
  func endAll() {
    guard !isOver else { return }
    isOver = true
    for event in events { event.map?.release() }
    events.removeAll()
    resumed.removeAll()
    while let stream = streams.last { end(stream, .internalError, isRemote: false) }
  }

  /// Ends a stream. What it has not sent is dropped.
  func reset(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
    guard !stream.isReset, !stream.isClosed, !isOver else { return }
    stream.isReset = true
    if stream.isOverForPeer { return endLater(stream) }
    nghttp2_submit_rst_stream(session, 0, stream.identifier, code.rawValue)
    owner?.sessionWantsFlush()
  }

  /// Nothing is left to hear of a stream that is over for the peer. Not below whoever found that out.
  private func endLater(_ stream: HTTP2Stream) {
    note(Event(kind: .ended, stream: Unmanaged.passUnretained(stream)))
    owner?.sessionWantsFlush()
  }

  /// What came for a stream that is no more, or that was never to be, is an error of that stream.
  func refuse(_ identifier: Int32, _ code: HTTP2ErrorCode) {
    owner?.count(.receivedMessagingError, 1)
    nghttp2_submit_rst_stream(session, 0, identifier, code.rawValue)
    noteGlitch()
  }

  /// A message broke a rule after its head was passed on, or without one that could be answered.
  func fail(_ stream: HTTP2Stream, _ error: HTTP2MessageError) {
    streamFailure = error.details
    // A body of another length concerns nobody else, as in Envoy.
    if error != .contentLengthMismatch { owner?.count(.receivedMessagingError, 1) }
    if !options.endsStreamOnly, error != .contentLengthMismatch {
      isPeerAtFault = true
      terminate(.protocolError, error.details)
    } else {
      noteGlitch()
    }
    guard !stream.isReset else { return }
    stream.isFaulty = true
    reset(stream, .protocolError)
    stream.ended(.protocolError, isRemote: false)
  }

  // MARK: The connection

  /// The connection ends because of what the peer did. GOAWAY says why.
  func terminate(_ code: HTTP2ErrorCode, _ details: StaticString) {
    guard failure == nil, !isOver else { return }
    failure = details
    failedInDelivery = isDelivering
    nghttp2_session_terminate_session(session, code.rawValue)
    owner?.sessionWantsFlush()
  }

  /// The peer makes us work for nothing.
  func flooded(_ event: HTTP2Event, _ details: StaticString) {
    guard failure == nil else { return }
    isPeerAtFault = true
    owner?.count(event, 1)
    terminate(.enhanceYourCalm, details)
  }

  /// A breach that alone would end no connection.
  func noteGlitch() {
    floods.glitches &+= 1
    if floods.glitches > options.maximumGlitches { flooded(.tooManyGlitches, "http2.too_many_glitches") }
  }

  /// A server says that it will take no more streams soon (RFC 9113 §6.8).
  func announceShutdown() {
    guard !isOver else { return }
    nghttp2_submit_shutdown_notice(session)
    owner?.sessionWantsFlush()
  }

  /// The last word before the connection ends, where GOAWAY has not been said.
  func finish() {
    guard !isOver else { return }
    nghttp2_session_terminate_session(
      session, failure == nil ? 0 : isPeerAtFault ? HTTP2ErrorCode.protocolError.rawValue : 2)
    pull(upTo: .max)
    endAll()
  }

  /// As `finish`, nobody being told.
  func finishSilently() {
    guard !isOver else { return }
    isDelivering = true
    nghttp2_session_terminate_session(
      session, failure == nil ? 0 : isPeerAtFault ? HTTP2ErrorCode.protocolError.rawValue : 2)
    pull(upTo: .max)
    isDelivering = false
  }

  /// No further stream of the peer is taken.
  func goAway() {
    guard !isOver else { return }
    nghttp2_submit_goaway(session, 0, nghttp2_session_get_last_proc_stream_id(session), 0, nil, 0)
    owner?.sessionWantsFlush()
  }

  func ping() {
    nghttp2_submit_ping(session, 0, nil)
    owner?.sessionWantsFlush()
  }

  /// Streams that the peer lets us have open at once.
  var peerMaximumStreams: UInt32 {
    nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
  }

  /// Whether another request may be sent: no GOAWAY, and stream identifiers left.
  var allowsRequests: Bool { failure == nil && nghttp2_session_check_request_allowed(session) != 0 }

  // MARK: Windows

  /// A stream has taken on bytes. As long as all streams together hold no more than the connection's window, the peer may
  /// send as many for others: one that waits holds up nobody. Beyond, all wait.
  func hold(_ stream: HTTP2Stream, _ count: Int) {
    stream.withheld += count
    withheld += count
    let late = max(0, withheld - Int(options.connectionWindow))
    let isLate = max(0, late - connectionWithheld)
    connectionWithheld += isLate
    if count > isLate { consumeConnection(count - isLate) }
  }

  /// What a stream has taken on has gone its way.
  func release(_ stream: HTTP2Stream, opensWindow: Bool) {
    let count = stream.withheld
    guard count > 0 else { return }
    stream.withheld = 0
    withheld -= count
    let late = max(0, withheld - Int(options.connectionWindow))
    if late < connectionWithheld {
      consumeConnection(connectionWithheld - late)
      connectionWithheld = late
    }
    guard opensWindow, failure == nil, !isOver else { return }
    nghttp2_session_consume_stream(session, stream.identifier, count)
    owner?.sessionWantsFlush()
  }

  private func consumeConnection(_ count: Int) { if !isOver { nghttp2_session_consume_connection(session, count) } }

  /// A stream's pauses have ended: at the next flush it hears of what waited.
  func resumeLater(_ stream: HTTP2Stream) {
    guard !stream.isClosed, !stream.isReset, !isOver else { return }
    if !stream.hasInput, stream.withheld == 0 { return }
    resumed.append(stream)
    owner?.sessionWantsFlush()
  }

  /// At the top of an event.
  func resumeStreams() {
    guard !resumed.isEmpty else { return }
    let streams = resumed
    resumed.removeAll(keepingCapacity: true)
    for stream in streams where !stream.isClosed { stream.resumeInput() }
  }

  /// More than this is more than one frame.
  static var frameSize: Int { 16 * 1024 }

  /// A response is large: it and others take turns, a frame at a time. nghttp2 would send one to its end before it begins
  /// the next (RFC 9218 §4.2), which is good for what can only be used as a whole.
  func takeTurns(_ stream: HTTP2Stream) {
    stream.takesTurns = true
    guard isServer, !isOver else { return }
    var priority = nghttp2_extpri(urgency: UInt32(NGHTTP2_EXTPRI_DEFAULT_URGENCY), inc: 1)
    nghttp2_session_change_extpri_stream_priority(session, stream.identifier, &priority, 1)
  }

  /// A stream has more to send.
  func wake(_ stream: HTTP2Stream) {
    guard !isOver else { return }
    if stream.isDeferred {
      stream.isDeferred = false
      nghttp2_session_resume_data(session, stream.identifier)
    }
    owner?.sessionWantsFlush()
  }

  // MARK: For the aspects

  var handle: OpaquePointer { session }
}
