/// A runtime value as a layer has it.
public struct RuntimeEntry: Sendable, Equatable {
  /// As it is shown by `/runtime`.
  public let text: String
  public let integer: UInt64?
  public let double: Double?
  public let boolean: Bool?
  public let fraction: Fraction?

  /// A value from text: a disk layer's file, `/runtime_modify`, a scalar of a static layer. What the text can be read as,
  /// it is: a number, a boolean, or a fraction as YAML (`{numerator: 1, denominator: MILLION}`).
  public init(_ text: String) {
    self.text = text
    let isNumber = !text.isEmpty && text.utf8.allSatisfy(Self.isNumberByte)
    let double = isNumber ? Double(text).flatMap { $0.isFinite ? $0 : nil } : nil
    self.double = double
    integer = UInt64(text).flatMap { $0 == .max ? nil : $0 } ?? double.flatMap { UInt64(exactly: $0) }
    boolean =
      switch text.lowercased() {
      case "true": true
      case "false": false
      default: nil
      }
    // An integer is a percentage, and more than 100 means all.
    fraction = integer.map { Fraction(UInt32(clamping: $0)) } ?? (isNumber ? nil : Fraction(mapping: text))
  }

  /// A fraction that is given as such.
  public init(_ fraction: Fraction, text: String) {
    self.text = text
    integer = nil
    double = nil
    boolean = nil
    self.fraction = fraction
  }

  /// Neither hexadecimal nor `infinity`.
  private static func isNumberByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
      UInt8(ascii: "e"), UInt8(ascii: "E"):
      true
    default: false
    }
  }
}

extension Fraction.Denominator {
  /// By the name that the schema has for it.
  public init?(name: some StringProtocol) {
    switch name {
    case "HUNDRED": self = .hundred
    case "TEN_THOUSAND": self = .tenThousand
    case "MILLION": self = .million
    default: return nil
    }
  }
}

extension Fraction {
  /// From a YAML or JSON mapping with `numerator`, `denominator` or both: in braces, or a line each.
  fileprivate init?(mapping text: String) {
    var rest = text[...]
    let isSpace = { (character: Character) in character == " " || character == "\t" || character.isNewline }
    func trimmed(_ text: Substring) -> Substring {
      var text = text.drop(while: isSpace)
      while let last = text.last, isSpace(last) { text.removeLast() }
      return text
    }
    func unquoted(_ text: Substring) -> Substring {
      let text = trimmed(text)
      guard text.count >= 2, let quote = text.first, quote == text.last, quote == "\"" || quote == "'" else {
        return text
      }
      return text.dropFirst().dropLast()
    }
    rest = trimmed(rest)
    let inBraces = rest.first == "{"
    if inBraces {
      guard rest.last == "}" else { return nil }
      rest = rest.dropFirst().dropLast()
    }
    var numerator: UInt32?
    var denominator: Denominator?
    for line in rest.split(whereSeparator: { inBraces ? $0 == "," : $0.isNewline }) where !trimmed(line).isEmpty {
      let parts = line.split(separator: ":", maxSplits: 1)
      guard parts.count == 2 else { return nil }
      switch unquoted(parts[0]) {
      case "numerator" where numerator == nil:
        guard let number = UInt32(unquoted(parts[1])) else { return nil }
        numerator = number
      case "denominator" where denominator == nil:
        guard let name = Denominator(name: unquoted(parts[1])) else { return nil }
        denominator = name
      default: return nil
      }
    }
    guard numerator != nil || denominator != nil else { return nil }
    self.init(numerator ?? 0, of: denominator ?? .hundred)
  }
}
