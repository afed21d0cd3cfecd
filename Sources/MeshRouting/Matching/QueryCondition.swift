import MeshPrimitives

/// A route's condition on a parameter of the query (Envoy's `QueryParameterMatcher`). The first parameter of the name
/// counts; names and values are compared as they stand in the query, nothing is decoded.
@usableFromInline
struct QueryCondition: Sendable {
  enum Test: Sendable {
    case present(Bool)
    case text(TextPattern)
  }

  let name: [UInt8]
  let test: Test

  /// - Parameter path: with the query.
  @usableFromInline
  func holds(_ path: Bytes) -> Bool {
    holds(value: name.withUnsafeBufferPointer { Self.value(of: $0, in: path) })
  }

  private func holds(value: Bytes?) -> Bool {
    switch test {
    case .present(let wanted): (value != nil) == wanted
    case .text(let pattern): value.map { pattern.matches($0) } ?? false
    }
  }

  /// The same of a value that somebody has found; nil if there is no such parameter.
  func holds(value: [UInt8]?) -> Bool {
    guard let value else { return holds(value: Bytes?.none) }
    return value.withUnsafeBufferPointer { holds(value: $0) }
  }

  /// The value of the first parameter called `name`: what stands behind its `=`, or nothing. Nil if there is none.
  static func value(of name: Bytes, in path: Bytes) -> Bytes? {
    guard var start = path.firstIndex(of: UInt8(ascii: "?")) else { return nil }
    start += 1
    var end = start
    while start <= path.count {
      while end < path.count, path[end] != UInt8(ascii: "&"), path[end] != UInt8(ascii: "#") { end += 1 }
      let parameter = path.slice(start, end - start)
      if parameter.starts(with: name) {
        if parameter.count == name.count { return parameter.slice(name.count, 0) }
        if parameter[name.count] == UInt8(ascii: "=") {
          return parameter.slice(name.count + 1, parameter.count - name.count - 1)
        }
      }
      if end == path.count || path[end] == UInt8(ascii: "#") { return nil }
      end += 1
      start = end
    }
    return nil
  }
}
