import MeshPrimitives
import Testing

@Suite struct HexTests {
  @Test func writesAndReadsBack() {
    var random = Random(seed: 1)
    for _ in 0..<10_000 {
      let value = random.next() >> random.below(64)
      var digits = [UInt8](repeating: 0, count: 16)
      digits.withUnsafeMutableBufferPointer { Hex.write(value, into: $0.baseAddress!) }
      let text = String(value, radix: 16)
      #expect(String(decoding: digits, as: UTF8.self) == String(repeating: "0", count: 16 - text.count) + text)
      var back: UInt64 = 0
      let valid = digits.withUnsafeBufferPointer { Hex.read($0.baseAddress!, into: &back) }
      #expect(valid && back == value)
    }
  }

  @Test func everyByteInEveryPlace() {
    for position in 0..<16 {
      for byte in UInt8.min ... .max {
        var digits = Array("0123456789abcdef".utf8)
        digits[position] = byte
        var value: UInt64 = 0
        let lower = digits.withUnsafeBufferPointer { Hex.read($0.baseAddress!, into: &value) }
        let either = digits.withUnsafeBufferPointer { Hex.read($0.baseAddress!, into: &value, upperCase: true) }
        let isLower = (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
        let isUpper = (0x41...0x46).contains(byte)
        #expect(lower == isLower && either == (isLower || isUpper), "byte \(byte) at \(position)")
        if isUpper || isLower {
          #expect(value == UInt64(String(decoding: digits, as: UTF8.self), radix: 16))
        }
      }
    }
  }
}
