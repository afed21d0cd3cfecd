import MeshIO
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Round robin")
struct RoundRobinBalancerTests {
  private func endpoints(_ weights: [UInt32]) throws -> [ActiveEndpoint] {
    let list = weights.enumerated().map { index, weight in
      "{load_balancing_weight: \(weight), "
        + "endpoint: {address: {socket_address: {address: 127.0.0.\(index + 1), port_value: 1}}}}"
    }
    let fixture = try WorkerFixture(
      routes: "[]",
      clusters: "[{name: c, type: STATIC, load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: "
        + "[\(list.joined(separator: ", "))]}]}}]")
    return fixture.worker.clusters["c"]?.endpoints ?? []
  }

  private func shares(_ weights: [UInt32], picks: Int) throws -> [Int] {
    let endpoints = try endpoints(weights)
    var balancer = RoundRobinBalancer(endpoints, random: 12345)
    var counts = Array(repeating: 0, count: weights.count)
    for _ in 0..<picks {
      let picked = balancer.pick()
      if let index = endpoints.firstIndex(where: { $0 === picked }) { counts[index] += 1 }
    }
    return counts
  }

  @Test("equal weights take turns exactly")
  func equal() throws { #expect(try shares([1, 1, 1], picks: 300) == [100, 100, 100]) }

  @Test("weights are shares, to within one turn")
  func weighted() throws {
    let counts = try shares([1, 2, 7], picks: 1000)
    for (count, expected) in zip(counts, [100, 200, 700]) { #expect(abs(count - expected) <= 1) }
  }

  @Test("workers with other random numbers begin elsewhere")
  func offsets() throws {
    let endpoints = try endpoints([1, 1, 1, 1])
    let firsts = Set(
      (0..<8).compactMap { seed -> ObjectIdentifier? in
        var balancer = RoundRobinBalancer(endpoints, random: UInt64(seed))
        return balancer.pick().map { ObjectIdentifier($0) }
      })
    #expect(firsts.count == 4)
  }
}
