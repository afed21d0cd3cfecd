import MeshPrimitives
import MeshProxy
import Testing

@Suite struct RequestIDTests {
  static func make(_ high: UInt64, _ low: UInt64, _ reason: TraceReason = .notTraced) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: RequestID.length) { buffer in
      RequestID.write(high, low, reason: reason, into: buffer.baseAddress!)
      return Bytes(buffer).text
    }
  }

  static func reason(_ text: String) -> TraceReason? {
    Array(text.utf8).withUnsafeBufferPointer { RequestID.reason(of: $0) }
  }

  @Test func layout() {
    #expect(Self.make(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210) == "01234567-89ab-4def-bedc-ba9876543210")
    #expect(Self.make(0, 0) == "00000000-0000-4000-8000-000000000000")
    #expect(Self.make(.max, .max, .sampled) == "ffffffff-ffff-9fff-bfff-ffffffffffff")
  }

  @Test func reasons() {
    for reason in [TraceReason.notTraced, .sampled, .forced, .clientTraceID] {
      #expect(Self.reason(Self.make(1, 2, reason)) == reason)
    }
    #expect(Self.reason("e1a30323-9afc-972c-97c9-f42c9c4c4637") == .sampled)
    #expect(Self.reason("E1A30323-9AFC-A72C-97C9-F42C9C4C4637") == .forced)
    #expect(Self.reason("e1a30323-9afc-772c-97c9-f42c9c4c4637") == .notTraced)
  }

  @Test(arguments: [
    "", "mine", "e1a30323-9afc-972c-97c9-f42c9c4c463", "e1a30323-9afc-972c-97c9-f42c9c4c46377",
    "e1a30323-9afc-972c-97c9-f42c9c4c463g", "e1a30323_9afc-972c-97c9-f42c9c4c4637",
    "e1a303239afc-972c-97c9-f42c9c4c46370-", "-1a30323-9afc-972c-97c9-f42c9c4c4637",
  ])
  func noUUID(text: String) {
    #expect(Self.reason(text) == nil)
    var bytes = Array(text.utf8)
    let set = bytes.withUnsafeMutableBufferPointer { RequestID.setReason(.forced, in: $0) }
    #expect(!set && bytes == Array(text.utf8))
  }

  @Test func theReasonOfASuppliedIDIsReplaced() {
    var bytes = Array("11111111-2222-4234-8888-123456789abc".utf8)
    let set = bytes.withUnsafeMutableBufferPointer { RequestID.setReason(.sampled, in: $0) }
    #expect(set && String(decoding: bytes, as: UTF8.self) == "11111111-2222-9234-8888-123456789abc")
  }

  @Test func manyAreDistinct() {
    var random = Random(seed: 5)
    var seen: Set<String> = []
    for _ in 0..<10_000 {
      let id = Self.make(random.next(), random.next())
      #expect(Self.reason(id) == .notTraced)
      seen.insert(id)
    }
    #expect(seen.count == 10_000)
  }
}
