import Glibc
import MeshTesting
import Testing

/// Names that move, fail and live for a time, seen through the built program.
@Suite("Cluster discovery", .timeLimit(.minutes(3)))
struct ClusterDiscoveryTests {
  /// What a name server answers, as the test goes on.
  private struct Script: Sendable {
    var addresses: [[UInt8]] = []
    var ttl: UInt32 = 60
    /// In place of an answer; 2: server failure, 3: no such name.
    var failure: UInt8?
  }

  private static func server(_ script: Monitor<Script>) throws -> ScriptedNameServer {
    try ScriptedNameServer { _ in
      script.read { script in
        if let failure = script.failure { return .failure(failure) }
        return .addresses(script.addresses.map { (bytes: $0, ttl: script.ttl) }, alias: nil)
      }
    }
  }

  private static func resolver(_ server: ScriptedNameServer) -> String {
    "typed_dns_resolver_config: "
      + ProxyConfiguration.typed(
        "r", "network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        [
          "resolvers: [\(ProxyConfiguration.address("127.0.0.1", server.port))]", "query_timeout_seconds: 1",
          "query_tries: 1", "dns_resolver_options: {no_default_search_domain: true}",
        ])
  }

  private static func configuration(
    _ type: String, _ server: ScriptedNameServer, _ port: UInt16, family: String = "V4_ONLY", _ fields: [String]
  ) -> ProxyConfiguration {
    ProxyConfiguration(clusters: [
      .init(
        type: type, endpoints: [("name.test", port)],
        fields: [resolver(server), "dns_lookup_family: \(family)"] + fields)
    ])
  }

  /// A LOGICAL_DNS cluster moves to another address: new connections go there, the old ones serve on, and nobody notices.
  @Test func logicalNameMovesUnderLoad() async throws {
    let script = Monitor(Script(addresses: [[127, 0, 0, 21], [127, 0, 0, 22]]))
    let names = try Self.server(script)
    let one = try EchoBackend("one", host: "127.0.0.21")
    let two = try EchoBackend("two", host: "127.0.0.22", port: one.port)
    let proxy = try await RunningProxy.start(
      Self.configuration(
        "LOGICAL_DNS", names, one.port, ["dns_refresh_rate: 0.05s", "max_requests_per_connection: 20"]))
    let load = Load(port: try proxy.port(), keepAlive: 6, new: 2, backends: ["one", "two"])
    try await load.waitForMore(200)
    #expect(two.accepted == 0)
    #expect(try await proxy.admin("/clusters").text.contains("backend::127.0.0.21:\(one.port)::hostname::name.test"))

    script.change { $0.addresses = [[127, 0, 0, 22], [127, 0, 0, 21]] }
    try await eventually("connections go to the new address") { two.accepted > 5 }
    let before = one.accepted
    try await load.waitForMore(400)
    #expect(one.accepted <= before + 1)
    let tally = try await load.stop()
    #expect(tally.failures.isEmpty)
    #expect(one.failures.isEmpty && two.failures.isEmpty)
    let text = try await proxy.admin("/clusters").text
    #expect(text.contains("backend::127.0.0.22:\(one.port)::hostname::name.test"))
    #expect(!text.contains("127.0.0.21"))
    // The same endpoint all the time: its statistics go on.
    #expect(text.contains("backend::127.0.0.22:\(one.port)::rq_success::\(tally.answered)\n"))
    #expect(try await proxy.stat("cluster.backend.membership_change") == 1)
  }

  /// Whatever DNS says, or does not: the one address that was good stays.
  @Test(arguments: [UInt8(2), 3]) func logicalNameIsKept(_ failure: UInt8) async throws {
    let script = Monitor(Script(addresses: [[127, 0, 0, 1]]))
    let names = try Self.server(script)
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(
      Self.configuration("LOGICAL_DNS", names, backend.port, ["dns_refresh_rate: 0.05s"]))
    #expect(try await proxy.get("/x").status == 200)
    script.change { $0.failure = failure }
    try await eventually("lookups fail") { try await proxy.stat("cluster.backend.update_failure") >= 2 }
    #expect(try await proxy.get("/x").status == 200)
    #expect(try await proxy.stat("cluster.backend.membership_total") == 1)
  }

  /// A STRICT_DNS name that is said not to exist is an answer like others; one that cannot be looked up stays.
  @Test func strictNameGoesAndComes() async throws {
    let script = Monitor(Script(addresses: [[127, 0, 0, 1]]))
    let names = try Self.server(script)
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(
      Self.configuration("STRICT_DNS", names, backend.port, ["dns_refresh_rate: 0.05s"]))
    #expect(try await proxy.get("/x").status == 200)
    script.change { $0.failure = 2 }
    try await eventually("lookups fail") { try await proxy.stat("cluster.backend.update_failure") >= 2 }
    #expect(try await proxy.get("/x").status == 200)
    script.change { $0.failure = 3 }
    try await eventually("no endpoint is left") { try await proxy.get("/x").text == "no healthy upstream" }
    #expect(try await proxy.stat("cluster.backend.membership_total") == 0)
    script.change { $0.failure = nil }
    try await eventually("the name is back") { try await proxy.get("/x").status == 200 }
  }

  /// The time to live decides when a name is asked for again, if it is to.
  @Test func timeToLive() async throws {
    let names = try Self.server(Monitor(Script(addresses: [[127, 0, 0, 1]], ttl: 1)))
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(
      Self.configuration(
        "STRICT_DNS", names, backend.port, ["dns_refresh_rate: 600s", "respect_dns_ttl: true"]))
    #expect(try await proxy.get("/x").status == 200)
    try await eventually("the name is asked for again and again") { names.asked.count >= 3 }
    let idle = try Self.server(Monitor(Script(addresses: [[127, 0, 0, 1]], ttl: 1)))
    let other = try await RunningProxy.start(
      Self.configuration("STRICT_DNS", idle, backend.port, ["dns_refresh_rate: 600s"]))
    #expect(try await other.get("/x").status == 200)
    let count = names.asked.count
    try await eventually("time passes") { names.asked.count > count + 1 }
    #expect(idle.asked.count == 1)
  }

  /// A name that fails is asked for again soon, however long good answers are kept.
  @Test func failuresAreRetried() async throws {
    let script = Monitor(Script(addresses: [[127, 0, 0, 1]], failure: 2))
    let names = try Self.server(script)
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(
      Self.configuration(
        "STRICT_DNS", names, backend.port,
        ["dns_refresh_rate: 600s", "dns_failure_refresh_rate: {base_interval: 0.05s, max_interval: 0.1s}"]))
    #expect(try await proxy.get("/x").text == "no healthy upstream")
    try await eventually("lookups fail") { try await proxy.stat("cluster.backend.update_failure") >= 3 }
    script.change { $0.failure = nil }
    try await eventually("the name is known") { try await proxy.get("/x").status == 200 }
  }

  /// Which addresses become endpoints.
  @Test(arguments: [
    ("V4_ONLY", ["127.0.0.1"]), ("V6_ONLY", ["[::1]"]), ("V4_PREFERRED", ["127.0.0.1"]), ("AUTO", ["[::1]"]),
    ("ALL", ["127.0.0.1", "[::1]"]),
  ]) func families(_ family: String, _ expected: [String]) async throws {
    let six: [UInt8] = Array(repeating: 0, count: 15) + [1]
    let names = try Self.server(Monitor(Script(addresses: [[127, 0, 0, 1], six])))
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(
      Self.configuration("STRICT_DNS", names, backend.port, family: family, ["dns_refresh_rate: 600s"]))
    let text = try await proxy.admin("/clusters").text
    let found = text.split(separator: "\n").filter { $0.hasSuffix("::weight::1") }
      .map { $0.split(separator: "::", maxSplits: 1).last ?? "" }
    #expect(found.map(String.init) == expected.map { "\($0):\(backend.port)::weight::1" })
  }

  /// Other name servers in `/etc/resolv.conf` are noticed while the process runs.
  @Test(.enabled(if: NameServer.isPossible))
  func nameServersChange() async throws {
    let old = try NameServer { _ in .addresses([(bytes: [127, 0, 0, 31], ttl: 1)], alias: nil) }
    let new = try NameServer { _ in .addresses([(bytes: [127, 0, 0, 32], ttl: 1)], alias: nil) }
    let one = try EchoBackend("one", host: "127.0.0.31")
    let two = try EchoBackend("two", host: "127.0.0.32", port: one.port)
    let proxy = try await RunningProxy.start(
      ProxyConfiguration(clusters: [
        .init(type: "STRICT_DNS", endpoints: [("name.test", one.port)], fields: ["dns_refresh_rate: 0.05s"])
      ]), wrapper: old.wrapper)
    #expect(try await proxy.get("/x").text.hasPrefix("one "))
    try old.redirect(to: new)
    try await eventually("the new server is asked") { try await proxy.get("/x").text.hasPrefix("two ") }
    _ = two
  }
}
