import MeshAPI
import MeshPrimitives
import Testing

@testable import MeshRouting

/// The index against a scan written without any of the production code's parts.
@Suite struct RouteIndexTests {
  /// The first route that matches, by the letter of the rules.
  static func naive(_ routes: [Route], _ path: String, _ headers: [(String, String)]) -> String? {
    func lower(_ text: String) -> [UInt8] { Array(text.lowercased().utf8) }
    let bare = String(path.prefix { $0 != "?" && $0 != "#" })
    return routes.first { route in
      let match = route.match
      let sensitive = !match.hasCaseSensitive || match.caseSensitive.value
      let subject = sensitive ? Array(bare.utf8) : lower(bare)
      let pathHolds: Bool
      switch match.pathSpecifier {
      case .prefix(let text): pathHolds = subject.starts(with: sensitive ? Array(text.utf8) : lower(text))
      case .path(let text): pathHolds = subject == (sensitive ? Array(text.utf8) : lower(text))
      case .pathSeparatedPrefix(let text):
        let rule = sensitive ? Array(text.utf8) : lower(text)
        pathHolds = subject == rule || subject.starts(with: rule + [UInt8(ascii: "/")])
      case nil: pathHolds = false
      }
      return pathHolds
        && match.headers.allSatisfy { matcher in
          let values = headers.filter { $0.0 == matcher.name }.map(\.1)
          if case .exactMatch(let text)? = matcher.headerMatchSpecifier {
            return !values.isEmpty && values.contains(text) != matcher.invertMatch
          }
          return !values.isEmpty != matcher.invertMatch
        }
    }?.name
  }

  static func randomPath(_ random: inout Random) -> String {
    let segments = ["a", "b", "ab", "A", "service", "x"]
    var path = ""
    for _ in 0..<random.below(5) { path += "/" + segments[Int(random.below(UInt64(segments.count)))] }
    if random.below(4) == 0 { path += "/" }
    return path
  }

  static func randomRoute(_ random: inout Random, _ number: Int) -> Route {
    var route = Route()
    route.name = "\(number)"
    route.route.cluster = "c\(number % 7)"
    let text = randomPath(&random)
    switch random.below(5) {
    case 0, 1: route.match.prefix = text
    case 2, 3: route.match.path = text
    default:
      let trimmed = text.hasSuffix("/") ? String(text.dropLast()) : text
      route.match.pathSeparatedPrefix = trimmed.count < 2 ? "/a" : trimmed
    }
    if random.below(4) == 0 { route.match.caseSensitive.value = random.below(2) == 0 }
    for _ in 0..<(random.below(3) == 0 ? random.below(3) : 0) {
      var matcher = HeaderMatcher()
      matcher.name = ["h", "i"][Int(random.below(2))]
      if random.below(2) == 0 { matcher.headerMatchSpecifier = .exactMatch(["v", "w"][Int(random.below(2))]) }
      matcher.invertMatch = random.below(3) == 0
      route.match.headers.append(matcher)
    }
    return route
  }

  @Test(arguments: 0..<60)
  func indexAndScanAgree(seed: UInt64) throws {
    var random = Random(seed: seed)
    let routes = (0..<Int(1 + random.below(80))).map { Self.randomRoute(&random, $0) }
    let config = configuration(routes)
    let indexed = try #require(
      RouteTable.build(config, path: "", indexed: true, load: RouteTable.loadInline).table)
    let scanned = try #require(
      RouteTable.build(config, path: "", indexed: false, load: RouteTable.loadInline).table)
    var matched = 0
    for _ in 0..<200 {
      var path = Self.randomPath(&random)
      if random.below(3) == 0 { path += ["?q", "#f", "?/a/b", "x"][Int(random.below(4))] }
      var headers: [(String, String)] = []
      for _ in 0..<random.below(3) {
        headers.append((["h", "i"][Int(random.below(2))], ["v", "w", "z"][Int(random.below(3))]))
      }
      let request = TestRequest(path, headers: headers)
      let expected = Self.naive(routes, path, headers)
      #expect(indexed.route(request) == expected, "index: \(path) \(headers)")
      #expect(scanned.route(request) == expected, "scan: \(path) \(headers)")
      if expected != nil { matched += 1 }
    }
    #expect(routes.count < 5 || matched > 20)
  }

  @Test func tenThousandRoutes() throws {
    var routes: [Route] = []
    for number in 0..<10_000 {
      var route = Route()
      route.name = "\(number)"
      route.route.cluster = "c"
      if number % 2 == 0 { route.match.path = "/exact/\(number)" } else { route.match.prefix = "/prefix/\(number)/" }
      routes.append(route)
    }
    let table = try #require(RouteTable.build(configuration(routes)).table)
    for number in stride(from: 0, to: 10_000, by: 97) {
      let path = number % 2 == 0 ? "/exact/\(number)?q" : "/prefix/\(number)/deeper"
      #expect(table.route(TestRequest(path)) == "\(number)")
    }
    #expect(table.route(TestRequest("/exact/1")) == nil)
    #expect(table.route(TestRequest("/prefix/3")) == nil)
  }

  /// Many routes that differ in their headers only: taken in order, each looked at once.
  @Test func oneRuleManyConditions() throws {
    var routes: [Route] = []
    for number in 0..<1_000 {
      var route = route("\(number)") { $0.prefix = number % 3 == 0 ? "/" : "/a" }
      var matcher = HeaderMatcher()
      matcher.name = "h"
      matcher.stringMatch.exact = "\(number)"
      route.match.headers = [matcher]
      routes.append(route)
    }
    routes.append(route("rest") { $0.prefix = "/" })
    routes.append(route("never") { $0.prefix = "/" })
    let table = try #require(RouteTable.build(configuration(routes)).table)
    for number in [0, 1, 2, 500, 998, 999] {
      #expect(table.route(TestRequest("/a", headers: [("h", "\(number)")])) == "\(number)")
    }
    #expect(table.route(TestRequest("/b", headers: [("h", "1")])) == "rest")
    #expect(table.route(TestRequest("/a")) == "rest")
  }

  @Test func manyDomains() throws {
    var hosts: [VirtualHost] = []
    for number in 0..<2_000 {
      let domain = ["host\(number).example", "*.suffix\(number).example", "prefix\(number).*"][number % 3]
      hosts.append(virtualHost("v\(number)", [domain], [route("\(number)") { $0.prefix = "/" }]))
    }
    let table = try #require(RouteTable.build(configuration(hosts)).table)
    for number in stride(from: 0, to: 2_000, by: 13) {
      let host = ["HOST\(number).example", "www.Suffix\(number).example", "Prefix\(number).org"][number % 3]
      #expect(table.route(TestRequest(host: host)) == "\(number)")
    }
    #expect(table.route(TestRequest(host: "suffix1.example")) == nil)
  }
}
