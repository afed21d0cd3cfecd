import Glibc
import MeshTesting
import Testing

/// Active health checks of the built program.
@Suite("Health checks", .timeLimit(.minutes(3)))
struct HealthCheckTests {
  /// A service that is asked how it is.
  private final class Service: Sendable {
    struct State: Sendable {
      var status = 200
      /// Checks wait for their answer.
      var holdsChecks = false
      var checks = 0
      var connections = 0
      var requests = 0
      var headers: [(String, String)] = []
    }

    let state = Monitor(State())
    private let server: ScriptedServer
    var port: UInt16 { server.port }

    init(host: String = "127.0.0.1", port: UInt16 = 0) throws {
      server = try ScriptedServer(host: host, port: port, backlog: 1024) { [state] connection, _ in
        var hasChecked = false
        while let request = try connection.receiveRequest(within: Deadline(.seconds(600))) {
          let isCheck = request.target.hasPrefix("/healthz")
          let isFirst = isCheck && !hasChecked
          hasChecked = hasChecked || isCheck
          state.change {
            if isCheck { $0.checks += 1 } else { $0.requests += 1 }
            if isFirst { $0.connections += 1 }
          }
          if isCheck, state.read({ $0.holdsChecks }) {
            _ = state.wait(Deadline(.seconds(60))) { $0.holdsChecks ? nil : true }
          }
          let (status, headers) = state.read { ($0.status, $0.headers) }
          try connection.sendResponse(isCheck ? status : 200, headers: isCheck ? headers : [], body: Array("ok\n".utf8))
        }
      }
    }
  }

  private static let noPanic = "common_lb_config: {healthy_panic_threshold: {value: 0}}"

  private static func check(_ fields: [String] = []) -> String {
    let all =
      [
        "timeout: 5s", "interval: 0.05s", "no_traffic_interval: 0.05s", "unhealthy_threshold: 1",
        "healthy_threshold: 1",
        "http_health_check: {path: /healthz}",
      ] + fields
    return "health_checks: [{\(all.joined(separator: ", "))}]"
  }

  private static func configuration(_ ports: [UInt16], _ fields: [String]) -> ProxyConfiguration {
    ProxyConfiguration(clusters: [.init(endpoints: ports.map { ("127.0.0.1", $0) }, fields: fields + [noPanic])])
  }

  /// Nobody is served before the first checks have ended; then everybody.
  @Test func theStartWaitsForTheFirstChecks() async throws {
    let service = try Service()
    service.state.change { $0.holdsChecks = true }
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", Self.configuration([service.port], [Self.check()]).yaml)
    let proxy = try RunningProxy(directory)
    try await eventually("it is checked") { service.state.read { $0.checks } == 1 }
    #expect(try await proxy.admin("/ready").status == 503)
    #expect(proxy.count("listener main on") == 0)
    service.state.change { $0.holdsChecks = false }
    try await proxy.waitUntilReady()
    #expect(try await proxy.get().status == 200)
  }

  /// A check that is never answered holds the start up for its time, not longer.
  @Test func theStartDoesNotWaitForEver() async throws {
    let service = try Service()
    service.state.change { $0.holdsChecks = true }
    let proxy = try await RunningProxy.start(
      Self.configuration([service.port], [Self.check().changing("timeout: 5s", to: "timeout: 0.3s")]))
    #expect(try await proxy.get().status == 503)
    #expect(
      try await proxy.admin("/clusters").text.contains("::health_flags::/failed_active_hc/active_hc_timeout\n"))
    service.state.change { $0.holdsChecks = false }
    try await eventually("it is healthy") { try await proxy.get().status == 200 }
  }

  /// Once for the process, whatever the number of workers, over one connection.
  @Test func checksRunOnce() async throws {
    let service = try Service()
    let proxy = try await RunningProxy.start(
      Self.configuration([service.port], [Self.check().changing("interval: 0.05s", to: "interval: 0.2s")]))
    try await eventually("it is checked some times") { service.state.read { $0.checks } >= 5 }
    #expect(service.state.read { $0.connections } == 1)
    let attempts = try await proxy.stat("cluster.backend.health_check.attempt")
    #expect(abs(attempts - service.state.read { $0.checks }) <= 1)
    #expect(try await proxy.stat("cluster.backend.upstream_cx_total") == 0)
    let single = try Service()
    let second = try await RunningProxy.start(
      Self.configuration([single.port], [Self.check(["reuse_connection: false"])]))
    try await eventually("it is checked some times") { single.state.read { $0.checks } >= 5 }
    _ = second
    #expect(single.state.read { abs($0.connections - $0.checks) } <= 1)
  }

  /// Health is kept over a reload of something else, and endpoints that served before anybody checked them serve on.
  @Test func reloads() async throws {
    let service = try Service()
    var configuration = Self.configuration([service.port], [])
    let proxy = try await RunningProxy.start(configuration)
    #expect(try await proxy.get().status == 200)
    // Checks come, and wait for their answer: the endpoint serves on.
    service.state.change { $0.holdsChecks = true }
    configuration.clusters[0].fields.append(Self.check())
    try proxy.directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(SIGHUP)
    try await eventually("it is checked") { service.state.read { $0.checks } == 1 }
    #expect(try await proxy.get().status == 200)
    service.state.change { $0.holdsChecks = false }
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await proxy.get().status == 200)
    // Something else changes: nobody is checked anew, nothing is forgotten.
    service.state.change { $0.status = 500 }
    try await eventually("it is unhealthy") { try await proxy.get().status == 503 }
    let connections = service.state.read { $0.connections }
    configuration.clusters.append(.init(name: "other", endpoints: [("127.0.0.1", 1)]))
    try proxy.directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use", times: 2)
    #expect(try await proxy.get().status == 503)
    #expect(service.state.read { $0.connections } == connections)
    // Without checks everybody is healthy.
    configuration.clusters[0].fields.removeLast()
    try proxy.directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use", times: 3)
    #expect(try await proxy.get().status == 200)
  }

  /// Events as lines of JSON, in Envoy's form.
  @Test func events() async throws {
    let service = try Service()
    let directory = try TemporaryDirectory()
    let path = directory.file("events.log")
    let proxy = try await RunningProxy.start(
      Self.configuration([service.port], [Self.check(["event_log_path: \"\(path)\""])]))
    service.state.change { $0.status = 503 }
    try await proxy.waitForLog("is unhealthy: status 503")
    service.state.change {
      $0.status = 200
      $0.headers = [("x-envoy-degraded", "1")]
    }
    try await proxy.waitForLog("is degraded")
    service.state.change { $0.headers = [] }
    try await proxy.waitForLog("is no longer degraded")
    try await eventually("all is in the file") {
      TemporaryDirectory.contents(path).split(separator: "\n").count == 5
    }
    let lines = TemporaryDirectory.contents(path).split(separator: "\n")
    let host =
      #"{"health_checker_type":"HTTP","host":{"socket_address":{"protocol":"TCP","address":"127.0.0.1","port_value":"#
      + #"\#(service.port),"resolver_name":"","ipv4_compat":false,"network_namespace_filepath":""}},"#
      + #""cluster_name":"backend","timestamp":"20"#
    for line in lines {
      #expect(line.hasPrefix(host))
      #expect(line.hasSuffix(#","locality":{"region":"","zone":"","sub_zone":""}}"#))
    }
    for (line, event) in zip(
      lines,
      [
        #""add_healthy_event":{"first_check":true}"#,
        #""eject_unhealthy_event":{"failure_type":"ACTIVE","http_status_code":503}"#,
        #""add_healthy_event":{"first_check":false}"#, #""degraded_healthy_host":{}"#,
        #""no_longer_degraded_host":{}"#,
      ])
    { #expect(line.contains(event)) }
  }

  /// More endpoints than may be checked at once: all are, and the start waits for them.
  @Test func manyEndpoints() async throws {
    let services = try (0..<4).map { _ in try Service() }
    // Each service listens at the first of these addresses.
    let endpoints = (0..<150).flatMap { number in
      services.map { service in ("127.0.\(number / 200).\(1 + number % 200)", service.port) }
    }
    var configuration = ProxyConfiguration(clusters: [
      .init(endpoints: endpoints, fields: [Self.check(["initial_jitter: 0.01s"]), Self.noPanic])
    ])
    configuration.clusters[0].fields[0] = Self.check(["interval_jitter: 1s"]).changing(
      "interval: 0.05s, no_traffic_interval: 0.05s", to: "interval: 20s, no_traffic_interval: 20s")
    let proxy = try await RunningProxy.start(configuration)
    // All others are refused, and known to be.
    #expect(try await proxy.stat("cluster.backend.membership_total") == 600)
    #expect(try await proxy.stat("cluster.backend.health_check.attempt") >= 600)
    #expect(try await proxy.stat("cluster.backend.health_check.healthy") == 4)
    #expect(try await proxy.get().status == 200)
  }

  // MARK: DNS

  /// What DNS no longer gives stays as long as it is healthy.
  @Test func healthyEndpointsOutliveTheirNames() async throws {
    let addresses = Monitor<[[UInt8]]>([[127, 0, 0, 31], [127, 0, 0, 32]])
    let names = try ScriptedNameServer { _ in
      .addresses(addresses.read { $0 }.map { (bytes: $0, ttl: 60) }, alias: nil)
    }
    let one = try Service(host: "127.0.0.31")
    let two = try Service(host: "127.0.0.32", port: one.port)
    let resolver =
      "typed_dns_resolver_config: "
      + ProxyConfiguration.typed(
        "r", "network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        [
          "resolvers: [\(ProxyConfiguration.address("127.0.0.1", names.port))]",
          "dns_resolver_options: {no_default_search_domain: true}",
        ])
    let proxy = try await RunningProxy.start(
      ProxyConfiguration(clusters: [
        .init(
          type: "STRICT_DNS", endpoints: [("name.test", one.port)],
          fields: [
            resolver, "dns_lookup_family: V4_ONLY", "dns_refresh_rate: 0.05s", Self.check(), Self.noPanic,
          ])
      ]))
    try await eventually("both are healthy") {
      try await proxy.stat("cluster.backend.membership_healthy") == 2
    }
    addresses.change { $0 = [[127, 0, 0, 31]] }
    try await eventually("one is only healthy") {
      try await proxy.admin("/clusters").text.contains(
        "127.0.0.32:\(one.port)::health_flags::/pending_dynamic_removal\n")
    }
    #expect(try await proxy.stat("cluster.backend.membership_total") == 2)
    for _ in 0..<4 { _ = try await proxy.get() }
    #expect(two.state.read { $0.requests } > 0)
    two.state.change { $0.status = 500 }
    try await eventually("it is gone") { try await proxy.stat("cluster.backend.membership_total") == 1 }
    #expect(!(try await proxy.admin("/clusters").text.contains("127.0.0.32")))
    // It comes back: as new, and checked.
    two.state.change { $0.status = 200 }
    addresses.change { $0 = [[127, 0, 0, 31], [127, 0, 0, 32]] }
    try await eventually("it is back") { try await proxy.stat("cluster.backend.membership_healthy") == 2 }
  }
}

extension String {
  fileprivate func changing(_ text: String, to other: String) -> String {
    guard let at = MeshTesting.firstRange(of: Array(text.utf8), in: Array(utf8)) else { return self }
    let bytes = Array(utf8)
    return String(decoding: bytes[..<at] + other.utf8 + bytes[(at + text.utf8.count)...], as: UTF8.self)
  }
}
