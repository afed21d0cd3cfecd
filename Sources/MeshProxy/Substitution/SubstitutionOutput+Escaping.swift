import MeshPrimitives

/// What peers said.
extension SubstitutionOutput {
  @inline(__always) private static var ones: UInt64 { 0x0101_0101_0101_0101 }
  @inline(__always) private static var harmless: UInt64 { 0x6161_6161_6161_6161 }

  /// Has a bit of 0x80… set if any of the eight bytes must not be written as it is. (Comparing vectors would be fewer
  /// operations, but the compiler takes them apart here, byte by byte.)
  @inline(__always)
  private static func escapes(_ x: UInt64) -> UInt64 {
    let quote = x ^ (ones &* 0x22)
    let backslash = x ^ (ones &* 0x5c)
    // Above 0x7e; below 0x20; the two characters. Each is exact for whether there is one.
    return x | (x &+ ones) | ((x &- (ones &* 0x20)) & ~x) | ((quote &- ones) & ~quote)
      | ((backslash &- ones) & ~backslash)
  }

  @inline(__always)
  private static func needsEscape(_ first: UInt64, _ second: UInt64) -> Bool {
    (escapes(first) | escapes(second)) & (ones &* 0x80) != 0
  }

  @inline(__always)
  private static func needsEscape(_ byte: UInt8) -> Bool { byte &- 0x20 > 0x5e || byte == 0x22 || byte == 0x5c }

  /// Appends what a peer said; see above. Copies and looks in one pass.
  @inline(__always)
  mutating func appendEscaped(_ bytes: Bytes) {
    guard let start = bytes.baseAddress else { return }
    let length = bytes.count
    let source = UnsafeRawPointer(start)
    let target = UnsafeMutableRawPointer(reserve(length))
    if length >= 16 {
      // The last block overlaps the one before it.
      var at = 0
      while at < length {
        let offset = min(at, length &- 16)
        let first = source.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        let second = source.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self)
        if Self.needsEscape(first, second) { return appendBytewise(bytes) }
        target.storeBytes(of: first, toByteOffset: offset, as: UInt64.self)
        target.storeBytes(of: second, toByteOffset: offset &+ 8, as: UInt64.self)
        at &+= 16
      }
    } else if length >= 8 {
      let back = length &- 8
      let head = source.loadUnaligned(as: UInt64.self)
      let tail = source.loadUnaligned(fromByteOffset: back, as: UInt64.self)
      if Self.needsEscape(head, tail) { return appendBytewise(bytes) }
      target.storeBytes(of: head, as: UInt64.self)
      target.storeBytes(of: tail, toByteOffset: back, as: UInt64.self)
    } else if length >= 4 {
      let back = length &- 4
      let head = source.loadUnaligned(as: UInt32.self)
      let tail = source.loadUnaligned(fromByteOffset: back, as: UInt32.self)
      if Self.needsEscape(UInt64(head) << 32 | UInt64(tail), Self.harmless) { return appendBytewise(bytes) }
      target.storeBytes(of: head, as: UInt32.self)
      target.storeBytes(of: tail, toByteOffset: back, as: UInt32.self)
    } else {
      var at = 0
      while at < length {
        let byte = bytes[at]
        if Self.needsEscape(byte) { return appendBytewise(bytes) }
        target.storeBytes(of: byte, toByteOffset: at, as: UInt8.self)
        at &+= 1
      }
    }
    commit(length)
  }

  /// Appends text that a peer may have had a hand in.
  mutating func appendEscaped(_ text: String) {
    var text = text
    text.withUTF8 { appendEscaped($0) }
  }

  /// As `appendEscaped`, for bytes of which one may have to be escaped.
  @inline(never)
  private mutating func appendBytewise(_ bytes: Bytes) {
    switch escaping {
    case .log: appendForLog(bytes)
    case .json: appendForJSON(bytes)
    case .none: append(bytes)
    }
  }

  private mutating func appendForLog(_ bytes: Bytes) {
    let target = reserve(bytes.count &* 4)
    var at = 0
    for byte in bytes {
      if Self.needsEscape(byte) {
        target[at] = 0x5c
        target[at &+ 1] = 0x78
        target[at &+ 2] = Self.upperCaseDigit(byte >> 4)
        target[at &+ 3] = Self.upperCaseDigit(byte & 15)
        at &+= 4
      } else {
        target[at] = byte
        at &+= 1
      }
    }
    commit(at)
  }

  private mutating func appendForJSON(_ bytes: Bytes) {
    let keepsHighBytes = bytes.isUTF8
    let target = reserve(bytes.count &* 6)
    var at = 0
    for byte in bytes {
      if byte >= 0x20, byte != 0x22, byte != 0x5c, byte < 0x80 || keepsHighBytes {
        target[at] = byte
        at &+= 1
        continue
      }
      target[at] = 0x5c
      if let letter = Self.jsonLetter(byte) {
        target[at &+ 1] = letter
        at &+= 2
      } else {
        target[at &+ 1] = UInt8(ascii: "u")
        target[at &+ 2] = 0x30
        target[at &+ 3] = 0x30
        target[at &+ 4] = Self.upperCaseDigit(byte >> 4) | 0x20
        target[at &+ 5] = Self.upperCaseDigit(byte & 15) | 0x20
        at &+= 6
      }
    }
    commit(at)
  }

  /// What stands behind the backslash of the short escapes (RFC 8259 §7).
  private static func jsonLetter(_ byte: UInt8) -> UInt8? {
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

  private static func upperCaseDigit(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 0x30 &+ nibble : 0x37 &+ nibble }
}
