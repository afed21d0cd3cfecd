import MeshAPI
import MeshPrimitives
import Testing

@testable import MeshRouting

/// Random tables: the index, the scan and the explanation against an implementation that shares nothing with them.
@Suite struct RandomTableTests {
  @Test(arguments: 0..<80)
  func everyoneAgrees(seed: UInt64) throws {
    var random = Random(seed: seed)
    let routes = (0..<Int(1 + random.below(80))).map { random.route($0) }
    var config = configuration(routes)
    config.ignorePathParametersInPathMatching = seed % 2 == 0
    let naive = NaiveRouting(routes: routes, ignoresPathParameters: seed % 2 == 0)
    let indexed = try #require(RouteTable.build(config, path: "", indexed: true).table)
    let scanned = try #require(RouteTable.build(config, path: "", indexed: false).table)
    var matched = 0
    for _ in 0..<200 {
      let plain = random.request()
      let request = TestRequest(plain.path, headers: plain.headers)
      let expected = naive.route(plain)
      #expect(indexed.route(request) == expected, "index: \(plain)")
      #expect(scanned.route(request) == expected, "scan: \(plain)")
      let explanation = indexed.explain(request, random: 0)
      #expect(explanation.entry?.name == expected, "explanation: \(plain)")
      #expect(explanation.entry === indexed.match(request, random: 0))
      check(explanation, routes)
      if expected != nil { matched += 1 }
    }
    #expect(routes.count < 5 || matched > 5)
  }

  /// Every route up to the winner is named, in order, and only the winner is taken.
  private func check(_ explanation: RouteExplanation, _ routes: [Route]) {
    let count = explanation.entry.map { $0.routeIndex + 1 } ?? routes.count
    #expect(explanation.attempts.map(\.routeIndex) == Array(0..<count))
    #expect(explanation.attempts.map(\.name) == routes.prefix(count).map(\.name))
    for (index, attempt) in explanation.attempts.enumerated() {
      #expect((attempt.verdict == .taken) == (index == count - 1 && explanation.entry != nil))
      switch attempt.verdict {
      case .header(let place): #expect(routes[index].match.headers.indices.contains(place))
      case .query(let place): #expect(routes[index].match.queryParameters.indices.contains(place))
      case .cookie(let place): #expect(routes[index].match.cookies.indices.contains(place))
      case .expressionDiffers: #expect(routes[index].match.safeRegex.regex != "")
      case .taken, .pathDiffers, .outsideFraction, .notGRPC, .certificateDiffers: break
      }
    }
  }

  /// What is found of a domain is what a comparison with every domain finds.
  @Test(arguments: 0..<40)
  func domains(seed: UInt64) throws {
    var random = Random(seed: seed)
    var domains: Set<String> = []
    for _ in 0..<(1 + random.below(12)) {
      let name = (0..<(1 + random.below(3))).map { _ in random.pick(["a", "b", "ab"]) }.joined(separator: ".")
      domains.insert(random.pick([name, "*" + name, "*." + name, name + ".*", name + "*", name + ":80", "*"]))
    }
    let ordered = domains.sorted()
    var config = configuration(ordered.map { virtualHost($0, [$0], [route($0) { $0.prefix = "/" }]) })
    config.ignorePortInHostMatching = seed % 2 == 0
    let table = try #require(RouteTable.build(config).table)
    for _ in 0..<200 {
      var host = (0..<(1 + random.below(4))).map { _ in random.pick(["a", "b", "ab", "B", ""]) }.joined(separator: ".")
      if random.oneIn(3) { host += random.pick([":80", ":", ":81"]) }
      let found = table.match(TestRequest(host: host), random: 0)?.name
      #expect(found == naiveDomain(ordered, host, ignoringPort: seed % 2 == 0), "\(host) in \(ordered)")
      let explanation = table.explain(TestRequest(host: host), random: 0)
      #expect(explanation.host?.domain == found && explanation.host?.name == found)
      #expect(explanation.entry?.name == found)
    }
  }

  private func naiveDomain(_ domains: [String], _ host: String, ignoringPort: Bool) -> String? {
    var host = host.lowercased()
    if ignoringPort, let colon = host.lastIndex(of: ":") { host = String(host[..<colon]) }
    if domains.contains(host) { return host }
    let suffixes = domains.filter { $0.hasPrefix("*") && $0 != "*" && host.hasSuffix($0.dropFirst()) }
    if let best = suffixes.filter({ host.count >= $0.count }).max(by: { $0.count < $1.count }) { return best }
    let prefixes = domains.filter { $0.hasSuffix("*") && $0 != "*" && host.hasPrefix($0.dropLast()) }
    if let best = prefixes.filter({ host.count >= $0.count }).max(by: { $0.count < $1.count }) { return best }
    return domains.contains("*") ? "*" : nil
  }

  @Test func whatAnExplanationSays() throws {
    var config = configuration([
      virtualHost(
        "shop", ["*.shop.example"],
        [
          route("exact") { $0.path = "/cart" }, route("expression") { $0.safeRegex.regex = "/items/[0-9]+" },
          route("canary") {
            $0.prefix = "/items"
            $0.runtimeFraction.defaultValue.numerator = 0
          },
          route("beta") {
            $0.prefix = "/items"
            $0.headers = [.with { $0.name = "x-beta" }]
          },
          route("page") {
            $0.prefix = "/items"
            $0.queryParameters = [.with { $0.name = "page" }]
          },
          route("friend") {
            $0.prefix = "/items"
            $0.cookies = [
              .with {
                $0.name = "f"
                $0.stringMatch.exact = "1"
              }
            ]
          }, route("rest") { $0.prefix = "/" }, route("never") { $0.prefix = "/" },
        ])
    ])
    config.ignorePortInHostMatching = true
    let table = try #require(RouteTable.build(config).table)
    let explanation = table.explain(TestRequest("/items/x", host: "WWW.shop.example:80"), random: 1)
    #expect(explanation.host?.index == 0 && explanation.host?.name == "shop")
    #expect(explanation.host?.domain == "*.shop.example" && explanation.host?.kind == .suffix)
    #expect(
      explanation.attempts.map(\.verdict) == [
        .pathDiffers, .expressionDiffers, .outsideFraction, .header(0), .query(0), .cookie(0), .taken,
      ])
    #expect(explanation.entry?.name == "rest" && !explanation.isSentToTLS)
    let nobody = table.explain(TestRequest(host: "other"), random: 1)
    #expect(nobody.host == nil && nobody.attempts.isEmpty && nobody.entry == nil)
  }

  /// Whatever an expression matches begins with the text it is found by.
  @Test func textsThatExpressionsBeginWith() throws {
    let known: [(String, String)] = [
      ("/a/b", "/a/b"), ("^/a$", "/a"), ("/a.*", "/a"), ("/ab*", "/a"), ("/ab?c", "/a"), ("/ab+c", "/ab"),
      ("/ab{2}", "/a"), ("/a\\.b", "/a.b"), ("/a\\db", "/"), ("/a|/b", ""), ("/x(a|b)", "/x"), ("/x[a|b]", ""),
      ("(?i)/a", ""), ("/a(?i)b", "/"), ("/b(?i)*", "/"), ("/b\\Q\\E*", "/"), ("/\\Qa|b\\E", ""), ("/é", "/"), ("", ""),
      ("\\", ""), ("/a\\|b", "/a|b"),
      ("/a)|b", ""), ("/[", "/"), ("/a^b", "/a"),
    ]
    for (pattern, prefix) in known {
      #expect(String(decoding: RegexPrefix.of(pattern), as: UTF8.self) == prefix, "\(pattern)")
    }
    var random = Random(seed: 7)
    let parts = [
      "/", "a", "b", "ab", ".", "*", "+", "?", "|", "(", ")", "[ab]", "\\.", "\\w", "{2}", "(?i)", "^", "$", "\\Q",
      "\\E",
    ]
    var compiled = 0
    for _ in 0..<3_000 {
      let pattern = "/" + (0..<random.below(7)).map { _ in random.pick(parts) }.joined()
      guard let expression = try? RegularExpression(pattern) else { continue }
      compiled += 1
      let prefix = RegexPrefix.of(pattern)
      for _ in 0..<20 {
        let text = Array(
          ((random.oneIn(4) ? "" : "/")
            + (0..<random.below(4)).map { _ in random.pick(["/", "a", "b", ".", "A"]) }.joined())
            .utf8)
        if text.withUnsafeBufferPointer({ expression.matches($0) }) {
          #expect(text.starts(with: prefix), "\(pattern) begins with \(prefix), but matches \(text)")
        }
      }
    }
    #expect(compiled > 500)
  }
}
