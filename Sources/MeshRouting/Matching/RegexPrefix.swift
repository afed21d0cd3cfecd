/// The text with which everything begins that an expression matches as a whole, as far as a glance at the expression
/// tells: by it an expression is found through the same index as plain prefixes. Empty where the glance is not enough.
enum RegexPrefix {
  static func of(_ pattern: String) -> [UInt8] {
    let bytes = Array(pattern.utf8)
    guard !hasAlternatives(bytes) else { return [] }
    var prefix: [UInt8] = []
    var position = bytes.first == UInt8(ascii: "^") ? 1 : 0
    while position < bytes.count {
      var byte = bytes[position]
      var length = 1
      switch byte {
      case UInt8(ascii: "\\"):
        // `\.` is a dot; `\d` is a class, `\Q` begins a quotation.
        // An empty one lets what stands behind it (`b\Q\E*`) belong to what stands before it.
        guard position + 1 < bytes.count, isPunctuation(bytes[position + 1]) else { return prefix.dropLast() }
        byte = bytes[position + 1]
        length = 2
      case UInt8(ascii: "("):
        // What stands behind flags (`b(?i)*`) belongs to what stands before them.
        let isPlainGroup = position + 1 < bytes.count && bytes[position + 1] != UInt8(ascii: "?")
        return isPlainGroup ? prefix : prefix.dropLast()
      case UInt8(ascii: "."), UInt8(ascii: "["), UInt8(ascii: ")"), UInt8(ascii: "$"),
        UInt8(ascii: "^"), UInt8(ascii: "|"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"),
        UInt8(ascii: "{"), 0x80...:
        return prefix
      default: break
      }
      position += length
      // What may be absent does not belong to the prefix.
      if position < bytes.count, [UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "{")].contains(bytes[position]) {
        return prefix
      }
      prefix.append(byte)
    }
    return prefix
  }

  /// Whether there is, or may be, a `|` outside of every group.
  private static func hasAlternatives(_ bytes: [UInt8]) -> Bool {
    guard bytes.contains(UInt8(ascii: "|")) else { return false }
    // Where classes begin and end, and quotations, takes more than a glance.
    if bytes.contains(UInt8(ascii: "[")) { return true }
    var depth = 0
    var position = 0
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\\"):
        if position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "Q") { return true }
        position += 1
      case UInt8(ascii: "("): depth += 1
      case UInt8(ascii: ")"): depth -= 1
      case UInt8(ascii: "|"): if depth <= 0 { return true }
      default: break
      }
      position += 1
    }
    return false
  }

  private static func isPunctuation(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x21...0x2f, 0x3a...0x40, 0x5b...0x60, 0x7b...0x7e: true
    default: false
    }
  }
}
