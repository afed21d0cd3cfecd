import MeshAPI
import MeshPrimitives
import MeshRouting
import Testing

@Suite struct HeaderMutationTests {
  static func applied(_ options: [HeaderValueOption], remove: [String] = [], to lines: [(String, String)] = []) throws
    -> [String]
  {
    var route = route("r") { $0.prefix = "/" }
    route.requestHeadersToAdd = options
    route.requestHeadersToRemove = remove
    let (table, problems) = RouteTable.build(configuration([route]), formats: HeaderCopy.compile)
    try #require(problems.isEmpty, "\(problems)")
    let entry = try #require(table?.match(TestRequest(), random: 0))
    #expect(entry.responseHeaders.isEmpty)
    var headers = TextHeaders(lines)
    entry.requestHeaders.apply(to: &headers)
    return headers.text
  }

  @Test func appendActions() throws {
    let there = [("x", "old")]
    #expect(try Self.applied([option("X", "new")], to: there) == ["x: old", "x: new"])
    #expect(try Self.applied([option("x", "new")]) == ["x: new"])
    #expect(try Self.applied([option("x", "new", .addIfAbsent)], to: there) == ["x: old"])
    #expect(try Self.applied([option("x", "new", .addIfAbsent)]) == ["x: new"])
    #expect(try Self.applied([option("x", "new", .overwriteIfExistsOrAdd)], to: there) == ["x: new"])
    #expect(try Self.applied([option("x", "new", .overwriteIfExistsOrAdd)]) == ["x: new"])
    #expect(try Self.applied([option("x", "new", .overwriteIfExists)], to: there) == ["x: new"])
    #expect(try Self.applied([option("x", "new", .overwriteIfExists)]) == [])
  }

  @Test func deprecatedAppend() throws {
    var overwrite = option("x", "new")
    overwrite.append.value = false
    #expect(try Self.applied([overwrite], to: [("x", "old")]) == ["x: new"])
    var append = option("x", "new")
    append.append.value = true
    #expect(try Self.applied([append], to: [("x", "old")]) == ["x: old", "x: new"])
  }

  @Test func removalComesFirst() throws {
    #expect(
      try Self.applied([option("x", "new")], remove: ["X", "y"], to: [("x", "1"), ("y", "2"), ("x", "3")]) == ["x: new"]
    )
    #expect(try Self.applied([option("x", "new", .overwriteIfExists)], remove: ["x"], to: [("x", "1")]) == [])
  }

  /// What was there before the level decides (as in Envoy 1.40, which sends both).
  @Test func conditionsLookAtTheStateBeforeTheLevel() throws {
    #expect(
      try Self.applied([option("x", "1"), option("x", "2", .addIfAbsent), option("x", "3", .addIfAbsent)])
        == ["x: 1", "x: 2", "x: 3"])
    #expect(
      try Self.applied([option("x", "1"), option("y", "2", .overwriteIfExistsOrAdd)]) == ["y: 2", "x: 1"])
  }

  @Test func emptyValues() throws {
    #expect(
      try Self.applied([option("x", ""), option("y", "", .overwriteIfExistsOrAdd)], to: [("y", "1")]) == ["y: 1"])
    var kept = option("x", "")
    kept.keepEmptyValue = true
    #expect(try Self.applied([kept]) == ["x: "])
  }

  @Test func percentSigns() throws {
    #expect(try Self.applied([option("x", "100%%")]) == ["x: 100%"])
    #expect(try Self.applied([option("x", "%%%%a%%")]) == ["x: %%a%"])
  }

  @Test func levelsGoFromSpecialToGeneral() throws {
    func options(_ level: String) -> [HeaderValueOption] {
      [option("x-level", level), option("x-over", level, .overwriteIfExistsOrAdd)]
    }
    var cluster = WeightedCluster.ClusterWeight()
    cluster.name = "c"
    cluster.weight.value = 1
    cluster.requestHeadersToAdd = options("cluster")
    cluster.responseHeadersToAdd = options("cluster")
    var route = Route()
    route.match.prefix = "/"
    route.route.weightedClusters.clusters = [cluster]
    route.requestHeadersToAdd = options("route")
    route.responseHeadersToAdd = options("route") + [option("x-route", "1")]
    var host = virtualHost("v", ["*"], [route])
    host.requestHeadersToAdd = options("host")
    host.responseHeadersToAdd = options("host")
    host.responseHeadersToRemove = ["x-route"]
    var config = configuration([host])
    config.requestHeadersToAdd = options("configuration")
    config.responseHeadersToAdd = options("configuration")
    config.requestHeadersToRemove = ["x-in"]
    let entry = try #require(RouteTable.build(config).table?.match(TestRequest(), random: 0))
    var request = TextHeaders([("x-in", "1")])
    entry.requestHeaders.apply(to: &request)
    #expect(
      request.text == [
        "x-level: cluster", "x-level: route", "x-level: host", "x-over: configuration", "x-level: configuration",
      ])
    var response = TextHeaders()
    entry.responseHeaders.apply(to: &response)
    #expect(response.text == request.text)
  }

  @Test func withoutMutationsThereIsNothingToDo() throws {
    let table = try #require(RouteTable.build(configuration([route("r") { $0.prefix = "/" }])).table)
    let entry = try #require(table.match(TestRequest(), random: 0))
    #expect(entry.requestHeaders.isEmpty && entry.responseHeaders.isEmpty)
  }

  /// All values are made before the first change of their level, and after its removals.
  @Test func formats() throws {
    #expect(try Self.applied([option("x", "%a%")], to: [("a", "1")]) == ["a: 1", "x: 1"])
    #expect(
      try Self.applied([option("x", "new"), option("y", "%x%")], to: [("x", "old")]) == ["x: old", "x: new", "y: old"])
    #expect(
      try Self.applied(
        [option("y", "%x%"), option("x", "new", .overwriteIfExistsOrAdd)], to: [("x", "old")]) == ["x: new", "y: old"])
    #expect(try Self.applied([option("y", "%x%")], remove: ["x"], to: [("x", "old")]) == [])
    for action in [
      HeaderValueOption.HeaderAppendAction.appendIfExistsOrAdd, .overwriteIfExistsOrAdd, .overwriteIfExists,
      .addIfAbsent,
    ] {
      // What makes nothing does nothing.
      #expect(try Self.applied([option("x", "%none%", action)], to: [("x", "old")]) == ["x: old"])
      var kept = option("x", "%none%", action)
      kept.keepEmptyValue = true
      let expected = action == .addIfAbsent ? ["x: old"] : action == .appendIfExistsOrAdd ? ["x: old", "x: "] : ["x: "]
      #expect(try Self.applied([kept], to: [("x", "old")]) == expected)
    }
    #expect(
      try Self.applied(
        [option("x", "a"), option("y", "%none%"), option("z", "%b%"), option("v", "c")], to: [("b", "2")])
        == ["b: 2", "x: a", "z: 2", "v: c"])
  }

  @Test func theMostSpecificWinsIfAsked() throws {
    func level(_ name: String) -> [HeaderValueOption] {
      [option("l", name), option("o", name, .overwriteIfExistsOrAdd)]
    }
    var route = Route()
    route.match.prefix = "/"
    route.requestHeadersToAdd = level("route")
    route.route.weightedClusters.clusters = [
      .with {
        $0.name = "c"
        $0.weight.value = 1
        $0.requestHeadersToAdd = level("cluster")
      }
    ]
    var host = virtualHost("v", ["*"], [route])
    host.requestHeadersToAdd = level("host")
    var config = configuration([host])
    config.requestHeadersToAdd = level("table")
    config.mostSpecificHeaderMutationsWins = true
    let entry = try #require(RouteTable.build(config).table?.match(TestRequest(), random: 0))
    var headers = TextHeaders()
    entry.requestHeaders.apply(to: &headers)
    #expect(headers.text == ["l: cluster", "l: table", "l: host", "o: route", "l: route"])
  }

  @Test func internalOnlyHeaders() throws {
    var config = configuration([route("r") { $0.prefix = "/" }])
    config.internalOnlyHeaders = ["X-Secret", "x-other"]
    #expect(RouteTable.build(config).table?.internalOnlyHeaders.map(\.description) == ["x-secret", "x-other"])
    config.internalOnlyHeaders = ["host"]
    #expect(RouteTable.build(config).problems.map(\.path) == ["internal_only_headers[0]"])
  }

  /// Every entry knows what the most special level says to each filter.
  @Test func filterSources() throws {
    func config(_ text: String) -> TypedConfig { .with { $0.typeURL = text } }
    var weighted = Route()
    weighted.match.path = "/weighted"
    weighted.typedPerFilterConfig = ["a": config("route")]
    weighted.route.weightedClusters.clusters = [
      .with {
        $0.name = "c"
        $0.weight.value = 1
        $0.typedPerFilterConfig = ["b": config("cluster")]
      },
      .with {
        $0.name = "d"
        $0.weight.value = 1
      },
    ]
    var host = virtualHost("v", ["*"], [weighted, route("plain") { $0.prefix = "/" }])
    host.typedPerFilterConfig = ["b": config("host")]
    var table = configuration([host])
    table.typedPerFilterConfig = ["a": config("table"), "c": config("table")]
    let built = try #require(RouteTable.build(table, path: "rc").table)
    func sources(_ path: String, _ random: UInt64) throws -> [String: String] {
      let entry = try #require(built.match(TestRequest(path), random: random))
      let sources = entry.filterSources.map { built.filterSources[$0] }
      return Dictionary(uniqueKeysWithValues: sources.map { ($0.filter, $0.config.typeURL) })
    }
    #expect(try sources("/weighted", 0) == ["a": "route", "b": "cluster", "c": "table"])
    #expect(try sources("/weighted", .max) == ["a": "route", "b": "host", "c": "table"])
    #expect(try sources("/", 0) == ["a": "table", "b": "host", "c": "table"])
    #expect(
      built.filterSources.map(\.path) == [
        "rc.typed_per_filter_config[\"a\"]", "rc.typed_per_filter_config[\"c\"]",
        "rc.virtual_hosts[0].typed_per_filter_config[\"b\"]",
        "rc.virtual_hosts[0].routes[0].typed_per_filter_config[\"a\"]",
        "rc.virtual_hosts[0].routes[0].route.weighted_clusters.clusters[0].typed_per_filter_config[\"b\"]",
      ])
  }
}
