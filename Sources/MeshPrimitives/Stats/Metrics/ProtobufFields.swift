// Fields of protocol buffers, written by hand where a message is made of what lies at hand anyway.

extension [UInt8] {
  /// A number in as many bytes as it needs (base 128, the least significant first).
  mutating func append(varint number: UInt64) {
    var rest = number
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(truncatingIfNeeded: rest))
  }

  /// A field of a whole number.
  mutating func append(field: UInt8, varint number: UInt64) {
    append(varint: UInt64(field) << 3)
    append(varint: number)
  }

  /// A field of type `double`.
  mutating func append(field: UInt8, double number: Double) {
    append(varint: UInt64(field) << 3 | 1)
    let bits = number.bitPattern
    for shift in stride(from: UInt64(0), to: 64, by: 8) { append(UInt8(truncatingIfNeeded: bits >> shift)) }
  }

  /// A field of text, bytes or a message.
  mutating func append(field: UInt8, bytes: some Collection<UInt8>) {
    append(varint: UInt64(field) << 3 | 2)
    append(varint: UInt64(bytes.count))
    append(contentsOf: bytes)
  }

  /// A field of a message that is written by `body`.
  mutating func append(field: UInt8, message body: (inout [UInt8]) -> Void) {
    append(varint: UInt64(field) << 3 | 2)
    let start = count
    body(&self)
    // Most messages are short, and have one byte of length: the rest is moved by the others.
    var length: [UInt8] = []
    length.append(varint: UInt64(count - start))
    insert(contentsOf: length, at: start)
  }
}
