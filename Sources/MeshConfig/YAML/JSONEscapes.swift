/// The one thing that JSON has and YAML has not: characters beyond U+FFFF written as two escapes.
enum JSONEscapes {
  /// Turns `\ud83d\ude00` into YAML's `\U0001f600` in a text that looks like JSON; any other text is left as it is. (The
  /// columns behind it on the same line shrink by two.)
  static func joinSurrogates(_ text: [UInt8]) -> [UInt8] {
    let blank: Set<UInt8> = [0x20, 0x09, 0x0a, 0x0d]
    guard let first = text.first(where: { !blank.contains($0) }), first == UInt8(ascii: "{") else { return text }
    var out: [UInt8] = []
    var copied = 0
    var at = 0
    while at < text.count {
      guard text[at] == UInt8(ascii: "\\") else {
        at += 1
        continue
      }
      if let high = unit(text, at), 0xd800..<0xdc00 ~= high, let low = unit(text, at + 6), 0xdc00..<0xe000 ~= low {
        let scalar = 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00))
        let digits = String(scalar, radix: 16)
        out += text[copied..<at]
        out += "\\U\(String(repeating: "0", count: 8 - digits.utf8.count))\(digits)".utf8
        at += 12
        copied = at
      } else {
        // What the backslash escapes may be a backslash itself.
        at += 2
      }
    }
    return copied == 0 ? text : out + text[copied...]
  }

  /// The number in `\uXXXX` at `at`.
  private static func unit(_ text: [UInt8], _ at: Int) -> UInt32? {
    guard at + 6 <= text.count, text[at] == UInt8(ascii: "\\"), text[at + 1] == UInt8(ascii: "u") else { return nil }
    var value: UInt32 = 0
    for byte in text[at + 2..<at + 6] {
      guard let digit = Character(UnicodeScalar(byte)).hexDigitValue else { return nil }
      value = value << 4 | UInt32(digit)
    }
    return value
  }
}
