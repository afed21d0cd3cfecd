import MeshPrimitives

/// What is done to a request's path before anything looks at it, so that routes, filters and upstreams all see the same
/// one: escaped slashes first, then RFC 3986 §6.2.2, then runs of slashes. The query is never touched. A pure value.
///
/// Idempotent: a path that has been through it does not change again.
public struct PathNormalization: Equatable, Sendable {
  /// What to do with `%2F` and `%5C` (`path_with_escaped_slashes_action`).
  public enum EscapedSlashes: Sendable { case keep, reject, redirect, forward }

  /// What became of a path. The numbers are bytes written.
  public enum Outcome: Equatable, Sendable {
    /// It is as it should be.
    case unchanged
    case changed(Int)
    /// Escaped slashes were decoded: the client is to ask for the result.
    case redirect(Int)
    /// It must not be served.
    case refused
  }

  /// RFC 3986 §6.2.2 (`normalize_path`): unreserved characters are decoded, `.` and `..` segments resolved. `\` is a
  /// slash, and characters that no path may hold are encoded, as browsers do. A dot segment may have parameters (`..;x`),
  /// which servers are known to drop. `%00` is refused.
  public var normalizes = false
  /// Several slashes become one (`merge_slashes`).
  public var mergesSlashes = false
  public var escapedSlashes = EscapedSlashes.keep

  public init() {}

  /// Whether there is nothing to do, whatever the path.
  public var isIdle: Bool { !normalizes && !mergesSlashes && escapedSlashes == .keep }

  /// The room `apply` needs for a path of `length` bytes.
  public static func capacity(for length: Int) -> Int { 4 * length }

  /// Writes to `out`, which has `capacity(for: path.count)` bytes, what becomes of `path`, a path with or without a query.
  /// What is not in origin-form (`*`) is left alone.
  public func apply(_ path: Bytes, into out: UnsafeMutablePointer<UInt8>) -> Outcome {
    guard let source = path.baseAddress, path.count > 0, source[0] == 0x2f else { return .unchanged }
    var end = 0
    while end < path.count, source[end] != 0x3f { end += 1 }
    // Unescaping happens behind the room of the result: it never makes a path longer.
    let unescaped = out + 3 * path.count
    var length = end
    var isUnescaped = false
    if escapedSlashes == .keep {
      unescaped.update(from: source, count: end)
    } else {
      length = Self.unescapeSlashes(source, end, unescaped)
      isUnescaped = length != end
      if isUnescaped, escapedSlashes == .reject { return .refused }
    }
    if normalizes {
      guard let normalized = Self.normalize(UnsafePointer(unescaped), length, out) else { return .refused }
      length = normalized
    } else {
      out.update(from: unescaped, count: length)
    }
    if mergesSlashes { length = Self.mergeSlashes(out, length) }
    let query = path.count - end
    (out + length).update(from: source + end, count: query)
    length += query
    if isUnescaped, escapedSlashes == .redirect { return .redirect(length) }
    return Bytes(start: out, count: length).equals(path) ? .unchanged : .changed(length)
  }

  /// Returns how many of the `n` bytes are left; fewer only if there was something to decode.
  private static func unescapeSlashes(
    _ p: UnsafePointer<UInt8>, _ n: Int, _ out: UnsafeMutablePointer<UInt8>
  ) -> Int {
    var length = 0
    var i = 0
    while i < n {
      switch escaped(p, i, n) {
      case 0x2f?: (out[length], i) = (0x2f, i + 3)
      case 0x5c?: (out[length], i) = (0x5c, i + 3)
      default: (out[length], i) = (p[i], i + 1)
      }
      length += 1
    }
    return length
  }

  private static func mergeSlashes(_ p: UnsafeMutablePointer<UInt8>, _ n: Int) -> Int {
    var length = 0
    for i in 0..<n where p[i] != 0x2f || length == 0 || p[length - 1] != 0x2f {
      p[length] = p[i]
      length += 1
    }
    return length
  }

  // MARK: RFC 3986 §6.2.2

  /// Returns the length of the result, at most three times `n`; nil if the path is refused.
  private static func normalize(
    _ p: UnsafePointer<UInt8>, _ n: Int, _ out: UnsafeMutablePointer<UInt8>
  ) -> Int? {
    var length = 0
    var i = 0
    while i < n {
      let byte = p[i]
      if let dot = dotLength(p, i, n) {
        if length > 0, out[length - 1] == 0x2f, let segment = dotSegment(p, i, n) {
          i = segment.end
          if segment.isParent { length = parentEnd(out, length) }
        } else {
          out[length] = 0x2e
          length += 1
          i += dot
        }
        continue
      }
      i += 1
      if byte == 0x5c {
        out[length] = 0x2f
      } else if byte == 0x25 {
        guard let value = escaped(p, i - 1, n) else {
          // A stray percent sign stays, unless what follows would make an escape of it once that is decoded.
          out[length] = byte
          length += 1
          if beginsEscape(p, i, n) {
            out[length] = 0x32
            out[length + 1] = 0x35
            length += 2
          }
          continue
        }
        if value == 0 { return nil }
        if isUnreserved(value) {
          out[length] = value
          i += 2
        } else {
          // The case of the digits is kept: a server may have its own opinion of it.
          out[length] = byte
        }
      } else if isEncoded(byte) {
        out[length] = 0x25
        out[length + 1] = upperHex(byte >> 4)
        length += 2
        out[length] = upperHex(byte & 15)
      } else {
        out[length] = byte
      }
      length += 1
    }
    return length
  }

  /// The segment that begins with the dot at `i`, if it means this or the parent directory: where the next one begins.
  private static func dotSegment(
    _ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int
  ) -> (end: Int, isParent: Bool)? {
    var i = start
    var dots = 0
    while let length = dotLength(p, i, n) {
      dots += 1
      if dots > 2 { return nil }
      i += length
    }
    if i == n { return (n, dots == 2) }
    guard p[i] == 0x2f || p[i] == 0x5c || p[i] == 0x3b else { return nil }
    while i < n, p[i] != 0x2f, p[i] != 0x5c { i += 1 }
    return (min(i + 1, n), dots == 2)
  }

  /// Where the path ends without its last segment; `p[0..<n]` begins and ends with a slash.
  private static func parentEnd(_ p: UnsafePointer<UInt8>, _ n: Int) -> Int {
    var end = n - 1
    while end > 0, p[end - 1] != 0x2f { end -= 1 }
    return max(end, 1)
  }

  /// The bytes of the dot at `i`, escaped or not; nil if there is none.
  private static func dotLength(_ p: UnsafePointer<UInt8>, _ i: Int, _ n: Int) -> Int? {
    guard i < n else { return nil }
    if p[i] == 0x2e { return 1 }
    return escaped(p, i, n) == 0x2e ? 3 : nil
  }

  /// The value of the escape that begins at `i`; nil if there is none.
  private static func escaped(_ p: UnsafePointer<UInt8>, _ i: Int, _ n: Int) -> UInt8? {
    guard i + 2 < n, p[i] == 0x25, let high = ByteScan.hexValue(p[i + 1]), let low = ByteScan.hexValue(p[i + 2]) else {
      return nil
    }
    return high << 4 | low
  }

  /// Whether the next two characters, decoded, are hexadecimal digits.
  private static func beginsEscape(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> Bool {
    var i = start
    for _ in 0..<2 {
      guard i < n else { return false }
      let value = p[i] == 0x25 ? escaped(p, i, n) : p[i]
      guard let value, ByteScan.hexValue(value) != nil else { return false }
      i += p[i] == 0x25 ? 3 : 1
    }
    return true
  }

  /// RFC 3986 §2.3.
  private static func isUnreserved(_ byte: UInt8) -> Bool {
    ByteScan.isMember(byte, 0x03ff_6000_0000_0000, 0x47ff_fffe_87ff_fffe)
  }

  /// What a target may hold here, but no path of RFC 3986: `"` `<` `>` `^` `` ` `` `{` `|` `}`.
  private static func isEncoded(_ byte: UInt8) -> Bool {
    ByteScan.isMember(byte, 0x5000_0004_0000_0000, 0x3800_0001_4000_0000)
  }

  private static func upperHex(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 &+ value : 0x37 &+ value }
}

extension HeaderMap {
  /// Applies `rules` to `:path`.
  public func normalizePath(_ rules: PathNormalization) -> PathNormalization.Outcome {
    guard let path = value(.path) else { return .unchanged }
    let capacity = PathNormalization.capacity(for: path.count)
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: capacity) { buffer in
      guard let out = buffer.baseAddress else { return .unchanged }
      let outcome = rules.apply(path, into: out)
      switch outcome {
      case .changed(let length), .redirect(let length): set(.path, Bytes(start: out, count: length))
      case .unchanged, .refused: break
      }
      return outcome
    }
  }
}
