import Glibc
import MeshTesting
import Testing

/// Unix sockets and other addresses, seen through the built program.
@Suite("Sockets", .timeLimit(.minutes(3)))
struct SocketTests {
  private static func get(_ path: String, _ target: String) async throws -> RawResponse {
    try await blocking {
      let connection = try RawConnection(unixPath: path)
      try connection.send("GET \(target) HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
      return try connection.receiveResponse(within: Deadline(.seconds(30)))
    }
  }

  /// A proxy between two Unix sockets. Its own is removed at its end; one that is left by a process that was killed is
  /// no hindrance, one that is in use is.
  @Test func unixSocketsOnBothSides() async throws {
    let directory = try TemporaryDirectory()
    let (front, back) = (directory.file("front"), directory.file("back"))
    let backend = try EchoBackend(unixPath: back)
    let configuration = ProxyConfiguration(
      listeners: [
        .init(
          host: front, accessLogs: [(directory.file("log"), "%UPSTREAM_HOST% %DOWNSTREAM_LOCAL_ADDRESS%\\n")])
      ],
      clusters: [.init(endpoints: [(back, UInt16(0))])])
    let proxy = try await RunningProxy.start(configuration)
    for _ in 0..<3 { #expect(try await Self.get(front, "/x").text == "echo GET /x 0\n") }
    #expect(backend.accepted <= 2)
    #expect(try await proxy.admin("/clusters").text.contains("backend::\(back)::rq_success::3\n"))
    #expect(try await proxy.admin("/listeners").text == "main::\(front)\n")
    #expect(try await proxy.admin("/stats?filter=listener").text.contains("listener.\(front).downstream_cx_total: 3"))
    try await eventually("the log is written") { directory.read("log").contains("\(back) \(front)\n") }

    // Someone listens there: not taken away.
    let second = try RunningProxy(proxy.directory)
    _ = try await second.program.waitForEnd(within: Deadline(.seconds(30)))
    #expect(second.program.errorOutput.contains("\(front) is in use"))
    #expect(try await Self.get(front, "/y").status == 200)

    proxy.program.signal(SIGKILL)
    _ = try await proxy.program.waitForEnd(within: Deadline(.seconds(30)))
    #expect(access(front, F_OK) == 0)
    let third = try await RunningProxy.start(configuration)
    #expect(try await Self.get(front, "/z").status == 200)
    third.program.signal(SIGTERM)
    #expect(try await third.program.waitForEnd(within: Deadline(.seconds(30))) == .exited(0))
    #expect(access(front, F_OK) != 0)
  }

  /// The admin interface on a Unix socket, with its permissions.
  @Test func adminOnUnixSocket() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("admin")
    let backend = try EchoBackend()
    let yaml = ProxyConfiguration(backend: backend.port).yaml.replacing(
      "admin: {address: {socket_address: {address: \"127.0.0.1\", port_value: 0}}}",
      with: "admin: {address: {pipe: {path: \"\(path)\", mode: 384}}}")
    try directory.write("proxy.yaml", yaml)
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    #expect(try await Self.get(path, "/ready").text == "LIVE\n")
    var state = stat()
    #expect(stat(path, &state) == 0 && state.st_mode & 0o777 == 0o600)
    proxy.program.signal(SIGTERM)
    #expect(try await proxy.program.waitForEnd(within: Deadline(.seconds(30))) == .exited(0))
    #expect(access(path, F_OK) != 0)
  }

  /// A listener with several addresses, one of which goes away while the others serve.
  @Test func severalAddresses() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("also")
    let backend = try EchoBackend()
    func configuration(_ additional: [String]) -> ProxyConfiguration {
      let list = additional.map { "{address: \(ProxyConfiguration.address($0, 0))}" }.joined(separator: ", ")
      return ProxyConfiguration(
        listeners: [.init(port: Self.port, host: Self.host, fields: ["additional_addresses: [\(list)]"])],
        clusters: [.init(endpoints: [("127.0.0.1", backend.port)])])
    }
    let proxy = try await RunningProxy.start(configuration([path, "127.0.0.42"]))
    let own = "main::\(Self.host):\(Self.port)"
    #expect(try await Self.get(path, "/x").status == 200)
    let listeners = try await proxy.admin("/listeners").text.split(separator: "\n")
    #expect(listeners.count == 3)
    #expect(String(listeners[0]) == own && listeners.last?.hasPrefix("main::127.0.0.42:") == true)

    let load = Load(port: Self.port, host: Self.host, keepAlive: 4, new: 2)
    try await load.waitForMore(100)
    try proxy.directory.write("proxy.yaml", configuration([]).yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    try await load.waitForMore(100)
    #expect(try await load.stop().failures.isEmpty)
    #expect(access(path, F_OK) != 0)
    #expect(try await proxy.admin("/listeners").text == own + "\n")
  }

  /// An address of this test's own, with a port that is the same after a reload.
  private static let host = "127.61.\(getpid() >> 8 & 0xff).\(getpid() & 0xff | 1)"
  private static let port: UInt16 = 18080

  /// An IPv6 wildcard that takes IPv4 too; its IPv4 clients are known by their IPv4 address.
  @Test func dualStack() async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    let yaml = ProxyConfiguration(
      listeners: [
        .init(
          port: 0,
          accessLogs: [
            (directory.file("log"), "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_ADDRESS%\\n")
          ])
      ],
      clusters: [.init(endpoints: [("127.0.0.1", backend.port)])]
    ).yaml.replacing(
      "    address: {socket_address: {address: \"127.0.0.1\", port_value: 0}}",
      with: "    address: {socket_address: {address: \"::\", port_value: 0, ipv4_compat: true}}")
    try directory.write("proxy.yaml", yaml)
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    let port = try proxy.port(after: "listener main on [::]:")
    let response = try await blocking {
      let connection = try RawConnection(port: port)
      try connection.send("GET /x HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
      return try connection.receiveResponse(within: Deadline(.seconds(30)))
    }
    #expect(response.status == 200)
    try await eventually("the log is written") { directory.read("log") == "127.0.0.1 127.0.0.1:\(port)\n" }
  }

  /// What a cluster counts under changes with the configuration.
  @Test func statisticsUnderAnotherName() async throws {
    let backend = try EchoBackend()
    func configuration(_ name: String) -> ProxyConfiguration {
      ProxyConfiguration(clusters: [
        .init(endpoints: [("127.0.0.1", backend.port)], fields: ["alt_stat_name: \(name)"])
      ])
    }
    let proxy = try await RunningProxy.start(configuration("first"))
    #expect(try await proxy.get("/x").status == 200)
    #expect(try await proxy.stat("cluster.first.upstream_rq_total") == 1)
    try proxy.directory.write("proxy.yaml", configuration("second").yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await proxy.get("/x").status == 200)
    #expect(try await proxy.stat("cluster.second.upstream_rq_total") == 1)
    #expect(try await !proxy.admin("/stats?filter=cluster.first").text.contains("upstream_rq_total"))
  }
}
