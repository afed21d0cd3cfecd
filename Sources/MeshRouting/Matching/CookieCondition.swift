import MeshPrimitives

/// A route's condition on a cookie (Envoy's `CookieMatcher`). The first cookie of the name counts, over all `cookie`
/// lines; quotes around its value do not belong to it. One that is absent fulfils only an inverted condition.
@usableFromInline
struct CookieCondition: Sendable {
  let name: [UInt8]
  let pattern: TextPattern
  let inverted: Bool

  @usableFromInline static let header = HeaderName("cookie")

  @inlinable
  func holds<R: RouteRequest & ~Copyable>(_ request: borrowing R) -> Bool {
    var found = false
    var satisfied = false
    request.forEachHeader(Self.header) { line in
      look(line, &found, &satisfied)
      return !found
    }
    return satisfied != invertedMatch
  }

  @usableFromInline var invertedMatch: Bool { inverted }

  @usableFromInline
  func look(_ line: Bytes, _ found: inout Bool, _ satisfied: inout Bool) {
    guard let value = name.withUnsafeBufferPointer({ Self.value(of: $0, in: line) }) else { return }
    found = true
    satisfied = pattern.matches(value)
  }

  /// The value of the first cookie called `name` in one line: `a=1; b="2"`.
  static func value(of name: Bytes, in line: Bytes) -> Bytes? {
    var start = 0
    while start < line.count {
      var end = start
      while end < line.count, line[end] != UInt8(ascii: ";") { end += 1 }
      while start < end, line[start] == UInt8(ascii: " ") { start += 1 }
      let pair = line.slice(start, end - start)
      if pair.count > name.count, pair[name.count] == UInt8(ascii: "="), pair.starts(with: name) {
        let value = pair.slice(name.count + 1, pair.count - name.count - 1)
        let quote = UInt8(ascii: "\"")
        guard value.count >= 2, value[0] == quote, value[value.count - 1] == quote else { return value }
        return value.slice(1, value.count - 2)
      }
      start = end + 1
    }
    return nil
  }
}
