import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("What a TLS client says first")
struct ClientHelloTests {
  /// As OpenSSL 3 says it: `WWW.Example.com`, `h2` and `http/1.1`.
  static let recorded = hex(
    """
    1603010200010001fc0303daff3f0214a7972dc7685aff3acd54a993abfa714b33e736610a0bd42c03f6172062eb35db370b
    854b31619bfccea45ffee4c7aed83edf9e9a81fbab43c38a8b710024130213031301c02cc030c02bc02fcca9cca8c024c028
    c023c027009f009e006b006700ff0100018f00000014001200000f5757572e4578616d706c652e636f6d000b000403000102
    000a00160014001d0017001e0019001801000101010201030104002300000010000e000c02683208687474702f312e310016
    000000170000000d002a0028040305030603080708080809080a080b08040805080604010501060103030301030204020502
    0602002b00050403040303002d00020101003300260024001d002091923c0c0b4b65e7cca14d741ad8a0d6f55630fe5d6d9c
    ae83479e43f88c9308001500cc00000000000000000000000000000000000000000000000000000000000000000000000000
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
    0000000000000000000000000000000000
    """)

  static func hex(_ text: String) -> [UInt8] {
    let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }

  private func read(_ bytes: [UInt8], limit: Int = 16 * 1024) -> ClientHello.Reading {
    bytes.withUnsafeBufferPointer { ClientHello.read($0, limit: limit) }
  }

  /// A field behind its length.
  private func sized(_ size: Int, _ bytes: [UInt8]) -> [UInt8] {
    (0..<size).reversed().map { UInt8(truncatingIfNeeded: bytes.count >> ($0 * 8)) } + bytes
  }

  private func `extension`(_ type: UInt8, _ content: [UInt8]) -> [UInt8] { [0, type] + sized(2, content) }
  private func name(_ text: String) -> [UInt8] { `extension`(0, sized(2, [0] + sized(2, Array(text.utf8)))) }

  private func message(_ extensions: [UInt8]?) -> [UInt8] {
    let body =
      [3, 3] + [UInt8](repeating: 7, count: 32) + sized(1, []) + sized(2, [0x13, 0x01]) + sized(1, [0])
      + (extensions.map { sized(2, $0) } ?? [])
    return [1] + sized(3, body)
  }

  private func record(_ content: [UInt8]) -> [UInt8] { [22, 3, 1] + sized(2, content) }

  @Test("A real hello, split at every byte")
  func recorded() {
    let expected = ClientHello(serverName: "www.example.com", applicationProtocols: ["h2", "http/1.1"])
    for end in 0..<Self.recorded.count {
      #expect(read(Array(Self.recorded[..<end])) == .incomplete, "\(end) bytes")
    }
    #expect(read(Self.recorded) == .complete(expected))
    #expect(read(Self.recorded + [1, 2, 3]) == .complete(expected))
  }

  @Test("A hello over many records, split at every byte", arguments: [1, 3, 50, 200])
  func records(size: Int) {
    let message = Array(Self.recorded[5...])
    var bytes: [UInt8] = []
    for start in stride(from: 0, to: message.count, by: size) {
      bytes += record(Array(message[start..<min(start + size, message.count)]))
    }
    for end in stride(from: 0, to: bytes.count, by: max(1, 7 / size)) {
      #expect(read(Array(bytes[..<end])) == .incomplete, "\(end) bytes")
    }
    guard case .complete(let hello) = read(bytes) else {
      Issue.record("\(read(bytes))")
      return
    }
    #expect(hello.serverName == "www.example.com")
  }

  @Test("What there need not be")
  func optional() {
    #expect(read(record(message(nil))) == .complete(ClientHello()))
    #expect(read(record(message([]))) == .complete(ClientHello()))
    #expect(read(record(message(name("a.b")))) == .complete(ClientHello(serverName: "a.b")))
  }

  @Test("Other protocols are told by their first bytes")
  func others() {
    for text in ["GET / HTTP/1.1\r\n", "SSH-2.0-x", "PROXY ", "\u{0}"] { #expect(read(Array(text.utf8)) == .notTLS) }
    #expect(read([22, 2]) == .notTLS)
    // A record of the handshake that begins with another message.
    #expect(read([22, 3, 1, 0, 5, 2, 0, 0, 1, 0]) == .notTLS)
  }

  @Test("What breaks the rules is malformed")
  func malformed() {
    let bad: [[UInt8]] = [
      name(""), name("a\u{0}b"), name("ä"), name(String(repeating: "a", count: 256)),
      `extension`(0, []), `extension`(0, [0, 9, 0]), `extension`(16, [0, 0]), `extension`(16, [0, 1, 0]),
      `extension`(16, [0, 3, 5, 1, 1]), [0, 0, 0], [0, 0, 0, 9],
      `extension`(0, sized(2, [0] + sized(2, [97]) + [0] + sized(2, [98]))),
    ]
    for extensions in bad { #expect(read(record(message(extensions))) == .malformed, "\(extensions)") }
    var trailing = message(name("a"))
    trailing[3] &+= 1
    #expect(read(record(trailing + [0])) == .malformed)
  }

  @Test("A hello that is too long is not waited for")
  func tooLarge() {
    #expect(read([22, 3, 1, 0x40, 0, 1, 0, 0x40, 0]) == .tooLarge)
    #expect(read([22, 3, 1, 0x40, 0, 1, 0, 0x40, 0], limit: 17 * 1024) == .incomplete)
    #expect(read(Array(Self.recorded), limit: 300) == .tooLarge)
    // Records of one byte make little of many bytes.
    let message = Array(Self.recorded[5...])
    let bytes = message.flatMap { record([$0]) }
    #expect(read(bytes, limit: 1024) == .tooLarge)
  }

  @Test("Whatever comes, it is read within its bounds")
  func random() {
    var random = Random(seed: 7)
    var kinds: Set<String> = []
    for _ in 0..<50_000 {
      var bytes = Self.recorded
      for _ in 0..<Int(random.next() % 4 + 1) {
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      if random.next() % 4 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
      kinds.insert("\(read(bytes))".prefix(6).description)
    }
    #expect(kinds.count >= 4, "\(kinds)")
  }
}
