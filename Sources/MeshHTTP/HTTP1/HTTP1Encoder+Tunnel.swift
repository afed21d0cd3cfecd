import MeshPrimitives

/// Heads by which a connection becomes a tunnel: nothing in them frames a body, because there is none.
extension HTTP1Encoder {
  /// Writes a request for a tunnel: `CONNECT host HTTP/1.1`, or a request with `connection: Upgrade` beside the map's own
  /// `upgrade`.
  /// - Returns: the bytes of the field lines.
  @inline(never) @discardableResult
  public static func tunnelRequestHead(
    _ headers: HeaderMap, _ kind: TunnelKind, style: HTTP1HeadStyle = HTTP1HeadStyle(), into queue: inout ByteQueue,
    pool: BufferPool
  ) -> Int {
    let host = headers.value(.host) ?? Bytes(start: nil, count: 0)
    let start = queue.reserve(headers.byteCount + host.count + overhead + slack, pool)
    var out = write(headers.value(.method) ?? Bytes("GET"), start)
    out.pointee = 0x20
    out += 1
    if kind == .connect {
      out = write(host, out)
    } else {
      if style.sendsAbsoluteTarget { out = writeTargetStart(headers, out) }
      out = write(headers.value(.path) ?? Bytes("/"), out)
    }
    out = write(" HTTP/1.1\r\n", out)
    return writeTunnelFields(headers, kind, style, start, out, into: &queue)
  }

  /// Writes the response that grants a tunnel.
  /// - Returns: the bytes of the field lines.
  @inline(never) @discardableResult
  public static func tunnelResponseHead(
    status: Int, _ headers: HeaderMap, _ kind: TunnelKind, style: HTTP1HeadStyle = HTTP1HeadStyle(),
    into queue: inout ByteQueue, pool: BufferPool
  ) -> Int {
    let reason = headers.spelling?.reasonPhrase.count ?? 0
    let start = queue.reserve(headers.byteCount + overhead + reason + slack, pool)
    let out = reason > 0 ? writeStatusLine(status, headers, start) : writeStatusLine(status, start)
    return writeTunnelFields(headers, kind, style, start, out, into: &queue)
  }

  private static func writeTunnelFields(
    _ headers: HeaderMap, _ kind: TunnelKind, _ style: HTTP1HeadStyle, _ start: UnsafeMutablePointer<UInt8>,
    _ fields: UnsafeMutablePointer<UInt8>, into queue: inout ByteQueue
  ) -> Int {
    var unsent = HeaderIDSet().adding(.connection).adding(.contentLength)
    if kind == .connect { unsent.insert(.upgrade) }
    var out = writeFields(headers, except: unsent, fields)
    if kind == .upgrade { out = write("connection: Upgrade\r\n", out) }
    let size = out - fields
    out = write("\r\n", out)
    if style.names != .lowercase || headers.spelling != nil { respell(headers, style, start, out - start) }
    queue.commit(out - start)
    return size
  }
}
