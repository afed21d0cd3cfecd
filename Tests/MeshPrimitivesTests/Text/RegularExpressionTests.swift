import MeshPrimitives
import Testing

@Suite struct RegularExpressionTests {
  private func bytes<R>(_ text: String, _ body: (Bytes) -> R) -> R {
    var text = text
    return text.withUTF8 { body($0) }
  }

  @Test(arguments: [
    ("/v[12]/.*", "/v1/x", true, true), ("/v[12]/.*", "/a/v1/x", false, true), ("", "", true, true),
    ("a|ab", "ab", true, true), ("a", "A", false, false), ("x$", "ax\n", false, false),
  ])
  func matchesTheWholeOrFindsAPart(_ pattern: String, _ text: String, _ whole: Bool, _ part: Bool) throws {
    let expression = try RegularExpression(pattern)
    #expect(bytes(text) { expression.matches($0) } == whole)
    #expect(bytes(text) { expression.finds(in: $0) } == part)
  }

  @Test func canIgnoreCase() throws {
    #expect(bytes("HELLO") { try? RegularExpression("hel+o", ignoresCase: true).matches($0) } == true)
  }

  @Test func saysWhatIsWrong() {
    let error = #expect(throws: RegularExpression.PatternError.self) { try RegularExpression("(a") }
    #expect(error?.description == "missing ): (a")
    #expect(throws: RegularExpression.PatternError.self) { try RegularExpression(#"(a)\1"#) }
  }

  @Test func replacesEveryMatch() throws {
    let expression = try RegularExpression("([a-z]+)/([0-9]+)")
    try expression.check(substitution: #"\2-\1"#)
    let result = bytes("/one/1/two/2") { text in bytes(#"\2-\1"#) { expression.replaceAll(in: text, with: $0) } }
    #expect(result.map { String(decoding: $0, as: UTF8.self) } == "/1-one/2-two")
    #expect(bytes("/") { text in bytes("x") { expression.replaceAll(in: text, with: $0) } } == nil)
    #expect(throws: RegularExpression.PatternError.self) { try expression.check(substitution: #"\3"#) }
  }

  @Test func takesTimeLinearInTheText() throws {
    let expression = try RegularExpression("(a*)*b")
    #expect(bytes(String(repeating: "a", count: 100_000)) { expression.matches($0) } == false)
  }
}
