import MeshPrimitives

/// Writes spans as Zipkin's API has them in protobuf (version 2, `zipkin.proto3`): each as a field `spans` of `ListOfSpans`, so
/// that a run of them is the list. Confined to the worker.
struct ZipkinProtobufSpanWriter: SpanWriter {
  /// What every span of a provider says of the proxy itself: the field `local_endpoint`, as it is sent.
  struct Format: Sendable {
    let localEndpoint: [UInt8]

    /// - Parameters:
    ///   - serviceName: may be empty.
    ///   - address: of this host; nil: not known.
    init(serviceName: String, address: IPAddress?) {
      let output = SpanOutput(capacity: 128)
      // Service name, IPv4 and IPv6 address as bytes; no port, as in Envoy: a proxy has no one port.
      if !serviceName.isEmpty {
        Array(serviceName.utf8).withUnsafeBufferPointer { ZipkinProtobufSpanWriter.append(0x0a, $0, to: output) }
      }
      if let address {
        let isV4 = address.family == .v4
        output.append(isV4 ? 0x12 : 0x1a)
        output.append(isV4 ? 4 : 16)
        let words: [UInt64] = isV4 ? [UInt64(address.v4Bits ?? 0) << 32] : [address.high, address.low]
        for byte in 0..<(isV4 ? 4 : 16) {
          output.append(UInt8(truncatingIfNeeded: words[byte / 8] >> UInt64(56 - byte % 8 * 8)))
        }
      }
      let field = SpanOutput(capacity: 128)
      ZipkinProtobufSpanWriter.append(ZipkinProtobufSpanWriter.endpoint, output.bytes, to: field)
      localEndpoint = Array(field.bytes)
    }
  }

  private let output: SpanOutput
  private let format: Format
  private var startedAt: UInt64 = 0
  private var kind = SpanKind.server
  /// Where the length of the span goes that is being written.
  private var lengthAt = 0

  init(_ output: SpanOutput, _ format: Format) {
    self.output = output
    self.format = format
  }

  // Tags of fields (number << 3 | wire type).
  private static let endpoint: UInt8 = 0x42
  private static let name: UInt8 = 0x2a
  private static let tag: UInt8 = 0x5a
  private static let annotation: UInt8 = 0x52
  /// Bytes kept free for a span's length: a varint of four bytes, however small the number.
  private static let lengthSize = 4

  mutating func begin(_ head: SpanHead, name: Bytes, tracestate: Bytes) {
    let trace = head.trace
    output.append(0x0a)
    lengthAt = output.count
    _ = output.reserve(Self.lengthSize)
    output.commit(Self.lengthSize)
    output.append(0x0a)
    output.append(trace.traceIDHigh == 0 ? 8 : 16)
    if trace.traceIDHigh != 0 { append(fixed: trace.traceIDHigh.bigEndian) }
    append(fixed: trace.traceIDLow.bigEndian)
    if trace.parentSpanID != 0 { append(0x12, identifier: trace.parentSpanID) }
    append(0x1a, identifier: trace.spanID)
    output.append(0x20)
    output.append(head.kind == .client ? 1 : 2)
    if !name.isEmpty { Self.append(text: name, to: output) }
    output.append(0x31)
    append(fixed: (head.startedAt / 1_000).littleEndian)
    format.localEndpoint.withUnsafeBufferPointer { output.append($0) }
    if head.isShared {
      output.append(0x68)
      output.append(1)
    }
    startedAt = head.startedAt
    kind = head.kind
  }

  mutating func tag(_ key: StaticString, _ value: Bytes) { tag(Bytes(key), value) }
  mutating func tag(_ key: StaticString, plain value: Bytes) { tag(Bytes(key), value) }
  mutating func tag(_ key: Bytes, _ value: Bytes) { Self.append(tag: key, value, to: output) }
  mutating func tags(_ encoded: [UInt8]) { encoded.withUnsafeBufferPointer { output.append($0) } }

  /// An annotation; its name has at most 100 bytes.
  mutating func event(_ name: StaticString, at time: UInt64) {
    let name = Bytes(name)
    output.append(Self.annotation)
    output.append(UInt8(truncatingIfNeeded: 11 + name.count))
    output.append(0x09)
    append(fixed: (time / 1_000).littleEndian)
    Self.append(0x12, name, to: output)
  }

  /// A failure is the tag `error`, which whoever writes tags has written.
  mutating func end(at time: UInt64, isError: Bool) {
    // "Server send", "client receive": what Envoy notes at the end.
    event(kind == .server ? "ss" : "cr", at: time)
    output.append(0x38)
    // Zipkin takes 0 for no duration at all.
    Self.append(varint: max(1, time / 1_000 &- min(time, startedAt) / 1_000), to: output)
    var rest = UInt64(output.count &- lengthAt &- Self.lengthSize)
    for place in 0..<Self.lengthSize {
      output[lengthAt &+ place] = UInt8(truncatingIfNeeded: rest) & 0x7f | (place < Self.lengthSize - 1 ? 0x80 : 0)
      rest >>= 7
    }
  }

  static var leavesOutUncommonMethods: Bool { false }

  static func encoded(_ tags: [(key: [UInt8], value: [UInt8])]) -> [UInt8] {
    let output = SpanOutput(capacity: 256)
    for (key, value) in tags {
      key.withUnsafeBufferPointer { key in value.withUnsafeBufferPointer { append(tag: key, $0, to: output) } }
    }
    return Array(output.bytes)
  }

  // MARK: Fields

  @inline(__always)
  private func append(fixed number: UInt64) {
    UnsafeMutableRawPointer(output.reserve(8)).storeBytes(of: number, as: UInt64.self)
    output.commit(8)
  }

  private func append(_ field: UInt8, identifier: UInt64) {
    output.append(field)
    output.append(8)
    append(fixed: identifier.bigEndian)
  }

  private static func append(varint number: UInt64, to output: SpanOutput) {
    var rest = number
    while rest >= 0x80 {
      output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    output.append(UInt8(truncatingIfNeeded: rest))
  }

  /// A field with bytes.
  private static func append(_ field: UInt8, _ bytes: Bytes, to output: SpanOutput) {
    output.append(field)
    append(varint: UInt64(bytes.count), to: output)
    output.append(bytes)
  }

  /// The field `name`.
  private static func append(text: Bytes, to output: SpanOutput) {
    let text = SpanText.cut(text)
    guard text.isUTF8 else { return SpanText.withRepaired(text) { append(name, $0, to: output) } }
    append(name, text, to: output)
  }

  /// An entry of the map `tags`; a value that is nothing is left out, as in Envoy's JSON.
  private static func append(tag key: Bytes, _ value: Bytes, to output: SpanOutput) {
    guard !value.isEmpty else { return }
    let key = SpanText.cut(key)
    let value = SpanText.cut(value)
    guard value.isUTF8 else { return SpanText.withRepaired(value) { append(entry: key, $0, to: output) } }
    append(entry: key, value, to: output)
  }

  private static func append(entry key: Bytes, _ value: Bytes, to output: SpanOutput) {
    let size = 2 + key.count + value.count + varintSize(key.count) + varintSize(value.count)
    output.append(tag)
    append(varint: UInt64(size), to: output)
    append(0x0a, key, to: output)
    append(0x12, value, to: output)
  }

  private static func varintSize(_ number: Int) -> Int { number < 0x80 ? 1 : number < 0x4000 ? 2 : 3 }
}
