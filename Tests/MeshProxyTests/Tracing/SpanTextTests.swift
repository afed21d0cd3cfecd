import MeshConfig
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Text in spans, whatever peers send")
struct SpanTextTests {
  /// What a writer makes of a value that a peer has chosen: as the span's name, and as a tag.
  private func otlp(_ value: [UInt8]) -> [UInt8] {
    let output = SpanOutput(capacity: 16)
    var writer = OTLPSpanWriter(output)
    write(value, &writer)
    return Array(output.bytes)
  }

  private func zipkin(_ value: [UInt8]) -> [UInt8] {
    let output = SpanOutput(capacity: 16)
    var writer = ZipkinProtobufSpanWriter(
      output, .init(serviceName: "shop", address: IPAddress("2001:db8::1")))
    write(value, &writer)
    return Array(output.bytes)
  }

  private func write<Writer: SpanWriter>(_ value: [UInt8], _ writer: inout Writer) {
    var trace = TraceContext()
    trace.traceIDLow = 1
    trace.spanID = 2
    value.withUnsafeBufferPointer { value in
      writer.begin(
        SpanHead(trace: trace, kind: .server, startedAt: 5_000_000), name: value, tracestate: Bytes(""))
      writer.tag("k", value)
    }
    writer.end(at: 8_000_000, isError: false)
  }

  /// The content of a field in the one span that `bytes` has.
  private func field(_ number: Int, of bytes: [UInt8], in list: Int) -> [UInt8]? {
    func find(_ number: Int, _ message: [UInt8]) -> [UInt8]? {
      message.withUnsafeBytes { raw in
        var reader = WireReader(raw)
        var found: [UInt8]?
        while let (at, value) = reader.next() {
          if at == number, case .bytes(let content) = value { found = Array(content) }
        }
        return reader.isMalformed ? nil : found
      }
    }
    return find(list, bytes).flatMap { find(number, $0) }
  }

  private func varint(_ number: Int) -> [UInt8] {
    number < 0x80 ? [UInt8(number)] : [UInt8(truncatingIfNeeded: number) | 0x80] + varint(number >> 7)
  }

  private static let hostile: [[UInt8]] = [
    [], Array("plain".utf8), Array(repeating: 0xff, count: 1), Array(repeating: 0xff, count: 30_000),
    Array(repeating: 0x80, count: 100_000), Array(repeating: 0x61, count: 65_537),
    [0x61] + Array(Array(repeating: "€", count: 30_000).joined().utf8),
    Array(Array(repeating: "🙂", count: 16_384).joined().utf8) + [0xf0], Array(repeating: 0xe2, count: 65_536),
  ]

  @Test("is UTF-8 and bounded, and lengths hold", arguments: hostile.indices)
  func texts(_ index: Int) throws {
    let text = Self.hostile[index]
    for (bytes, name, tag, list) in [(otlp(text), 5, 9, 2), (zipkin(text), 5, 11, 1)] {
      let written = field(name, of: bytes, in: list) ?? []
      #expect(written.withUnsafeBufferPointer { $0.isUTF8 })
      #expect(written.count <= SpanText.maximum && written.isEmpty == text.isEmpty)
      guard !text.isEmpty else { continue }
      // The value: by OTLP in a message of its own.
      let pair = try #require(field(tag, of: bytes, in: list))
      let value = list == 2 ? field(1, of: pair, in: 2) : field(2, of: [0x0a] + varint(pair.count) + pair, in: 1)
      #expect(value == written)
    }
    let json = SpanOutput(capacity: 1)
    text.withUnsafeBufferPointer { json.append(jsonString: $0) }
    #expect(json.bytes.isUTF8 && json.count <= SpanText.maximum + 2)
  }

  @Test("Zipkin's protobuf, byte by byte")
  func zipkinBytes() {
    let endpoint: [UInt8] =
      [0x42, 24, 0x0a, 4] + Array("shop".utf8) + [0x1a, 16, 0x20, 0x01, 0x0d, 0xb8] + Array(repeating: 0, count: 11) + [
        1
      ]
    func number(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) } }
    let span: [UInt8] =
      [0x0a, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0x20, 2, 0x2a, 1, 0x78, 0x31] + number(5_000)
      + endpoint + [0x5a, 6, 0x0a, 1, 0x6b, 0x12, 1, 0x78] + [0x52, 13, 0x09] + number(8_000) + [0x12, 2, 0x73, 0x73]
      + [0x38, 0xb8, 0x17]
    #expect(zipkin([0x78]) == [0x0a, UInt8(span.count) | 0x80, 0x80, 0x80, 0] + span)
    let v4 = ZipkinProtobufSpanWriter.Format(serviceName: "", address: IPAddress(v4: 0x0102_0304))
    #expect(v4.localEndpoint == [0x42, 6, 0x12, 4, 1, 2, 3, 4])
    #expect(
      ZipkinProtobufSpanWriter.encoded([([0x61], []), ([0x62], [0x63])]) == [0x5a, 6, 0x0a, 1, 0x62, 0x12, 1, 0x63])
  }
}
