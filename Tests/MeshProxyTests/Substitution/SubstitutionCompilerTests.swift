import MeshIO
import MeshTesting
import Testing

@testable import MeshProxy

@Suite struct SubstitutionCompilerTests {
  static func problem(_ text: String) -> FormatProblem? {
    switch SubstitutionFormat.compile(text) {
    case .success: nil
    case .failure(let problem): problem
    }
  }

  @Test func plainText() {
    let source = ExampleSource()
    #expect(source.line("") == "")
    #expect(source.line("abc\n") == "abc\n")
    #expect(source.line("100%% of\t%%\n") == "100% of\t%\n")
    #expect(source.line("größe \"quoted\"\n") == "größe \"quoted\"\n")
    #expect(source.line("%PROTOCOL%%PROTOCOL%") == "HTTP/1.1HTTP/1.1")
    #expect(source.line("%%PROTOCOL%%") == "%PROTOCOL%")
    let long = String(repeating: "0123456789abcdef", count: 300)
    #expect(source.line("\(long)%PROTOCOL%\(long)") == "\(long)HTTP/1.1\(long)")
  }

  @Test(arguments: [
    ("%", 0, "begins no operator"),
    ("ab %", 3, "begins no operator"),
    ("a % b", 2, "begins no operator"),
    ("%()%", 0, "begins no operator"),
    ("%PROTOCOL", 9, "is not ended by a '%'"),
    ("%PROTOCOL )%", 9, "is not ended by a '%'"),
    ("x%REQ(:METHOD)", 14, "is not ended by a '%'"),
    ("%REQ(:METHOD", 0, "is not closed"),
    ("%REQ%", 0, "needs a header"),
    ("%REQ()%", 0, "needs a header"),
    ("%REQ(a?b?c)%", 0, "one alternative"),
    ("%REQ(a b)%", 5, "not the name of a header"),
    ("%REQ(ab?)%", 8, "not the name of a header"),
    ("%REQ(?ab)%", 5, "not the name of a header"),
    ("%REQ(x\n)%", 5, "not the name of a header"),
    ("%REQ(:)%", 5, "not the name of a header"),
    ("%REQ(:nonsense)%", 5, "no such pseudo header"),
    ("%REQ(user-agent):%", 16, "not a decimal number"),
    ("%REQ(user-agent):x%", 16, "not a decimal number"),
    ("%REQ(user-agent):-1%", 16, "not a decimal number"),
    ("%REQ(user-agent):99999999%", 16, "is over"),
    ("%PROTOCOL(x)%", 0, "takes no argument"),
    ("%PROTOCOL()%", 0, "takes no argument"),
    ("%PROTOCOL:5%", 0, "takes no length"),
    ("%START_TIME(%s):5%", 0, "takes no length"),
    ("%DYNAMIC_METADATA%", 0, "needs a namespace and a key"),
    ("%DYNAMIC_METADATA(a)%", 0, "needs a namespace and a key"),
    ("%DYNAMIC_METADATA(a:)%", 0, "needs a namespace and a key"),
    ("%DYNAMIC_METADATA(:a)%", 0, "needs a namespace and a key"),
    ("%ENVIRONMENT%", 0, "needs the name of a variable"),
    ("%ENVIRONMENT()%", 0, "needs the name of a variable"),
    (
      "ok %RESPONSE_CODES%", 3, "there is no operator %RESPONSE_CODES% (did you mean %RESPONSE_CODE%? supported: BYTES_"
    ),
    ("%upstream_host%", 0, "did you mean %UPSTREAM_HOST%?"),
    ("%XYZZYPLUGH%", 0, "there is no operator %XYZZYPLUGH% (supported: BYTES_RECEIVED, BYTES_SENT, "),
    ("%GRPC_STATUS%", 0, "%GRPC_STATUS% is not supported by this proxy"),
    ("%DOWNSTREAM_TLS_VERSION%", 0, "is not supported by this proxy"),
    ("%START_TIME(%s", 0, "is not closed"),
    ("a %START_TIME(x %Q)%", 16, "%Q in a time format is not supported (supported: %Y"),
    ("%START_TIME(%n)%", 12, "%n in a time format is not supported"),
    ("%START_TIME(%5)%", 12, "%5 in a time format is not supported"),
    ("%START_TIME(%)%", 12, "'%' at the end of a time format"),
    ("%START_TIME(a\nb)%", 13, "control character"),
  ])
  func problems(text: String, offset: Int, message: String) {
    let problem = Self.problem(text)
    #expect(problem?.offset == offset, "\(problem?.description ?? "none")")
    #expect(problem?.message.contains(message) == true, "\(problem?.description ?? "none")")
    #expect(problem?.description == "at byte \(offset): \(problem?.message ?? "")")
  }

  @Test func everySupportedOperatorIsNamed() {
    let message = Self.problem("%NOPE%")?.message ?? ""
    for operation in SubstitutionOperator.allCases { #expect(message.contains(operation.name)) }
  }

  @Test func everyOperatorAndStatisticIsInTheManual() throws {
    let here = #filePath
    let root = try #require(here.firstRange(of: "/Tests/")).lowerBound
    let manual = try FileContents.text("\(here[..<root])/docs/access-log.md")
    for operation in SubstitutionOperator.allCases {
      #expect(manual.contains("`\(operation.name)`") || manual.contains("`\(operation.name)("), "\(operation.name)")
    }
    for stat in FileSystemStat.allCases { #expect(manual.contains("`filesystem.\(stat.definition.name)`")) }
    for specifier in SubstitutionTimeFormat.supported.split(separator: " ") where specifier != "…" {
      #expect(manual.contains(specifier))
    }
    #expect(manual.contains(SubstitutionFormat.defaultText))
  }

  @Test func nothingIsBothOursAndUnsupported() {
    #expect(SubstitutionOperator.envoyOnly.isDisjoint(with: SubstitutionOperator.allCases.map(\.name)))
  }

  @Test func tooLong() {
    #expect(Self.problem(String(repeating: "a", count: 65_536)) == nil)
    #expect(Self.problem(String(repeating: "a", count: 65_537))?.message.contains("at most 65536") == true)
  }

  /// Whatever is written in a configuration, compiling ends with a format or a problem that lies in the text.
  @Test func randomTextsAreFormatsOrProblems() {
    var random = SeededRandom(seed: 77)
    let pieces = [
      "%", "%%", "(", ")", ":", "?", "REQ", "RESP", "START_TIME", "PROTOCOL", "%REQ(", "a", "\n", "9", "12", "%3f",
      "DYNAMIC_METADATA", "ENVIRONMENT", "é", "\u{0}", "%START_TIME(", "%s", "-", " ",
    ]
    var formats = 0
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 1...10, using: &random)).map { _ in pieces.randomElement(using: &random)! }
        .joined()
      switch SubstitutionFormat.compile(text, environment: { _ in nil }, hostName: "h") {
      case .failure(let problem):
        #expect(problem.offset >= 0 && problem.offset <= text.utf8.count, "\(text): \(problem)")
        #expect(!problem.message.isEmpty)
      case .success(let format):
        formats += 1
        _ = ExampleSource.example().line(format)
      }
    }
    #expect(formats > 500)
  }
}
