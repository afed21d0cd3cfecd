import MeshHTTP
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Istio statistics")
struct IstioStatsTests {
  private static let stats = "type.googleapis.com/stats.PluginConfig"

  private func fixture(_ fields: String = "", clusters: String = "[]") throws -> WorkerFixture {
    try WorkerFixture(
      routes: "[{match: {prefix: /}, direct_response: {status: 200}}]", clusters: clusters,
      httpFilters: "- {name: istio.stats, typed_config: {\"@type\": \(Self.stats)\(fields)}}")
  }

  private func series(_ fixture: WorkerFixture) -> [String] {
    var out: [UInt8] = []
    fixture.store.renderPrometheus(into: &out)
    return String(decoding: out, as: UTF8.self).split(separator: "\n").map(String.init)
      .filter { $0.hasPrefix("istio_requests_total") }
  }

  @Test("Without metadata everybody is unknown, and every request is counted")
  func unknown() throws {
    let fixture = try fixture()
    for _ in 0..<5 { fixture.open() }
    fixture.open("GET", "/", [("host", "other")])
    let found = series(fixture)
    #expect(found.count == 2)
    #expect(
      found.contains {
        $0
          == "istio_requests_total{reporter=\"source\",source_workload=\"\",source_canonical_service=\"\","
          + "source_canonical_revision=\"\",source_workload_namespace=\"\",source_principal=\"unknown\","
          + "source_app=\"\",source_version=\"\",source_cluster=\"\",destination_workload=\"unknown\","
          + "destination_workload_namespace=\"unknown\",destination_principal=\"unknown\","
          + "destination_app=\"unknown\",destination_version=\"unknown\",destination_service=\"test\","
          + "destination_canonical_service=\"unknown\",destination_canonical_revision=\"latest\","
          + "destination_service_name=\"test\",destination_service_namespace=\"unknown\","
          + "destination_cluster=\"unknown\",request_protocol=\"http\",response_code=\"200\","
          + "grpc_response_status=\"\",response_flags=\"-\",connection_security_policy=\"unknown\"} 5"
      }, "\(found)")
    #expect(found.contains { $0.contains("destination_service=\"other\"") && $0.hasSuffix(" 1") })
  }

  @Test("A host that clients choose does not name services where that is switched off")
  func host() throws {
    let fixture = try fixture(", disable_host_header_fallback: true")
    for host in ["a", "b", "c"] { fixture.open("GET", "/", [("host", host)]) }
    #expect(series(fixture).count == 1)
    #expect(series(fixture)[0].contains("destination_service=\"unknown\""))
  }

  @Test("A filter that only observes is no object of a stream, wherever it stands")
  func noFilters() throws {
    let fixture = try fixture()
    #expect(fixture.manager.configuration.makesNoFilters)
    #expect(fixture.manager.configuration.gates.count == 0)
    #expect(fixture.manager.hasObservers)
    let plain = try WorkerFixture(routes: "[{match: {prefix: /}, direct_response: {status: 200}}]")
    #expect(!plain.manager.hasObservers)
  }

  @Test("A route can do without it")
  func disabled() throws {
    let type = "type.googleapis.com/envoy.config.route.v3.FilterConfig"
    let fixture = try WorkerFixture(
      routes: "[{match: {prefix: /quiet}, direct_response: {status: 200}, "
        + "typed_per_filter_config: {istio.stats: {\"@type\": \(type), disabled: true}}}, "
        + "{match: {prefix: /}, direct_response: {status: 200}}]",
      httpFilters: "- {name: istio.stats, typed_config: {\"@type\": \(Self.stats)}}")
    fixture.open("GET", "/quiet")
    #expect(series(fixture).isEmpty)
    fixture.open("GET", "/loud")
    #expect(series(fixture).count == 1)
  }

  @Test(
    "What is not understood is refused by name",
    arguments: [
      ("metrics: [{name: nothing_total}]", "metrics[0].name", "none of Istio's standard metrics"),
      ("metrics: [{tags_to_remove: [nothing]}]", "metrics[0].tags_to_remove[0]", "no standard label"),
      ("metrics: [{dimensions: {a: 'has(request.host) ? 1 : 2'}}]", "metrics[0].dimensions.a", "not supported"),
      ("metrics: [{dimensions: {a: \"request.headers['a b']\"}}]", "metrics[0].dimensions.a", "not supported"),
      ("metrics: [{dimensions: {a-b: \"'x'\"}}]", "metrics[0].dimensions.a-b", "no name of a label"),
      ("metrics: [{dimensions: {le: \"'x'\"}}]", "metrics[0].dimensions.le", "no name of a label"),
      ("tcp_reporting_duration: 0.0001s", "tcp_reporting_duration", "at least 1ms"),
    ])
  func refused(fields: String, path: String, message: String) throws {
    let error = #expect(throws: FixtureError.self) { try fixture(", \(fields)") }
    let problems = error?.problems ?? []
    #expect(problems.contains { $0.contains("typed_config.\(path)") && $0.contains(message) }, "\(problems)")
  }

  @Test("Expressions of one attribute, with their quotes and blanks")
  func dimensions() {
    func compiles(_ text: String) -> Bool { IstioDimension.compile(text) { _ in "n" } != nil }
    for text in [
      "'a'", "\"a\"", " request.host ", "string(destination.port)", "string( response.code )",
      "request.headers['x-a']", "request.headers[\"x-a\"]", "request.headers[ 'x-a' ]", "response.headers['b']",
      "node.metadata['A']", "node.id", "request.url_path",
    ] {
      #expect(compiles(text), "\(text)")
    }
    for text in [
      "", "'", "''a", "'a' + 'b'", "a", "request", "request.headers", "request.headers[a]", "request.headers['']",
      "request.host == 'a'", "node.other", "string(", "'a\\'", "node.metadata[A]", "request.headers['a)%']",
    ] {
      #expect(!compiles(text), "\(text)")
    }
  }

  @Test("Numbers for texts stay the same while they are asked for, and memory stays small whatever is asked")
  func numbers() {
    var numbers = TextNumbers()
    func number(_ text: String) -> UInt32 { Array(text.utf8).withUnsafeBufferPointer { numbers.number($0) } }
    #expect(number("") == 0)
    let a = number("a")
    #expect(a != 0)
    #expect(number("b") != a)
    #expect(number("a") == a)
    var seen: Set<UInt32> = []
    for index in 0..<2000 { seen.insert(number("t\(index)")) }
    #expect(seen.count == 2000)
  }

  @Test("Series are found by key, and looked up once")
  func cache() {
    final class Row {
      let number: Int
      init(_ number: Int) { self.number = number }
    }
    var cache = SeriesCache<Row>()
    var made = 0
    var generation: UInt64 = 0
    func row(_ peer: UInt64, code: Int, status: Int? = nil) -> Row {
      var key = SeriesKey()
      key.peer = peer
      key.note(.http, code: code, grpcStatus: status)
      return cache.row(key, generation) {
        made += 1
        return Row(made)
      }
    }
    let first = row(1, code: 200)
    #expect(row(1, code: 200) === first)
    #expect(row(1, code: 201) !== first)
    #expect(row(2, code: 200) !== first)
    #expect(row(1, code: 200, status: 0) !== first)
    #expect(row(1, code: 200, status: 0) !== row(1, code: 200, status: 1))
    #expect(made == 5)
    // More than there is room for at the first place: each is still itself.
    for peer in UInt64(10)..<500 { _ = row(peer, code: 200) }
    #expect(made == 495)
    #expect(row(1, code: 200) === first)
    for peer in UInt64(10)..<500 { _ = row(peer, code: 200) }
    #expect(made == 495)
    generation = 1
    #expect(row(1, code: 200) !== first, "what was looked up before has to be looked up again")
    #expect(made == 496)
  }

  @Test("Series that nobody asks for any more make room; nothing that is counted is lost", .timeLimit(.minutes(1)))
  func eviction() throws {
    let fixture = try fixture()
    let store = fixture.store
    let eviction = SeriesEviction(loop: fixture.worker.loop, store: store, lane: 1) { done in
      fixture.worker.forgetSeries()
      done()
    }
    func hosts() -> [String: Int] {
      series(fixture).reduce(into: [:]) { found, line in
        let mark = Array("destination_service=\"".utf8)
        guard let start = MeshTesting.firstRange(of: mark, in: Array(line.utf8)) else { return }
        let host = String(decoding: Array(line.utf8)[(start + mark.count)...].prefix { $0 != 0x22 }, as: UTF8.self)
        found[host] = Int(line.split(separator: " ").last ?? "")
      }
    }
    fixture.open("GET", "/", [("host", "stays")])
    fixture.open("GET", "/", [("host", "goes")])
    eviction.configure(.seconds(3600))
    // What the timer does, without waiting for it.
    eviction.timerFired(0)
    #expect(hosts() == ["stays": 1, "goes": 1])
    fixture.open("GET", "/", [("host", "stays")])
    eviction.timerFired(0)
    #expect(hosts() == ["stays": 2])
    let stats: StatBlock<IstioStat> = IstioMetrics.stats(store)
    #expect(stats.total(.evicted) == 4)
    #expect(stats.total(.series) == 4)
    fixture.open("GET", "/", [("host", "stays")])
    fixture.open("GET", "/", [("host", "goes")])
    #expect(hosts() == ["stays": 3, "goes": 1], "one that comes back begins anew")
    // A worker that has not heard of it yet may go on counting: nothing is removed.
    let deaf = SeriesEviction(loop: fixture.worker.loop, store: store, lane: 1) { _ in }
    deaf.configure(.seconds(3600))
    for _ in 0..<5 { deaf.timerFired(0) }
    #expect(hosts() == ["stays": 3, "goes": 1])
  }

  @Test("The namespace in a principal")
  func principals() {
    func namespace(_ text: String) -> String? {
      var principals = Principals()
      principals.peer = Array(text.utf8)
      return principals.peerNamespace.map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(namespace("spiffe://td/ns/store/sa/a") == "store")
    #expect(namespace("spiffe://td/ns/store") == "store")
    #expect(namespace("spiffe://td/ns//sa") == nil)
    #expect(namespace("spiffe://td/sa/a") == nil)
    #expect(namespace("") == nil)
    #expect(namespace("/ns/") == nil)
  }

  @Test("What clusters say of their services")
  func services() throws {
    func service(_ name: String, _ yaml: String?) throws -> ClusterService? {
      let metadata = yaml.map { ", metadata: {filter_metadata: {istio: \($0)}}" } ?? ""
      let fixture = try fixture(
        clusters: "[{name: \(name), type: STATIC, load_assignment: {cluster_name: c}\(metadata)}]")
      return fixture.worker.clusters[name]?.configuration.service
    }
    #expect(try service("plain", nil) == nil)
    let full = try #require(try service("a", "{services: [{host: a.b.c, name: n, namespace: s}, {host: x}]}"))
    #expect(full.host == Array("a.b.c".utf8))
    #expect(full.name == Array("n".utf8))
    #expect(full.namespace == Array("s".utf8))
    let short = try #require(try service("a", "{services: [{host: a.b.c}], external: true}"))
    #expect(short.name == Array("a".utf8))
    #expect(short.isExternal)
    let pass = try #require(try service("PassthroughCluster", nil))
    #expect(pass.name == Array("PassthroughCluster".utf8))
    #expect(pass.host == nil)
    #expect(pass.isExternal)
    for odd in ["{services: 7}", "{services: []}", "{services: [7]}", "{services: [{host: 7}]}", "{external: yes-no}"] {
      let service = try #require(try service("a", odd))
      #expect(service.host == nil && service.name == nil && !service.isExternal)
    }
  }
}
