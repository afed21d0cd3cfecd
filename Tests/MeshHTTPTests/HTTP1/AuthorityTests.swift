import MeshPrimitives
import Testing

@testable import MeshHTTP

/// RFC 3986 §3.2.2, RFC 9110 §7.2.
@Suite struct AuthorityTests {
  private func isValid(_ text: String, requiresPort: Bool = false) -> Bool {
    // Sixteen bytes beyond are readable; what they are must not matter.
    for filler: UInt8 in [0x00, 0x20, 0x61, 0x3a] {
      let memory = wire(text) + [UInt8](repeating: filler, count: 16)
      let verdict = withExactBytes(memory) {
        Authority.isValid($0.slice(0, memory.count - 16), requiresPort: requiresPort)
      }
      if verdict != (filler == 0 ? verdict : isValidBeforeZeros(text, requiresPort)) {
        Issue.record("the bytes behind \(text) matter")
      }
    }
    return isValidBeforeZeros(text, requiresPort)
  }

  private func isValidBeforeZeros(_ text: String, _ requiresPort: Bool) -> Bool {
    let memory = wire(text) + [UInt8](repeating: 0, count: 16)
    return withExactBytes(memory) {
      Authority.isValid($0.slice(0, memory.count - 16), requiresPort: requiresPort)
    }
  }

  @Test(
    arguments: [
      "a", "localhost", "a.b.c", "1.2.3.4", "xn--bcher-kva.example", "A-Z.example", "a..b", "-", ".",
      "a-name-of-exactly-32-bytes.abcde", "exactly-16-bytes", "a-name-longer-than-two-blocks-of-sixteen.example:8080",
      "a:0", "a:1", "a:80", "a:65535", "a:", "a_b", "a~b!c$d&e'f(g)h*i+j,k;l=m", "%41", "a%2Db:80",
      "[::]", "[::1]", "[1::]", "[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7::]", "[::1:2:3:4:5:6:7]", "[1:2::7:8]:443",
      "[ABCD:ef01::]", "[1:2:3:4:5:6:1.2.3.4]", "[::1.2.3.4]", "[::ffff:255.255.255.0]:1", "[::0.0.0.0]",
    ])
  func valid(_ text: String) { #expect(isValid(text)) }

  @Test(
    arguments: [
      "", ":", ":80", "a:65536", "a:99999", "a:100000", "a:000080", "a:8x", "a: 80", "a:+80", "a:80:90", "a::80",
      "a b", " a", "a ", "a\tb", "a/b", "a?b", "a#b", "a@b", "@a", "u:p@a", "a\\b", "a\"b", "a<b", "a^b", "a`b", "a{b",
      "a|b", "a[b", "a]", "[a", "%", "%4", "%4g", "a%", "caf\u{e9}", "a\u{00}", "a\u{7f}",
      "[]", "[:]", "[:1]", "[1:]", "[1]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4::5:6:7:8]", "[1::2::3]",
      "[:::]", "[1:::2]", "[12345::]", "[g::]", "[::1", "[::1]a", "[::1]80", "[::1]:x", "[::1]:65536", "[::1%25lo]",
      "[v1.a]", "[1.2.3.4]", "[::1.2.3]", "[::1.2.3.4.5]", "[::256.1.1.1]", "[::01.1.1.1]", "[::1.2.3.4:5]",
      "[::1..2.3]", "[1:2:3:4:5:6:7:1.2.3.4]", "[1:2:3:4:5:6::1.2.3.4]", "[::1.2.3.]", "[::a.1.1.1]",
      "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]",
    ])
  func invalid(_ text: String) { #expect(!isValid(text)) }

  @Test func requiredPort() {
    for text in ["a:1", "[::1]:443", "a.b:65535"] { #expect(isValid(text, requiresPort: true)) }
    for text in ["a", "a:", "[::1]", "[::1]:", ""] { #expect(!isValid(text, requiresPort: true)) }
  }
}
