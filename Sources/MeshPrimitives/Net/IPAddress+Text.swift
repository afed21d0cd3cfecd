extension IPAddress {
  /// The most bytes `writeText(into:)` writes.
  public static var maximumText: Int { 64 }

  /// Writes the canonical text (RFC 5952 for IPv6) to `out`, which must have room for `maximumText` bytes.
  /// - Returns: the number of bytes written.
  @discardableResult
  public func writeText(into out: UnsafeMutablePointer<UInt8>) -> Int {
    guard family == .v6 else { return Self.writeV4(UInt32(truncatingIfNeeded: low), out) }
    var at = 0
    if let bits = v4Bits {
      for byte in "::ffff:".utf8 {
        out[at] = byte
        at += 1
      }
      at += Self.writeV4(bits, out + at)
    } else {
      at = writeGroups(out)
    }
    if scope != 0 {
      out[at] = UInt8(ascii: "%")
      at += 1
      at += Self.writeDecimal(scope, out + at)
    }
    return at
  }

  /// Writes a number in decimal digits; at most 10 bytes.
  static func writeDecimal(_ value: UInt32, _ out: UnsafeMutablePointer<UInt8>) -> Int {
    var digits = 1
    var rest = value / 10
    while rest > 0 {
      digits += 1
      rest /= 10
    }
    rest = value
    var at = digits
    while at > 0 {
      at -= 1
      out[at] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    return digits
  }

  private static func writeV4(_ bits: UInt32, _ out: UnsafeMutablePointer<UInt8>) -> Int {
    var at = writeDecimal(bits >> 24, out)
    var shift: UInt32 = 24
    while shift > 0 {
      shift -= 8
      out[at] = UInt8(ascii: ".")
      at += 1
      at += writeDecimal(bits >> shift & 0xff, out + at)
    }
    return at
  }

  private func group(_ index: Int) -> UInt16 {
    UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> (48 - UInt64(index & 3) * 16))
  }

  /// RFC 5952 §4: lower case, no leading zeros, `::` for the longest (first, if equal) run of two or more zero groups.
  private func writeGroups(_ out: UnsafeMutablePointer<UInt8>) -> Int {
    var bestStart = 8
    var bestCount = 1
    var index = 0
    while index < 8 {
      var end = index
      while end < 8, group(end) == 0 { end += 1 }
      if end - index > bestCount {
        bestStart = index
        bestCount = end - index
      }
      index = max(end, index + 1)
    }
    var at = 0
    index = 0
    while index < 8 {
      if index == bestStart {
        out[at] = UInt8(ascii: ":")
        out[at + 1] = UInt8(ascii: ":")
        at += 2
        index += bestCount
        continue
      }
      if index > 0, index != bestStart + bestCount || bestStart == 8 {
        out[at] = UInt8(ascii: ":")
        at += 1
      }
      let value = group(index)
      var shift: UInt16 = value > 0xfff ? 12 : value > 0xff ? 8 : value > 0xf ? 4 : 0
      while true {
        let digit = UInt8(truncatingIfNeeded: value >> shift & 0xf)
        out[at] = digit < 10 ? 0x30 + digit : 0x57 + digit
        at += 1
        if shift == 0 { break }
        shift -= 4
      }
      index += 1
    }
    return at
  }

  static func parseV4(_ text: Bytes, _ start: Int, _ end: Int) -> UInt32? {
    guard end - start >= 7, end - start <= 15 else { return nil }
    var bits: UInt32 = 0
    var octets = 0
    var at = start
    while true {
      var value: UInt32 = 0
      var digits = 0
      while at < end, text[at] &- 0x30 < 10 {
        if digits > 0 && value == 0 { return nil }
        value = value * 10 + UInt32(text[at] - 0x30)
        digits += 1
        if digits > 3 { return nil }
        at += 1
      }
      if digits == 0 || value > 255 { return nil }
      bits = bits << 8 | value
      octets += 1
      if octets == 4 { return at == end ? bits : nil }
      guard at < end, text[at] == UInt8(ascii: ".") else { return nil }
      at += 1
    }
  }

  static func parseV6(_ text: Bytes) -> IPAddress? {
    var end = text.count
    var scope: UInt32 = 0
    if let zone = text.firstIndex(of: UInt8(ascii: "%")) {
      guard zone + 1 < end, end - zone <= 10 else { return nil }
      for byte in text[(zone + 1)...] {
        guard byte &- 0x30 < 10 else { return nil }
        scope = scope * 10 + UInt32(byte - 0x30)
      }
      end = zone
    }
    guard end >= 2 else { return nil }
    // Groups before `::` are gathered in `head`, those after it in `tail`.
    var head = WideBits()
    var tail = WideBits()
    var groups = 0
    var gap: Int?
    var at = 0
    if text[0] == UInt8(ascii: ":") {
      guard text[1] == UInt8(ascii: ":") else { return nil }
      gap = 0
      at = 2
    }
    while at < end {
      if groups <= 6, let bits = parseV4(text, at, end) {
        gap == nil ? head.push(bits, 32) : tail.push(bits, 32)
        groups += 2
        at = end
        break
      }
      var value: UInt32 = 0
      var digits = 0
      while at < end, let digit = hexDigit(text[at]) {
        value = value << 4 | digit
        digits += 1
        if digits > 4 { return nil }
        at += 1
      }
      guard digits > 0, groups < 8 else { return nil }
      gap == nil ? head.push(value, 16) : tail.push(value, 16)
      groups += 1
      if at == end { break }
      guard text[at] == UInt8(ascii: ":") else { return nil }
      at += 1
      if at == end { return nil }
      if text[at] == UInt8(ascii: ":") {
        guard gap == nil else { return nil }
        gap = groups
        at += 1
      }
    }
    guard let gap else {
      return groups == 8 ? IPAddress(v6: head.high, head.low, scope: scope) : nil
    }
    guard groups < 8 else { return nil }
    for _ in gap..<8 { head.push(0, 16) }
    return IPAddress(v6: head.high | tail.high, head.low | tail.low, scope: scope)
  }

  private static func hexDigit(_ byte: UInt8) -> UInt32? {
    if byte &- 0x30 < 10 { return UInt32(byte &- 0x30) }
    let letter = byte | 0x20
    return letter &- 0x61 < 6 ? UInt32(letter &- 0x57) : nil
  }

  /// 128 bits that are filled from the right.
  private struct WideBits {
    var high: UInt64 = 0
    var low: UInt64 = 0

    mutating func push(_ value: UInt32, _ bits: UInt64) {
      high = high << bits | low >> (64 - bits)
      low = low << bits | UInt64(value)
    }
  }
}
