import MeshPrimitives
import Testing

@testable import MeshProxy

/// What routes say to filters (`typed_per_filter_config`), at every level.
@Suite struct RouteFilterTests {
  static let type = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"

  static func fault(_ status: Int) -> String {
    "{\"@type\": \(type), abort: {http_status: \(status), percentage: {numerator: 100}}}"
  }

  static func wrapped(_ fields: String) -> String {
    "{\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, \(fields)}"
  }

  static func filter(_ name: String, _ config: String, more: String = "") -> String {
    "- {name: \(name), \(more) typed_config: \(config)}\n          "
  }

  static func route(_ path: String, _ configs: String = "") -> String {
    "{match: {path: \(path)}, direct_response: {status: 200}, typed_per_filter_config: {\(configs)}}"
  }

  static func problems(_ body: () throws -> WorkerFixture) -> [String] {
    do {
      _ = try body()
      return []
    } catch let error as FixtureError {
      return error.problems.map {
        $0.replacing("static_resources.listeners[0].filter_chains[0].filters[0].typed_config.", with: "")
      }
    } catch {
      return ["\(error)"]
    }
  }

  @Test func theMostSpecialLevelWins() throws {
    let fixture = try WorkerFixture(
      routes: """
        [\(Self.route("/route", "fault: \(Self.fault(403))")), \(Self.route("/host")), \
        {match: {path: /weighted}, typed_per_filter_config: {fault: \(Self.fault(403))}, route: {weighted_clusters: \
        {clusters: [{name: c, weight: 1, typed_per_filter_config: {fault: \(Self.fault(402))}}]}}}]
        """, host: "typed_per_filter_config: {fault: \(Self.fault(404))}",
      table: "typed_per_filter_config: {fault: \(Self.fault(405)), second: \(Self.fault(406))}",
      clusters: "[{name: c, type: STATIC, load_assignment: {cluster_name: c}}]",
      httpFilters: Self.filter("fault", "{\"@type\": \(Self.type)}")
        + Self.filter("second", "{\"@type\": \(Self.type)}"))
    #expect(fixture.get("/route").status == 403)
    #expect(fixture.get("/host").status == 404)
    #expect(fixture.get("/weighted").status == 402)
  }

  @Test func theTablesLevel() throws {
    let fixture = try WorkerFixture(
      routes: "[\(Self.route("/"))]", table: "typed_per_filter_config: {fault: \(Self.fault(405))}",
      httpFilters: Self.filter("fault", "{\"@type\": \(Self.type)}"))
    #expect(fixture.get("/").status == 405)
  }

  @Test func aRouteSwitchesFiltersOff() throws {
    let fixture = try WorkerFixture(
      routes: """
        [\(Self.route("/off", "a: \(Self.wrapped("disabled: true"))")), \(Self.route("/on")), \
        \(Self.route("/changed", "a: \(Self.wrapped("config: \(Self.fault(403))"))"))]
        """, host: "typed_per_filter_config: {b: \(Self.wrapped("disabled: true"))}",
      httpFilters: Self.filter("a", Self.fault(401)) + Self.filter("b", Self.fault(402)))
    #expect(fixture.get("/off").status == 200)
    #expect(fixture.get("/on").status == 401)
    #expect(fixture.get("/changed").status == 403)
    // Without a route the chain is as configured.
    #expect(fixture.get("/none").status == 401)
  }

  @Test func aRouteSwitchesFiltersOn() throws {
    let fixture = try WorkerFixture(
      routes: """
        [\(Self.route("/plain")), \(Self.route("/b", "b: \(Self.fault(402))")), \
        \(Self.route("/wrapped", "b: \(Self.wrapped("config: \(Self.fault(403))"))")), \
        \(Self.route("/both", "a: \(Self.wrapped("config: {\"@type\": \(Self.type)}")), b: \(Self.fault(405))"))]
        """,
      httpFilters: Self.filter("a", Self.fault(401), more: "disabled: true,")
        + Self.filter("b", Self.fault(499), more: "disabled: true,"))
    #expect(fixture.get("/plain").status == 200)
    #expect(fixture.get("/none").status == 404)
    #expect(fixture.get("/b").status == 402)
    #expect(fixture.get("/wrapped").status == 403)
    #expect(fixture.get("/both").status == 405)
  }

  /// A filter that is left out is no hole in the chain: the others stop and go on in their places.
  @Test func filtersBehindOneThatIsLeftOut() throws {
    let delay = "{\"@type\": \(Self.type), delay: {fixed_delay: 0.001s, percentage: {numerator: 100}}}"
    let fixture = try WorkerFixture(
      routes: "[\(Self.route("/", "c: \(Self.fault(403))"))]",
      httpFilters: Self.filter("a", Self.fault(401), more: "disabled: true,") + Self.filter("b", delay)
        + Self.filter("c", "{\"@type\": \(Self.type)}"))
    #expect(fixture.get("/").status == 403)
  }

  @Test func problems() {
    let fault = Self.filter("fault", "{\"@type\": \(Self.type)}")
    func problems(_ config: String, _ filters: String? = nil) -> [String] {
      Self.problems { try WorkerFixture(routes: "[\(Self.route("/", config))]", httpFilters: filters ?? fault) }
    }
    let path = "route_config.virtual_hosts[0].routes[0].typed_per_filter_config"
    #expect(
      problems("other: \(Self.fault(400))") == [
        "\(path)[\"other\"]: no filter of this name can be configured by routes (fault)"
      ])
    #expect(
      problems("other: \(Self.wrapped("disabled: true"))") == [
        "\(path)[\"other\"]: no filter of this name is in http_filters (fault)"
      ])
    #expect(problems("other: \(Self.wrapped("config: \(Self.fault(400)), is_optional: true"))").isEmpty)
    #expect(problems("other: \(Self.wrapped("disabled: true, is_optional: true"))").isEmpty)
    // Of a type that is not supported: a warning, and nothing is said to the filter.
    let lua =
      "config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute, disabled: true}"
    #expect(problems("fault: \(Self.wrapped("\(lua), is_optional: true"))").isEmpty)
    #expect(
      problems("fault: \(Self.wrapped("is_optional: true"))") == [
        "\(path)[\"fault\"].config: is required unless disabled is true"
      ])
    #expect(
      problems(
        "fault: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute, disabled: true}"
      ).count == 1)
    // What several routes inherit is checked once, and where there is no route, too.
    #expect(
      Self.problems {
        try WorkerFixture(
          routes: "[\(Self.route("/a")), \(Self.route("/b"))]",
          host: "typed_per_filter_config: {x: \(Self.fault(400))}",
          table: "typed_per_filter_config: {y: \(Self.fault(400))}", httpFilters: fault)
      } == [
        "route_config.typed_per_filter_config[\"y\"]: no filter of this name can be configured by routes (fault)",
        "route_config.virtual_hosts[0].typed_per_filter_config[\"x\"]: no filter of this name can be configured by routes (fault)",
      ])
  }
}
