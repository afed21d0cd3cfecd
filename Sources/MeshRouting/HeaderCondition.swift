import MeshPrimitives

/// A route's condition on one header (Envoy's `HeaderMatcher`). A condition on the value holds if any field line of the
/// name satisfies it (each line by itself: they are not joined); inverted, if there are lines and none satisfies it.
@usableFromInline
struct HeaderCondition: Sendable {
  @usableFromInline
  enum Test: Sendable {
    /// There is such a header, or there is none.
    case present(Bool)
    case exact, prefix, suffix, contains
  }

  @usableFromInline let name: HeaderName
  @usableFromInline let test: Test
  /// In lower case if `ignoresCase`.
  @usableFromInline let text: [UInt8]
  @usableFromInline let ignoresCase: Bool
  @usableFromInline let inverted: Bool

  init(name: HeaderName, test: Test, text: String = "", ignoresCase: Bool = false, inverted: Bool) {
    self.name = name
    self.test = test
    self.text = ignoresCase ? text.utf8.map(\.asciiLowercased) : Array(text.utf8)
    self.ignoresCase = ignoresCase
    self.inverted = inverted
  }

  @inlinable
  func holds<R: RouteRequest & ~Copyable>(_ request: borrowing R) -> Bool {
    var present = false
    var satisfied = false
    switch name.id {
    case .method: visit(request.method, &present, &satisfied)
    case .path: visit(request.path, &present, &satisfied)
    case .host: if !request.host.isEmpty { visit(request.host, &present, &satisfied) }
    default:
      request.forEachHeader(name) { value in
        visit(value, &present, &satisfied)
        return !satisfied
      }
    }
    if case .present(let wanted) = test { return (present == wanted) != inverted }
    return present && satisfied != inverted
  }

  @usableFromInline
  func visit(_ value: Bytes, _ present: inout Bool, _ satisfied: inout Bool) {
    present = true
    satisfied = satisfied || text.withUnsafeBufferPointer { isSatisfied(value, $0) }
  }

  private func isSatisfied(_ value: Bytes, _ text: Bytes) -> Bool {
    func same(_ offset: Int) -> Bool {
      let part = value.slice(offset, text.count)
      return ignoresCase ? part.equalsIgnoringCase(text) : part.equals(text)
    }
    guard value.count >= text.count else { return false }
    switch test {
    case .present: return true
    case .exact: return value.count == text.count && same(0)
    case .prefix: return same(0)
    case .suffix: return same(value.count - text.count)
    case .contains: return (0...value.count - text.count).contains(where: same)
    }
  }
}
