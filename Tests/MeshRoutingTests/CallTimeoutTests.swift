import MeshPrimitives
import Testing

@testable import MeshRouting

@Suite("How long a call may take")
struct CallTimeoutTests {
  @Test(arguments: [
    ("1H", 3600_000), ("2M", 120_000), ("3S", 3000), ("4m", 4), ("1500u", 1), ("5000u", 5), ("7n", 1), ("0S", 1),
    ("99999999m", 99_999_999),
  ])
  func values(_ text: String, _ milliseconds: UInt64) throws {
    let parsed = try #require(Array(text.utf8).withUnsafeBufferPointer { CallTimeout.parse($0) })
    #expect(parsed.wholeMilliseconds == milliseconds)
  }

  /// gRPC over HTTP/2: at most eight digits, then a unit.
  @Test(arguments: ["", "S", "1", "1s", "1h", "-1S", "+1S", "1 S", "123456789S", "1SS", "0x1S"])
  func none(_ text: String) { #expect(Array(text.utf8).withUnsafeBufferPointer { CallTimeout.parse($0) } == nil) }

  @Test func longestFitsADeadline() {
    let longest = Array("99999999H".utf8).withUnsafeBufferPointer { CallTimeout.parse($0) }
    #expect(longest.map { $0.rawValue <= .max / 4 } == true)
  }

  @Test func limits() {
    let stream = CallTimeout(kind: .stream, maximum: .seconds(10), offset: .seconds(1))
    #expect(stream.limit(.seconds(5)) == .seconds(4))
    #expect(stream.limit(.seconds(50)) == .seconds(10))
    // Nothing would be left.
    #expect(stream.limit(.milliseconds(500)) == .milliseconds(500))
    #expect(stream.limit(nil) == nil)
    let response = CallTimeout(kind: .response, maximum: .seconds(10), offset: .zero)
    #expect(response.limit(nil) == .seconds(10))
    #expect(CallTimeout(kind: .response, maximum: .zero, offset: .zero).limit(nil) == nil)
    #expect(CallTimeout(kind: .stream, maximum: .zero, offset: .zero).limit(.seconds(500)) == .seconds(500))
  }
}
