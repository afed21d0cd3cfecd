// How statistics are spelled: decimal numbers, Prometheus names and labels, JSON strings.

extension [UInt8] {
  mutating func append(_ text: StaticString) { append(contentsOf: Bytes(text)) }

  /// `number` in decimal.
  mutating func append(decimal number: Int64) {
    if number < 0 { append(0x2d) }
    append(decimal: number.magnitude)
  }

  /// `number` in decimal.
  mutating func append(decimal number: UInt64) {
    let start = count
    var rest = number
    repeat {
      append(0x30 &+ UInt8(truncatingIfNeeded: rest % 10))
      rest /= 10
    } while rest != 0
    self[start...].reverse()
  }

  /// `value / scale` with at most three decimals and no trailing zeros. Negative, infinite or absurdly large values,
  /// which no histogram yields, are written as 0.
  mutating func append(_ value: Double, scale: UInt64) {
    let thousandths = (value * 1_000 / Double(Swift.max(scale, 1))).rounded()
    guard thousandths >= 0, thousandths < 9e18 else { return append(0x30) }
    let whole = UInt64(thousandths)
    append(decimal: whole / 1_000)
    var fraction = whole % 1_000
    guard fraction != 0 else { return }
    append(0x2e)
    var digit: UInt64 = 100
    while fraction != 0 {
      append(0x30 &+ UInt8(truncatingIfNeeded: fraction / digit))
      fraction %= digit
      digit /= 10
    }
  }

  /// The name of a Prometheus metric or label: what is not a letter, a digit or `_` becomes `_`.
  mutating func append(metricName name: some Sequence<UInt8>) {
    for byte in name {
      let letter = byte.asciiLowercased &- 0x61 < 26
      append(letter || byte &- 0x30 < 10 ? byte : 0x5f)
    }
  }

  /// The value of a Prometheus label, between quotes (text exposition format 0.0.4).
  mutating func append(labelValue value: some Sequence<UInt8>) {
    append(0x22)
    for byte in value {
      switch byte {
      case 0x5c: append("\\\\")
      case 0x22: append("\\\"")
      case 0x0a: append("\\n")
      default: append(byte)
      }
    }
    append(0x22)
  }

  /// A JSON string (RFC 8259 §7), between quotes.
  mutating func append(jsonString value: some Sequence<UInt8>) {
    append(0x22)
    for byte in value {
      switch byte {
      case 0x5c: append("\\\\")
      case 0x22: append("\\\"")
      case 0..<0x20:
        append("\\u00")
        for nibble in [byte >> 4, byte & 15] { append(nibble < 10 ? 0x30 &+ nibble : 0x57 &+ nibble) }
      default: append(byte)
      }
    }
    append(0x22)
  }
}
