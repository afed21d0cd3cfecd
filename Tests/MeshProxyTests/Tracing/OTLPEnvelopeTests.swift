import MeshConfig
import Testing

@testable import MeshProxy

@Suite("The message around spans")
struct OTLPEnvelopeTests {
  /// The fields of a message, in order: number and content.
  private func fields(_ message: [UInt8]) -> [(number: Int, content: [UInt8])] {
    message.withUnsafeBytes { bytes in
      var reader = WireReader(bytes)
      var fields: [(number: Int, content: [UInt8])] = []
      while let (number, value) = reader.next() {
        guard case .bytes(let content) = value else { break }
        fields.append((number, Array(content)))
      }
      return reader.isMalformed ? [] : fields
    }
  }

  private func only(_ message: [UInt8], _ number: Int) throws -> [UInt8] {
    let found = fields(message).filter { $0.number == number }
    try #require(found.count == 1)
    return found[0].content
  }

  @Test("byte by byte")
  func bytes() {
    let envelope = OTLPEnvelope(attributes: [("a", "b")], scope: "s", version: "1")
    let resource: [UInt8] = [0x0a, 10, 0x0a, 8, 0x0a, 1, 0x61, 0x12, 3, 0x0a, 1, 0x62]
    let scopeSpans: [UInt8] = [0x12, 10, 0x0a, 6, 0x0a, 1, 0x73, 0x12, 1, 0x31, 0x12, 0]
    #expect(
      envelope.message(of: [SpanBatch(bytes: [0x12, 0], count: 1)])
        == [0x0a, UInt8(resource.count + scopeSpans.count)] + resource + scopeSpans)
  }

  @Test(
    "lengths hold at the edges of their varints",
    arguments: [0, 1, 100, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152])
  func lengths(_ size: Int) throws {
    let value = String(repeating: "v", count: min(size, 20_000))
    let envelope = OTLPEnvelope(attributes: [("name", value), ("b", "")], scope: "martlet", version: "1.2.3")
    // One field of unknown meaning that fills the size, in two batches.
    let span: [UInt8] = [0x12, 1, 7]
    let batches = (0..<2).map { SpanBatch(bytes: Array(repeatElement(span, count: size / 6 + $0).joined()), count: 1) }
    let message = envelope.message(of: batches)
    let resourceSpans = try only(message, 1)
    #expect(fields(message).count == 1)
    let attributes = try fields(only(resourceSpans, 1))
    #expect(attributes.map(\.number) == [1, 1])
    #expect(try only(attributes[0].content, 1) == Array("name".utf8))
    #expect(try only(only(attributes[0].content, 2), 1) == Array(value.utf8))
    let scopeSpans = try only(resourceSpans, 2)
    let scope = try only(scopeSpans, 1)
    #expect(try only(scope, 1) == Array("martlet".utf8))
    #expect(try only(scope, 2) == Array("1.2.3".utf8))
    #expect(fields(scopeSpans).filter { $0.number == 2 }.count == size / 6 * 2 + 1)
  }

  @Test("Zipkin's list has commas between batches, too")
  func list() {
    func list(_ texts: [String]) -> String {
      String(decoding: SpanCollector.list(of: texts.map { SpanBatch(bytes: Array($0.utf8), count: 1) }), as: UTF8.self)
    }
    #expect(list([]) == "[]")
    #expect(list(["{}"]) == "[{}]")
    #expect(list(["{},{}", "{}"]) == "[{},{},{}]")
  }
}
