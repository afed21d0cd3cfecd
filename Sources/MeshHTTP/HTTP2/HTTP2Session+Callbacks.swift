internal import CNGHTTP2
import MeshPrimitives

/// What nghttp2 calls. Nothing here calls out: what happened is noted, and delivered when nghttp2 has returned.
extension HTTP2Session {
  private typealias Frame = UnsafePointer<nghttp2_frame>

  static func open(_ isServer: Bool, _ options: HTTP2Options) -> OpaquePointer? {
    var callbacks: OpaquePointer?
    var settings: OpaquePointer?
    guard nghttp2_session_callbacks_new(&callbacks) == 0, let callbacks else { return nil }
    defer { nghttp2_session_callbacks_del(callbacks) }
    guard nghttp2_option_new(&settings) == 0, let settings else { return nil }
    defer { nghttp2_option_del(settings) }
    nghttp2_option_set_no_auto_window_update(settings, 1)
    nghttp2_option_set_no_http_messaging(settings, 1)
    nghttp2_option_set_no_closed_streams(settings, 1)
    nghttp2_option_set_max_outbound_ack(settings, Int(options.maximumOutboundControlFrames))
    nghttp2_option_set_max_deflate_dynamic_table_size(settings, Int(options.tableSize))
    nghttp2_option_set_max_continuations(settings, options.maximumContinuations + 1)
    nghttp2_option_set_max_send_header_block_length(settings, 1 << 20)
    nghttp2_option_set_peer_max_concurrent_streams(settings, 100)
    // Resets are counted where it is known what came of them.
    nghttp2_option_set_stream_reset_rate_limit(settings, .max, .max)

    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
      guard let frame else { return 0 }
      return HTTP2Session.with(user) { $0.headBegins(frame) }
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks) { _, _, name, nameLength, value, valueLength, _, user in
      HTTP2Session.with(user) {
        $0.receive(field: Bytes(start: name, count: nameLength), Bytes(start: value, count: valueLength))
      }
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, identifier, data, count, user in
      HTTP2Session.with(user) { $0.receive(data: Bytes(start: data, count: count), identifier) }
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
      guard let frame else { return 0 }
      return HTTP2Session.with(user) { $0.frameReceived(frame) }
    }
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) { _, _, _, user in
      HTTP2Session.with(user) { $0.invalidFrameReceived() }
    }
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, user in
      guard let frame else { return 0 }
      return HTTP2Session.with(user) { $0.frameSent(frame) }
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, identifier, code, user in
      HTTP2Session.with(user) { $0.streamClosed(identifier, code) }
    }
    nghttp2_session_callbacks_set_send_data_callback(callbacks) { _, frame, header, count, source, user in
      guard let frame, let header, let source, let pointer = source.pointee.ptr else { return 0 }
      let stream = Unmanaged<HTTP2Stream>.fromOpaque(pointer)
      let padding = frame.pointee.data.padlen
      return HTTP2Session.with(user) { session in
        stream._withUnsafeGuaranteedRef { session.send($0, header, count, padding) }
      }
    }

    var session: OpaquePointer?
    let result =
      isServer
      ? nghttp2_session_server_new2(&session, callbacks, nil, settings)
      : nghttp2_session_client_new2(&session, callbacks, nil, settings)
    return result == 0 ? session : nil
  }

  /// nghttp2 is to call this object, which owns its session.
  func attach(_ session: OpaquePointer) {
    nghttp2_session_set_user_data(session, Unmanaged.passUnretained(self).toOpaque())
  }

  @inline(__always)
  private static func with(_ user: UnsafeMutableRawPointer?, _ body: (HTTP2Session) -> Int32) -> Int32 {
    guard let user else { return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }
    return Unmanaged<HTTP2Session>.fromOpaque(user)._withUnsafeGuaranteedRef { body($0) }
  }

  @inline(__always)
  private func stream(_ identifier: Int32) -> Unmanaged<HTTP2Stream>? {
    nghttp2_session_get_stream_user_data(handle, identifier).map { Unmanaged<HTTP2Stream>.fromOpaque($0) }
  }

  // MARK: Frames of the peer

  private func headBegins(_ frame: Frame) -> Int32 {
    guard frame.pointee.hd.type == FrameType.headers else { return 0 }
    let identifier = frame.pointee.hd.stream_id
    let kind: HTTP2HeadReader.Kind
    if frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST {
      guard let stream = owner?.makeStream() else { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
      floods.streamsOpened &+= 1
      add(stream, identifier)
      nghttp2_session_set_stream_user_data(handle, identifier, Unmanaged.passUnretained(stream).toOpaque())
      blockStream = stream
      kind = .request
    } else {
      blockStream = stream(identifier)?.takeUnretainedValue()
      kind = !isServer && blockStream?.receivedHead == false ? .response : .trailers
    }
    blockStream?.wire.received &+= UInt64(frame.pointee.hd.length &+ 9)
    reader = HTTP2HeadReader(kind, limits: limits)
    block = headerMaps.take()
    owner?.headBegan()
    return 0
  }

  @inline(__always)
  private func receive(field name: Bytes, _ value: Bytes) -> Int32 {
    if let block { reader.read(name, value, block) }
    return 0
  }

  private func receive(data: Bytes, _ identifier: Int32) -> Int32 {
    guard let stream = stream(identifier) else {
      nghttp2_session_consume(handle, identifier, data.count)
      return 0
    }
    stream._withUnsafeGuaranteedRef {
      if !isServer, !$0.receivedHead { noteEarlyBody($0) }
      noteData($0, data)
    }
    return 0
  }

  /// DATA before the head of a response: nothing of the stream is passed on.
  @inline(never)
  private func noteEarlyBody(_ stream: HTTP2Stream) {
    stream.receivedHead = true
    var event = Event(kind: .refused, stream: Unmanaged.passUnretained(stream))
    event.code = UInt32(HTTP2MessageError.invalidSequence.rawValue)
    event.map = Unmanaged.passRetained(headerMaps.take())
    note(event)
  }

  private func frameReceived(_ frame: Frame) -> Int32 {
    let header = frame.pointee.hd
    switch header.type {
    case FrameType.data:
      guard let stream = stream(header.stream_id) else { return 0 }
      stream._withUnsafeGuaranteedRef {
        $0.wire.received &+= UInt64(header.length &+ 9)
        if header.flags & FrameFlag.endStream != 0 {
          if !isServer, !$0.receivedHead { noteEarlyBody($0) }
          $0.receivedEnd = true
          noteEnd($0)
        }
      }
    case FrameType.headers: headReceived(endStream: header.flags & FrameFlag.endStream != 0)
    case FrameType.reset: owner?.count(.receivedReset, 1)
    case FrameType.settings: if header.flags & FrameFlag.ack == 0 { note(Event(kind: .settings)) }
    case FrameType.ping: if header.flags & FrameFlag.ack != 0 { note(Event(kind: .pong)) }
    case FrameType.goAway:
      var event = Event(kind: .goAway)
      event.lastStream = frame.pointee.goaway.last_stream_id
      event.code = frame.pointee.goaway.error_code
      note(event)
    default: break
    }
    return 0
  }

  private func headReceived(endStream: Bool) {
    owner?.headEnded()
    guard let map = block, let stream = blockStream else {
      if let block { headerMaps.recycle(block) }
      block = nil
      blockStream = nil
      return
    }
    block = nil
    blockStream = nil
    stream.wire.received &+= UInt64(continuationBytes)
    continuationBytes = 0
    stream.wire.headerReceived &+= reader.fieldBytes
    var event = Event(kind: .request, endStream: endStream, stream: Unmanaged.passUnretained(stream))
    event.map = Unmanaged.passRetained(map)
    switch reader.kind {
    case .request:
      event.start = reader.finishRequest(map, endStream: endStream, limits: limits)
      if event.start != nil {
        stream.receivedHead = true
        stream.expectBody(map.contentLength, endStream: endStream, &reader)
      }
    case .response:
      event.kind = .response
      if reader.finishResponse() {
        event.code = UInt32(reader.status)
        if reader.status >= 200 {
          stream.receivedHead = true
          stream.expectResponseBody(map, status: reader.status, endStream: endStream, &reader)
        } else if endStream {
          reader.fail(.invalidSequence)
        }
      }
    case .trailers:
      event.kind = .trailers
      if !endStream { reader.fail(.invalidSequence) }
    }
    if endStream { stream.receivedEnd = true }
    if let error = reader.error {
      if error == .headTooLarge || error == .tooManyFields { owner?.count(.headerOverflow, 1) }
      event.kind = .refused
      event.code = UInt32(error.rawValue)
    }
    note(event)
  }

  private func invalidFrameReceived() -> Int32 {
    owner?.count(.receivedMessagingError, 1)
    noteGlitch()
    return 0
  }

  // MARK: Frames of ours

  private func frameSent(_ frame: Frame) -> Int32 {
    let header = frame.pointee.hd
    framesWaiting &+= 1
    switch header.type {
    case FrameType.headers where header.stream_id == headStream: isHeadSent = true
    case FrameType.data: floods.dataFramesSent &+= 1
    case FrameType.reset: owner?.count(.sentReset, 1)
    case FrameType.goAway:
      owner?.count(.sentGoAway, 1)
      if frame.pointee.goaway.error_code != 0 { isPeerAtFault = true }
      return 0
    default: return 0
    }
    guard header.type != FrameType.reset, let stream = stream(header.stream_id) else { return 0 }
    stream._withUnsafeGuaranteedRef {
      if header.type == FrameType.headers { $0.wire.sent &+= UInt64(header.length &+ 9) }
      if header.flags & FrameFlag.endStream != 0 {
        $0.sentEnd = true
        note(Event(kind: .complete, stream: stream))
      }
    }
    return 0
  }

  private func streamClosed(_ identifier: Int32, _ code: UInt32) -> Int32 {
    guard let stream = stream(identifier) else { return 0 }
    let (isRemote, isWhole) = stream._withUnsafeGuaranteedRef { (!$0.isReset, $0.receivedEnd) }
    if !isRemote, isWhole {
      closed.add(identifier, .complete)
    } else {
      closed.add(identifier, code == 0 && isRemote ? .complete : isRemote ? .resetByPeer : .resetByUs)
    }
    note(Event(kind: .ended, endStream: isRemote, stream: stream, code: code))
    return 0
  }

  // MARK: Bodies of ours

  /// Frames the first `count` bytes that wait.
  private func send(_ stream: HTTP2Stream, _ header: UnsafePointer<UInt8>, _ count: Int, _ padding: Int) -> Int32 {
    guard padding == 0, stream.output.count >= count else { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
    output.append(Bytes(start: header, count: 9), pool)
    output.append(stream.output.bytes.slice(0, count), pool)
    stream.output.drop(count, pool)
    waitingOutput -= count
    if stream.isOutputBlocked, stream.output.count <= streamWatermark / 2 {
      note(Event(kind: .drained, stream: Unmanaged.passUnretained(stream)))
    }
    return 0
  }

  /// Says how much of a stream's body the next frame takes.
  static func readBody(
    _ handle: OpaquePointer?, _ identifier: Int32, _ capacity: Int, _ flags: UnsafeMutablePointer<UInt32>?,
    _ source: UnsafeMutablePointer<nghttp2_data_source>?, _ user: UnsafeMutableRawPointer?
  ) -> Int {
    guard let user, let flags, let pointer = source?.pointee.ptr else {
      return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
    }
    return Unmanaged<HTTP2Session>.fromOpaque(user)._withUnsafeGuaranteedRef { session in
      Unmanaged<HTTP2Stream>.fromOpaque(pointer)._withUnsafeGuaranteedRef {
        session.readBody($0, capacity, flags)
      }
    }
  }

  private func readBody(_ stream: HTTP2Stream, _ capacity: Int, _ flags: UnsafeMutablePointer<UInt32>) -> Int {
    if output.count >= outputLimit { return Int(NGHTTP2_ERR_PAUSE.rawValue) }
    let waiting = stream.output.count
    if waiting == 0, !stream.outputEnds {
      stream.isDeferred = true
      return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
    let count = min(waiting, capacity)
    flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
    if count == waiting, stream.outputEnds {
      flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
      if let trailers = stream.outputTrailers {
        stream.outputTrailers = nil
        flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
        submit(trailers: trailers, of: stream)
        headerMaps.recycle(trailers)
      }
    }
    return count
  }
}

enum FrameType {
  static let data: UInt8 = 0
  static let headers: UInt8 = 1
  static let priority: UInt8 = 2
  static let reset: UInt8 = 3
  static let settings: UInt8 = 4
  static let ping: UInt8 = 6
  static let goAway: UInt8 = 7
  static let windowUpdate: UInt8 = 8
  static let continuation: UInt8 = 9
}

enum FrameFlag {
  static let endStream: UInt8 = 1
  static let ack: UInt8 = 1
}
