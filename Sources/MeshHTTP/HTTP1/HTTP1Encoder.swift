import MeshPrimitives

/// Writes HTTP/1.1 messages. Field lines go out as they lie in the map, neighbours in one copy; what frames the message is
/// written from the framing alone, never from fields, so that the two cannot disagree.
public enum HTTP1Encoder {
  /// The most that a head adds to its fields: start line without method and path, framing fields, empty line.
  static let overhead = 192
  /// What block copies may write behind the end.
  static let slack = 32

  // MARK: Heads

  /// Writes `METHOD path HTTP/1.1`, the fields, and Content-Length or `Transfer-Encoding: chunked` as `framing` demands;
  /// such fields of the map are not sent. Without `:method` it is GET, without `:path` `/`. A POST, PUT or PATCH without a
  /// body says `content-length: 0` (RFC 9110 §8.6). A request cannot end with the connection: `.untilClose` is sent chunked.
  /// - Returns: the bytes of the field lines.
  @discardableResult
  public static func requestHead(
    _ headers: HeaderMap, framing: BodyFraming, style: HTTP1HeadStyle = HTTP1HeadStyle(), into queue: inout ByteQueue,
    pool: BufferPool
  ) -> Int {
    let authority = style.sendsAbsoluteTarget ? headers.value(.host)?.count ?? 0 : 0
    let start = queue.reserve(headers.byteCount + authority + overhead + slack, pool)
    let method = headers.value(.method) ?? Bytes("GET")
    var out = write(method, start)
    out.pointee = 0x20
    if style.sendsAbsoluteTarget { out = writeTargetStart(headers, out + 1) - 1 }
    out = write(headers.value(.path) ?? Bytes("/"), out + 1)
    out = write(" HTTP/1.1\r\n", out)
    let fields = out
    out = writeFields(headers, except: .contentLength, out)
    switch framing {
    case .none:
      if method.equals("POST") || method.equals("PUT") || method.equals("PATCH") {
        out = write("content-length: 0\r\n", out)
      }
    case .length(let length): out = writeContentLength(length, out)
    case .chunked, .untilClose: out = write("transfer-encoding: chunked\r\n", out)
    }
    let size = out - fields
    out = write("\r\n", out)
    if style.names != .lowercase || headers.spelling != nil { respell(headers, style, start, out - start) }
    queue.commit(out - start)
    return size
  }

  /// Writes the status line, the fields and what `framing` and `close` demand. With `.none` a Content-Length of the map is
  /// sent (it answers HEAD, or is a 304), but not in a 1xx or 204 (RFC 9110 §8.6); with any other framing it is not. Who
  /// answers another request without a body says `.length(0)`. With `.untilClose`, `close` must be set. A status outside
  /// 100...999 is sent as 500. To a client of HTTP/1.0 (`style`) the connection's future is always told.
  /// - Returns: the bytes of the field lines.
  @discardableResult
  public static func responseHead(
    status: Int, _ headers: HeaderMap, framing: BodyFraming, close: Bool, style: HTTP1HeadStyle = HTTP1HeadStyle(),
    into queue: inout ByteQueue, pool: BufferPool
  ) -> Int {
    let reason = headers.spelling?.reasonPhrase.count ?? 0
    let start = queue.reserve(headers.byteCount + overhead + reason + slack, pool)
    var out = reason > 0 ? writeStatusLine(status, headers, start) : writeStatusLine(status, start)
    let fields = out
    let sendsLength = framing == .none && status >= 200 && status != 204
    if close || style.isHTTP10, headers.has(.connection) {
      var unsent = HeaderIDSet().adding(.connection)
      if !sendsLength { unsent.insert(.contentLength) }
      out = writeFields(headers, except: unsent, out)
    } else {
      out = writeFields(headers, except: sendsLength ? nil : .contentLength, out)
    }
    switch framing {
    case .none, .untilClose: break
    case .length(let length): out = writeContentLength(length, out)
    case .chunked: out = write("transfer-encoding: chunked\r\n", out)
    }
    if close {
      out = write("connection: close\r\n", out)
    } else if style.isHTTP10 {
      out = write("connection: keep-alive\r\n", out)
    }
    let size = out - fields
    out = write("\r\n", out)
    if style.isHTTP10 { start[7] = UInt8(ascii: "0") }
    if style.names != .lowercase || headers.spelling != nil { respell(headers, style, start, out - start) }
    queue.commit(out - start)
    return size
  }

  /// Writes a 1xx response with the fields of `headers`, if any.
  public static func informational(
    status: Int, _ headers: HeaderMap? = nil, style: HTTP1HeadStyle = HTTP1HeadStyle(), into queue: inout ByteQueue,
    pool: BufferPool
  ) {
    let start = queue.reserve((headers?.byteCount ?? 0) + overhead + slack, pool)
    var out = writeStatusLine(status, start)
    if let headers { out = writeFields(headers, except: .contentLength, out) }
    out = write("\r\n", out)
    if let headers { respell(headers, style, start, out - start) }
    queue.commit(out - start)
  }

  // MARK: Chunks

  /// Writes the size line of a chunk of `length` bytes, which follow, and then `chunkEnd`. `length` is over zero.
  @inline(__always)
  public static func chunkHeader(length: Int, into queue: inout ByteQueue, pool: BufferPool) {
    assert(length > 0, "a chunk of size zero ends the body")
    let start = queue.reserve(18, pool)
    var shift = (63 &- UInt64(length).leadingZeroBitCount) & ~3
    var out = start
    while shift >= 0 {
      out.pointee = ByteScan.hexDigit(UInt8(truncatingIfNeeded: UInt64(length) &>> UInt64(shift)) & 15)
      out += 1
      shift &-= 4
    }
    out = write("\r\n", out)
    queue.commit(out - start)
  }

  /// Writes what follows the data of a chunk.
  @inline(__always)
  public static func chunkEnd(into queue: inout ByteQueue, pool: BufferPool) {
    _ = write("\r\n", queue.reserve(2, pool))
    queue.commit(2)
  }

  /// Writes the chunk that ends a body, and the trailers, without those that would change the framing (RFC 9110 §6.5.1).
  public static func lastChunk(trailers: HeaderMap? = nil, into queue: inout ByteQueue, pool: BufferPool) {
    let start = queue.reserve((trailers?.byteCount ?? 0) + 5 + slack, pool)
    var out = write("0\r\n", start)
    if let trailers {
      out = writeFields(trailers, except: HeaderIDSet().adding(.contentLength).adding(.host), out)
    }
    out = write("\r\n", out)
    queue.commit(out - start)
  }

  // MARK: Parts

  /// Writes the lines of all fields but those of one name.
  @inline(__always)
  private static func writeFields(
    _ headers: HeaderMap, except unsent: HeaderID?, _ start: UnsafeMutablePointer<UInt8>
  ) -> UnsafeMutablePointer<UInt8> {
    // No id has this value.
    let unsent = unsent?.rawValue ?? .max
    return writeFields(headers, start) { $0.id.rawValue == unsent }
  }

  /// Writes the lines of all fields but `unsent`.
  @inline(never)
  static func writeFields(
    _ headers: HeaderMap, except unsent: HeaderIDSet, _ start: UnsafeMutablePointer<UInt8>
  ) -> UnsafeMutablePointer<UInt8> {
    writeFields(headers, start) { unsent.contains($0.id) }
  }

  @inline(__always)
  private static func writeFields(
    _ headers: HeaderMap, _ start: UnsafeMutablePointer<UInt8>, _ isUnsent: (HeaderMap.Entry) -> Bool
  ) -> UnsafeMutablePointer<UInt8> {
    var out = start
    let arena = UnsafePointer(headers.arena)
    let entries = UnsafePointer(headers.entries)
    let count = headers.entryCount
    var runStart = 0
    var runEnd = 0
    var index = 0
    while index < count {
      let entry = entries[index]
      index &+= 1
      if entry.kind != .line || isUnsent(entry) { continue }
      let offset = Int(entry.offset)
      if offset != runEnd {
        ByteScan.copyBlocks(out, arena + runStart, runEnd &- runStart)
        out += runEnd &- runStart
        runStart = offset
      }
      runEnd = offset &+ entry.lineLength
    }
    ByteScan.copyBlocks(out, arena + runStart, runEnd &- runStart)
    return out + (runEnd &- runStart)
  }

  @inline(__always)
  static func write(_ bytes: Bytes, _ out: UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UInt8> {
    guard let source = bytes.baseAddress else { return out }
    Bytes.copyExactly(out, source, bytes.count)
    return out + bytes.count
  }

  @inline(__always)
  static func write(_ text: StaticString, _ out: UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UInt8> {
    Bytes.copyExactly(out, text.utf8Start, text.utf8CodeUnitCount)
    return out + text.utf8CodeUnitCount
  }

  @inline(__always)
  private static func writeContentLength(
    _ length: UInt64, _ out: UnsafeMutablePointer<UInt8>
  ) -> UnsafeMutablePointer<UInt8> {
    write("\r\n", writeDecimal(length, write("content-length: ", out)))
  }

  /// Writes `number`, at most 20 digits. Returns the place behind it.
  @inline(__always)
  static func writeDecimal(_ number: UInt64, _ out: UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UInt8> {
    var digits = 1
    var bound: UInt64 = 10
    while number >= bound, digits < 20 {
      digits &+= 1
      let (next, overflow) = bound.multipliedReportingOverflow(by: 10)
      if overflow { break }
      bound = next
    }
    var rest = number
    var i = digits
    while i > 0 {
      i &-= 1
      let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
      out[i] = 0x30 &+ UInt8(truncatingIfNeeded: digit)
      rest = quotient
    }
    return out + digits
  }

  @inline(__always)
  static func writeStatusLine(
    _ status: Int, _ out: UnsafeMutablePointer<UInt8>
  ) -> UnsafeMutablePointer<UInt8> {
    if status == 200 { return write("HTTP/1.1 200 OK\r\n", out) }
    return writeOtherStatusLine(status, out)
  }

  @inline(never)
  private static func writeOtherStatusLine(
    _ status: Int, _ start: UnsafeMutablePointer<UInt8>
  ) -> UnsafeMutablePointer<UInt8> {
    let code = status >= 100 && status <= 999 ? status : 500
    var out = write("HTTP/1.1 ", start)
    out = writeDecimal(UInt64(code), out)
    out.pointee = 0x20
    out = write(reasonPhrase(code), out + 1)
    return write("\r\n", out)
  }
}

extension HeaderIDSet {
  /// Fields of a map that are no lines of an HTTP/1.1 head, whatever the framing.
  @inline(__always)
  static var http1Unsent: HeaderIDSet {
    HeaderIDSet().adding(.method).adding(.path).adding(.scheme).adding(.status).adding(.protocol)
      .adding(.transferEncoding)
  }
}
