import MeshHTTP
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("The PROXY protocol")
struct ProxyHeaderTests {
  private func read(_ bytes: [UInt8]) -> ProxyHeader.Reading { bytes.withUnsafeBufferPointer { ProxyHeader.read($0) } }
  private func read(_ text: String) -> ProxyHeader.Reading { read(Array(text.utf8)) }

  private func addresses(_ source: String, _ destination: String) throws -> ProxyHeader.Addresses {
    .init(source: try #require(SocketAddress(source)), destination: try #require(SocketAddress(destination)))
  }

  private func binary(_ versionAndCommand: UInt8, _ family: UInt8, _ body: [UInt8]) -> [UInt8] {
    ProxyHeader.signatureV2 + [versionAndCommand, family, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
  }

  private static let v4Body: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 0x04, 0x57, 0x08, 0xae]

  @Test("Headers of both versions, split at every byte, with bytes behind them")
  func headers() throws {
    let v4 = try addresses("1.2.3.4:1111", "5.6.7.8:2222")
    let v6 = try addresses("[2001:db8::1]:0", "[::1]:65535")
    let value = ConnectionFindings.TypedValue(type: 2, value: Array("host".utf8))
    let headers = [
      ProxyHeader(version: .v1, addresses: v4), ProxyHeader(version: .v1, addresses: v6),
      ProxyHeader(version: .v1), ProxyHeader(version: .v2, addresses: v4, typedValues: [value]),
      ProxyHeader(version: .v2, addresses: v6, typedValues: [value, .init(type: 0xee, value: [])]),
      ProxyHeader(version: .v2),
    ]
    for header in headers {
      let bytes = header.bytes
      for end in 0..<bytes.count { #expect(read(Array(bytes[..<end])) == .incomplete, "\(header) \(end)") }
      #expect(read(bytes) == .complete(header, bytes.count))
      #expect(read(bytes + [1, 2]) == .complete(header, bytes.count))
    }
    #expect(headers[0].bytes == Array("PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n".utf8))
    #expect(headers[2].bytes == Array("PROXY UNKNOWN\r\n".utf8))
    #expect(headers[3].bytes == binary(0x21, 0x11, Self.v4Body + [2, 0, 4] + Array("host".utf8)))
  }

  @Test("Nothing is told of addresses that do not go together")
  func unknown() throws {
    let mixed = ProxyHeader(version: .v1, addresses: try addresses("1.2.3.4:1", "[::1]:2"))
    #expect(mixed.bytes == Array("PROXY UNKNOWN\r\n".utf8))
    let unix = ProxyHeader.Addresses(source: .unnamedUnix, destination: .unnamedUnix)
    #expect(ProxyHeader(version: .v2, addresses: unix).bytes == binary(0x20, 0, []))
    let mapped = ProxyHeader(version: .v1, addresses: try addresses("[::ffff:1.2.3.4]:1", "5.6.7.8:2"))
    #expect(mapped.bytes == Array("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".utf8))
  }

  @Test("A connection of the proxy's own, with whatever it says")
  func local() {
    #expect(read(binary(0x20, 0x11, Self.v4Body)) == .complete(ProxyHeader(version: .v2), 28))
    #expect(read("PROXY UNKNOWN ffff::1 what ever\r\n") == .complete(ProxyHeader(version: .v1), 33))
  }

  @Test("Lines that break the rules")
  func lines() {
    for line in [
      "TCP4 1.2.3.4 5.6.7.8 1111 65536", "TCP4 1.2.3.4 5.6.7.8 1111", "TCP4 1.2.3.4 5.6.7.8 1111 ",
      "TCP4 1.2.3.4 ::1 1 2",
      "TCP6 1.2.3.4 5.6.7.8 1 2", "TCP4  1.2.3.4 5.6.7.8 1 2", "tcp4 1.2.3.4 5.6.7.8 1 2", "UDP4 1.2.3.4 5.6.7.8 1 2",
      "",
      "TCP4 1.2.3.4 5.6.7.8 +1 2", "TCP4 1.2.3.4 5.6.7.8 1 2 3", "TCP6 fe80::1%2 ::1 1 2",
    ] { #expect(read("PROXY \(line)\r\n") == .malformed(.v1), "\(line)") }
    #expect(read("PROXY UNKNOWN\n") == .malformed(.v1))
    #expect(read("PROXY " + String(repeating: "x", count: 100)) == .incomplete)
    #expect(read("PROXY " + String(repeating: "x", count: 101)) == .malformed(.v1))
  }

  @Test("Binary headers that break the rules")
  func binaries() {
    for bytes in [
      binary(0x31, 0x11, Self.v4Body), binary(0x22, 0x11, Self.v4Body),
      binary(0x21, 0x31, [UInt8](repeating: 0, count: 216)),
      binary(0x21, 0x11, Array(Self.v4Body.dropLast())), binary(0x21, 0x21, Self.v4Body),
      binary(0x21, 0x11, Self.v4Body + [1]), binary(0x21, 0x11, Self.v4Body + [1, 0, 2, 9]),
      binary(0x21, 0x41, Self.v4Body),
    ] { #expect(read(bytes) == .malformed(.v2), "\(bytes)") }
    #expect(read(ProxyHeader.signatureV2 + [0x21, 0x11, 0xff, 0xff]) == .malformed(.v2))
  }

  @Test("What begins differently is no header")
  func absent() {
    for text in ["GET / HTTP/1.1", "PROXX", "P ", "\r\n\r\n ", "hello"] { #expect(read(text) == .absent, "\(text)") }
  }

  @Test("Whatever comes, it is read within its bounds")
  func random() {
    var random = Random(seed: 11)
    for _ in 0..<50_000 {
      var bytes =
        random.next() % 2 == 0
        ? Array("PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n".utf8) : binary(0x21, 0x11, Self.v4Body + [1, 0, 1, 9])
      for _ in 0..<Int(random.next() % 3 + 1) {
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      if case .complete(_, let length) = read(bytes) { #expect(length <= bytes.count) }
    }
  }
}

@Suite("Which HTTP a connection begins with")
struct HTTPPrefaceTests {
  private func read(_ text: String) -> HTTPPreface {
    Array(text.utf8).withUnsafeBufferPointer { HTTPPreface.read($0) }
  }

  @Test("Versions, split at every byte")
  func versions() {
    for (text, expected) in [
      ("GET / HTTP/1.1\r\n", HTTPPreface.http11), ("POST /a?b=c d HTTP/1.0\n", .http10),
      ("\r\nM-SEARCH * HTTP/1.1\r\n", .http11),
      ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .http2),
    ] {
      let bytes = Array(text.utf8)
      for end in 0..<bytes.count {
        #expect(Array(bytes[..<end]).withUnsafeBufferPointer { HTTPPreface.read($0) } == .incomplete, "\(text) \(end)")
      }
      #expect(read(text) == expected)
      #expect(read(text + "host: x\r\n") == expected)
    }
  }

  @Test("What is none")
  func others() {
    for text in [
      "GET /\r\n", "GET / HTTP/1.2\r\n", "GET HTTP/1.1\r\n", " / HTTP/1.1\r\n", "SSH-2.0-OpenSSH\r\n",
      "\u{16}\u{3}\u{1}",
      "GET /\u{1}", "hello\r\n",
    ] { #expect(read(text) == .notHTTP, "\(text)") }
    #expect(read("GET /" + String(repeating: "a", count: 9000)) == .notHTTP)
  }
}
