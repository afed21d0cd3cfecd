import MeshPrimitives
import Testing

@testable import MeshHTTP

@Suite("Host normalisation")
struct HostNormalizationTests {
  private func apply(dot: Bool = false, _ port: HostNormalization.Port = .keep, _ host: String) -> String? {
    var rules = HostNormalization()
    rules.stripsTrailingDot = dot
    rules.port = port
    let map = HeaderMap()
    wire(host).withUnsafeBufferPointer { map.set(.host, $0) }
    map.normalizeHost(rules, localPort: 8080)
    return map.text(.host)
  }

  @Test(
    "a port goes if it is the listener's, or always",
    arguments: [
      ("h", "h", "h"), ("h:8080", "h", "h"), ("h:80", "h:80", "h"), ("h:08080", "h", "h"), ("h:80800", "h:80800", "h"),
      ("h:", "h:", "h:"), ("1.2.3.4:8080", "1.2.3.4", "1.2.3.4"), ("[::1]:8080", "[::1]", "[::1]"),
      ("[::1]", "[::1]", "[::1]"), ("[::8080]", "[::8080]", "[::8080]"), ("h.:8080", "h.", "h."),
    ])
  func port(_ host: String, _ matching: String, _ any: String) {
    #expect(apply(.stripMatching, host) == matching)
    #expect(apply(.stripAny, host) == any)
    #expect(apply(.keep, host) == host)
  }

  @Test(
    "the dot at the end of the name goes, before a port too",
    arguments: [
      ("h", "h", "h"), ("h.", "h", "h"), ("H.", "H", "H"), ("h.:8080", "h:8080", "h"), ("h.:", "h:", "h:"),
      ("h..", "h.", "h."), (".", ".", "."), ("h.example.", "h.example", "h.example"), ("[::1]", "[::1]", "[::1]"),
    ])
  func trailingDot(_ host: String, _ alone: String, _ withPort: String) {
    #expect(apply(dot: true, .keep, host) == alone)
    #expect(apply(dot: true, .stripAny, host) == withPort)
  }

  @Test("a request without a host is left alone")
  func missing() {
    var rules = HostNormalization()
    rules.port = .stripAny
    let map = HeaderMap()
    map.normalizeHost(rules, localPort: 1)
    #expect(!map.has(.host))
  }
}
