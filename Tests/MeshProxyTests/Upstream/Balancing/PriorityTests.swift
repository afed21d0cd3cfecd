import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Priorities, localities, panic")
struct PriorityTests {
  /// An endpoint as YAML: 127.0.0.`number`.
  private func endpoint(_ number: Int, _ health: String = "HEALTHY") -> String {
    "{health_status: \(health), endpoint: {address: {socket_address: {address: 127.0.0.\(number), port_value: 1}}}}"
  }

  private func cluster(_ groups: [String], _ fields: String = "") throws -> ActiveCluster {
    let fixture = try WorkerFixture(
      routes: "[]",
      clusters:
        "[{name: c, \(fields) load_assignment: {cluster_name: c, endpoints: [\(groups.joined(separator: ", "))]}}]")
    return try #require(fixture.worker.clusters["c"])
  }

  private func shares(_ cluster: ActiveCluster, _ count: Int = 10_000) -> [Int] {
    var counts = Array(repeating: 0, count: cluster.endpoints.count)
    for _ in 0..<count {
      guard let picked = cluster.pickEndpoint(), let index = cluster.endpoints.firstIndex(where: { $0 === picked })
      else { continue }
      counts[index] += 1
    }
    return counts
  }

  @Test("the first priority has it all, until too many of it are not healthy")
  func spill() throws {
    let whole = try cluster([
      "{lb_endpoints: [\(endpoint(1)), \(endpoint(2))]}", "{priority: 1, lb_endpoints: [\(endpoint(3))]}",
    ])
    #expect(shares(whole, 100) == [50, 50, 0])
    #expect(whole.picksPlainly)
    let half = try cluster([
      "{lb_endpoints: [\(endpoint(1)), \(endpoint(2, "UNHEALTHY"))]}", "{priority: 1, lb_endpoints: [\(endpoint(3))]}",
    ])
    let counts = shares(half)
    #expect(counts[1] == 0)
    #expect(abs(counts[0] - 7000) < 300)
    let none = try cluster([
      "{lb_endpoints: [\(endpoint(1, "UNHEALTHY"))]}", "{priority: 1, lb_endpoints: [\(endpoint(2)), \(endpoint(3))]}",
    ])
    #expect(shares(none, 100) == [0, 50, 50])
  }

  @Test("in panic all have requests, which is counted; or none, if that is wanted; or it is switched off")
  func panic() throws {
    let groups = [
      "{lb_endpoints: [\(endpoint(1)), \(endpoint(2, "UNHEALTHY")), \(endpoint(3, "DRAINING")), "
        + "\(endpoint(4, "TIMEOUT"))]}"
    ]
    let some = try cluster(groups)
    #expect(shares(some, 400) == [100, 100, 100, 100])
    #expect(some.stats.value(.healthyPanic) == 400)
    let failing = try cluster(groups, "common_lb_config: {zone_aware_lb_config: {fail_traffic_on_panic: true}},")
    #expect(failing.pickEndpoint() == nil)
    #expect(failing.stats.value(.healthyPanic) == 1)
    let off = try cluster(groups, "common_lb_config: {healthy_panic_threshold: {value: 0}},")
    #expect(shares(off, 100) == [100, 0, 0, 0])
    #expect(off.stats.value(.healthyPanic) == 0)
  }

  @Test("degraded endpoints have what the healthy ones cannot carry")
  func degraded() throws {
    let counts = shares(
      try cluster(["{lb_endpoints: [\(endpoint(1)), \(endpoint(2, "DEGRADED"))]}"]))
    #expect(abs(counts[0] - 7000) < 300)
    let only = try cluster(["{lb_endpoints: [\(endpoint(1, "DEGRADED")), \(endpoint(2, "DEGRADED"))]}"])
    #expect(shares(only, 100) == [50, 50])
  }

  @Test("localities have shares by weight, as far as their endpoints are healthy")
  func localities() throws {
    let fields = "common_lb_config: {locality_weighted_lb_config: {}},"
    let even = try cluster(
      [
        "{locality: {region: a}, load_balancing_weight: 3, lb_endpoints: [\(endpoint(1))]}",
        "{locality: {region: b}, load_balancing_weight: 1, lb_endpoints: [\(endpoint(2)), \(endpoint(3))]}",
        "{locality: {region: c}, lb_endpoints: [\(endpoint(4))]}",
      ], fields)
    let counts = shares(even, 4000)
    #expect(abs(counts[0] - 3000) <= 1)
    #expect(abs(counts[1] - 500) <= 1 && abs(counts[2] - 500) <= 1)
    #expect(counts[3] == 0)
    // Half of a is not healthy: 0.7 of its 2 shares.
    let sick = try cluster(
      [
        "{locality: {region: a}, load_balancing_weight: 2, lb_endpoints: [\(endpoint(1)), \(endpoint(2, "UNHEALTHY"))]}",
        "{locality: {region: b}, load_balancing_weight: 1, lb_endpoints: [\(endpoint(3))]}",
      ], fields)
    let less = shares(sick, 2400)
    #expect(abs(less[0] - 1400) <= 1)
    #expect(less[1] == 0)
  }

  @Test("without weights of localities that count, all endpoints are one")
  func noLocalities() throws {
    let groups = [
      "{locality: {region: a}, load_balancing_weight: 3, lb_endpoints: [\(endpoint(1))]}",
      "{locality: {region: b}, load_balancing_weight: 1, lb_endpoints: [\(endpoint(2)), \(endpoint(3))]}",
    ]
    #expect(shares(try cluster(groups), 300) == [100, 100, 100])
    let unnamed = groups.map {
      $0.replacing("locality: {region: a}, ", with: "").replacing("load_balancing_weight: 1", with: "priority: 0")
    }
    #expect(
      shares(try cluster(unnamed, "common_lb_config: {locality_weighted_lb_config: {}},"), 300) == [100, 100, 100])
  }

  @Test("what is found out about health moves the load, and nothing else")
  func healthChanges() throws {
    let cluster = try cluster([
      "{lb_endpoints: [\(endpoint(1)), \(endpoint(2)), \(endpoint(3))]}",
      "{priority: 1, lb_endpoints: [\(endpoint(4))]}",
    ])
    let before = cluster.endpoints
    let hosts = cluster.hosts
    #expect(before[0].endpoint.identity.set(.failedOutlierCheck, true))
    #expect(before[1].endpoint.identity.set(.failedActiveHealthCheck, true))
    cluster.update(HostSets(hosts.hosts, cluster.configuration.balancing, previous: hosts))
    let counts = shares(cluster)
    // 140 % of a third is 46 %.
    #expect(counts[0] == 0 && counts[1] == 0)
    #expect(abs(counts[2] - 4600) < 300)
    #expect(zip(before, cluster.endpoints).allSatisfy { $0 === $1 })
  }

  @Test("an attempt goes to another priority than those before, as long as there is one")
  func triedPriorities() throws {
    let cluster = try cluster([
      "{lb_endpoints: [\(endpoint(1))]}", "{priority: 1, lb_endpoints: [\(endpoint(2))]}",
      "{priority: 2, lb_endpoints: [\(endpoint(3))]}",
    ])
    func priority(_ tried: [UInt32]) -> UInt32? {
      cluster.pickEndpoint(EndpointChoice(triedPriorities: tried)).map { cluster.priority(of: $0) }
    }
    #expect(priority([]) == 0)
    #expect(priority([0]) == 1)
    #expect(priority([1, 0]) == 2)
    #expect(priority([0, 1, 2]) == 0)
  }
}
