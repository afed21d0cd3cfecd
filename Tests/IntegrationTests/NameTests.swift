import Glibc
import MeshTesting
import Testing

/// Clusters whose endpoints are names.
@Suite("Names", .timeLimit(.minutes(2)))
struct NameTests {
  private func configuration(_ name: String, _ port: UInt16, _ fields: [String] = []) -> ProxyConfiguration {
    ProxyConfiguration(clusters: [
      .init(type: "STRICT_DNS", endpoints: [(name, port)], fields: ["dns_refresh_rate: 0.05s"] + fields)
    ])
  }

  @Test func localhostIsKnown() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(configuration("localhost", backend.port))
    #expect(try await proxy.get("/x").status == 200)
  }

  /// The hosts file is read again and again.
  @Test func aNameMoves() async throws {
    let directory = try TemporaryDirectory()
    try directory.write("hosts", "127.0.0.3 name.test\n")
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(
      configuration("name.test", backend.port), environment: ["CARES_HOSTS": directory.file("hosts")])
    // Nobody listens at the first address.
    #expect(try await proxy.get("/x").status == 503)
    try directory.write("next", "127.0.0.1 name.test\n")
    rename(directory.file("next"), directory.file("hosts"))
    try await eventually("the new address is used") { try await proxy.get("/x").status == 200 }
  }

  /// While the name server fails, the addresses that were good stay in use; also when the
  /// cluster is configured anew meanwhile.
  @Test(.enabled(if: NameServer.isPossible))
  func lastGoodAddressesAreKept() async throws {
    let isBroken = Monitor(false)
    let names = try NameServer { _ in
      isBroken.read { $0 } ? .failure(2) : .addresses([(bytes: [127, 0, 0, 1], ttl: 1)], alias: nil)
    }
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(configuration("name.test", backend.port), wrapper: names.wrapper)
    #expect(try await proxy.get("/x").status == 200)
    isBroken.change { $0 = true }
    try await proxy.waitForLog("[warning][dns]", within: Deadline(.seconds(60)))
    #expect(try await proxy.get("/x").status == 200)

    try proxy.directory.write("proxy.yaml", configuration("name.test", backend.port, ["connect_timeout: 3s"]).yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await proxy.get("/x").status == 200)
  }

  /// A name that is said not to exist any more has no endpoints.
  @Test(.enabled(if: NameServer.isPossible))
  func aNameThatIsGoneIsGone() async throws {
    let isGone = Monitor(false)
    let names = try NameServer { _ in
      isGone.read { $0 } ? .failure(3) : .addresses([(bytes: [127, 0, 0, 1], ttl: 1)], alias: nil)
    }
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(configuration("name.test", backend.port), wrapper: names.wrapper)
    #expect(try await proxy.get("/x").status == 200)
    isGone.change { $0 = true }
    try await eventually("no endpoint is left") { try await proxy.get("/x").text == "no healthy upstream" }
  }
}
