import MeshPrimitives
import Testing

@Suite struct StatsFilterTests {
  static func matches(_ pattern: String, _ name: String) throws -> Bool {
    let filter = try StatsFilter(pattern)
    return Array(name.utf8).withUnsafeBufferPointer { filter.matches($0) }
  }

  @Test(arguments: [
    ("upstream_rq", "cluster.a.upstream_rq_total", true),
    ("upstream_cx", "cluster.a.upstream_rq_total", false),
    ("", "anything", true),
    ("^cluster", "cluster.a", true),
    ("^uster", "cluster.a", false),
    ("total$", "cluster.a.total", true),
    ("total$", "cluster.a.total_x", false),
    ("^total$", "total", true),
    ("a.c", "xabcx", true),
    ("a\\.c", "xabcx", false),
    ("a\\.c", "xa.cx", true),
    ("^cluster\\..*\\.rq_[0-9]xx$", "cluster.service.b.rq_5xx", true),
    ("^cluster\\..*\\.rq_[0-9]xx$", "cluster.service.b.rq_xx", false),
    ("[^a-z]", "abc", false),
    ("[^a-z]", "ab1", true),
    ("[]x]", "]", true),
    ("[a-]", "-", true),
    ("\\d+_\\w", "rq_500_x", true),
    ("ab?c", "ac", true),
    ("ab?c", "abbc", false),
    ("ab+c", "ac", false),
    ("ab+c", "abbbc", true),
    ("ab*c", "ac", true),
    ("^a*$", "", true),
    ("^a*$", "ab", false),
    ("foo|^bar$", "xfoo", true),
    ("foo|^bar$", "bar", true),
    ("foo|^bar$", "xbar", false),
    (".*.*.*.*.*.*.*.*.*.*z$", String(repeating: "y", count: 5_000), false),
  ])
  func matching(pattern: String, name: String, expected: Bool) throws {
    #expect(try Self.matches(pattern, name) == expected)
  }

  @Test(arguments: ["(a)", "a{2}", "[", "[b-a]", "*a", "a**", "\\", "\\b", "a$b", "a^b", "[a\\"])
  func refused(pattern: String) {
    #expect(throws: StatsFilter.PatternError.self) { try StatsFilter(pattern) }
  }

  @Test func tooLong() {
    #expect(throws: StatsFilter.PatternError.self) { try StatsFilter(String(repeating: "a", count: 64)) }
    #expect(throws: Never.self) { try StatsFilter(String(repeating: "a", count: 63)) }
  }
}
