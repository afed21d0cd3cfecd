import MeshPrimitives
import Testing

@testable import MeshHTTP

@Suite("Messages in a body of gRPC")
struct GRPCFrameScannerTests {
  private static let body: [UInt8] =
    GRPCFrameScanner.head(length: 3) + [1, 2, 3] + GRPCFrameScanner.head(length: 0)
    + GRPCFrameScanner.head(length: 300, flags: 1) + [UInt8](repeating: 7, count: 300)

  /// What a scanner finds in pieces of a body: where messages begin and end.
  private func scan(_ pieces: [ArraySlice<UInt8>]) -> (begins: [Int], ends: [Int], bytes: [UInt8]) {
    var scanner = GRPCFrameScanner()
    var begins: [Int] = []
    var ends: [Int] = []
    var bytes: [UInt8] = []
    for piece in pieces {
      Array(piece).withUnsafeBufferPointer { piece in
        var rest = piece
        while rest.count > 0 {
          let frame = scanner.next(&rest)
          if frame.begins { begins.append(bytes.count) }
          bytes += frame.run
          if frame.ends { ends.append(bytes.count) }
          #expect(scanner.isInMessage != frame.ends)
        }
      }
    }
    return (begins, ends, bytes)
  }

  @Test func split() {
    for cut in 0...Self.body.count {
      let found = scan([Self.body[..<cut], Self.body[cut...]])
      #expect(found.begins == [0, 8, 13])
      #expect(found.ends == [8, 13, 318])
      #expect(found.bytes == Self.body)
    }
    #expect(scan(Self.body.indices.map { Self.body[$0...$0] }).ends == [8, 13, 318])
  }

  @Test func counts() {
    var scanner = GRPCFrameScanner()
    let counts = Self.body.withUnsafeBufferPointer { body in
      [body.slice(0, 9), body.slice(9, 100), body.slice(109, body.count - 109)].map { scanner.countMessages($0) }
    }
    #expect(counts == [2, 1, 0])
    // The longest that can be said, and no more than its head of it.
    var long = GRPCFrameScanner()
    let count = GRPCFrameScanner.head(length: .max).withUnsafeBufferPointer { long.countMessages($0) }
    #expect(count == 1)
    #expect(long.isInMessage)
  }
}
