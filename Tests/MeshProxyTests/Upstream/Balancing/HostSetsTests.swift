import MeshIO
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Endpoints by priority, health and locality")
struct HostSetsTests {
  private static func at(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: 1 << 40) + .seconds(seconds) }

  private func hosts(_ count: Int, health: [Int: EndpointHealth] = [:]) -> [WeightedEndpoint] {
    (0..<count).map { index in
      WeightedEndpoint(
        endpoint: Endpoint(
          address: SocketAddress(ip: "127.0.0.\(index + 1)", port: 80)!, hostname: "h\(index)", lanes: 1),
        weight: 1, health: health[index] ?? .healthy, locality: .init())
    }
  }

  private func slow(_ seconds: UInt64) -> LoadBalancingConfiguration {
    var configuration = LoadBalancingConfiguration()
    configuration.slowStart = SlowStart(window: .seconds(seconds))
    return configuration
  }

  @Test("one healthy priority is nothing but turns; anything more is more")
  func plain() {
    #expect(HostSets(hosts(3), .roundRobin).plainRotation(.never) == [0, 1, 2])
    #expect(HostSets(hosts(3, health: [1: .unhealthy]), .roundRobin).plainRotation(.never) == [0, 2])
    #expect(HostSets.none.plainRotation(.never) == nil)
    #expect(HostSets(hosts(3, health: [1: .unhealthy, 2: .unhealthy]), .roundRobin).plainRotation(.never) == nil)
    var random = LoadBalancingConfiguration()
    random.policy = .random
    #expect(HostSets(hosts(3), random).plainRotation(.never) == nil)
    // The second priority gets nothing as long as the first can do it.
    var two = hosts(4)
    two[2].priority = 1
    two[3].priority = 1
    #expect(HostSets(two, .roundRobin).plainRotation(.never) == [0, 1])
  }

  @Test("a priority that is left out has nobody, and nothing goes there")
  func gap() {
    var some = hosts(2)
    some[0].priority = 3
    some[1].priority = 1
    let sets = HostSets(some, .roundRobin)
    #expect(sets.levels.count == 4)
    #expect(sets.load.healthy == [0, 100, 0, 0])
  }

  @Test("endpoints that are going are not expected to be healthy")
  func draining() {
    let sets = HostSets(hosts(4, health: [0: .draining, 1: .draining]), .roundRobin)
    #expect(sets.load.panics == [false])
    #expect(sets.plainRotation(.never) == [2, 3])
  }

  @Test("an endpoint starts slowly when it is new and when it is healthy again, not when others are")
  func beginnings() {
    let all = hosts(3)
    let configuration = slow(10)
    let first = HostSets(Array(all.prefix(2)), configuration, now: Self.at(0))
    #expect(first.healthySince == [Self.at(0), Self.at(0)])
    #expect(first.slowUntil == Self.at(10))
    #expect(first.plainRotation(Self.at(9)) == nil)
    #expect(first.plainRotation(Self.at(10)) == [0, 1])
    let second = HostSets(all, configuration, previous: first, now: Self.at(20))
    #expect(second.healthySince == [Self.at(0), Self.at(0), Self.at(20)])
    // Ejected, and back.
    #expect(all[1].endpoint.identity.set(.failedOutlierCheck, true))
    let third = HostSets(all, configuration, previous: second, now: Self.at(40))
    #expect(third.slowUntil == Self.at(30))
    #expect(all[1].endpoint.identity.set(.failedOutlierCheck, false))
    let fourth = HostSets(all, configuration, previous: third, now: Self.at(50))
    #expect(fourth.healthySince == [Self.at(0), Self.at(50), Self.at(20)])
    #expect(fourth.slowUntil == Self.at(60))
    // Switched on by a reload, it does not make those slow that are there.
    let late = HostSets(all, configuration, previous: HostSets(all, .roundRobin), now: Self.at(70))
    #expect(late.slowUntil == MonotonicTime(nanoseconds: 0))
  }

  @Test("the share grows with time: evenly, faster at first, slower at first, and never below the least")
  func growth() {
    var slowStart = SlowStart(window: .seconds(10))
    func share(_ seconds: UInt64) -> Double { slowStart.share(since: Self.at(0), now: Self.at(seconds)) }
    #expect(share(0) == 0.1)
    #expect(share(5) == 0.5)
    #expect(share(10) == 1)
    #expect(share(1000) == 1)
    slowStart.aggression = 2
    #expect(abs(share(4) - 0.632) < 0.001)
    slowStart.aggression = 0.5
    #expect(share(5) == 0.25)
    slowStart.leastShare = 0.6
    #expect(share(5) == 0.6)
    slowStart.leastShare = 0
    #expect(share(0) > 0)
  }

  @Test("who has just come has a tenth of the turns, later half of them, at the end as many as the others")
  func slowTurns() throws {
    let fixture = try WorkerFixture(
      routes: "[]",
      clusters: """
        [{name: c, round_robin_lb_config: {slow_start_config: {slow_start_window: 10s}}, load_assignment: \
        {cluster_name: c, endpoints: [{lb_endpoints: [\
        {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}, \
        {endpoint: {address: {socket_address: {address: 127.0.0.2, port_value: 1}}}}]}]}}]
        """)
    let cluster = try #require(fixture.worker.clusters["c"])
    let hosts = cluster.hosts.hosts
    let old = HostSets([hosts[0]], cluster.configuration.balancing, now: Self.at(0))
    let new = HostSets(hosts, cluster.configuration.balancing, previous: old, now: Self.at(20))
    cluster.update(new)
    var balancer = LoadBalancer(cluster.identity, lane: 0)
    func turns(_ seconds: UInt64) -> Int {
      balancer.update(cluster.endpoints, new, &fixture.worker.random, Self.at(seconds))
      return (0..<1100).count { _ in
        balancer.pick(&fixture.worker.random, Self.at(seconds)) === cluster.endpoints[1]
      }
    }
    #expect(abs(turns(20) - 100) <= 2)
    #expect(abs(turns(25) - 367) <= 2)
    #expect(abs(turns(30) - 550) <= 1)
    // The window ends while nothing else changes.
    balancer.update(cluster.endpoints, new, &fixture.worker.random, Self.at(21))
    _ = balancer.pick(&fixture.worker.random, Self.at(21))
    let after = (0..<100).count { _ in
      balancer.pick(&fixture.worker.random, Self.at(31)) === cluster.endpoints[1]
    }
    #expect(after == 50)
  }

  @Test("keys for consistent hashing: the metadata's, the name, the address")
  func keys() throws {
    func keys(_ cluster: String) throws -> [String] {
      let fixture = try WorkerFixture(routes: "[]", clusters: "[\(cluster)]")
      let hosts = try #require(fixture.worker.clusters["c"]).hosts
      return try #require(hosts.hashed.first).members.map { String(decoding: $0.key, as: UTF8.self) }
    }
    let assignment = """
      load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [\
      {endpoint: {hostname: one, address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}, \
      {endpoint: {address: {socket_address: {address: "::1", port_value: 2}}}}, \
      {endpoint: {hostname: x, address: {socket_address: {address: 127.0.0.3, port_value: 3}}}, \
      metadata: {filter_metadata: {envoy.lb: {hash_key: own}}}}]}]}
      """
    #expect(try keys("{name: c, lb_policy: MAGLEV, \(assignment)}") == ["127.0.0.1:1", "[::1]:2", "own"])
    #expect(
      try keys(
        "{name: c, type: STRICT_DNS, lb_policy: RING_HASH, "
          + "common_lb_config: {consistent_hashing_lb_config: {use_hostname_for_hashing: true}}, \(assignment)}")
        == ["one", "[::1]:2", "own"])
  }
}
