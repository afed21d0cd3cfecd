import MeshAPI
import MeshPrimitives
import MeshRouting
import Testing

/// Conditions beyond the path. The expectations are what Envoy 1.40 does with the same configuration.
@Suite struct ConditionTests {
  static func holds(_ request: TestRequest, random: UInt64 = 0, _ configure: (inout RouteMatch) -> Void) throws -> Bool
  {
    let (table, problems) = RouteTable.build(
      configuration([
        route("r") {
          $0.prefix = "/"
          configure(&$0)
        }
      ]))
    try #require(problems.isEmpty, "\(problems)")
    return try #require(table).match(request, random: random) != nil
  }

  // MARK: Paths

  @Test(
    arguments: [
      ("/abc", true), ("/abc?q", true), ("/abc#f", true), ("/abcd", false), ("/ABC", false), ("x/abc", false),
      ("", false),
    ])
  func expressions(path: String, holds: Bool) throws {
    // Whether case matters is the expression's own affair.
    for isSensitive in [true, false] {
      #expect(
        try Self.holds(TestRequest(path)) {
          $0.safeRegex.regex = "/a[bB]c"
          $0.caseSensitive.value = isSensitive
        } == holds)
    }
    #expect(try Self.holds(TestRequest("/IC")) { $0.safeRegex.regex = "(?i)/ic" })
    #expect(try !Self.holds(TestRequest("/q?x")) { $0.safeRegex.regex = "/q\\?x" })
  }

  @Test(
    arguments: [
      ("/a/b", true), ("/a/b;c", true), ("/a;x/b", true), ("/a/b;c=1?q=;", true), ("/a/b?q=;x", true), ("/a/b;", true),
      ("/a;/b", true), ("/a/b;/", false), ("/a;b/b", true), (";/a/b", true), ("/a%3bx/b", false),
    ])
  func pathParameters(path: String, holds: Bool) throws {
    for configure in [
      { (match: inout RouteMatch) in match.path = "/a/b" }, { $0.safeRegex.regex = "/a/b" },
    ] {
      var config = configuration([route("r", configure)])
      #expect(
        try #require(RouteTable.build(config).table).route(TestRequest(path))
          == (path == "/a/b?q=;x" || path == "/a/b" ? "r" : nil))
      config.ignorePathParametersInPathMatching = true
      #expect(try #require(RouteTable.build(config).table).route(TestRequest(path)) == (holds ? "r" : nil))
    }
  }

  // MARK: Headers

  static func header(_ values: [String], _ configure: (inout HeaderMatcher) -> Void) throws -> Bool {
    var matcher = HeaderMatcher()
    matcher.name = "x"
    configure(&matcher)
    return try holds(TestRequest(headers: values.map { ("x", $0) })) { $0.headers = [matcher] }
  }

  @Test(
    arguments: [
      ("0", true), ("9", true), ("10", false), ("-1", false), ("+5", true), ("05", true), ("5x", false), ("x5", false),
      ("", false), ("-", false), ("+", false), ("5.0", false), ("99999999999999999999", false), ("-0", true),
      ("5 6", false),
    ])
  func ranges(value: String, holds: Bool) throws {
    #expect(try Self.header([value]) { $0.rangeMatch = .with { $0.end = 10 } } == holds)
    #expect(
      try Self.header([value]) {
        $0.rangeMatch = .with { $0.end = 10 }
        $0.invertMatch = true
      } == !holds)
  }

  @Test func rangesAtTheEdge() throws {
    func range(_ value: String, _ start: Int64, _ end: Int64) throws -> Bool {
      try Self.header([value]) {
        $0.rangeMatch.start = start
        $0.rangeMatch.end = end
      }
    }
    #expect(try range("-9223372036854775808", .min, 0))
    #expect(try range("9223372036854775806", 0, .max))
    #expect(try !range("9223372036854775807", 0, .max))
    #expect(try !range("9223372036854775808", .min, .max))
    #expect(try !range("-9223372036854775809", .min, .max))
    #expect(try !range("5", 5, 5))
    #expect(try !range("5", 7, 3))
  }

  /// Each line is judged by itself.
  @Test func severalLines() throws {
    #expect(try Self.header(["a", "b"]) { $0.stringMatch.exact = "b" })
    #expect(try !Self.header(["a", "b"]) { $0.stringMatch.exact = "a,b" })
    #expect(try !Self.header(["a", "b"]) { $0.stringMatch.contains = "," })
    #expect(try Self.header(["x", "7"]) { $0.rangeMatch.end = 10 })
    #expect(
      try !Self.header(["a", "b"]) {
        $0.stringMatch.exact = "b"
        $0.invertMatch = true
      })
  }

  @Test func expressionsOnHeaders() throws {
    #expect(try Self.header(["abc"]) { $0.stringMatch.safeRegex.regex = "a.c" })
    #expect(try !Self.header(["xabc"]) { $0.stringMatch.safeRegex.regex = "a.c" })
    #expect(try Self.header(["aaa"]) { $0.safeRegexMatch.regex = "a+" })
    #expect(
      try Self.header(["aaa"]) {
        $0.safeRegexMatch = .with {
          $0.googleRe2 = .init(); $0.regex = "a+"
        }
      })
  }

  @Test func absentHeaders() throws {
    func absent(_ configure: (inout HeaderMatcher) -> Void) throws -> (plain: Bool, asEmpty: Bool) {
      let plain = try Self.header([], configure)
      return try (
        plain,
        Self.header([]) {
          configure(&$0)
          $0.treatMissingHeaderAsEmpty = true
        }
      )
    }
    #expect(try absent { $0.stringMatch.exact = "" } == (false, true))
    #expect(try absent { $0.stringMatch.exact = "a" } == (false, false))
    #expect(
      try absent {
        $0.stringMatch.exact = "a"
        $0.invertMatch = true
      } == (false, true))
    #expect(try absent { $0.presentMatch = true } == (false, true))
    #expect(try absent { $0.presentMatch = false } == (true, false))
    #expect(try absent { $0.rangeMatch.end = 10 } == (false, false))
    #expect(
      try absent {
        $0.rangeMatch.end = 10
        $0.invertMatch = true
      } == (false, true))
  }

  @Test func scheme() throws {
    func scheme(_ forwarded: String?) throws -> Bool {
      try Self.holds(TestRequest(headers: forwarded.map { [("x-forwarded-proto", $0)] } ?? [])) {
        $0.headers = [
          .with {
            $0.name = ":scheme"
            $0.stringMatch.exact = "https"
          }
        ]
      }
    }
    #expect(try scheme("https") && !scheme("http") && !scheme(nil) && !scheme("HTTPS") && !scheme("wss"))
  }

  // MARK: Query

  static func query(_ path: String, _ name: String = "q", _ configure: (inout QueryParameterMatcher) -> Void) throws
    -> Bool
  {
    try holds(TestRequest(path)) {
      var matcher = QueryParameterMatcher()
      matcher.name = name
      configure(&matcher)
      $0.queryParameters = [matcher]
    }
  }

  @Test(
    arguments: [
      ("/?q=a", true), ("/?q=a&q=b", true), ("/?q=b&q=a", false), ("/?x=1&q=a", true), ("/?&&q=a", true),
      ("/?q==a", false), ("/?Q=a", false), ("/?%71=a", false), ("/?q=%61", false), ("/?q=a#x", true), ("/#?q=a", true),
      ("/?#q=a", false), ("??q=a", false), ("/?x=1;q=a", false), ("/?qq=a", false), ("/?q", false), ("/?q=", false),
      ("/", false), ("?q=a", false), ("/?q=A", false), ("/??q=a", false),
    ])
  func queryValues(path: String, holds: Bool) throws {
    #expect(try Self.query(path) { $0.stringMatch.exact = "a" } == holds)
  }

  @Test func queryPresence() throws {
    for path in ["/?q", "/?q=", "/?q=1", "/?a&q&b"] {
      #expect(try Self.query(path) { _ in })
      #expect(try Self.query(path) { $0.presentMatch = true })
      #expect(try !Self.query(path) { $0.presentMatch = false })
    }
    for path in ["/", "/?", "/?qq", "/?x=q", "/?=q", "/?%71"] {
      #expect(try !Self.query(path) { _ in })
      #expect(try Self.query(path) { $0.presentMatch = false })
    }
    #expect(try Self.query("/?q") { $0.stringMatch.exact = "" })
    #expect(try Self.query("/?a%20b=1", "a%20b") { _ in })
    #expect(
      try Self.query("/?q=xAb") {
        $0.stringMatch = .with {
          $0.contains = "aB"; $0.ignoreCase = true
        }
      })
    #expect(try Self.query("/?q=a+b") { $0.stringMatch.safeRegex.regex = "a\\+b" })
    // All must hold.
    let both = [QueryParameterMatcher.with { $0.name = "a" }, .with { $0.name = "b" }]
    #expect(try Self.holds(TestRequest("/?b&a")) { $0.queryParameters = both })
    #expect(try !Self.holds(TestRequest("/?b")) { $0.queryParameters = both })
  }

  // MARK: Cookies

  @Test(
    arguments: [
      ([], false), (["c=1"], true), (["c=2"], false), (["c=1; c=2"], true), (["c=2;c=1"], false),
      (["c=1", "c=2"], true),
      (["c=2", "c=1"], false), (["c=\"1\""], true), (["C=1"], false), (["a=b;   c=1"], true), (["c = 1"], false),
      (["a=b;\tc=1"], false), (["c=1 "], false), (["c="], false), (["c"], false), (["c=1=2"], false), (["xc=1"], false),
      (["c=\""], false), (["a=1; c=1"], true), ([";;c=1;"], true), (["c=\"1"], false), ([""], false), (["c;c=1"], true),
    ] as [([String], Bool)])
  func cookies(lines: [String], holds: Bool) throws {
    for isInverted in [false, true] {
      #expect(
        try Self.holds(TestRequest(headers: lines.map { ("cookie", $0) })) {
          $0.cookies = [
            .with {
              $0.name = "c"
              $0.stringMatch.exact = "1"
              $0.invertMatch = isInverted
            }
          ]
        } == (holds != isInverted))
    }
  }

  // MARK: Shares

  @Test func fractions() throws {
    var random = Random(seed: 11)
    func share(_ numerator: UInt32, _ denominator: FractionalPercent.DenominatorType) throws -> Int {
      let (table, _) = RouteTable.build(
        configuration([
          route("r") {
            $0.prefix = "/"
            $0.runtimeFraction.defaultValue.numerator = numerator
            $0.runtimeFraction.defaultValue.denominator = denominator
          }
        ]))
      return try (0..<10_000).count { _ in try #require(table).match(TestRequest(), random: random.next()) != nil }
    }
    #expect(try share(0, .hundred) == 0)
    #expect(try share(100, .hundred) == 10_000 && share(200, .hundred) == 10_000)
    #expect(try (2_300...2_700).contains(share(25, .hundred)))
    #expect(try (2_300...2_700).contains(share(2_500, .tenThousand)))
    #expect(try (2_300...2_700).contains(share(250_000, .million)))
  }

  /// A ladder of shares: the second one takes what the first has left of it.
  @Test func fractionsOfOneRequestJudgeByOneNumber() throws {
    func rung(_ name: String, _ percent: UInt32) -> Route {
      route(name) {
        $0.prefix = "/"
        $0.runtimeFraction.defaultValue.numerator = percent
      }
    }
    var rest = route("rest") { $0.prefix = "/" }
    rest.route.weightedClusters.clusters = ["a", "b"].map { name in
      .with {
        $0.name = name
        $0.weight.value = 1
      }
    }
    let table = try #require(RouteTable.build(configuration([rung("10", 10), rung("30", 30), rest])).table)
    var random = Random(seed: 3)
    var counts: [String: Int] = [:]
    for _ in 0..<10_000 {
      let number = random.next()
      let entry = try #require(table.match(TestRequest(), random: number))
      #expect(entry === table.match(TestRequest(), random: number))
      counts[entry.name == "rest" ? entry.forward?.cluster ?? "" : entry.name, default: 0] += 1
    }
    #expect((850...1_150).contains(counts["10"] ?? 0))
    #expect((1_800...2_200).contains(counts["30"] ?? 0))
    // The clusters share what is left evenly: they do not see which shares it did not belong to.
    #expect((3_300...3_700).contains(counts["a"] ?? 0) && (3_300...3_700).contains(counts["b"] ?? 0))
  }

  @Test func fractionsFollowTheRuntime() throws {
    let runtime = Runtime()
    let (table, _) = RouteTable.build(
      configuration([
        route("r") {
          $0.prefix = "/"
          $0.runtimeFraction.defaultValue.numerator = 100
          $0.runtimeFraction.runtimeKey = "routing.r"
        }
      ]), runtime: runtime)
    #expect(table?.match(TestRequest(), random: 1) != nil)
    runtime.update([.init(name: "l", entries: ["routing.r": RuntimeEntry("0")])])
    #expect(table?.match(TestRequest(), random: 1) == nil)
  }

  // MARK: Problems

  @Test func problems() {
    let path = "virtual_hosts[0].routes[0].match"
    func problems(_ configure: (inout RouteMatch) -> Void) -> [String] {
      RouteProblemTests.problems {
        $0.match.prefix = "/"
        configure(&$0.match)
      }
    }
    #expect(problems { $0.safeRegex.regex = "" } == ["\(path).safe_regex.regex: must not be empty"])
    #expect(problems { $0.safeRegex.regex = "/(a" } == ["\(path).safe_regex.regex: '/(a': missing ): /(a"])
    #expect(
      problems {
        $0.headers = [
          .with {
            $0.name = "h"; $0.stringMatch.safeRegex.regex = "["
          }
        ]
      }.first?
      .hasPrefix("\(path).headers[0].string_match.safe_regex.regex: '[':") == true)
    #expect(
      problems {
        $0.headers = [
          .with {
            $0.name = "h";
            $0.stringMatch = .with {
              $0.safeRegex.regex = "a"; $0.ignoreCase = true
            }
          }
        ]
      } == [
        "\(path).headers[0].string_match.ignore_case: has no effect with safe_regex (begin the expression with (?i))"
      ])
    #expect(problems { $0.queryParameters = [.init()] } == ["\(path).query_parameters[0].name: must not be empty"])
    #expect(
      problems {
        $0.queryParameters = [
          .with {
            $0.name = "q"; $0.stringMatch.prefix = ""
          }
        ]
      } == [
        "\(path).query_parameters[0].string_match.prefix: must not be empty"
      ])
    #expect(
      problems { $0.cookies = [.init()] } == [
        "\(path).cookies[0].name: must not be empty", "\(path).cookies[0].string_match: is required",
      ])
    #expect(
      problems { $0.runtimeFraction.runtimeKey = "k" } == ["\(path).runtime_fraction.default_value: is required"])
    #expect(
      problems { $0.runtimeFraction.defaultValue.denominator = .UNRECOGNIZED(7) } == [
        "\(path).runtime_fraction.default_value.denominator: unknown value 7"
      ])
  }
}
