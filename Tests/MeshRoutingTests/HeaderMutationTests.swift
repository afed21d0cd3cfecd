import MeshAPI
import MeshPrimitives
import MeshRouting
import Testing

/// Headers as text.
private struct TextHeaders: HeaderMutationTarget {
  var lines: [(String, String)]

  init(_ lines: [(String, String)] = []) { self.lines = lines }
  func contains(_ name: HeaderName) -> Bool { lines.contains { $0.0 == name.description } }
  mutating func remove(_ name: HeaderName) { lines.removeAll { $0.0 == name.description } }
  mutating func append(_ name: HeaderName, _ value: Bytes) { lines.append((name.description, value.text)) }
  mutating func set(_ name: HeaderName, _ value: Bytes) {
    remove(name)
    append(name, value)
  }
  var text: [String] { lines.map { "\($0.0): \($0.1)" } }
}

@Suite struct HeaderMutationTests {
  static func applied(_ options: [HeaderValueOption], remove: [String] = [], to lines: [(String, String)] = []) throws
    -> [String]
  {
    var route = route("r") { $0.prefix = "/" }
    route.requestHeadersToAdd = options
    route.requestHeadersToRemove = remove
    let (table, problems) = RouteTable.build(configuration([route]))
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
}
