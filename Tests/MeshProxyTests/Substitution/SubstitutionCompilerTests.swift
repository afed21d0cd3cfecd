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
    ("%DYNAMIC_METADATA%", 0, "needs a namespace, and may have keys: %DYNAMIC_METADATA(NAMESPACE:KEY)%"),
    ("%DYNAMIC_METADATA(a:)%", 0, "needs a namespace"),
    ("%DYNAMIC_METADATA(:a)%", 0, "needs a namespace"),
    ("%ENVIRONMENT%", 0, "needs the name of a variable"),
    ("%ENVIRONMENT()%", 0, "needs the name of a variable"),
    ("ok %RESPONSE_CODES%", 3, "there is no operator %RESPONSE_CODES% (did you mean %RESPONSE_CODE%?)"),
    ("%upstream_host%", 0, "did you mean %UPSTREAM_HOST%?"),
    ("%XYZZYPLUGH%", 0, "there is no operator %XYZZYPLUGH% (docs/access-log.md lists them all)"),
    ("%CEL(request.method)%", 0, "%CEL% is not supported (expressions are not supported by this proxy)"),
    ("%REQ_WITHOUT_QUERY(:path)%", 0, "use %PATH(NQ)%"),
    ("%METADATA%", 0, "needs a namespace, and may have keys: %METADATA(TYPE:NAMESPACE:KEY)%"),
    ("%METADATA(ROUTE)%", 0, "needs a namespace"),
    ("%METADATA(route:a)%", 10, "METADATA(route)%: not understood (DYNAMIC, CLUSTER, ROUTE, UPSTREAM_HOST, "),
    ("%CLUSTER_METADATA(a:b):3%", 0, "takes no length"),
    ("%FILTER_STATE%", 0, "needs a key"),
    ("%GRPC_STATUS(x)%", 13, "GRPC_STATUS(x)%: not understood (CAMEL_STRING, SNAKE_STRING, NUMBER)"),
    ("%PATH(X)%", 6, "not understood (WQ, NQ)"),
    ("%PATH(NQ:X)%", 9, "not understood (ORIG_OR_PATH, ORIG, PATH)"),
    ("%PATH(NQ:PATH:x)%", 14, "takes two words at most"),
    ("%QUERY_PARAM%", 0, "needs the name of a parameter"),
    ("%QUERY_PARAM()%", 0, "needs the name of a parameter"),
    ("%QUERY_PARAMS(x)%", 14, "not understood (ORIG, DECODED)"),
    ("%REQUESTED_SERVER_NAME(HOST_ONLY)%", 23, "not understood (SNI_ONLY, SNI_FIRST, HOST_FIRST)"),
    ("%RESPONSE_CODE_DETAILS(x)%", 23, "not understood (ALLOW_WHITESPACES)"),
    ("%COMMON_DURATION(DS_RX_BEG)%", 0, "needs two points in time"),
    ("%COMMON_DURATION(DS_RX_BEG:x)%", 27, "no point in time (DS_RX_BEG, DS_RX_END, "),
    ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%", 37, "no unit of time (ms, us, ns)"),
    ("%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(129)%", 37, "not a number of bits"),
    ("%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(-1)%", 37, "not a number of bits"),
    ("%COALESCE%", 0, "needs {"),
    ("%COALESCE({})%", 0, "needs {"),
    (#"%COALESCE({"operators":[]})%"#, 0, "needs {"),
    (#"%COALESCE({"operators":[5]})%"#, 0, "needs {"),
    (#"%COALESCE({"operators":["NOPE"]})%"#, 0, "there is no operator %NOPE%"),
    (#"%COALESCE({"operators":["COALESCE"]})%"#, 0, "cannot hold another one"),
    (#"%COALESCE({"operators":[{"command":"REQ"}]})%"#, 0, "needs a header"),
    (#"%COALESCE({"operators":[{"command":"REQ","param":"a","max_length":0}]})%"#, 0, "needs {"),
    ("%DOWNSTREAM_TLS_VERSION(x)%", 0, "takes no argument"),
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

  @Test func everyOperatorAndStatisticIsInTheManual() throws {
    let here = #filePath
    let root = try #require(here.firstRange(of: "/Tests/")).lowerBound
    let manual = try FileContents.text("\(here[..<root])/docs/access-log.md")
    for operation in SubstitutionName.all {
      #expect(manual.contains("`\(operation.name)`") || manual.contains("`\(operation.name)("), "\(operation.name)")
    }
    for stat in FileSystemStat.allCases { #expect(manual.contains("`filesystem.\(stat.definition.name)`")) }
    for specifier in SubstitutionTimeFormat.supported.split(separator: " ") where specifier != "…" {
      #expect(manual.contains(specifier))
    }
    #expect(manual.contains(SubstitutionFormat.defaultText))
  }

  @Test func nothingIsBothOursAndUnsupported() {
    #expect(SubstitutionName.all.allSatisfy { SubstitutionName.unsupported[$0.name] == nil })
    #expect(Set(SubstitutionName.all.map(\.name)).count == SubstitutionName.all.count)
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
      "DYNAMIC_METADATA", "ENVIRONMENT", "é", "METADATA(ROUTE:", "COALESCE({", "PATH(", "QUERY_PARAM(", "a)%", "\u{0}",
      "%START_TIME(", "%s", "-", " ",
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
