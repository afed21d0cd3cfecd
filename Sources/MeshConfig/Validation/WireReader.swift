/// Reads protobuf's wire format field by field. Never reads beyond its bytes and never fails loudly: malformed bytes end
/// it, and `isMalformed` says so.
public struct WireReader {
  /// A field's content.
  public enum Value {
    case varint(UInt64)
    case fixed32(UInt32)
    case fixed64(UInt64)
    case bytes(UnsafeRawBufferPointer)
  }

  private var rest: UnsafeRawBufferPointer
  /// Whether the bytes were no message; set when `next` returns nil.
  public private(set) var isMalformed = false

  /// The bytes must stay where they are for as long as the reader and what it returns are used.
  public init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

  /// The next field, or nil at the end.
  public mutating func next() -> (number: Int, value: Value)? {
    guard !rest.isEmpty, !isMalformed else { return nil }
    guard let tag = varint(), tag >> 3 > 0, tag >> 3 <= 536_870_911, let value = value(tag & 7) else {
      isMalformed = true
      return nil
    }
    return (Int(tag >> 3), value)
  }

  private mutating func value(_ type: UInt64) -> Value? {
    switch type {
    case 0: return varint().map(Value.varint)
    case 1: return take(8).map { .fixed64(UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self))) }
    case 2:
      guard let count = varint(), count <= UInt64(rest.count) else { return nil }
      return take(Int(count)).map(Value.bytes)
    case 5: return take(4).map { .fixed32(UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self))) }
    default: return nil
    }
  }

  private mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
    guard count <= rest.count else { return nil }
    let taken = UnsafeRawBufferPointer(rebasing: rest[..<count])
    rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    return taken
  }

  private mutating func varint() -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    for (index, byte) in rest.enumerated() {
      guard shift < 64 else { return nil }
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 {
        rest = UnsafeRawBufferPointer(rebasing: rest[(index + 1)...])
        return value
      }
      shift += 7
    }
    return nil
  }
}

extension WireReader.Value {
  var varint: UInt64? { if case .varint(let value) = self { value } else { nil } }
  var fixed64: UInt64? { if case .fixed64(let value) = self { value } else { nil } }
  var bytes: UnsafeRawBufferPointer? { if case .bytes(let value) = self { value } else { nil } }
  /// The bytes as text.
  var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }
}

/// The content of a `google.protobuf.Any`: the type's full name and the message's bytes.
func readAny(_ bytes: UnsafeRawBufferPointer) -> (name: String, value: UnsafeRawBufferPointer) {
  var reader = WireReader(bytes)
  var name = ""
  var value = UnsafeRawBufferPointer(start: nil, count: 0)
  while let field = reader.next() {
    if field.number == 1, let url = field.value.text {
      name = url.split(separator: "/").last.map(String.init) ?? ""
    } else if field.number == 2, let bytes = field.value.bytes {
      value = bytes
    }
  }
  return (name, value)
}
