import MeshPrimitives

/// How a head is written, where that is not the usual way.
public struct HTTP1HeadStyle: Equatable, Sendable {
  /// How names are written; a message that has a `HeaderSpelling` has its own.
  public var names = HeaderNameStyle.lowercase
  /// Responses: the client speaks HTTP/1.0, and so does the answer.
  public var isHTTP10 = false
  /// Requests: the target is a whole URL (RFC 9112 §3.2.2), of `:scheme` (else `x-forwarded-proto`, else `http`) and
  /// `host`.
  public var sendsAbsoluteTarget = false

  @inlinable @inline(__always)
  public init() {}
}

extension HTTP1Encoder {
  /// Rewrites the names of a head that is ready otherwise.
  @inline(never)
  static func respell(
    _ headers: HeaderMap, _ style: HTTP1HeadStyle, _ start: UnsafeMutablePointer<UInt8>, _ count: Int
  ) {
    let head = UnsafeMutableBufferPointer(start: start, count: count)
    if let spelling = headers.spelling { spelling.apply(to: head) } else { style.names.apply(to: head) }
  }

  /// Writes what comes before the path of an absolute target; nothing for `*`, which has no such form.
  @inline(never)
  static func writeTargetStart(
    _ headers: HeaderMap, _ start: UnsafeMutablePointer<UInt8>
  ) -> UnsafeMutablePointer<UInt8> {
    guard let host = headers.value(.host), let path = headers.value(.path), path.count > 0, path[0] == 0x2f else {
      return start
    }
    let isSecure = (headers.value(.scheme) ?? headers.value(.xForwardedProto))?.equals("https") ?? false
    return write(host, write(isSecure ? "https://" : "http://", start))
  }

  /// Writes a status line with the reason phrase that the upstream gave.
  @inline(never)
  static func writeStatusLine(
    _ status: Int, _ headers: HeaderMap, _ start: UnsafeMutablePointer<UInt8>
  ) -> UnsafeMutablePointer<UInt8> {
    let code = status >= 100 && status <= 999 ? status : 500
    var out = writeDecimal(UInt64(code), write("HTTP/1.1 ", start))
    out.pointee = 0x20
    out += 1
    if let reason = headers.spelling?.reasonPhrase { out = reason.withUnsafeBufferPointer { write($0, out) } }
    return write("\r\n", out)
  }
}
