import Glibc
import MeshTesting
import Testing

/// Which endpoint gets a request, with several workers and configurations that change.
@Suite("Load balancing", .timeLimit(.minutes(2)))
struct BalancingTests {
  private func cluster(_ backends: [EchoBackend], _ fields: [String] = [], name: String = "backend")
    -> ProxyConfiguration.Cluster
  {
    .init(name: name, endpoints: backends.map { ("127.0.0.1", $0.port) }, fields: fields)
  }

  private func name(_ proxy: RunningProxy, _ user: String) async throws -> String {
    let text = try await proxy.get("/x", headers: [("x-user", user)]).text
    return String(text.prefix { $0 != " " })
  }

  private static let byUser =
    "{match: {prefix: /}, route: {cluster: backend, hash_policy: [{header: {header_name: x-user}}]}}"

  @Test("every worker sends the same hash to the same endpoint; those of others stay when one goes")
  func hash() async throws {
    let backends = try (0..<5).map { try EchoBackend("b\($0)") }
    var configuration = ProxyConfiguration(clusters: [cluster(backends, ["lb_policy: RING_HASH"])])
    configuration.listeners[0].routes = [Self.byUser]
    let proxy = try await RunningProxy.start(configuration)
    var before: [String: String] = [:]
    for user in 0..<20 {
      // Each on a connection of its own, which the kernel gives to some worker.
      let chosen = try await (0..<6).asyncMap { _ in try await name(proxy, "u\(user)") }
      #expect(Set(chosen).count == 1)
      before["u\(user)"] = chosen[0]
    }
    #expect(Set(before.values).count > 2)
    configuration.clusters = [
      cluster(Array(backends.dropLast()), ["lb_policy: RING_HASH", "ring_hash_lb_config: {minimum_ring_size: 820}"])
    ]
    try proxy.directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    for (user, was) in before where was != "b4" {
      #expect(try await name(proxy, user) == was)
    }
  }

  @Test("a cookie brings a client back to its endpoint")
  func cookie() async throws {
    let backends = try (0..<4).map { try EchoBackend("b\($0)") }
    var configuration = ProxyConfiguration(clusters: [cluster(backends, ["lb_policy: MAGLEV"])])
    configuration.listeners[0].routes = [
      "{match: {prefix: /}, route: {cluster: backend, hash_policy: [{cookie: {name: s, ttl: 60s}}]}}"
    ]
    let proxy = try await RunningProxy.start(configuration)
    for _ in 0..<8 {
      let first = try await proxy.get("/x")
      let made = try #require(first.headers.first { $0.name == "set-cookie" }?.value)
      #expect(made.hasSuffix("; Max-Age=60; HttpOnly"))
      let pair = String(made.prefix { $0 != ";" })
      let second = try await proxy.get("/x", headers: [("cookie", pair)])
      #expect(second.text == first.text)
      #expect(!second.headers.contains { $0.name == "set-cookie" })
    }
  }

  @Test("an endpoint that was ejected is not met by its whole share when it returns")
  func slowReturn() async throws {
    let isBroken = Monitor(true)
    let sick = try ScriptedServer { connection, _ in
      while try connection.receiveRequest(within: Deadline(.seconds(60))) != nil {
        try connection.sendResponse(isBroken.read { $0 } ? 500 : 200, body: Array("sick".utf8))
      }
    }
    let well = try EchoBackend("well")
    let proxy = try await RunningProxy.start(
      ProxyConfiguration(clusters: [
        .init(
          name: "backend", endpoints: [("127.0.0.1", sick.port), ("127.0.0.1", well.port)],
          fields: [
            "outlier_detection: {consecutive_5xx: 2, interval: 0.1s, base_ejection_time: 4s, max_ejection_percent: 50}",
            "round_robin_lb_config: {slow_start_config: {slow_start_window: 3s}}",
          ])
      ]))
    let active = "cluster.backend.outlier_detection.ejections_active"
    let deadline = Deadline(.seconds(30))
    while try await proxy.stat(active) == 0 {
      #expect(!deadline.hasPassed)
      if deadline.hasPassed { return }
      for _ in 0..<4 { _ = try await proxy.get("/x") }
    }
    isBroken.change { $0 = false }
    while try await proxy.stat(active) > 0, !deadline.hasPassed { _ = try await proxy.get("/x") }
    var returned = 0
    for _ in 0..<120 where try await proxy.get("/x").text == "sick" { returned += 1 }
    // It begins with a tenth of the other's weight, whose own window has passed; 60 would be the whole share.
    #expect((1...40).contains(returned))
  }

  @Test("an aggregate cluster falls back while its first cluster has no healthy endpoint")
  func aggregate() async throws {
    let first = try EchoBackend("first")
    let second = try EchoBackend("second")
    let type = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"
    func configuration(_ health: String) -> String {
      """
      admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
      static_resources:
        listeners:
        - name: main
          address: {socket_address: {address: 127.0.0.1, port_value: 0}}
          filter_chains:
          - filters:
            - name: manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: main
                route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: all}}]}]}
                http_filters:
                - name: router
                  typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
        clusters:
        - {name: all, lb_policy: CLUSTER_PROVIDED, cluster_type: {name: a, typed_config: {"@type": \(type), clusters: [one, two]}}}
        - {name: one, load_assignment: {cluster_name: one, endpoints: [{lb_endpoints: [{health_status: \(health), endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: \(first.port)}}}}]}]}}
        - {name: two, load_assignment: {cluster_name: two, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: \(second.port)}}}}]}]}}
      """
    }
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", configuration("HEALTHY"))
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    for (round, (health, wanted)) in [("UNHEALTHY", "second"), ("HEALTHY", "first")].enumerated() {
      try directory.write("proxy.yaml", configuration(health))
      proxy.program.signal(SIGHUP)
      try await proxy.waitForLog("the new configuration is in use", times: round + 1)
      for _ in 0..<6 { #expect(try await proxy.get("/x").text.hasPrefix(wanted)) }
    }
    #expect(try await proxy.stat("cluster.all.upstream_rq_completed") == 12)
    #expect(try await proxy.stat("cluster.one.upstream_rq_total") == 6)
    #expect(try await proxy.stat("cluster.two.upstream_rq_total") == 6)
    #expect(try await proxy.stat("cluster.all.upstream_rq_active") == 0)
  }
}

extension Sequence where Element: Sendable {
  /// One after the other.
  fileprivate func asyncMap<Result>(_ body: (Element) async throws -> Result) async rethrows -> [Result] {
    var results: [Result] = []
    for element in self { results.append(try await body(element)) }
    return results
  }
}
