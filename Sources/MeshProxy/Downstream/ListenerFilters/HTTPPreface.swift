import MeshPrimitives

/// Which version of HTTP a connection begins with, if it does.
enum HTTPPreface: Equatable {
  case incomplete, notHTTP, http10, http11
  /// The preface of HTTP/2 (RFC 9113 §3.4).
  case http2

  /// A request line that is longer is none.
  static let limit = 8192
  private static var preface: Bytes { Bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") }

  /// Reads the bytes with which a connection begins; they may end anywhere.
  static func read(_ bytes: Bytes) -> HTTPPreface {
    let common = min(bytes.count, preface.count)
    if bytes.slice(0, common).equals(preface.slice(0, common)) {
      return common == preface.count ? .http2 : .incomplete
    }
    // Empty lines before the request line are allowed (RFC 9112 §2.2).
    var start = 0
    while start < bytes.count, bytes[start] == 0x0d || bytes[start] == 0x0a { start += 1 }
    let rest = bytes.slice(start, bytes.count - start)
    guard let end = rest.firstIndex(of: 0x0a) else {
      guard isBeginning(rest), bytes.count < limit else { return .notHTTP }
      return .incomplete
    }
    var line = rest.slice(0, end)
    if let last = line.last, last == 0x0d { line = line.slice(0, line.count - 1) }
    return version(of: line)
  }

  /// Whether it may become a request line: a method, then a target in printable characters.
  private static func isBeginning(_ line: Bytes) -> Bool {
    let method = line.prefix { $0 != 0x20 }
    guard method.allSatisfy({ isToken($0) }) else { return false }
    guard method.count < line.count else { return true }
    return method.count > 0 && line[method.count...].allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 0x0d }
  }

  private static func version(of line: Bytes) -> HTTPPreface {
    guard isBeginning(line), let space = line.lastIndex(of: 0x20), let first = line.firstIndex(of: 0x20),
      space > first + 1
    else { return .notHTTP }
    let version = line.slice(space + 1, line.count - space - 1)
    if version.equals(Bytes("HTTP/1.1")) { return .http11 }
    return version.equals(Bytes("HTTP/1.0")) ? .http10 : .notHTTP
  }

  private static func isToken(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
    default: Bytes("!#$%&'*+-.^_`|~").contains(byte)
    }
  }
}
