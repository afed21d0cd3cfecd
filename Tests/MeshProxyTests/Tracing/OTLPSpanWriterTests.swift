import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

/// What is written is read back by a reader of protobuf of the test's own, which knows nothing of the writer.
@Suite("Spans as OTLP has them")
struct OTLPSpanWriterTests {
  /// A field of a message.
  private enum Value: Equatable {
    case number(UInt64)
    case bytes([UInt8])
  }

  private func fields(_ bytes: ArraySlice<UInt8>) throws -> [(number: Int, value: Value)] {
    var rest = bytes
    func varint() throws -> UInt64 {
      var result: UInt64 = 0
      for shift in stride(from: UInt64(0), to: 64, by: 7) {
        let next = rest.popFirst()
        let byte = try #require(next)
        result |= UInt64(byte & 0x7f) << shift
        if byte < 0x80 { return result }
      }
      Issue.record("a varint without an end")
      return 0
    }
    func fixed(_ count: Int) throws -> UInt64 {
      try #require(rest.count >= count)
      let result = rest.prefix(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      rest = rest.dropFirst(count)
      return result
    }
    var result: [(number: Int, value: Value)] = []
    while !rest.isEmpty {
      let tag = try varint()
      let number = Int(tag >> 3)
      switch tag & 7 {
      case 0: result.append((number, .number(try varint())))
      case 1: result.append((number, .number(try fixed(8))))
      case 5: result.append((number, .number(try fixed(4))))
      default:
        let length = Int(try varint())
        try #require(rest.count >= length)
        result.append((number, .bytes(Array(rest.prefix(length)))))
        rest = rest.dropFirst(length)
      }
    }
    return result
  }

  private struct Span {
    var fields: [(number: Int, value: Value)] = []
    var tags: [(key: String, value: String)] = []
    func bytes(_ number: Int) -> [UInt8]? {
      for field in fields where field.number == number { if case .bytes(let bytes) = field.value { return bytes } }
      return nil
    }
    func number(_ number: Int) -> UInt64? {
      for field in fields where field.number == number { if case .number(let value) = field.value { return value } }
      return nil
    }
  }

  /// What a run of spans is, decoded.
  private func spans(_ body: (inout OTLPSpanWriter) -> Void) throws -> [Span] {
    let output = SpanOutput(capacity: 1)
    var writer = OTLPSpanWriter(output)
    body(&writer)
    return try fields(Array(output.bytes)[...]).map { field in
      #expect(field.number == 2)
      guard case .bytes(let bytes) = field.value else {
        Issue.record("no message")
        return Span()
      }
      var span = Span(fields: try fields(bytes[...]))
      for field in span.fields where field.number == 9 {
        guard case .bytes(let pair) = field.value else { continue }
        let parts = try fields(pair[...])
        guard case .bytes(let key)? = parts.first?.value, case .bytes(let any)? = parts.last?.value,
          let text = try fields(any[...]).first, case .bytes(let value) = text.value
        else {
          Issue.record("no attribute")
          continue
        }
        #expect(parts.map(\.number) == [1, 2] && text.number == 1)
        span.tags.append((String(decoding: key, as: UTF8.self), try #require(String(validating: value, as: UTF8.self))))
      }
      return span
    }
  }

  private func head(_ change: (inout SpanHead) -> Void = { _ in }) -> SpanHead {
    var trace = TraceContext()
    trace.traceIDHigh = 0x0102_0304_0506_0708
    trace.traceIDLow = 0x1112_1314_1516_1718
    trace.spanID = 0x2122_2324_2526_2728
    trace.sampled = true
    var head = SpanHead(trace: trace, kind: .server, startedAt: 1_700_000_000_123_456_789)
    change(&head)
    return head
  }

  private func withBytes(_ text: [UInt8], _ body: (Bytes) -> Void) { text.withUnsafeBufferPointer(body) }

  @Test func aRoot() throws {
    let span = try #require(
      spans { writer in
        writer.begin(head(), name: Bytes("ingress"), tracestate: Bytes(""))
        writer.tag("http.method", "GET")
        writer.tag("response_size", number: 1_234_567)
        writer.end(at: 1_700_000_000_999_000_000, isError: false)
      }.first)
    #expect(span.bytes(1) == [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18])
    #expect(span.bytes(2) == [0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28])
    #expect(span.bytes(3) == nil && span.bytes(4) == nil && span.bytes(15) == nil)
    #expect(span.bytes(5) == Array("ingress".utf8))
    #expect(span.number(6) == 2)
    #expect(span.number(7) == 1_700_000_000_123_456_789 && span.number(8) == 1_700_000_000_999_000_000)
    #expect(span.number(16) == 0x101)
    #expect(span.tags.map(\.key) == ["http.method", "response_size"])
    #expect(span.tags.map(\.value) == ["GET", "1234567"])
  }

  @Test func aFailedCallWithinATrace() throws {
    let span = try #require(
      spans { writer in
        let head = head {
          $0.trace.parentSpanID = 7
          $0.trace.random = true
          $0.trace.sampled = false
          $0.kind = .client
          $0.isParentRemote = true
        }
        writer.begin(head, name: Bytes("n"), tracestate: Bytes("a=b,c=d"))
        writer.event("first_upstream_tx_byte_sent", at: 99)
        writer.end(at: 100, isError: true)
      }.first)
    #expect(span.bytes(3) == Array("a=b,c=d".utf8))
    #expect(span.bytes(4) == [0, 0, 0, 0, 0, 0, 0, 7])
    #expect(span.number(6) == 3)
    #expect(span.number(16) == 0x302)
    #expect(try fields(#require(span.bytes(15))[...]).map(\.value) == [.number(2)])
    let event = try fields(#require(span.bytes(11))[...])
    #expect(event.map(\.value) == [.number(99), .bytes(Array("first_upstream_tx_byte_sent".utf8))])
  }

  /// Each length around those where the form of a length changes, for keys and values.
  @Test func lengths() throws {
    for size in [0, 1, 15, 16, 17, 47, 48, 63, 64, 121, 122, 127, 128, 129, 16_383, 16_384, 65_536] {
      let value = [UInt8](repeating: UInt8(ascii: "v"), count: size)
      let key = [UInt8](repeating: UInt8(ascii: "k"), count: min(max(size, 1), 300))
      let all = try spans { writer in
        writer.begin(head(), name: Bytes("n"), tracestate: Bytes(""))
        withBytes(value) { writer.tag("plain", $0) }
        withBytes(key) { key in withBytes(value) { writer.tag(key, $0) } }
        writer.end(at: 1, isError: false)
        writer.begin(head(), name: Bytes("second"), tracestate: Bytes(""))
        writer.end(at: 2, isError: false)
      }
      #expect(all.count == 2 && all[1].bytes(5) == Array("second".utf8))
      #expect(all[0].tags.map(\.value.utf8.count) == [size, size], "\(size)")
      #expect(all[0].tags[1].key.utf8.count == key.count)
    }
  }

  /// Values longer than any head are cut; a span with very many of them keeps its length.
  @Test func giants() throws {
    let value = [UInt8](repeating: UInt8(ascii: "v"), count: 200_000)
    let span = try #require(
      spans { writer in
        withBytes(value) { writer.begin(head(), name: $0, tracestate: $0) }
        withBytes(value) { text in for _ in 0..<40 { writer.tag(text, text) } }
        writer.end(at: 1, isError: false)
      }.first)
    #expect(span.tags.count == 40)
    #expect(span.tags.allSatisfy { $0.value.utf8.count == 65_536 && $0.key.utf8.count == 65_536 })
    #expect(span.bytes(5)?.count == 65_536 && span.bytes(3)?.count == 65_536)
  }

  @Test("bytes that are no UTF-8 do not spoil the message", arguments: [1, 8, 40, 63, 64, 200])
  func hostileText(_ size: Int) throws {
    var random = Random(seed: UInt64(size))
    for _ in 0..<200 {
      let value = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let span = try #require(
        spans { writer in
          withBytes(value) { writer.begin(head(), name: $0, tracestate: $0) }
          withBytes(value) { writer.tag("user_agent", $0) }
          writer.end(at: 1, isError: false)
        }.first)
      #expect(span.tags.first?.value == String(decoding: value, as: UTF8.self))
      #expect(span.bytes(5).flatMap { String(validating: $0, as: UTF8.self) } != nil)
      #expect(span.bytes(3).flatMap { String(validating: $0, as: UTF8.self) } != nil)
    }
  }

  @Test func whatWasWrittenBeforeIsTheSame() throws {
    let encoded = OTLPSpanWriter.encoded([(Array("a".utf8), Array("1".utf8)), (Array("b".utf8), [])])
    let span = try #require(
      spans { writer in
        writer.begin(head(), name: Bytes("n"), tracestate: Bytes(""))
        writer.tags(encoded)
        writer.tag("c", number: 0)
        writer.end(at: 1, isError: false)
      }.first)
    #expect(span.tags.map(\.key) == ["a", "b", "c"])
    #expect(span.tags.map(\.value) == ["1", "", "0"])
  }

  @Test(arguments: [0, 9, 10, 99, 100, 12_345, UInt64.max, 9_999_999_999_999_999_999, 10_000_000_000_000_000_000])
  func decimals(_ number: UInt64) {
    let digits = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { room -> String in
      guard let base = room.baseAddress else { return "" }
      return String(decoding: room.prefix(DecimalDigits.write(number, into: base)), as: UTF8.self)
    }
    #expect(digits == "\(number)")
  }
}
