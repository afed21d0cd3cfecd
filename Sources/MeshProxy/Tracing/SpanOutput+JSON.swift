import MeshPrimitives

/// Text that peers have chosen, as JSON.
extension SpanOutput {
  /// Appends text between quotes (RFC 8259 §7). What is no UTF-8 becomes U+FFFD: one bad byte would make the whole batch
  /// invalid for its reader.
  @inline(__always)
  func append(jsonString text: Bytes) {
    guard let start = text.baseAddress else { return append("\"\"") }
    let length = text.count
    guard length <= SpanText.maximum else { return appendAltered(text) }
    let room = reserve(length &+ 2)
    room[0] = UInt8(ascii: "\"")
    let source = UnsafeRawPointer(start)
    let target = UnsafeMutableRawPointer(room + 1)
    var at = 0
    while at &+ 8 <= length {
      let word = source.loadUnaligned(fromByteOffset: at, as: UInt64.self)
      if Self.needsEscape(word) { return appendAltered(text) }
      target.storeBytes(of: word, toByteOffset: at, as: UInt64.self)
      at &+= 8
    }
    while at < length {
      let byte = start[at]
      if byte &- 0x20 > 0x5e || byte == 0x22 || byte == 0x5c { return appendAltered(text) }
      room[1 &+ at] = byte
      at &+= 1
    }
    room[1 &+ length] = UInt8(ascii: "\"")
    commit(length &+ 2)
  }

  /// Whether one of eight bytes is no printable ASCII, a quote or a backslash.
  @inline(__always)
  private static func needsEscape(_ x: UInt64) -> Bool {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let quote = x ^ (ones &* 0x22)
    let backslash = x ^ (ones &* 0x5c)
    // Exact for whether there is one: over 0x7e, below 0x20, the two characters.
    let found =
      x | (x &+ ones) | ((x &- (ones &* 0x20)) & ~x) | ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash)
    return found & (ones &* 0x80) != 0
  }

  /// Text of which something has to be escaped, cut or replaced.
  @inline(never)
  private func appendAltered(_ text: Bytes) {
    let text = SpanText.cut(text)
    guard text.isUTF8 else { return SpanText.withRepaired(text) { appendEscaped($0) } }
    appendEscaped(text)
  }

  private func appendEscaped(_ text: Bytes) {
    let room = reserve(text.count &* 6 &+ 2)
    var at = 1
    room[0] = UInt8(ascii: "\"")
    for byte in text {
      if byte >= 0x20, byte != 0x22, byte != 0x5c {
        room[at] = byte
        at &+= 1
        continue
      }
      room[at] = UInt8(ascii: "\\")
      if let letter = Self.letter(byte) {
        room[at &+ 1] = letter
        at &+= 2
      } else {
        room[at &+ 1] = UInt8(ascii: "u")
        room[at &+ 2] = UInt8(ascii: "0")
        room[at &+ 3] = UInt8(ascii: "0")
        room[at &+ 4] = 0x30 &+ (byte >> 4)
        room[at &+ 5] = byte & 15 < 10 ? 0x30 &+ (byte & 15) : 0x57 &+ (byte & 15)
        at &+= 6
      }
    }
    room[at] = UInt8(ascii: "\"")
    commit(at &+ 1)
  }

  /// What stands behind the backslash of the short escapes.
  private static func letter(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x22, 0x5c: byte
    case 0x08: UInt8(ascii: "b")
    case 0x09: UInt8(ascii: "t")
    case 0x0a: UInt8(ascii: "n")
    case 0x0c: UInt8(ascii: "f")
    case 0x0d: UInt8(ascii: "r")
    default: nil
    }
  }

  /// Appends 16 lower-case digits.
  @inline(__always)
  func append(hex value: UInt64) {
    Hex.write(value, into: reserve(16))
    commit(16)
  }
}
