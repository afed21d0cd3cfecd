import Glibc
import MeshTesting
import Testing

/// SIGHUP reads the configuration file again while requests come and go.
@Suite("Reload", .serialized, .timeLimit(.minutes(5)))
struct ReloadTests {
  static let rounds = 20

  /// The configuration of a round: routes, clusters and listener settings take turns in changing.
  private func configuration(_ round: Int, _ first: EchoBackend, _ second: EchoBackend) -> ProxyConfiguration {
    let backend = round % 4 < 2 ? first : second
    // Every other time under a new name, so that clusters come and go with requests in flight.
    let cluster = round % 3 == 0 ? "cluster-\(round)" : "cluster"
    var configuration = ProxyConfiguration(clusters: [
      .init(name: cluster, endpoints: [("127.0.0.1", backend.port)], fields: ["connect_timeout: \(5 + round % 2)s"])
    ])
    configuration.listeners[0].routes = [
      "{match: {path: /round}, direct_response: {status: 200, body: {inline_string: \"\(round)\"}}}",
      "{match: {prefix: /}, route: {cluster: \(cluster), timeout: 60s}, response_headers_to_add: "
        + "[{header: {key: x-mark, value: \"\(round)\"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]}",
    ]
    configuration.listeners[0].fields = ["per_connection_buffer_limit_bytes: \(32768 << (round % 3))"]
    configuration.listeners[0].managerFields = [
      "stat_prefix: main-\(round % 2)", "server_name: round-\(round)", "stream_idle_timeout: \(60 + round)s",
      "common_http_protocol_options: {idle_timeout: \(60 + round)s}",
    ]
    if round % 2 == 1 {
      configuration.listeners.append(
        .init(
          name: "other-\(round)",
          routes: ["{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: \"other \(round)\"}}}"]))
    }
    return configuration
  }

  @Test func noRequestIsLost() async throws {
    let first = try EchoBackend("first")
    let second = try EchoBackend("second")
    let proxy = try await RunningProxy.start(configuration(0, first, second))
    let port = try proxy.port()
    let load = Load(port: port, keepAlive: 3, new: 2, backends: ["first", "second"])
    try await load.waitForMore(20)
    var refused = 0
    var inUse = 0
    for round in 1...Self.rounds {
      if round % 5 == 4 {
        // The mistake is in the third line, from column 3.
        let text = proxy.directory.read("proxy.yaml")
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        lines.insert("  listenres: []", at: 2)
        try proxy.directory.write("proxy.yaml", lines.joined(separator: "\n"))
        proxy.program.signal(SIGHUP)
        refused += 1
        try await proxy.waitForLog("the new configuration is not used; the old one stays", times: refused)
        #expect(proxy.count("proxy.yaml:3:3: static_resources.listenres: ") == refused, "\(proxy.program.logs)")
        try proxy.directory.write("proxy.yaml", text)
        try await load.waitForMore(60)
        continue
      }
      try proxy.directory.write("proxy.yaml", configuration(round, first, second).yaml)
      proxy.program.signal(SIGHUP)
      inUse += 1
      try await proxy.waitForLog("the new configuration is in use", times: inUse)
      #expect(try await proxy.get("/round").text == "\(round)")
      try await load.wait("answers of round \(round)") {
        let mine = $0.marks["\(round)", default: (0, 0)]
        return mine.established >= 40 && mine.new >= 40
      }
      if round % 2 == 1 { #expect(try await proxy.get(listener: "other-\(round)").text == "other \(round)") }
    }
    let tally = try await load.stop()
    #expect(tally.failures.isEmpty)
    #expect(first.failures.isEmpty && second.failures.isEmpty)
    #expect(try proxy.port() == port)
    print(
      "reload: \(Self.rounds) rounds, \(refused) of them refused, \(tally.onEstablished) + \(tally.onNew) requests on "
        + "established + new connections")
    #expect(try await proxy.stat("server.config_reload_success") == inUse)
    // Nothing is counted as open that is not.
    try await eventually("gauges are back at zero") {
      for prefix in ["main-0", "main-1"] where try await proxy.stat("http.\(prefix).downstream_cx_active") != 0 {
        return false
      }
      return true
    }
  }

  /// Listeners that answer themselves, by name, all on one port where it is given.
  private func answering(_ names: [String], port: UInt16 = 0) -> ProxyConfiguration {
    ProxyConfiguration(
      listeners: names.map {
        .init(
          name: $0, port: $0 == "main" ? 0 : port,
          routes: ["{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: \"\($0)\"}}}"])
      }, clusters: [])
  }

  /// A port at which nobody listens now.
  private func freePort() throws -> UInt16 { try ListenSocket.freePort() }

  /// A listener that goes away answers every connection that it has taken; after that there is nobody.
  @Test func aListenerThatGoesEmptiesItsQueue() async throws {
    let port = try freePort()
    let proxy = try await RunningProxy.start(answering(["main", "other"], port: port))
    for round in 1...6 {
      let isThere = round % 2 == 0
      // Clients that connect until they are refused. Whoever was connected is answered.
      let clients: [Task<Int, any Error>] =
        isThere ? [] : (0..<3).map { _ in Task { try await blocking { try Self.connectUntilRefused(port) } } }
      try proxy.directory.write("proxy.yaml", answering(isThere ? ["main", "other"] : ["main"], port: port).yaml)
      proxy.program.signal(SIGHUP)
      try await proxy.waitForLog("the new configuration is in use", times: round)
      for client in clients { _ = try await client.value }
      if isThere { #expect(try await proxy.get(listener: "other").text == "other") }
    }
  }

  /// - Returns: how many connections were answered.
  private static func connectUntilRefused(_ port: UInt16) throws -> Int {
    var answered = 0
    while true {
      let connection: RawConnection
      do { connection = try RawConnection(port: port, within: Deadline(.seconds(20))) } catch {
        guard "\(error)".contains("errno \(ECONNREFUSED)") else { throw error }
        return answered
      }
      try connection.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
      let response = try connection.receiveResponse()
      guard response.status == 200 else { throw TestFailure("\(response)") }
      answered += 1
    }
  }

  /// Another name is another listener, at the same socket.
  @Test func aListenerIsRenamed() async throws {
    let port = try freePort()
    let backend = try EchoBackend()
    func configuration(_ round: Int) -> ProxyConfiguration {
      var configuration = ProxyConfiguration(backend: backend.port)
      configuration.listeners[0].name = "name-\(round)"
      configuration.listeners[0].port = port
      configuration.listeners[0].managerFields = ["server_name: name-\(round)"]
      return configuration
    }
    let proxy = try await RunningProxy.start(configuration(0))
    let load = Load(port: port, keepAlive: 2, new: 2, mark: "server")
    try await load.waitForMore(20)
    for round in 1...4 {
      try proxy.directory.write("proxy.yaml", configuration(round).yaml)
      proxy.program.signal(SIGHUP)
      try await proxy.waitForLog("the new configuration is in use", times: round)
      try await load.wait("answers of name-\(round)") { $0.marks["name-\(round)", default: (0, 0)].new >= 10 }
    }
    #expect(try await load.stop().failures.isEmpty)
  }

  /// What is asked for while a reload is under way is not forgotten, however often it is asked.
  @Test func aStormOfSignalsEndsWithTheLastFile() async throws {
    let proxy = try await RunningProxy.start(answering(["main", "first"]))
    let load = Load(port: try proxy.port(), keepAlive: 2, new: 2, answeredBy: "main")
    for round in 0..<200 {
      try proxy.directory.write("next.yaml", answering(["main", "listener-\(round)"]).yaml)
      #expect(rename(proxy.directory.file("next.yaml"), proxy.directory.file("proxy.yaml")) == 0)
      proxy.program.signal(SIGHUP)
    }
    try await proxy.waitForLog("listener listener-199 on")
    #expect(try await proxy.get(listener: "listener-199").text == "listener-199")
    try await load.waitForMore(20)
    #expect(try await load.stop().failures.isEmpty)
  }

  @Test(arguments: ["", "{", "\u{0}\u{1}\u{2}", "static_resources: 5\n", "- a\n- b\n"])
  func garbageIsRefused(_ text: String) async throws {
    let proxy = try await RunningProxy.start(answering(["main"]))
    try proxy.directory.write("proxy.yaml", text)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is not used; the old one stays")
    #expect(proxy.count("[error][config] \(proxy.directory.file("proxy.yaml"))") >= 1, "\(proxy.program.logs)")
    #expect(try await proxy.get().text == "main")
    #expect(try await proxy.stat("server.config_reload_failure") == 1)
  }

  /// Whatever is in the file's place: no crash, no wait, no memory for it.
  @Test(arguments: ["nothing", "directory", "fifo", "1 GiB", "/dev/zero", "unreadable link"])
  func whatIsNoConfigurationIsRefused(_ kind: String) async throws {
    let proxy = try await RunningProxy.start(answering(["main"]))
    let path = proxy.directory.file("proxy.yaml")
    unlink(path)
    switch kind {
    case "directory": mkdir(path, 0o755)
    case "fifo": mkfifo(path, 0o644)
    case "1 GiB": #expect(truncate(try proxy.directory.write("proxy.yaml", ""), 1 << 30) == 0)
    case "/dev/zero": symlink("/dev/zero", path)
    case "unreadable link": symlink(path, path)
    default: break
    }
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is not used; the old one stays")
    #expect(try await proxy.get().text == "main")
    #expect(proxy.memory.peak < 96 << 10)
    // The loop of the main thread goes on.
    #expect(try await proxy.admin("/ready").status == 200)
    unlink(path)
    rmdir(path)
    try proxy.directory.write("proxy.yaml", answering(["main"]).yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
  }
}
