import MeshPrimitives

/// Writes spans as OpenTelemetry's protocol has them (OTLP 1.x, `opentelemetry.proto.trace.v1`): each as a field `spans` of
/// `ScopeSpans`, so that a run of them is what the message holds. Confined to the worker.
struct OTLPSpanWriter: SpanWriter {
  private let output: SpanOutput
  /// Where the length of the span goes that is being written.
  private var lengthAt = 0
  private var flags: UInt32 = 0

  init(_ output: SpanOutput) { self.output = output }

  static var leavesOutUncommonMethods: Bool { true }

  // Tags of fields (number << 3 | wire type).
  private static let spans: UInt8 = 0x12  // ScopeSpans.spans
  private static let traceID: UInt8 = 0x0a
  private static let spanID: UInt8 = 0x12
  private static let traceState: UInt8 = 0x1a
  private static let parentSpanID: UInt8 = 0x22
  private static let name: UInt8 = 0x2a
  private static let kind: UInt8 = 0x30
  private static let startTime: UInt8 = 0x39
  private static let endTime: UInt8 = 0x41
  private static let attribute: UInt8 = 0x4a
  private static let event: UInt8 = 0x5a
  private static let status: UInt8 = 0x7a
  /// Field 16, fixed32: two bytes.
  private static let flags: UInt16 = 0x0185

  /// Bytes kept free for a span's length: a varint of four bytes, however small the number. Up to 256 MiB, which no number of
  /// tags comes near.
  private static let lengthSize = 4

  @inline(__always)
  mutating func begin(_ head: SpanHead, name: Bytes, tracestate: Bytes) {
    let start = output.reserve(96)
    start[0] = Self.spans
    lengthAt = output.count + 1
    var p = start + 1 + Self.lengthSize
    p[0] = Self.traceID
    p[1] = 16
    let raw = UnsafeMutableRawPointer(p)
    raw.storeBytes(of: head.trace.traceIDHigh.bigEndian, toByteOffset: 2, as: UInt64.self)
    raw.storeBytes(of: head.trace.traceIDLow.bigEndian, toByteOffset: 10, as: UInt64.self)
    p[18] = Self.spanID
    p[19] = 8
    raw.storeBytes(of: head.trace.spanID.bigEndian, toByteOffset: 20, as: UInt64.self)
    p += 28
    if head.trace.parentSpanID != 0 {
      p[0] = Self.parentSpanID
      p[1] = 8
      UnsafeMutableRawPointer(p).storeBytes(
        of: head.trace.parentSpanID.bigEndian, toByteOffset: 2, as: UInt64.self)
      p += 10
    }
    p[0] = Self.kind
    p[1] = head.kind.rawValue
    p[2] = Self.startTime
    UnsafeMutableRawPointer(p).storeBytes(of: head.startedAt.littleEndian, toByteOffset: 3, as: UInt64.self)
    output.commit(p + 11 - start)
    // W3C's flags, and whether the parent is known to be elsewhere (SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK and below).
    flags = head.trace.sampled == true ? 0x101 : 0x100
    if head.trace.random { flags |= 2 }
    if head.isParentRemote { flags |= 0x200 }
    append(Self.name, name)
    if !tracestate.isEmpty { append(Self.traceState, tracestate) }
  }

  @inline(__always)
  mutating func tag(_ key: StaticString, _ value: Bytes) {
    if value.count < 64, value.isUTF8 { return tag(key, plain: value) }
    Self.appendLong(Bytes(key), value, to: output)
  }

  /// All lengths are one byte.
  @inline(__always)
  mutating func tag(_ key: StaticString, plain value: Bytes) {
    Self.appendShort(key.utf8Start, key.utf8CodeUnitCount, value, to: output)
  }

  mutating func tag(_ key: Bytes, _ value: Bytes) { Self.append(key, value, to: output) }

  @inline(__always)
  mutating func tags(_ encoded: [UInt8]) { encoded.withUnsafeBufferPointer { output.append($0) } }

  mutating func event(_ name: StaticString, at time: UInt64) {
    // time_unix_nano, then name.
    let name = Bytes(name)
    let start = output.reserve(16 + name.count)
    start[0] = Self.event
    start[1] = UInt8(truncatingIfNeeded: 11 + name.count)
    start[2] = 0x09
    UnsafeMutableRawPointer(start).storeBytes(of: time.littleEndian, toByteOffset: 3, as: UInt64.self)
    start[11] = 0x12
    start[12] = UInt8(truncatingIfNeeded: name.count)
    output.commit(13)
    output.append(name)
  }

  @inline(__always)
  mutating func end(at time: UInt64, isError: Bool) {
    let start = output.reserve(24)
    let raw = UnsafeMutableRawPointer(start)
    start[0] = Self.endTime
    raw.storeBytes(of: time.littleEndian, toByteOffset: 1, as: UInt64.self)
    raw.storeBytes(of: Self.flags.littleEndian, toByteOffset: 9, as: UInt16.self)
    raw.storeBytes(of: flags.littleEndian, toByteOffset: 11, as: UInt32.self)
    output.commit(15)
    if isError {
      // code: STATUS_CODE_ERROR
      start[15] = Self.status
      start[16] = 2
      start[17] = 0x18
      start[18] = 2
      output.commit(4)
    }
    let length = output.count &- lengthAt &- Self.lengthSize
    output[lengthAt] = UInt8(truncatingIfNeeded: length) | 0x80
    output[lengthAt &+ 1] = UInt8(truncatingIfNeeded: length >> 7) | 0x80
    output[lengthAt &+ 2] = UInt8(truncatingIfNeeded: length >> 14) | 0x80
    output[lengthAt &+ 3] = UInt8(truncatingIfNeeded: length >> 21) & 0x7f
  }

  static func encoded(_ tags: [(key: [UInt8], value: [UInt8])]) -> [UInt8] {
    let output = SpanOutput(capacity: 256)
    for (key, value) in tags {
      key.withUnsafeBufferPointer { key in value.withUnsafeBufferPointer { append(key, $0, to: output) } }
    }
    return Array(output.bytes)
  }

  /// A field with text. Text that is no UTF-8 makes the whole message invalid for many readers.
  private func append(_ field: UInt8, _ text: Bytes) { Self.append(field, text, to: output) }

  private static func append(_ field: UInt8, _ text: Bytes, to output: SpanOutput) {
    let text = SpanText.cut(text)
    guard text.isUTF8 else { return SpanText.withRepaired(text) { append(field, $0, to: output) } }
    let start = output.reserve(6)
    start[0] = field
    output.commit(1 &+ writeVarint(text.count, start + 1))
    output.append(text)
  }

  /// `KeyValue{key, value: AnyValue{string_value}}` as an attribute.
  private static func append(_ key: Bytes, _ value: Bytes, to output: SpanOutput) {
    if value.count < 64, key.count < 48, let start = key.baseAddress, value.isUTF8 {
      return appendShort(start, key.count, value, to: output)
    }
    appendLong(key, value, to: output)
  }

  /// The same where key and value have less than 122 bytes together: the most common case by far.
  @inline(__always)
  private static func appendShort(
    _ key: UnsafePointer<UInt8>, _ keyCount: Int, _ value: Bytes, to output: SpanOutput
  ) {
    let room = output.reserve(128)
    let size = keyCount &+ value.count
    let raw = UnsafeMutableRawPointer(room)
    let head = UInt32(attribute) | UInt32(truncatingIfNeeded: size &+ 6) << 8 | 0x0a << 16
    raw.storeBytes(of: (head | UInt32(truncatingIfNeeded: keyCount) << 24).littleEndian, as: UInt32.self)
    Bytes.copyExactly(room + 4, key, keyCount)
    let middle = UInt32(0x12) | UInt32(truncatingIfNeeded: value.count &+ 2) << 8 | 0x0a << 16
    raw.storeBytes(
      of: (middle | UInt32(truncatingIfNeeded: value.count) << 24).littleEndian, toByteOffset: keyCount &+ 4,
      as: UInt32.self)
    if let source = value.baseAddress { Bytes.copyExactly(room + keyCount + 8, source, value.count) }
    output.commit(size &+ 8)
  }

  @inline(never)
  private static func appendLong(_ key: Bytes, _ value: Bytes, to output: SpanOutput) {
    let value = SpanText.cut(value)
    let key = SpanText.cut(key)
    guard value.isUTF8 else { return SpanText.withRepaired(value) { appendLong(key, $0, to: output) } }
    let text = 1 + varintSize(value.count) + value.count
    let pair = 1 + varintSize(key.count) + key.count + 1 + varintSize(text) + text
    let room = output.reserve(pair + 8)
    var p = room
    func field(_ tag: UInt8, _ length: Int) {
      p[0] = tag
      p += 1 + writeVarint(length, p + 1)
    }
    field(attribute, pair)
    field(0x0a, key.count)
    if let source = key.baseAddress { p.update(from: source, count: key.count) }
    p += key.count
    field(0x12, text)
    field(0x0a, value.count)
    if let source = value.baseAddress { p.update(from: source, count: value.count) }
    output.commit(p + value.count - room)
  }

  @inline(__always)
  private static func varintSize(_ number: Int) -> Int { number < 0x80 ? 1 : number < 0x4000 ? 2 : 3 }

  /// - Returns: how many bytes were written: at most 3.
  @inline(__always)
  private static func writeVarint(_ number: Int, _ p: UnsafeMutablePointer<UInt8>) -> Int {
    guard number >= 0x80 else {
      p[0] = UInt8(truncatingIfNeeded: number)
      return 1
    }
    p[0] = UInt8(truncatingIfNeeded: number) | 0x80
    guard number >= 0x4000 else {
      p[1] = UInt8(truncatingIfNeeded: number >> 7)
      return 2
    }
    p[1] = UInt8(truncatingIfNeeded: number >> 7) | 0x80
    p[2] = UInt8(truncatingIfNeeded: number >> 14) & 0x7f
    return 3
  }
}
