import MeshPrimitives

/// A route's condition on one header (Envoy's `HeaderMatcher`). A condition on the value holds if any field line of the
/// name satisfies it (each line by itself: they are not joined, as in Envoy 1.40); inverted, if there are lines and none
/// satisfies it.
@usableFromInline
struct HeaderCondition: Sendable {
  @usableFromInline
  enum Test: Sendable {
    /// There is such a header, or there is none.
    case present(Bool)
    case text(TextPattern)
    /// A whole number from the first bound on, below the second one.
    case range(Int64, Int64)
  }

  @usableFromInline let name: HeaderName
  @usableFromInline let test: Test
  @usableFromInline let inverted: Bool
  /// One that is absent is judged as an empty one (`treat_missing_header_as_empty`).
  @usableFromInline let missingIsEmpty: Bool

  init(name: HeaderName, test: Test, inverted: Bool, missingIsEmpty: Bool) {
    self.name = name
    self.test = test
    self.inverted = inverted
    self.missingIsEmpty = missingIsEmpty
  }

  @inlinable
  func holds<R: RouteRequest & ~Copyable>(_ request: borrowing R) -> Bool {
    var present = false
    var satisfied = false
    switch name.id {
    case .method: visit(request.method, &present, &satisfied)
    case .path: visit(request.path, &present, &satisfied)
    case .scheme: visit(request.scheme, &present, &satisfied)
    case .host: if !request.host.isEmpty { visit(request.host, &present, &satisfied) }
    default:
      request.forEachHeader(name) { value in
        visit(value, &present, &satisfied)
        return !satisfied
      }
    }
    if !present, missingIsEmpty { visit(Bytes(start: nil, count: 0), &present, &satisfied) }
    if case .present(let wanted) = test { return (present == wanted) != inverted }
    return present && satisfied != inverted
  }

  @usableFromInline
  func visit(_ value: Bytes, _ present: inout Bool, _ satisfied: inout Bool) {
    present = true
    guard !satisfied else { return }
    switch test {
    case .present: satisfied = true
    case .text(let pattern): satisfied = pattern.matches(value)
    case .range(let start, let end):
      if let number = Self.wholeNumber(value) { satisfied = start <= number && number < end }
    }
  }

  /// The number that a value is: decimal, with a sign or without, and nothing else; nil if it is none or out of range.
  static func wholeNumber(_ value: Bytes) -> Int64? {
    var position = 0
    var isNegative = false
    if let first = value.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
      isNegative = first == UInt8(ascii: "-")
      position = 1
    }
    guard position < value.count else { return nil }
    // Downwards, where the range is larger by one.
    var number: Int64 = 0
    while position < value.count {
      let digit = value[position] &- 0x30
      guard digit < 10 else { return nil }
      let (shifted, overflows) = number.multipliedReportingOverflow(by: 10)
      let (next, underflows) = shifted.subtractingReportingOverflow(Int64(digit))
      if overflows || underflows { return nil }
      number = next
      position += 1
    }
    if isNegative { return number }
    return number == .min ? nil : -number
  }
}
