internal import CNGHTTP2
import MeshPrimitives

/// The peer's frames before nghttp2 sees them: what there is too much of, and what belongs to no stream.
extension HTTP2Session {
  /// Looks at the frames that begin in `part`, and hands all of it to nghttp2: up to a frame for a stream that should be
  /// there already, so that it is known by then whether it is.
  func read(_ part: Bytes) {
    var fed = 0
    var offset = 0
    while let frame = scan.next(part, &offset) {
      if let event = floods.receive(frame, options) { return flooded(event) }
      switch frame.type {
      case FrameType.data, FrameType.headers:
        if frame.stream > lastStream {
          if frame.type == FrameType.headers { lastStream = frame.stream }
        } else if frame.stream > 0 {
          feed(part.slice(fed, frame.start - fed))
          fed = frame.start
          if failure != nil { return }
          if nghttp2_session_get_stream_user_data(handle, frame.stream) == nil { strayFrame(frame) }
          if failure != nil { return }
        }
      case FrameType.priority:
        if frame.stream == 0 { return fail() }
        // Nothing can be said of a stream that was never opened.
        if frame.dependsOnItself { return fail() }
      case FrameType.continuation: continuationBytes &+= frame.length &+ 9
      default: break
      }
    }
    feed(part.slice(fed, part.count - fed))
  }

  private func feed(_ bytes: Bytes) {
    guard bytes.count > 0 else { return }
    let taken = nghttp2_session_mem_recv(handle, bytes.baseAddress, bytes.count)
    if taken < 0, failure == nil { failedToRead(isFlooded: taken == Int(NGHTTP2_ERR_FLOODED.rawValue)) }
  }

  private func fail(_ code: HTTP2ErrorCode = .protocolError) {
    isPeerAtFault = true
    owner?.count(.receivedMessagingError, 1)
    terminate(code, "http2.protocol_error")
  }

  private func flooded(_ event: HTTP2Event) {
    switch event {
    case .emptyFramesFlood: flooded(event, "http2.inbound_empty_frames_flood")
    case .priorityFlood: flooded(event, "http2.inbound_priority_frames_flood")
    case .windowUpdateFlood: flooded(event, "http2.inbound_window_update_frames_flood")
    default: flooded(event, "http2.inbound_continuation_frames_flood")
    }
  }

  /// DATA or HEADERS for a stream that is no more, or never was (RFC 9113 §5.1).
  @inline(never)
  private func strayFrame(_ frame: HTTP2FrameScan.Frame) {
    switch closed.ending(of: frame.stream) {
    case .resetByUs: break
    case .resetByPeer: refuse(frame.stream, .streamClosed)
    case .complete: frame.type == FrameType.data ? refuse(frame.stream, .streamClosed) : fail(.streamClosed)
    case nil: fail()
    }
  }
}
