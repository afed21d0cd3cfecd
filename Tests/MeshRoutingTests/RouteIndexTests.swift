import MeshAPI
import MeshPrimitives
import Testing

@testable import MeshRouting

/// Many routes, found through the index.
@Suite struct RouteIndexTests {
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

  /// Expressions are found by the text they begin with.
  @Test func thousandsOfExpressions() throws {
    var routes: [Route] = []
    for number in 0..<3_000 {
      routes.append(route("\(number)") { $0.safeRegex.regex = "/api/v\(number)/[a-z]+(/.*)?" })
    }
    routes.insert(route("first") { $0.safeRegex.regex = ".*\\.png" }, at: 0)
    routes.append(route("rest") { $0.prefix = "/" })
    let table = try #require(RouteTable.build(configuration(routes)).table)
    for number in stride(from: 0, to: 3_000, by: 101) {
      #expect(table.route(TestRequest("/api/v\(number)/users?x")) == "\(number)")
      #expect(table.route(TestRequest("/api/v\(number)/users/1.png")) == "first")
      #expect(table.route(TestRequest("/api/v\(number)/9")) == "rest")
    }
  }
}
