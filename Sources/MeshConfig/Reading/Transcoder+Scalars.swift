extension Transcoder {
  /// Writes a scalar as field `number`. False, with the problem reported, when it is none of this type.
  mutating func scalar(_ node: NodeID, _ type: FieldSchema.Scalar, number: Int) -> Bool {
    guard document.isScalar(node) else {
      report(node, "must be \(expected(type)), not \(document.shown(node))")
      return false
    }
    switch type {
    case .string:
      let open = wire.begin(number)
      document.withBytes(node) { wire.raw($0) }
      wire.end(open)
      return true
    case .bytes:
      guard let value = document.withBytes(node, Base64.decode) else {
        report(node, "must be base64, not \(document.shown(node))")
        return false
      }
      wire.data(number, value)
      return true
    case .bool: return bool(node, number)
    case .int32: return integer(node, number, Int64(Int32.min), Int64(Int32.max))
    case .int64: return integer(node, number, Int64.min, Int64.max)
    case .uint32: return integer(node, number, 0, Int64(UInt32.max))
    case .uint64: return unsigned(node, number)
    case .float, .double: return float(node, number, isDouble: type == .double)
    case .enumeration(let place): return enumeration(node, schema.enums[place], number)
    }
  }

  private func expected(_ type: FieldSchema.Scalar) -> String {
    switch type {
    case .bool: "true or false"
    case .string: "text"
    case .bytes: "base64"
    case .float, .double: "a number"
    case .int32, .int64, .uint32, .uint64: "a whole number"
    case .enumeration(let place): "one of \(Self.list(schema.enums[place].supported))"
    }
  }

  private mutating func bool(_ node: NodeID, _ number: Int) -> Bool {
    let text = document.text(node)
    guard text == "true" || text == "false" else {
      report(node, "must be true or false, not \(quoted(text))")
      return false
    }
    wire.varint(number, text == "true" ? 1 : 0)
    return true
  }

  private mutating func integer(_ node: NodeID, _ number: Int, _ lower: Int64, _ upper: Int64) -> Bool {
    let text = document.text(node)
    guard let literal = NumberLiteral(hexadecimal: text) ?? NumberLiteral(text), literal.isWhole else {
      return notWhole(node, text)
    }
    guard let value = literal.int64, value >= lower, value <= upper else {
      report(node, "must be \(lower) to \(upper), not \(text)")
      return false
    }
    wire.varint(number, UInt64(bitPattern: value))
    return true
  }

  private mutating func unsigned(_ node: NodeID, _ number: Int) -> Bool {
    let text = document.text(node)
    guard let literal = NumberLiteral(hexadecimal: text) ?? NumberLiteral(text), literal.isWhole else {
      return notWhole(node, text)
    }
    guard let value = literal.uint64 else {
      report(node, "must be 0 to \(UInt64.max), not \(text)")
      return false
    }
    wire.varint(number, value)
    return true
  }

  private mutating func notWhole(_ node: NodeID, _ text: String) -> Bool {
    if text.utf8.count > 1, text.utf8.first == UInt8(ascii: "0"), UInt64(text) != nil {
      report(node, "must be a whole number in decimal without a leading 0, not \(text)")
    } else {
      report(node, "must be a whole number, not \(quoted(text))")
    }
    return false
  }

  private mutating func float(_ node: NodeID, _ number: Int, isDouble: Bool) -> Bool {
    let text = document.text(node)
    guard let value = NumberLiteral(text)?.double, value.isFinite else {
      report(node, "must be a number, not \(quoted(text))")
      return false
    }
    if isDouble { wire.fixed64(number, value.bitPattern) } else { wire.fixed32(number, Float(value).bitPattern) }
    return true
  }

  private mutating func enumeration(_ node: NodeID, _ type: Schema.EnumSchema, _ number: Int) -> Bool {
    let text = document.text(node)
    if let value = type.values.first(where: { $0.name == text }) ?? type.value(numbered: text) {
      wire.varint(number, UInt64(bitPattern: Int64(value.number)))
      return true
    }
    let hint = NearestName.of(text, in: type.supported).map { " (did you mean \($0)?)" } ?? ""
    report(node, "must be one of \(Self.list(type.supported)), not \(quoted(text))\(hint)")
    return false
  }
}

extension Schema.EnumSchema {
  fileprivate func value(numbered text: String) -> (name: String, number: Int32, supported: Bool)? {
    Int32(text).flatMap { number in values.first { $0.number == number } }
  }
}

/// A number as JSON and YAML 1.2 write it: sign, digits, fraction, exponent. No octal, no `.inf`.
struct NumberLiteral {
  private let text: String

  /// `0x` and digits, as YAML 1.2 §10.3.2 has them, for fields that are whole numbers: types of the PROXY protocol's
  /// values are known by them.
  init?(hexadecimal text: String) {
    guard text.hasPrefix("0x"), text.utf8.count <= 18, text.utf8.dropFirst(2).first != UInt8(ascii: "+"),
      let value = UInt64(text.dropFirst(2), radix: 16)
    else { return nil }
    self.text = String(value)
  }

  init?(_ text: String) {
    var rest = Substring(text)
    if rest.first == "-" || rest.first == "+" { rest.removeFirst() }
    let digits = rest.prefix(while: \.isASCIIDigit)
    guard !digits.isEmpty, digits.count == 1 || digits.first != "0" else { return nil }
    rest = rest.dropFirst(digits.count)
    if rest.first == "." {
      let fraction = rest.dropFirst().prefix(while: \.isASCIIDigit)
      guard !fraction.isEmpty else { return nil }
      rest = rest.dropFirst(1 + fraction.count)
    }
    if rest.first == "e" || rest.first == "E" {
      rest.removeFirst()
      if rest.first == "-" || rest.first == "+" { rest.removeFirst() }
      guard !rest.isEmpty, rest.allSatisfy(\.isASCIIDigit) else { return nil }
      rest = ""
    }
    guard rest.isEmpty else { return nil }
    self.text = text
  }

  var double: Double? { Double(text) }

  /// Whether it has no fraction; `1.0` and `1e3` are whole.
  var isWhole: Bool {
    Int64(text) != nil || UInt64(text) != nil || double.map { $0.isFinite && $0 == $0.rounded() } ?? false
  }

  /// The value, if it is whole and fits. Numbers written with a fraction or an exponent only up to 2^53, above which
  /// they would be inexact.
  var int64: Int64? { Int64(text) ?? exact.map { Int64($0) } }

  var uint64: UInt64? { UInt64(text) ?? exact.flatMap { $0 < 0 ? nil : UInt64($0) } }

  private var exact: Double? {
    guard let value = double, value == value.rounded(), abs(value) <= 9_007_199_254_740_992 else { return nil }
    return value
  }
}

extension Character {
  fileprivate var isASCIIDigit: Bool { isASCII && isNumber }
}
