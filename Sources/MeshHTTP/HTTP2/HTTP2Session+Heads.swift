internal import CNGHTTP2
import MeshPrimitives

/// Sending: heads, trailers, settings.
extension HTTP2Session {
  private static var byReference: UInt8 {
    UInt8(NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue)
  }

  /// The first frame that an end sends, and its window for the connection.
  func start() {
    withUnsafeTemporaryAllocation(of: nghttp2_settings_entry.self, capacity: 8) { entries in
      var count = 0
      func set(_ setting: nghttp2_settings_id, _ value: UInt32) {
        entries[count] = nghttp2_settings_entry(settings_id: Int32(setting.rawValue), value: value)
        count += 1
      }
      if options.tableSize != 4096 { set(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, options.tableSize) }
      if isServer {
        set(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.maximumStreams)
        if options.allowsExtendedConnect { set(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1) }
        // RFC 9218 §2.1: the tree of dependencies of earlier days is not kept.
        set(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1)
      } else {
        set(NGHTTP2_SETTINGS_ENABLE_PUSH, 0)
      }
      set(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.streamWindow)
      set(
        NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
        UInt32(clamping: isServer ? limits.maxHeadBytes : limits.maxResponseHeadBytes))
      nghttp2_submit_settings(handle, 0, entries.baseAddress, count)
    }
    nghttp2_session_set_local_window_size(handle, 0, 0, Int32(clamping: options.connectionWindow))
  }

  // MARK: Heads

  /// Frames the head of a response at once, its fields being read where they lie.
  func send(status: Int, _ headers: HeaderMap, of stream: HTTP2Stream, endStream: Bool) {
    withFields(headers, except: status < 200 || status == 204 ? .contentLength : nil, status: status) { fields, count in
      if endStream {
        nghttp2_submit_response(handle, stream.identifier, fields, count, nil)
      } else {
        var body = nghttp2_data_provider()
        body.source.ptr = Unmanaged.passUnretained(stream).toOpaque()
        body.read_callback = { HTTP2Session.readBody($0, $1, $3, $4, $5, $6) }
        nghttp2_submit_response(handle, stream.identifier, fields, count, &body)
      }
      frameHead(of: stream.identifier)
    }
    stream.wire.headerSent &+= UInt32(clamping: headers.byteCount)
    // Larger than any block may be, or the stream has ended meanwhile.
    if !isHeadSent { reset(stream, .internalError) }
  }

  /// Frames an interim response at once.
  func send(informational status: Int, _ headers: HeaderMap, of stream: HTTP2Stream) {
    withFields(headers, except: .contentLength, status: status) { fields, count in
      nghttp2_submit_headers(handle, 0, stream.identifier, nil, fields, count, nil)
      frameHead(of: stream.identifier)
    }
  }

  /// Frames the head of a request at once, and makes `stream` its stream. False if no stream can be opened.
  func send(request headers: HeaderMap, of stream: HTTP2Stream, scheme: StaticString, endStream: Bool) -> Bool {
    let identifier = withRequestFields(headers, scheme) { fields, count in
      let pointer = Unmanaged.passUnretained(stream).toOpaque()
      let identifier: Int32
      if endStream {
        identifier = nghttp2_submit_request(handle, nil, fields, count, nil, pointer)
      } else {
        var body = nghttp2_data_provider()
        body.source.ptr = pointer
        body.read_callback = { HTTP2Session.readBody($0, $1, $3, $4, $5, $6) }
        identifier = nghttp2_submit_request(handle, nil, fields, count, &body, pointer)
      }
      guard identifier > 0 else { return identifier }
      add(stream, identifier)
      lastStream = identifier
      frameHead(of: identifier)
      // What is not framed by now would be read later, from where it no longer lies.
      if !isHeadSent { terminate(.internalError, "http2.internal_error") }
      return identifier
    }
    guard identifier > 0 else { return false }
    stream.wire.headerSent &+= UInt32(clamping: headers.byteCount)
    floods.streamsOpened &+= 1
    return isHeadSent
  }

  /// Queues trailers, copied: they are framed behind the last of the body.
  func submit(trailers: HeaderMap, of stream: HTTP2Stream) {
    withFields(trailers, except: .contentLength, status: nil, flags: 0) { fields, count in
      nghttp2_submit_trailer(handle, stream.identifier, fields, count)
    }
  }

  /// Frames what is queued up to the head of this stream. DATA waits.
  private func frameHead(of identifier: Int32) {
    headStream = identifier
    isHeadSent = false
    outputLimit = 0
    while !isHeadSent {
      var frame: UnsafePointer<UInt8>?
      let count = nghttp2_session_mem_send(handle, &frame)
      guard count > 0 else { break }
      output.append(Bytes(start: frame, count: count), pool)
    }
    headStream = 0
    owner?.sessionWantsFlush()
  }

  // MARK: Fields

  /// Values that are new in every message would only push others out of HPACK's table.
  @inline(__always)
  private static var unindexed: HeaderIDSet {
    HeaderIDSet().adding(.xRequestID).adding(.traceparent).adding(.b3).adding(.xB3TraceID).adding(.xB3SpanID)
      .adding(.xB3ParentSpanID).adding(.xEnvoyUpstreamServiceTime).adding(.authorization)
  }

  /// Fields that belong to a connection of HTTP/1.1.
  @inline(__always)
  private static var unsent: HeaderIDSet {
    HeaderIDSet.http1Unsent.adding(.connection).adding(.keepAlive).adding(.proxyConnection).adding(.upgrade)
      .adding(.http2Settings).adding(.host)
  }

  @inline(__always)
  private static func field(_ name: Bytes, _ value: Bytes, _ flags: UInt8) -> nghttp2_nv {
    nghttp2_nv(
      name: UnsafeMutablePointer(mutating: name.baseAddress), value: UnsafeMutablePointer(mutating: value.baseAddress),
      namelen: name.count, valuelen: value.count, flags: flags)
  }

  @inline(__always)
  private func withFields(
    _ headers: HeaderMap, except left: HeaderID?, status: Int?, flags: UInt8 = HTTP2Session.byReference,
    _ body: (UnsafeMutablePointer<nghttp2_nv>, Int) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: headers.entryCount + 1) { fields in
      guard let base = fields.baseAddress else { return }
      guard let status else { return body(base, Self.fill(base, 0, headers, except: left, flags)) }
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 3) { digits in
        let code = status >= 100 && status <= 999 ? status : 500
        digits[0] = 0x30 &+ UInt8(truncatingIfNeeded: code / 100)
        digits[1] = 0x30 &+ UInt8(truncatingIfNeeded: code / 10 % 10)
        digits[2] = 0x30 &+ UInt8(truncatingIfNeeded: code % 10)
        base[0] = Self.field(Bytes(":status"), Bytes(digits), flags)
        body(base, Self.fill(base, 1, headers, except: left, flags))
      }
    }
  }

  private func withRequestFields(
    _ headers: HeaderMap, _ scheme: StaticString, _ body: (UnsafeMutablePointer<nghttp2_nv>, Int) -> Int32
  ) -> Int32 {
    withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: headers.entryCount + 5) { fields in
      guard let base = fields.baseAddress else { return -1 }
      var count = 0
      func add(_ name: StaticString, _ value: Bytes) {
        base[count] = Self.field(Bytes(name), value, Self.byReference)
        count += 1
      }
      // What asks for another protocol is an extended CONNECT here (RFC 8441 §4).
      let upgrade = headers.value(.upgrade)
      let method = upgrade == nil ? headers.value(.method) ?? Bytes("GET") : Bytes("CONNECT")
      add(":method", method)
      // RFC 9113 §8.5: any other CONNECT has neither path nor scheme.
      if upgrade != nil || !method.equals("CONNECT") {
        let forwarded = headers.value(.xForwardedProto).flatMap { $0.equals("https") || $0.equals("http") ? $0 : nil }
        add(":scheme", headers.value(.scheme) ?? forwarded ?? Bytes(scheme))
        add(":path", headers.value(.path) ?? Bytes("/"))
      }
      if let host = headers.value(.host) { add(":authority", host) }
      if let upgrade { add(":protocol", upgrade) }
      return body(base, Self.fill(base, count, headers, except: nil, Self.byReference))
    }
  }

  /// Adds the fields of a map behind the first `start`. Returns how many there are now.
  @inline(__always)
  private static func fill(
    _ fields: UnsafeMutablePointer<nghttp2_nv>, _ start: Int, _ headers: HeaderMap, except left: HeaderID?,
    _ flags: UInt8
  ) -> Int {
    var count = start
    let unsent = left.map { Self.unsent.adding($0) } ?? Self.unsent
    headers.forEach { id, name, value in
      if id != .other, unsent.contains(id) { return }
      let index = Self.unindexed.contains(id) ? UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue) : 0
      fields[count] = field(name, value, flags | index)
      count &+= 1
    }
    return count
  }
}
