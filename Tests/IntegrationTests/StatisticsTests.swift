import Glibc
import MeshTesting
import Testing

/// What is counted where, and that statistics come and go with what they count.
@Suite("Statistics", .timeLimit(.minutes(2)))
struct StatisticsTests {
  /// Every statistic of the proxy that is not a histogram.
  private func stats(_ proxy: RunningProxy) async throws -> [String: Int] {
    var result: [String: Int] = [:]
    for line in try await proxy.admin("/stats").text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2, let value = Int(parts[1].drop { $0 == " " }) { result[String(parts[0])] = value }
    }
    return result
  }

  @Test func virtualClustersAndRoutesAreCounted() async throws {
    let backend = try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest() {
        let status = request.target.contains("bad") ? "503 Unavailable" : "200 OK"
        let canary = request.target.contains("canary") ? "x-envoy-upstream-canary: true\r\n" : ""
        try connection.send("HTTP/1.1 \(status)\r\n\(canary)content-length: 0\r\n\r\n")
      }
    }
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].hostFields = [
      "virtual_clusters:",
      #"- {name: first, headers: [{name: ":path", string_match: {prefix: /first}}]}"#,
      #"- {name: post, headers: [{name: ":method", string_match: {exact: POST}}]}"#,
    ]
    configuration.listeners[0].routes = [
      "{match: {prefix: /first/direct}, stat_prefix: direct, direct_response: {status: 200}}",
      "{match: {prefix: /uncounted}, route: {cluster: backend}}",
      "{match: {prefix: /}, stat_prefix: rest, route: {cluster: backend}}",
    ]
    let proxy = try await RunningProxy.start(configuration)
    for target in ["/first/a", "/first/bad", "/first/direct", "/uncounted", "/x?canary"] {
      _ = try await proxy.get(target)
    }
    let stats = try await stats(proxy)
    func expect(_ name: String, _ value: Int?, _ location: SourceLocation = #_sourceLocation) {
      #expect(stats[name] == value, "\(name)", sourceLocation: location)
    }
    expect("vhost.all.vcluster.first.upstream_rq_total", 2)
    expect("vhost.all.vcluster.first.upstream_rq_200", 1)
    expect("vhost.all.vcluster.first.upstream_rq_5xx", 1)
    expect("vhost.all.vcluster.first.upstream_rq_completed", 2)
    expect("vhost.all.vcluster.other.upstream_rq_total", 2)
    expect("vhost.all.vcluster.post.upstream_rq_total", 0)
    expect("vhost.all.vcluster.post.upstream_rq_2xx", nil)
    expect("vhost.all.route.rest.upstream_rq_total", 3)
    expect("vhost.all.route.rest.upstream_rq_503", 1)
    expect("vhost.all.route.direct.upstream_rq_total", 0)
    expect("cluster.backend.external.upstream_rq_completed", 4)
    expect("cluster.backend.internal.upstream_rq_completed", nil)
    expect("cluster.backend.canary.upstream_rq_200", 1)
    expect("cluster.backend.upstream_rq_completed", 4)
    let listener = "listener.127.0.0.1_0"
    expect("\(listener).http.main.downstream_rq_2xx", 4)
    expect("\(listener).http.main.downstream_rq_5xx", 1)
    expect("\(listener).http.main.downstream_rq_completed", 5)
    let workers = (0..<2).map { stats["\(listener).worker_\($0).downstream_cx_total"] ?? 0 }
    #expect(workers.reduce(0, +) == 5)
    let prometheus = try await proxy.admin("/stats/prometheus?filter=vhost").text
    #expect(
      prometheus.contains(
        #"envoy_vhost_vcluster_upstream_rq{envoy_response_code="503",envoy_virtual_host="all",envoy_virtual_cluster="first"} 1"#
      ), "\(prometheus)")
    // Zeroed where Envoy zeroes, by worker too.
    _ = try await proxy.admin("/reset_counters", method: "POST")
    let after = try await self.stats(proxy)
    #expect(after["vhost.all.vcluster.first.upstream_rq_total"] == 0)
    #expect((0..<2).allSatisfy { after["\(listener).worker_\($0).downstream_cx_total"] == 0 })
  }

  @Test func livesOfConnectionsAreCounted() async throws {
    let backend = try ScriptedServer { connection, _ in
      for _ in 0..<2 {
        _ = try connection.receiveRequest()
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
      }
    }
    var configuration = ProxyConfiguration(backend: backend.port)
    // However long the second request takes to come, it finds the first one's connection.
    configuration.clusters[0].fields = ["common_http_protocol_options: {idle_timeout: 300s}"]
    let proxy = try await RunningProxy.start(configuration, arguments: ["--concurrency", "1"])
    for _ in 0..<2 { #expect(try await proxy.get().status == 200) }
    try await eventually("the connection has ended") {
      try await proxy.admin("/stats?filter=upstream_rq_per_cx&histogram_buckets=detailed").text
        .contains("cluster.backend.upstream_rq_per_cx:\n  totals=2,1:1\n")
    }
    #expect(try await proxy.admin("/stats?filter=upstream_cx_length_ms").text.contains("P50("))
    #expect(try await proxy.admin("/stats?filter=http.main.downstream_cx_length_ms").text.contains("P50("))
  }

  /// What is answered in an upstream's place is counted as its answer, as in Envoy.
  @Test func failuresAreCounted() async throws {
    let closed = try ListenSocket.freePort()
    var configuration = ProxyConfiguration(backend: closed)
    configuration.listeners[0].routes = ["{match: {prefix: /}, stat_prefix: r, route: {cluster: backend}}"]
    let proxy = try await RunningProxy.start(configuration)
    #expect(try await proxy.get().status == 503)
    let stats = try await stats(proxy)
    #expect(stats["cluster.backend.upstream_rq_503"] == 1)
    #expect(stats["cluster.backend.external.upstream_rq_5xx"] == 1)
    #expect(stats["cluster.backend.upstream_rq_completed"] == 1)
    #expect(stats["cluster.backend.upstream_rq_total"] == 0)
    #expect(stats["vhost.all.route.r.upstream_rq_503"] == 1)
    #expect(stats["vhost.all.route.r.upstream_rq_total"] == 0)
  }

  @Test func responsesNeedNotBeCounted() async throws {
    let backend = try EchoBackend()
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].routerFields = ["dynamic_stats: false"]
    let proxy = try await RunningProxy.start(configuration)
    #expect(try await proxy.get().status == 200)
    let stats = try await stats(proxy)
    #expect(stats["cluster.backend.upstream_rq_total"] == 1)
    #expect(stats["cluster.backend.upstream_rq_completed"] == 0)
    #expect(stats["cluster.backend.upstream_rq_200"] == nil)
    #expect(stats["cluster.backend.external.upstream_rq_200"] == nil)
  }

  /// A configuration's statistics go with it; one that is refused leaves none.
  @Test func statisticsFollowTheConfiguration() async throws {
    let backend = try EchoBackend()
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].hostFields = ["virtual_clusters: [{name: v}]"]
    configuration.listeners[0].filters = [
      ProxyConfiguration.typed("fault", "filters.http.fault.v3.HTTPFault", ["abort: {http_status: 503}"])
    ]
    let proxy = try await RunningProxy.start(configuration)
    #expect(try await proxy.get().status == 200)
    var before = try await stats(proxy)
    for name in ["listener_manager.listener_added", "cluster_manager.cluster_added", "cluster_manager.active_clusters"]
    {
      #expect(before[name] == 1, "\(name)")
    }
    #expect(before["listener_manager.listener_create_success"] == 2)
    #expect(before["listener_manager.workers_started"] == 1)

    var refused = configuration
    refused.clusters[0].name = "refused"
    refused.listeners[0].managerFields = ["stat_prefix: refused"]
    refused.listeners[0].hostFields = ["virtual_clusters: [{name: refused}]"]
    try proxy.directory.write("proxy.yaml", refused.yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is not used")
    var after = try await stats(proxy)
    #expect(!after.keys.contains { $0.contains("refused") }, "\(after.keys.filter { $0.contains("refused") })")
    #expect(after["http.main.downstream_rq_total"] == 1)
    #expect(Set(before.keys).subtracting(after.keys).isEmpty)

    var next = ProxyConfiguration(clusters: [.init(name: "next", endpoints: [("127.0.0.1", backend.port)])])
    next.listeners[0].managerFields = ["stat_prefix: next"]
    next.listeners[0].routes = ["{match: {prefix: /}, route: {cluster: next}}"]
    try proxy.directory.write("proxy.yaml", next.yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await proxy.get().status == 200)
    try await eventually("the old statistics are gone") {
      after = try await stats(proxy)
      return !after.keys.contains {
        $0.hasPrefix("cluster.backend.") || $0.contains("http.main.") || $0.hasPrefix("vhost.all.vcluster")
      }
    }
    #expect(after["http.next.downstream_rq_total"] == 1)
    #expect(after["listener_manager.listener_modified"] == 1)
    #expect(after["cluster_manager.cluster_added"] == 2)
    #expect(after["cluster_manager.cluster_removed"] == 1)
    before = [:]
  }
}
