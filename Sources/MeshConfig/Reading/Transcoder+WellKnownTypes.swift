extension Transcoder {
  // MARK: google.protobuf.Duration

  /// Writes the content of a duration: `5s`, `0.25s`, `-1s`.
  mutating func duration(_ node: NodeID) {
    let text = document.text(node)
    guard document.isScalar(node), let (seconds, nanos) = Self.parseDuration(text) else {
      report(node, durationProblem(node, text))
      return
    }
    guard seconds >= 0, nanos >= 0 else {
      report(node, "must not be negative, but is \(quoted(text))")
      return
    }
    guard seconds <= Self.longestDuration else {
      report(node, "must be at most \(Self.longestDuration)s, not \(quoted(text))")
      return
    }
    if seconds != 0 { wire.varint(1, UInt64(bitPattern: seconds)) }
    if nanos != 0 { wire.varint(2, UInt64(bitPattern: nanos)) }
  }

  /// Envoy's limit, in seconds: about 292 years, so that nanoseconds fit 64 bits.
  static var longestDuration: Int64 { 9_223_372_035 }

  /// Nil when `text` is no duration at all.
  static func parseDuration(_ text: String) -> (seconds: Int64, nanos: Int64)? {
    guard text.last == "s" else { return nil }
    var rest = text.dropLast()
    let negative = rest.first == "-"
    if negative { rest.removeFirst() }
    let parts = rest.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard let whole = parts.first, !whole.isEmpty, whole.utf8.allSatisfy(\.isDigit) else { return nil }
    var nanos: Int64 = 0
    if parts.count == 2 {
      let fraction = parts[1]
      guard !fraction.isEmpty, fraction.utf8.count <= 9, fraction.utf8.allSatisfy(\.isDigit) else { return nil }
      nanos = Int64(fraction + String(repeating: "0", count: 9 - fraction.utf8.count)) ?? 0
    }
    // Too many digits are too long a time, not a different mistake.
    let seconds = Int64(whole) ?? Int64.max
    return negative ? (-seconds, -nanos) : (seconds, nanos)
  }

  private func durationProblem(_ node: NodeID, _ text: String) -> String {
    let rule = "must be a duration: seconds with an s at the end, such as 0.25s"
    guard document.isScalar(node) else { return "\(rule); not \(document.shown(node))" }
    if let value = NumberLiteral(text)?.double, value >= 0, value <= Double(Self.longestDuration) {
      return
        "\(rule); not \(text) without a unit (write \(text)s for seconds, \(Self.seconds(value / 1000)) for milliseconds)"
    }
    for (unit, scale) in [("us", 1e-6), ("ms", 1e-3), ("min", 60), ("m", 60), ("h", 3600), ("d", 86400)] {
      if text.hasSuffix(unit), let value = NumberLiteral(String(text.dropLast(unit.count)))?.double, value >= 0,
        value * scale <= Double(Self.longestDuration)
      {
        return "\(rule); not \(quoted(text)) (write \(Self.seconds(value * scale)))"
      }
    }
    return "\(rule); not \(quoted(text))"
  }

  /// Seconds as a duration is written, to the microsecond. At most `longestDuration`.
  static func seconds(_ value: Double) -> String {
    let micros = Int64((value * 1e6).rounded())
    let (whole, fraction) = micros.quotientAndRemainder(dividingBy: 1_000_000)
    guard fraction != 0 else { return "\(whole)s" }
    var digits = String(fraction)
    digits = String(repeating: "0", count: 6 - digits.count) + digits
    while digits.last == "0" { digits.removeLast() }
    return "\(whole).\(digits)s"
  }

  // MARK: google.protobuf.Struct

  /// Writes the content of a structure: any mapping.
  mutating func structure(_ node: NodeID) {
    guard document.kind(node) == .mapping else {
      report(node, "must be a mapping, not \(document.shown(node))")
      return
    }
    var keys: Set<String> = []
    for index in 0..<document.count(node) {
      let (key, value) = document.entry(node, index)
      let name = document.text(key)
      path.steps.append(.key(name))
      defer { path.steps.removeLast() }
      guard document.isScalar(key) else {
        report(key, "a key must be text, not \(document.shown(key))")
        continue
      }
      guard keys.insert(name).inserted else {
        report(key, "is given twice")
        continue
      }
      let entry = wire.begin(1)
      wire.data(1, Array(name.utf8))
      let open = wire.begin(2)
      structureValue(value)
      wire.end(open)
      wire.end(entry)
    }
  }

  private mutating func structureValue(_ node: NodeID) {
    switch document.kind(node) {
    case .mapping:
      let open = wire.begin(5)
      structure(node)
      wire.end(open)
    case .list:
      let list = wire.begin(6)
      for index in 0..<document.count(node) {
        path.steps.append(.index(index))
        let open = wire.begin(1)
        structureValue(document.item(node, index))
        wire.end(open)
        path.steps.removeLast()
      }
      wire.end(list)
    case .text:
      wire.data(3, Array(document.text(node).utf8))
    case .plain:
      let text = document.text(node)
      if document.isNull(node) {
        wire.varint(1, 0)
      } else if text == "true" || text == "false" {
        wire.varint(4, text == "true" ? 1 : 0)
      } else if let number = NumberLiteral(text)?.double, number.isFinite {
        wire.fixed64(2, number.bitPattern)
      } else {
        wire.data(3, Array(text.utf8))
      }
    }
  }
}

extension UInt8 {
  fileprivate var isDigit: Bool { self >= UInt8(ascii: "0") && self <= UInt8(ascii: "9") }
}
