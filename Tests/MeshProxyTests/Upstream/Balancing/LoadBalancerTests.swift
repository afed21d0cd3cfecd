import MeshIO
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Load balancing")
struct LoadBalancerTests {
  /// A cluster's endpoints, with the policy as YAML.
  private func cluster(_ weights: [UInt32], policy: String, unhealthy: Set<Int> = []) throws -> ActiveCluster {
    let list = weights.enumerated().map { index, weight in
      "{load_balancing_weight: \(weight), health_status: \(unhealthy.contains(index) ? "UNHEALTHY" : "HEALTHY"), "
        + "endpoint: {address: {socket_address: {address: 127.0.0.\(index + 1), port_value: 1}}}}"
    }
    let fixture = try WorkerFixture(
      routes: "[]",
      clusters: "[{name: c, \(policy), load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: "
        + "[\(list.joined(separator: ", "))]}]}}]")
    return try #require(fixture.worker.clusters["c"])
  }

  private func picks(_ cluster: ActiveCluster, _ count: Int, _ each: (Int) -> Void = { _ in }) -> [Int] {
    var counts = Array(repeating: 0, count: cluster.endpoints.count)
    for _ in 0..<count {
      guard let picked = cluster.pickEndpoint(), let index = cluster.endpoints.firstIndex(where: { $0 === picked })
      else { continue }
      counts[index] += 1
      each(index)
    }
    return counts
  }

  private func setActive(_ cluster: ActiveCluster, _ counts: [Int64]) {
    for (endpoint, count) in zip(cluster.endpoints, counts) {
      endpoint.stats.set(.requestActive, count)
    }
  }

  /// Pearson's statistic for `counts` against equal shares.
  private func chiSquare(_ counts: [Int]) -> Double {
    let expected = Double(counts.reduce(0, +)) / Double(counts.count)
    return counts.reduce(0.0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
  }

  static let leastRequest = "lb_policy: LEAST_REQUEST"
  static let typed = "type.googleapis.com/envoy.extensions.load_balancing_policies"

  static func policy(_ names: [String]) -> String {
    let policies = names.map { "{typed_extension_config: {name: p, typed_config: {\"@type\": \(typed).\($0)}}}" }
    return "load_balancing_policy: {policies: [\(policies.joined(separator: ", "))]}"
  }

  @Test("random: every healthy endpoint is as likely, whatever its weight")
  func random() throws {
    let cluster = try cluster([1, 50, 1, 1, 1], policy: "lb_policy: RANDOM", unhealthy: [4])
    let counts = picks(cluster, 40_000)
    #expect(counts[4] == 0)
    // 16.27: the 0.1 % bound of three degrees of freedom.
    #expect(chiSquare(Array(counts[..<4])) < 16.27)
  }

  @Test("least request without requests: every endpoint is as likely")
  func idleLeastRequest() throws {
    let counts = picks(try cluster([1, 1, 1, 1], policy: Self.leastRequest), 40_000)
    #expect(chiSquare(counts) < 16.27)
  }

  @Test("least request: of two drawn the one with fewer requests, so that the shares follow the ranks")
  func leastRequest() throws {
    let cluster = try cluster([1, 1, 1, 1], policy: Self.leastRequest)
    setActive(cluster, [0, 1, 2, 3])
    let counts = picks(cluster, 64_000)
    // Drawn twice with replacement: of 16 pairs rank r has the least in 7, 5, 3, 1.
    let expected = [7, 5, 3, 1].map { $0 * 4000 }
    let statistic = zip(counts, expected).reduce(0.0) {
      $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) / Double($1.1)
    }
    #expect(statistic < 16.27)
  }

  @Test("least request with more choices leans further, with all of them it never errs")
  func choices() throws {
    let many = try cluster([1, 1, 1, 1], policy: "\(Self.leastRequest), least_request_lb_config: {choice_count: 40}")
    setActive(many, [3, 2, 0, 1])
    #expect(picks(many, 2000)[2] > 1990)
    let all = try cluster(
      [1, 1, 1, 1, 1],
      policy: "load_balancing_policy: {policies: [{typed_extension_config: {name: p, typed_config: "
        + "{\"@type\": \(Self.typed).least_request.v3.LeastRequest, selection_method: FULL_SCAN}}}]}")
    setActive(all, [2, 1, 1, 5, 1])
    let counts = picks(all, 30_000)
    #expect(counts[0] == 0 && counts[3] == 0)
    // 13.82: the 0.1 % bound of two degrees of freedom.
    #expect(chiSquare([counts[1], counts[2], counts[4]]) < 13.82)
  }

  @Test("least request counts the requests of all workers")
  func otherWorkers() throws {
    let cluster = try cluster([1, 1], policy: "\(Self.leastRequest), least_request_lb_config: {choice_count: 20}")
    cluster.endpoints[0].endpoint.stats.lane(1).add(.requestActive, 5)
    #expect(picks(cluster, 1000)[1] > 990)
  }

  @Test("least request with weights: weight divided by requests plus one")
  func weighted() throws {
    let cluster = try cluster([3, 1], policy: Self.leastRequest)
    #expect(abs(picks(cluster, 4000)[0] - 3000) <= 2)
    // 3 / (5 + 1) to 1 / (0 + 1): 1 to 2.
    setActive(cluster, [5, 0])
    _ = picks(cluster, 10)
    #expect(abs(picks(cluster, 3000)[0] - 1000) <= 2)
  }

  @Test("the bias is the power of the requests; none makes it a weighted round robin")
  func bias() throws {
    func policy(_ bias: String) -> String {
      "\(Self.leastRequest), least_request_lb_config: {active_request_bias: "
        + "{default_value: \(bias), runtime_key: bias}}"
    }
    let none = try cluster([3, 1], policy: policy("0"))
    setActive(none, [100, 0])
    _ = picks(none, 10)
    #expect(abs(picks(none, 4000)[0] - 3000) <= 2)
    let squared = try cluster([4, 1], policy: policy("2.0"))
    // 4 / 2² to 1.
    setActive(squared, [1, 0])
    _ = picks(squared, 10)
    #expect(abs(picks(squared, 4000)[0] - 2000) <= 2)
  }

  @Test("requests that come and go spread evenly")
  func feedback() throws {
    let cluster = try cluster([1, 1, 1, 1, 1, 1, 1, 1], policy: Self.leastRequest)
    var random = Random(seed: 7)
    let counts = picks(cluster, 8000) { index in
      cluster.endpoints[index].stats.add(.requestActive)
      // Half of the time one ends somewhere.
      let other = cluster.endpoints[Int(random.below(8))]
      if other.stats.value(.requestActive) > 0 { other.stats.subtract(.requestActive) }
    }
    #expect(counts.allSatisfy { abs($0 - 1000) < 200 })
    let active = cluster.endpoints.map { $0.stats.value(.requestActive) }
    #expect((active.max() ?? 0) - (active.min() ?? 0) <= 8)
  }

  @Test(
    "a policy by its extension",
    arguments: ["round_robin.v3.RoundRobin", "random.v3.Random", "least_request.v3.LeastRequest"]
  )
  func byExtension(_ type: String) throws {
    let counts = picks(try cluster([1, 1], policy: Self.policy([type])), 2000)
    #expect(counts.allSatisfy { $0 > 850 })
    if type.hasPrefix("round") { #expect(counts == [1000, 1000]) }
  }

  @Test("the first policy that is supported is used, and takes the place of lb_policy")
  func firstSupported() throws {
    let policy = Self.policy(["pick_first.v3.PickFirst", "round_robin.v3.RoundRobin", "random.v3.Random"])
    #expect(picks(try cluster([1, 1, 1], policy: "lb_policy: RANDOM, \(policy)"), 300) == [100, 100, 100])
  }

  @Test(
    "no endpoint, or none that is healthy: nothing to pick",
    arguments: ["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV"])
  func nothing(_ policy: String) throws {
    #expect(try cluster([], policy: "lb_policy: \(policy)").pickEndpoint() === nil)
    let off = "lb_policy: \(policy), common_lb_config: {healthy_panic_threshold: {value: 0}}"
    #expect(try cluster([1, 2], policy: off, unhealthy: [0, 1]).pickEndpoint() === nil)
  }
}
