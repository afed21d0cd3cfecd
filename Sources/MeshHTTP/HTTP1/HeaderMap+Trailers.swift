import MeshPrimitives

extension HeaderMap {
  // MARK: A line in parts

  /// Keeps a part of a field line until its end arrives.
  func appendPending(_ bytes: Bytes) {
    let size = Self.reservedGap + pending + bytes.count
    if used + size > capacity {
      let waiting = used + Self.reservedGap
      let outgrown = grow(size)
      if pending > 0 { (arena + waiting).update(from: outgrown + waiting, count: pending) }
      retire(outgrown)
    }
    if let source = bytes.baseAddress {
      (arena + used + Self.reservedGap + pending).update(from: source, count: bytes.count)
      pending += bytes.count
    }
  }

  /// Makes the line that `appendPending` was given, up to its LF, a field. Returns its id.
  func commitPending() throws(HTTP1Error) -> HeaderID {
    let line = arena + used + Self.reservedGap
    // The reader of a line wants eight bytes. NUL ends every scan, as the end of the bytes would.
    (line + pending).update(repeating: 0, count: 16)
    let length = pending
    pending = 0
    // The field is written before the line it is read from: the gap is wider than a block.
    switch readFieldLine(UnsafePointer(line), 0, length + 16) {
    case .end(let end) where end == length: return entries[entryCount - 1].id
    case .invalid(let error): throw error
    default: throw .invalidFieldValue
    }
  }

  // MARK: Which are allowed

  /// Removes trailers that no sender may send (RFC 9110 §6.5.1): routing, request modifiers, authentication, response
  /// control, content format, and hop-by-hop fields; also what the edge itself vouches for in a head.
  func dropForbiddenTrailers() {
    guard entryCount > 0, entries[entryCount - 1].isLive else { return }
    let entry = entries[entryCount - 1]
    if Self.isForbiddenTrailer(name(entry), entry.id) {
      if entry.id == .other { removeUninterned(name(entry)) } else { removePresent(entry.id) }
    }
  }

  private static func isForbiddenTrailer(_ name: Bytes, _ id: HeaderID) -> Bool {
    switch id {
    case .connection, .keepAlive, .proxyConnection, .te, .trailer, .upgrade, .http2Settings, .expect, .contentType,
      .authorization, .cookie, .setCookie, .date, .location, .via, .acceptEncoding:
      return true
    default: if name.starts(with: Bytes("x-forwarded-")) || name.starts(with: Bytes("x-envoy-")) { return true }
    }
    switch name.count {
    case 3: return name.equals("age")
    case 4: return name.equals("vary")
    case 5: return name.equals("range")
    case 6: return name.equals("pragma") || name.equals("accept")
    case 7: return name.equals("expires") || name.equals("warning")
    case 8: return name.equals("if-match") || name.equals("if-range")
    case 9: return name.equals("forwarded")
    case 11: return name.equals("retry-after")
    case 12: return name.equals("max-forwards")
    case 13:
      return name.equals("cache-control") || name.equals("content-range") || name.equals("if-none-match")
    case 15: return name.equals("accept-language")
    case 16: return name.equals("content-encoding") || name.equals("www-authenticate")
    case 17: return name.equals("if-modified-since")
    case 18: return name.equals("proxy-authenticate")
    case 19:
      return name.equals("proxy-authorization") || name.equals("if-unmodified-since")
        || name.equals("authentication-info")
    default: return false
    }
  }
}
