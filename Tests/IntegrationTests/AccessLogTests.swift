import Glibc
import MeshTesting
import Testing

@Suite("Access log", .timeLimit(.minutes(3)))
struct AccessLogTests {
  /// Files that were moved away keep what was said before, new ones take what comes; together they have every request
  /// once.
  @Test func rotationLosesNoLine() async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    let path = directory.file("access.log")
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].accessLogs = [(path, "%REQ(:PATH)%\\n")]
    let proxy = try await RunningProxy.start(configuration)
    let load = Load(port: try proxy.port(), keepAlive: 3, new: 2)
    try await load.waitForMore(20)
    for round in 0..<10 {
      #expect(rename(path, directory.file("access.log.\(round)")) == 0)
      proxy.program.signal(SIGUSR1)
      try await eventually("a new file is there") { access(path, F_OK) == 0 }
      try await load.waitForMore(60)
    }
    let tally = try await load.stop()
    #expect(tally.failures.isEmpty)
    proxy.program.signal(SIGTERM)
    #expect(try await proxy.program.waitForEnd() == .exited(0))
    var lines: [Substring] = []
    for name in TemporaryDirectory.names(directory.path) where name.hasPrefix("access.log") {
      let text = directory.read(name)
      #expect(text.hasSuffix("\n"), "\(name) ends within a line")
      lines += text.split(separator: "\n")
    }
    #expect(lines.count == tally.answered)
    #expect(Set(lines).count == lines.count)
    #expect(lines.allSatisfy { $0.hasPrefix("/small/") || $0.hasPrefix("/large/") })
  }

  /// The new file cannot be opened: the old one stays in use.
  @Test func aRotationThatFailsKeepsTheOldFile() async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    try directory.write("logs/access.log", "")
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].accessLogs = [(directory.file("logs/access.log"), "%REQ(:PATH)%\\n")]
    let proxy = try await RunningProxy.start(configuration)
    _ = try await proxy.get("/before")
    #expect(rename(directory.file("logs"), directory.file("away")) == 0)
    proxy.program.signal(SIGUSR1)
    try await proxy.waitForLog("the old file stays in use")
    _ = try await proxy.get("/after")
    try await eventually("both lines are there") { directory.read("away/access.log") == "/before\n/after\n" }
  }

  @Test(arguments: ["file", "/dev/stdout"])
  func theDefaultLineIsEnvoys(_ place: String) async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    let path = place == "file" ? directory.file("access.log") : place
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].accessLogs = [(path, nil)]
    let proxy = try await RunningProxy.start(configuration)
    let client = try RawConnection(port: proxy.port())
    let response = try await client.exchange(
      "POST /some/path?a=b HTTP/1.1\r\nhost: some.host\r\nuser-agent: agent/1\r\ncontent-length: 5\r\n\r\n12345")
    var text = ""
    try await eventually("the line is there") {
      text = place == "file" ? directory.read("access.log") : proxy.program.output
      return text.hasSuffix("\n")
    }
    let line =
      #/
      \[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]\x20"POST\x20\/some\/path\?a=b\x20HTTP\/1\.1"\x20200\x20-\x205\x20(\d+)\x20\d+\x20\d+
      \x20"-"\x20"agent\/1"\x20"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"\x20"some\.host"
      \x20"127\.0\.0\.1:(\d+)"
      /#
    let match = try #require(text.dropLast().wholeMatch(of: line), "\(text)")
    #expect(Int(match.1) == response.body.count)
    #expect(UInt16(match.2) == backend.port)
  }
}
