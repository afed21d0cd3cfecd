import MeshPrimitives

/// A route's condition on the path. The query takes no part in any of them (as in Envoy since 1.17, whatever the field's
/// comment says): `?` and `#` end the path.
struct PathRule: Hashable, Sendable {
  enum Kind: UInt8, Sendable {
    /// `prefix`
    case prefix
    /// `path`
    case exact
    /// `path_separated_prefix`: the whole path, or up to a `/`.
    case separatedPrefix
  }

  let kind: Kind
  /// `case_sensitive: false`; the text is then in lower case.
  let ignoresCase: Bool
  let text: [UInt8]

  init(_ kind: Kind, _ text: String, ignoresCase: Bool) {
    self.kind = kind
    self.ignoresCase = ignoresCase
    self.text = ignoresCase ? text.utf8.map(\.asciiLowercased) : Array(text.utf8)
  }

  /// The part of `path` that rules look at.
  @inline(__always)
  static func withoutQuery(_ path: Bytes) -> Bytes {
    var end = 0
    while end < path.count, path[end] != 0x3f, path[end] != 0x23 { end &+= 1 }
    return path.slice(0, end)
  }

  /// - Parameter path: without query.
  func matches(_ path: Bytes) -> Bool {
    text.withUnsafeBufferPointer { Self.matches(kind, $0, ignoresCase: ignoresCase, path) }
  }

  @inline(__always)
  static func matches(_ kind: Kind, _ text: Bytes, ignoresCase: Bool, _ path: Bytes) -> Bool {
    guard path.count >= text.count else { return false }
    switch kind {
    case .exact: guard path.count == text.count else { return false }
    case .separatedPrefix: guard path.count == text.count || path[text.count] == 0x2f else { return false }
    case .prefix: break
    }
    let beginning = path.slice(0, text.count)
    return ignoresCase ? beginning.equalsIgnoringCase(text) : beginning.equals(text)
  }
}
