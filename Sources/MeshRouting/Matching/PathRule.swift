import MeshPrimitives

/// A route's condition on the path. The query takes no part in any of them (as in Envoy since 1.17, whatever the field's
/// comment says): `?` and `#` end the path.
@usableFromInline
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

  /// What has to be tried with an expression: the paths that begin with `prefix`.
  init(expressionPrefix prefix: [UInt8]) {
    kind = .prefix
    ignoresCase = false
    text = prefix
  }

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

  /// A path without its parameters: each `;` and what follows it, up to the next `/`
  /// (`ignore_path_parameters_in_path_matching`).
  /// - Parameter buffer: as large as `path`.
  @usableFromInline
  static func withoutParameters(_ path: Bytes, into buffer: UnsafeMutableBufferPointer<UInt8>) -> Bytes {
    var count = 0
    var isParameter = false
    for byte in path {
      if byte == 0x3b { isParameter = true } else if byte == 0x2f { isParameter = false }
      if !isParameter {
        buffer.initializeElement(at: count, to: byte)
        count += 1
      }
    }
    return Bytes(rebasing: buffer[..<count])
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
