import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Aggregate clusters")
struct AggregateTests {
  private static let type = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"

  private func aggregate(_ clusters: String, name: String = "all") -> String {
    "{name: \(name), lb_policy: CLUSTER_PROVIDED, cluster_type: {name: a, typed_config: "
      + "{\"@type\": \(Self.type), clusters: [\(clusters)]}}}"
  }

  private func cluster(_ name: String, _ number: Int, health: String = "HEALTHY", _ fields: String = "") -> String {
    "{name: \(name), \(fields) load_assignment: {cluster_name: \(name), endpoints: [{lb_endpoints: ["
      + "{health_status: \(health), endpoint: {address: {socket_address: {address: 127.0.0.\(number), port_value: 1}}}}"
      + "]}]}}"
  }

  private func problems(_ clusters: String) -> [String] {
    do {
      _ = try WorkerFixture(routes: "[]", clusters: clusters)
      return []
    } catch let error as FixtureError {
      return error.problems
    } catch { return ["\(error)"] }
  }

  @Test("requests go to the first cluster that has a healthy endpoint, and to the first again when it has")
  func failover() throws {
    let fixture = try WorkerFixture(
      routes: "[]", clusters: "[\(aggregate("one, two")), \(cluster("one", 1)), \(cluster("two", 2))]")
    let all = try #require(fixture.worker.clusters["all"])
    let one = try #require(fixture.worker.clusters["one"])
    #expect(!all.picksPlainly)
    #expect(all.pickEndpoint()?.cluster.name == "one")
    let identity = one.hosts.hosts[0].endpoint.identity
    #expect(identity.set(.failedOutlierCheck, true))
    one.update(HostSets(one.hosts.hosts, one.configuration.balancing, previous: one.hosts))
    let other = try #require(all.pickEndpoint())
    #expect(other.cluster.name == "two")
    #expect(all.priority(of: other) == 1)
    #expect(identity.set(.failedOutlierCheck, false))
    one.update(HostSets(one.hosts.hosts, one.configuration.balancing, previous: one.hosts))
    #expect(all.pickEndpoint()?.cluster.name == "one")
  }

  @Test("the priorities of the clusters stand one behind the other")
  func linear() throws {
    let first = """
      {name: one, load_assignment: {cluster_name: one, endpoints: [\
      {lb_endpoints: [{health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]}, \
      {priority: 1, lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.2, port_value: 1}}}}]}]}}
      """
    let fixture = try WorkerFixture(
      routes: "[]", clusters: "[\(aggregate("one, two")), \(first), \(cluster("two", 3))]")
    let all = try #require(fixture.worker.clusters["all"])
    let picked = try #require(all.pickEndpoint())
    #expect(picked.cluster.name == "one" && picked.priority == 1)
    #expect(all.priority(of: picked) == 1)
    let retried = try #require(all.pickEndpoint(EndpointChoice(triedPriorities: [1])))
    #expect(retried.cluster.name == "two")
    #expect(all.priority(of: retried) == 2)
  }

  @Test("a cluster whose circuit breaker is open is passed over, with its permits in order")
  func breaker() throws {
    let limits = "circuit_breakers: {thresholds: [{max_requests: 1}]},"
    let fixture = try WorkerFixture(
      routes: "[]", clusters: "[\(aggregate("one, two")), \(cluster("one", 1, limits)), \(cluster("two", 2, limits))]")
    let all = try #require(fixture.worker.clusters["all"]?.aggregate)
    func admit() -> String {
      switch all.admit(EndpointChoice(), .normal) {
      case .admitted(let endpoint): endpoint.cluster.name
      case .full(let cluster): "full: \(cluster.name)"
      case .noEndpoint: "none"
      }
    }
    #expect(admit() == "one")
    #expect(admit() == "two")
    #expect(admit() == "full: one")
    #expect(admit() == "full: one")
    let one = try #require(fixture.worker.clusters["one"])
    #expect(one.breakers.normal.requests.current == 1)
    one.breakers.normal.requests.leave()
    #expect(admit() == "one")
  }

  @Test("nobody there: no endpoint, no permit")
  func nobody() throws {
    let off = "common_lb_config: {healthy_panic_threshold: {value: 0}},"
    let fixture = try WorkerFixture(
      routes: "[{match: {prefix: /}, route: {cluster: all}}]",
      clusters: "[\(aggregate("one")), \(cluster("one", 1, health: "UNHEALTHY", off))]")
    let response = fixture.open()
    #expect(response.status == 503)
    #expect(response.text == "no healthy upstream")
    #expect(fixture.worker.clusters["one"]?.breakers.normal.requests.current == 0)
    #expect(fixture.worker.clusters["all"]?.stats.value(.connectionNoneHealthy) == 1)
    #expect(fixture.worker.clusters["all"]?.stats.value(.requestActive) == 0)
  }

  @Test(
    "a request through an aggregate cluster is its cluster's; its answer is the aggregate cluster's; nobody counts it when it is over"
  )
  func counts() throws {
    let upstream = try Upstream()
    let fixture = try WorkerFixture(
      routes: "[{match: {prefix: /}, route: {cluster: all}}]",
      clusters: "[\(aggregate("one")), \(upstream.cluster("one"))]")
    let response = fixture.get()
    #expect(response.status == 200)
    let all = try #require(fixture.worker.clusters["all"])
    let one = try #require(fixture.worker.clusters["one"])
    #expect(one.stats.value(.requestTotal) == 1)
    #expect(all.stats.value(.requestTotal) == 0)
    #expect(one.stats.value(.connectionTotal) == 1)
    #expect(one.stats.value(.requestCompleted) == 0)
    #expect(all.stats.value(.requestCompleted) == 1)
    for cluster in [one, all] {
      #expect(cluster.stats.value(.requestActive) == 0)
      #expect(cluster.breakers.normal.requests.current == 0)
    }
  }

  @Test("clusters that are not there, that lead back, that are there twice, or have no endpoints to choose from")
  func mistakes() {
    #expect(
      problems("[\(aggregate("one, tow")), \(cluster("one", 1)), \(cluster("two", 2))]").first
        == "static_resources.clusters[0].cluster_type.typed_config.clusters[1]: unknown cluster \"tow\" "
        + "(did you mean \"two\"?)")
    #expect(problems("[\(aggregate("all"))]").first?.contains("leads back to itself (all -> all)") == true)
    let circle = problems("[\(aggregate("b", name: "a")), \(aggregate("a", name: "b"))]")
    #expect(circle.count == 2 && circle.allSatisfy { $0.contains("leads back to itself") })
    #expect(problems("[\(aggregate("one, one")), \(cluster("one", 1))]").first?.contains("is there already") == true)
    #expect(
      problems("[\(aggregate("o")), {name: o, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED}]").first?
        .contains("ORIGINAL_DST") == true)
    #expect(
      problems("[\(aggregate("one").replacing("lb_policy: CLUSTER_PROVIDED, ", with: "")), \(cluster("one", 1))]")
        .first?
        .contains("must be CLUSTER_PROVIDED") == true)
  }

  @Test("an aggregate cluster within another stands for its clusters")
  func nested() throws {
    let fixture = try WorkerFixture(
      routes: "[]",
      clusters: "[\(aggregate("inner, three")), \(aggregate("one, two", name: "inner")), "
        + "\(cluster("one", 1, health: "UNHEALTHY")), \(cluster("two", 2)), \(cluster("three", 3))]")
    #expect(fixture.worker.clusters["all"]?.pickEndpoint()?.cluster.name == "two")
  }
}
