import Glibc
import MeshPrimitives
import MeshTesting
import Testing

@Suite("Addresses")
struct AddressTests {
  private static func system(_ family: Int32, _ text: String) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: family == AF_INET ? 4 : 16)
    return inet_pton(family, text, &bytes) == 1 ? bytes : nil
  }

  private static func systemText(_ bytes: [UInt8]) -> String {
    var buffer = [CChar](repeating: 0, count: 64)
    guard inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &buffer, 64) != nil else { return "" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private static func bytes(_ address: IPAddress) -> [UInt8] {
    let all =
      (0..<8).map { UInt8(truncatingIfNeeded: address.high >> (56 - 8 * UInt64($0))) }
      + (0..<8).map { UInt8(truncatingIfNeeded: address.low >> (56 - 8 * UInt64($0))) }
    return address.family == .v4 ? Array(all[12...]) : all
  }

  @Test(
    "reading agrees with the system, for good and bad text",
    arguments: [
      "127.0.0.1", "0.0.0.0", "255.255.255.255", "1.2.3.4", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.04",
      "1..2.3",
      ".1.2.3.4", "1.2.3.4.", " 1.2.3.4", "1.2.3.4 ", "0x1.2.3.4", "1.2.3.1000", "", ".", "...", "a.b.c.d", "1.2.3.-4",
      "+1.2.3.4",
      "::", "::1", "1::", "::1:2", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::8", "1:2:3::6:7:8",
      "fe80::1",
      "FE80::ABCD", "::ffff:1.2.3.4", "::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "64:ff9b::192.0.2.1", "1:2:3:4:5:6:7:1.2.3.4",
      ":", ":::", "1:::2", "::1::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "::g", ":1", "1:", "::1.2.3",
      "::1.2.3.4:5",
      "1.2.3.4::", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1::2:3:4:5:6:7:8", "[::1]", "::1 ", "::01.2.3.4",
      "::00001",
    ])
  func reading(_ text: String) {
    let address = IPAddress(text)
    let expected = Self.system(AF_INET, text) ?? Self.system(AF_INET6, text)
    #expect(address.map(Self.bytes) == expected)
  }

  @Test("text is canonical, and reads back as the same address")
  func roundTrip() {
    var random = SeededRandom(seed: 11)
    for _ in 0..<20_000 {
      var bytes = (0..<16).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let zeros = random.next()
      for group in 0..<8 where zeros >> UInt64(group) & 1 == 1 {
        bytes[group * 2] = 0
        bytes[group * 2 + 1] = zeros >> UInt64(group + 8) & 1 == 1 ? 0 : bytes[group * 2 + 1]
      }
      let high = bytes[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      let low = bytes[8...].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      let address = IPAddress(v6: high, low)
      #expect(IPAddress(address.description) == address)
      // The system writes ::x.y.z.w for some addresses that RFC 5952 writes as groups.
      if high != 0 || low >> 32 == 0xffff { #expect(address.description == Self.systemText(bytes)) }
      let v4 = IPAddress(v4: UInt32(truncatingIfNeeded: low))
      #expect(v4.description == Self.systemText(Array(bytes[12...])))
      #expect(IPAddress(v4.description) == v4)
    }
    // RFC 5952 §4.2: one zero group is written, the first of two equal runs is shortened.
    #expect(IPAddress("2001:db8:0:1:1:1:1:1")?.description == "2001:db8:0:1:1:1:1:1")
    #expect(IPAddress("2001:0:0:1:0:0:0:1")?.description == "2001:0:0:1::1")
    #expect(IPAddress("2001:db8:0:0:1:0:0:1")?.description == "2001:db8::1:0:0:1")
    #expect(IPAddress("1:0:0:0:0:0:0:0")?.description == "1::")
    #expect(IPAddress("::")?.description == "::")
  }

  @Test("zones")
  func zones() {
    #expect(IPAddress("fe80::1%3")?.scope == 3)
    #expect(IPAddress("fe80::1%3")?.description == "fe80::1%3")
    #expect(IPAddress("fe80::1%") == nil)
    #expect(IPAddress("fe80::1%eth0") == nil)
    #expect(IPAddress("fe80::1%999999999") != nil)
    #expect(IPAddress("fe80::1%9999999999999") == nil)
  }

  @Test("hostile text is refused without a trap")
  func hostile() {
    var random = SeededRandom(seed: 5)
    let alphabet = Array("0123456789abcdefF:.%[]x ".utf8)
    for _ in 0..<50_000 {
      let text = (0..<random.next(below: 50)).map { _ in alphabet[Int(random.next(below: UInt64(alphabet.count)))] }
      let parsed = text.withUnsafeBufferPointer { IPAddress(parsing: $0) }
      let string = String(decoding: text, as: UTF8.self)
      if !string.contains("%") {
        #expect(
          (parsed != nil) == (Self.system(AF_INET, string) != nil || Self.system(AF_INET6, string) != nil), "\(string)")
      }
    }
  }

  @Test("kinds of addresses")
  func kinds() throws {
    func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
    for text in ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"] { #expect(try ip(text).isLoopback, "\(text)") }
    for text in ["128.0.0.1", "::2", "::", "fe80::1"] { #expect(try !ip(text).isLoopback, "\(text)") }
    for text in ["10.0.0.1", "172.16.0.0", "172.31.255.255", "192.168.3.4", "fd00::1", "fc00::", "::ffff:10.1.1.1"] {
      #expect(try ip(text).isPrivate, "\(text)")
    }
    for text in ["11.0.0.1", "172.15.0.0", "172.32.0.0", "192.169.0.0", "fe00::", "8.8.8.8", "127.0.0.1"] {
      #expect(try !ip(text).isPrivate, "\(text)")
    }
    #expect(try ip("0.0.0.0").isUnspecified && ip("::").isUnspecified)
    #expect(try ip("169.254.1.1").isLinkLocal && ip("fe80::1").isLinkLocal && !ip("fec0::1").isLinkLocal)
    #expect(try ip("::ffff:1.2.3.4").unmapped == ip("1.2.3.4"))
  }

  @Test("socket addresses: text both ways, size, equality")
  func socketAddresses() throws {
    #expect(MemoryLayout<SocketAddress>.size <= 32)
    for text in ["127.0.0.1:8000", "[::1]:8000", "[fe80::1%2]:1", "0.0.0.0:0", "[::]:65535"] {
      let address = try #require(SocketAddress(text))
      #expect(address.description == text)
      #expect(SocketAddress(address.description) == address)
      let buffer = UnsafeMutablePointer<UInt8>.allocate(capacity: SocketAddress.maximumText)
      defer { buffer.deallocate() }
      let withPort = Bytes(start: buffer, count: address.writeTextWithPort(into: buffer)).text
      #expect(withPort == text)
      #expect(Bytes(start: buffer, count: address.writeText(into: buffer)).text == address.ipText)
    }
    for text in [
      "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80", "[127.0.0.1]:80", "[::1]", "x:1",
      "",
    ] {
      #expect(SocketAddress(text) == nil, "\(text)")
    }
    #expect(SocketAddress(ip: "[::1]", port: 5) == SocketAddress(ip: "::1", port: 5))
    #expect(SocketAddress(ip: "127.0.0.1", port: 1) != SocketAddress(ip: "127.0.0.1", port: 2))
    let unix = try #require(SocketAddress(unixPath: "/run/a.sock"))
    #expect(unix == SocketAddress(unixPath: "/run/a.sock") && unix != SocketAddress(unixPath: "/run/b.sock"))
    #expect(unix.description == "/run/a.sock" && unix.isUnix && unix.isInternal && !unix.isUnspecified)
    #expect(SocketAddress(unixPath: "") == nil)
    #expect(SocketAddress(unixPath: String(repeating: "x", count: 108)) == nil)
    #expect(SocketAddress(unixPath: "a\0b") == nil)
  }
}
