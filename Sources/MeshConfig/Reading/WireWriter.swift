/// Writes protobuf's wire format. Lengths of nested messages are filled in when they end.
struct WireWriter {
  private(set) var bytes: [UInt8] = []

  /// A message, text or bytes that has begun.
  struct Open {
    fileprivate var at: Int
  }

  mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  mutating func varint(_ field: Int, _ value: UInt64) {
    tag(field, 0)
    varint(value)
  }

  mutating func fixed32(_ field: Int, _ value: UInt32) {
    tag(field, 5)
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func fixed64(_ field: Int, _ value: UInt64) {
    tag(field, 1)
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func data(_ field: Int, _ value: some Collection<UInt8>) {
    tag(field, 2)
    varint(UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  /// Bytes as they are, inside something that has begun.
  mutating func raw(_ value: UnsafeBufferPointer<UInt8>) { bytes.append(contentsOf: value) }

  mutating func begin(_ field: Int) -> Open {
    tag(field, 2)
    bytes.append(0)
    return Open(at: bytes.count)
  }

  mutating func end(_ open: Open) {
    var rest = bytes.count - open.at
    if rest < 0x80 {
      bytes[open.at - 1] = UInt8(rest)
      return
    }
    var length: [UInt8] = []
    while rest >= 0x80 {
      length.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    length.append(UInt8(rest))
    bytes.replaceSubrange(open.at - 1..<open.at, with: length)
  }

  private mutating func tag(_ field: Int, _ type: UInt64) { varint(UInt64(field) << 3 | type) }
}
