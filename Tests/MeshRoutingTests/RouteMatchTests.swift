import MeshAPI
import MeshPrimitives
import MeshRouting
import Testing

@Suite struct RouteMatchTests {
  static func table(_ configuration: RouteConfiguration) throws -> RouteTable {
    let (table, problems) = RouteTable.build(configuration)
    try #require(problems.isEmpty, "\(problems)")
    return try #require(table)
  }

  // MARK: Domains

  @Test(arguments: [
    ("a.com", "exact"), ("A.COM", "exact"), ("a.com:80", "prefix"), ("x.a.com", "suffix"), ("x.y.a.com", "suffix"),
    ("z.y.a.com", "suffix"), ("q-y.a.com", "longer suffix"), ("-y.a.com", "suffix"), (".a.com", "all"),
    ("a.org", "prefix"), ("a.", "all"), ("a.b", "prefix"), ("a.b.c", "longer prefix"), ("", "all"),
    ("other", "all"), ("UPPER.example", "upper"), ("b.a.com.x", "all"), ("a.b.a.com", "suffix"),
  ])
  func domains(host: String, name: String) throws {
    let table = try Self.table(
      configuration([
        virtualHost("all", ["*"], [route("all") { $0.prefix = "/" }]),
        virtualHost("prefix", ["a.*"], [route("prefix") { $0.prefix = "/" }]),
        virtualHost("longer prefix", ["a.b.*"], [route("longer prefix") { $0.prefix = "/" }]),
        virtualHost("suffix", ["*.a.com"], [route("suffix") { $0.prefix = "/" }]),
        virtualHost("longer suffix", ["*-y.a.com"], [route("longer suffix") { $0.prefix = "/" }]),
        virtualHost("exact", ["a.com"], [route("exact") { $0.prefix = "/" }]),
        virtualHost("upper", ["Upper.Example"], [route("upper") { $0.prefix = "/" }]),
      ]))
    #expect(table.route(TestRequest(host: host)) == name)
  }

  @Test func noVirtualHost() throws {
    let table = try Self.table(configuration([virtualHost("v", ["a.com"], [route("r") { $0.prefix = "/" }])]))
    #expect(table.match(TestRequest(host: "b.com"), random: 0) == nil)
    #expect(table.match(TestRequest(host: "a.com"), random: 0)?.virtualHostName == "v")
    #expect(try Self.table(RouteConfiguration()).match(TestRequest(), random: 0) == nil)
  }

  @Test func theVirtualHostOfARequestWithoutARoute() throws {
    let table = try Self.table(
      configuration([virtualHost("v", ["a.com"], [route("r") { $0.prefix = "/r" }, route("s") { $0.prefix = "/s" }])]))
    func found(_ host: String) -> (name: String, routes: Int)? {
      Array(host.utf8).withUnsafeBufferPointer { table.virtualHost(serving: $0) }
    }
    #expect(try #require(found("A.com")) == ("v", 2))
    #expect(found("b.com") == nil)
    #expect(table.virtualHost(serving: Bytes(start: nil, count: 0)) == nil)
  }

  /// The virtual host is chosen by domain alone: one without a matching route is not passed over.
  @Test func theChosenVirtualHostIsFinal() throws {
    let table = try Self.table(
      configuration([
        virtualHost("all", ["*"], [route("all") { $0.prefix = "/" }]),
        virtualHost("exact", ["a.com"], [route("r") { $0.prefix = "/only" }]),
      ]))
    #expect(table.match(TestRequest("/x", host: "a.com"), random: 0) == nil)
  }

  // MARK: Paths

  @Test(
    arguments: [
      ("/exact", "exact"), ("/exact?q=1", "exact"), ("/exact#f", "exact"), ("/exact/", nil), ("/exac", nil),
      ("/EXACT", nil), ("/pre", "prefix"), ("/prefix", "prefix"), ("/pre?x", "prefix"), ("/pr", nil), ("/pr?e", nil),
      ("/sep", "separated"), ("/sep/", "separated"), ("/sep/x", "separated"), ("/sep?x", "separated"), ("/sepx", nil),
      ("/sep#x", "separated"), ("/Any", "any case"), ("/aNYthing", "any case"), ("/exactly", "exactly, any case"),
      ("/EXACTLY", "exactly, any case"), ("/ANYsep/", "any case"), ("", nil), ("*", nil), ("?", nil),
    ] as [(String, String?)])
  func paths(path: String, name: String?) throws {
    let routes = [
      route("exact") { $0.path = "/exact" },
      route("prefix") { $0.prefix = "/pre" },
      route("separated") { $0.pathSeparatedPrefix = "/sep" },
      route("any case") {
        $0.prefix = "/any"
        $0.caseSensitive.value = false
      },
      route("exactly, any case") {
        $0.path = "/Exactly"
        $0.caseSensitive.value = false
      },
      route("never: the query takes no part") { $0.prefix = "/pr?" },
    ]
    #expect(try Self.table(configuration(routes)).route(TestRequest(path)) == name)
    // And through the index.
    let filler = (0..<20).map { number in route("filler") { $0.path = "/filler/\(number)" } }
    #expect(try Self.table(configuration(filler + routes)).route(TestRequest(path)) == name)
  }

  @Test func theFirstMatchWins() throws {
    let table = try Self.table(
      configuration([
        route("a") { $0.prefix = "/a" }, route("never") { $0.path = "/a/b" }, route("rest") { $0.prefix = "" },
      ]))
    #expect(table.route(TestRequest("/a/b")) == "a")
    #expect(table.route(TestRequest("anything")) == "rest")
  }

  // MARK: Headers

  static func headers(_ configure: (inout HeaderMatcher) -> Void) throws -> RouteTable {
    var matcher = HeaderMatcher()
    matcher.name = "X-H"
    configure(&matcher)
    return try table(
      configuration([
        route("yes") {
          $0.prefix = "/"
          $0.headers = [matcher]
        }
      ]))
  }

  static func holds(_ values: [String], _ configure: (inout HeaderMatcher) -> Void) throws -> Bool {
    let plain = try headers(configure).route(TestRequest(headers: values.map { ("x-h", $0) })) != nil
    let inverted =
      try headers {
        configure(&$0)
        $0.invertMatch = true
      }.route(TestRequest(headers: values.map { ("x-h", $0) })) != nil
    // An absent header satisfies no condition on its value, inverted or not.
    if values.isEmpty { return plain || inverted }
    #expect(plain != inverted)
    return plain
  }

  @Test func stringMatches() throws {
    #expect(try Self.holds(["v"]) { $0.stringMatch.exact = "v" })
    #expect(try !Self.holds(["V"]) { $0.stringMatch.exact = "v" })
    #expect(try !Self.holds(["vv"]) { $0.stringMatch.exact = "v" })
    #expect(try !Self.holds([""]) { $0.stringMatch.exact = "v" })
    #expect(try Self.holds([""]) { $0.stringMatch.exact = "" })
    #expect(try Self.holds(["value"]) { $0.stringMatch.prefix = "va" })
    #expect(try !Self.holds(["value"]) { $0.stringMatch.prefix = "al" })
    #expect(try !Self.holds(["v"]) { $0.stringMatch.prefix = "va" })
    #expect(try Self.holds(["value"]) { $0.stringMatch.suffix = "ue" })
    #expect(try !Self.holds(["value"]) { $0.stringMatch.suffix = "lu" })
    #expect(try Self.holds(["value"]) { $0.stringMatch.contains = "alu" })
    #expect(try Self.holds(["value"]) { $0.stringMatch.contains = "value" })
    #expect(try !Self.holds(["valu"]) { $0.stringMatch.contains = "value" })
    for set: (inout StringMatcher) -> Void in [
      { $0.exact = "Value" }, { $0.prefix = "vA" }, { $0.suffix = "UE" }, { $0.contains = "AlU" },
    ] {
      #expect(
        try Self.holds(["vALuE"]) {
          set(&$0.stringMatch)
          $0.stringMatch.ignoreCase = true
        })
    }
  }

  @Test func deprecatedForms() throws {
    #expect(try Self.holds(["v"]) { $0.headerMatchSpecifier = .exactMatch("v") })
    #expect(try !Self.holds(["w"]) { $0.headerMatchSpecifier = .exactMatch("v") })
    #expect(try Self.holds([""]) { $0.headerMatchSpecifier = .exactMatch("") })
    #expect(try Self.holds(["vw"]) { $0.headerMatchSpecifier = .prefixMatch("v") })
    #expect(try Self.holds(["vw"]) { $0.headerMatchSpecifier = .suffixMatch("w") })
    #expect(try Self.holds(["vwx"]) { $0.headerMatchSpecifier = .containsMatch("w") })
  }

  @Test func anAbsentHeaderHasNoValue() throws {
    #expect(try !Self.holds([]) { $0.stringMatch.exact = "" })
    #expect(try !Self.holds([]) { $0.stringMatch.prefix = "v" })
  }

  @Test func presence() throws {
    #expect(try Self.holds([""]) { _ in })
    #expect(try Self.holds(["x"]) { $0.presentMatch = true })
    #expect(try !Self.holds(["x"]) { $0.presentMatch = false })
    #expect(try Self.headers { $0.presentMatch = false }.route(TestRequest()) == "yes")
    #expect(try Self.headers { $0.presentMatch = true }.route(TestRequest()) == nil)
    #expect(try Self.headers { $0.invertMatch = true }.route(TestRequest()) == "yes")
    let notAbsent = try Self.headers {
      $0.presentMatch = false
      $0.invertMatch = true
    }
    #expect(notAbsent.route(TestRequest()) == nil)
    #expect(notAbsent.route(TestRequest(headers: [("x-h", "")])) == "yes")
  }

  /// Each field line is looked at by itself (checked against Envoy 1.40).
  @Test func severalLines() throws {
    #expect(try Self.holds(["v", "w"]) { $0.stringMatch.exact = "w" })
    #expect(try !Self.holds(["v", "w"]) { $0.stringMatch.exact = "v,w" })
    #expect(try !Self.holds(["v", "w"]) { $0.stringMatch.exact = "x" })
  }

  @Test func pseudoHeaders() throws {
    func table(_ name: String, _ value: String) throws -> RouteTable {
      try Self.headers {
        $0.name = name
        $0.stringMatch.exact = value
      }
    }
    let request = TestRequest("/p?q", host: "h:80", method: "POST")
    #expect(try table(":method", "POST").route(request) == "yes")
    #expect(try table(":method", "GET").route(request) == nil)
    #expect(try table(":path", "/p?q").route(request) == "yes")
    #expect(try table(":authority", "h:80").route(request) == "yes")
    #expect(try table("Host", "h:80").route(request) == "yes")
    #expect(try table("host", "").route(TestRequest(host: "")) == nil)
  }

  @Test func allConditionsMustHold() throws {
    var a = HeaderMatcher()
    a.name = "a"
    var b = HeaderMatcher()
    b.name = "b"
    let table = try Self.table(
      configuration([
        route("both") {
          $0.prefix = "/"
          $0.headers = [a, b]
        },
        route("neither") { $0.prefix = "/" },
      ]))
    #expect(table.route(TestRequest(headers: [("a", ""), ("b", "")])) == "both")
    #expect(table.route(TestRequest(headers: [("b", "")])) == "neither")
  }

  // MARK: Actions

  @Test func weightedClusters() throws {
    var weighted = Route()
    weighted.match.prefix = "/"
    for (name, weight) in [("a", 1), ("none", 0), ("b", 3), ("c", 6)] as [(String, UInt32)] {
      var cluster = WeightedCluster.ClusterWeight()
      cluster.name = name
      cluster.weight.value = weight
      weighted.route.weightedClusters.clusters.append(cluster)
    }
    let table = try Self.table(configuration([weighted]))
    #expect(table.clusterNames == ["a", "none", "b", "c"])
    var random = Random(seed: 4)
    var counts: [String: Int] = [:]
    for _ in 0..<10_000 {
      let action = try #require(table.match(TestRequest(), random: random.next())?.forward)
      #expect(table.clusterNames[action.clusterIndex] == action.cluster)
      counts[action.cluster, default: 0] += 1
    }
    #expect(counts["none"] == nil)
    #expect((900...1_100).contains(counts["a"] ?? 0))
    #expect((2_850...3_150).contains(counts["b"] ?? 0))
    #expect((5_850...6_150).contains(counts["c"] ?? 0))
    #expect(table.match(TestRequest(), random: 0)?.forward?.cluster == "a")
    #expect(table.match(TestRequest(), random: .max)?.forward?.cluster == "c")
  }

  @Test func timeouts() throws {
    var none = route("none") { $0.path = "/none" }
    none.route.timeout.seconds = 0
    none.route.idleTimeout.seconds = 0
    var some = route("some") { $0.path = "/some" }
    some.route.timeout.nanos = 250_000_000
    some.route.idleTimeout.seconds = 3
    var huge = route("huge") { $0.path = "/huge" }
    huge.route.timeout.seconds = .max
    let table = try Self.table(configuration([none, some, huge, route("default") { $0.prefix = "/" }]))
    func action(_ path: String) throws -> ForwardAction {
      try #require(table.match(TestRequest(path), random: 0)?.forward)
    }
    #expect(try action("/none").timeout == .zero && action("/none").idleTimeout == .zero)
    #expect(try action("/some").timeout == .milliseconds(250) && action("/some").idleTimeout == .seconds(3))
    #expect(try action("/").timeout == .seconds(15) && action("/").idleTimeout == nil)
    #expect(try MonotonicTime(nanoseconds: 5) + action("/huge").timeout > MonotonicTime(nanoseconds: 5))
  }

  @Test(arguments: [
    ("/service/1?q=1", "/1?q=1"), ("/service", "/"), ("/service?q", "/?q"), ("/serviceX", "/X"),
    ("/exact", "/new"), ("/exact?a=/exact", "/new?a=/exact"), ("/SEP/x", "/y/x"), ("/none/x?y", "/none/x?y"),
  ])
  func prefixRewrite(path: String, rewritten: String) throws {
    var routes = [
      route("slash") { $0.prefix = "/service/" }, route("plain") { $0.prefix = "/service" },
      route("exact") { $0.path = "/exact" },
      route("separated") {
        $0.pathSeparatedPrefix = "/sep"
        $0.caseSensitive.value = false
      }, route("none") { $0.prefix = "/" },
    ]
    for (index, rewrite) in ["/", "/", "/new", "/y"].enumerated() { routes[index].route.prefixRewrite = rewrite }
    let table = try Self.table(configuration(routes))
    let request = TestRequest(path)
    let action = try #require(table.match(request, random: 0)?.forward)
    #expect((action.pathRewrite == nil) == (path == rewritten))
    #expect(action.isPlain == (action.pathRewrite == nil))
    #expect(action.rewritten(path) == (path == rewritten ? nil : rewritten))
  }

  @Test func directResponses() throws {
    var text = Route()
    text.match.path = "/text"
    text.directResponse.status = 503
    text.directResponse.body.inlineString = "sorry\n"
    var empty = Route()
    empty.match.prefix = "/"
    empty.directResponse.status = 204
    let table = try Self.table(configuration([text, empty]))
    let response = table.match(TestRequest("/text"), random: 0)?.direct
    #expect(response?.status == 503 && response?.body == Array("sorry\n".utf8))
    #expect(table.match(TestRequest(), random: 0)?.direct?.body == [])
    #expect(table.clusterNames.isEmpty)
  }

  @Test func entriesTellWhereTheyStand() throws {
    var first = route("first") { $0.prefix = "/first" }
    first.typedPerFilterConfig["envoy.filters.http.buffer"] = TypedConfig()
    let table = try Self.table(
      configuration([
        virtualHost("a", ["a"], [route("other") { $0.prefix = "/" }]),
        virtualHost("b", ["b"], [first, route("second") { $0.prefix = "/" }]),
      ]))
    let entry = table.match(TestRequest("/x", host: "b"), random: 0)
    #expect(entry?.virtualHostIndex == 1 && entry?.routeIndex == 1 && entry?.virtualHostName == "b")
    let filters = table.match(TestRequest("/first", host: "b"), random: 0)?.filterSources
    #expect(filters?.map { table.filterSources[$0].filter } == ["envoy.filters.http.buffer"])
    #expect(table.entries.map(\.name) == ["other", "first", "second"])
    #expect(table.name == "r" && table.clusterNames == ["c"])
    #expect(table.clusterPaths == ["virtual_hosts[0].routes[0].route.cluster"])
    #expect(table.validatesClusters)
  }
}
