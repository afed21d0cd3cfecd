import Glibc
import MeshTesting
import Testing

/// Connections of HTTP/2: how they end, who waits for whom, and what they take.
@Suite("HTTP/2", .serialized, .timeLimit(.minutes(5)))
struct HTTP2Tests {
  /// What makes a cluster speak HTTP/2.
  static let overHTTP2 = """
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": \
    type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
    explicit_http_config: {http2_protocol_options: {}}}}
    """

  /// A server that sends as many bytes as the target says (`/1000`), and counts those of a request.
  private func sizes(_ piece: Int = 1 << 16) throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      while true {
        guard let head = try? connection.receive(through: "\r\n\r\n", within: Deadline(.seconds(60))) else { return }
        let target = head.split(separator: " ")[1].dropFirst()
        let lines = head.lowercased().split(separator: "\r\n")
        if let length = lines.first(where: { $0.hasPrefix("content-length: ") }).flatMap({ Int($0.dropFirst(16)) }) {
          try connection.discard(count: length, within: Deadline(.seconds(120)))
        }
        let size = Int(target) ?? 0
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n")
        let block = [UInt8](repeating: 0x61, count: piece)
        var left = size
        while left > 0 {
          try connection.send(Array(block.prefix(left)), within: Deadline(.seconds(120)))
          left -= min(left, piece)
        }
      }
    }
  }

  private func proxy(
    _ port: UInt16, manager: [String] = [], cluster: [String] = [], listener: [String] = [], drain: Int = 20
  ) async throws -> RunningProxy {
    var configuration = ProxyConfiguration(clusters: [.init(endpoints: [("127.0.0.1", port)], fields: cluster)])
    configuration.listeners[0].managerFields = manager
    configuration.listeners[0].fields = listener
    configuration.listeners[0].routes = ["{match: {prefix: /}, route: {cluster: backend, timeout: 0s}}"]
    return try await RunningProxy.start(configuration, drain: drain)
  }

  // MARK: Ends

  @Test func drainUnderLoadLosesNothing() async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(backend.port, manager: ["drain_timeout: 0.3s"])
    let load = HTTP2Load(port: try proxy.port(), endsWhenRefused: true)
    try await load.waitForMore(200)
    proxy.program.signal(SIGTERM)
    #expect(try await proxy.program.waitForEnd(within: Deadline(.seconds(60))) == .exited(0))
    let tally = try await load.waitForEnd()
    #expect(tally.failures.isEmpty, "\(tally)\n\(proxy.program.logs)")
    #expect(tally.answered > 200)
  }

  @Test func reloadUnderLoadLosesNothing() async throws {
    let backend = try EchoBackend()
    let inner = try await proxy(backend.port)
    let proxy = try await proxy(inner.port(), cluster: [Self.overHTTP2])
    let load = HTTP2Load(port: try proxy.port())
    for round in 1...4 {
      try await load.waitForMore(100)
      let text = proxy.directory.read("proxy.yaml").replacing("name: routes", with: "name: routes\(round)")
      try proxy.directory.write("proxy.yaml", text)
      proxy.program.signal(SIGHUP)
    }
    try await load.waitForMore(100)
    let tally = try await load.stop()
    #expect(tally.failures.isEmpty, "\(tally)\n\(proxy.program.logs)")
  }

  @Test func aConnectionThatAnswersNoPingEnds() async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(
      backend.port,
      manager: ["http2_protocol_options: {connection_keepalive: {interval: 0.2s, timeout: 0.2s}}"])
    let port = try proxy.port()
    try await blocking {
      let dead = try HTTP2Client(port: port)
      dead.answersPings = false
      try dead.waitForEnd()
      // One that answers lives on, through several of them.
      let alive = try HTTP2Client(port: port)
      var pings = 0
      while pings < 4 { if try alive.receive()?.type == 6 { pings += 1 } }
      guard try alive.wait(for: alive.request("/x")).status == 200 else { throw TestFailure("no answer") }
    }
    #expect(try await proxy.stat("http2.keepalive_timeout") == 1)
  }

  struct Ending: Sendable, CustomStringConvertible {
    var field: String
    var stat: String?
    var description: String { field }
  }

  @Test(arguments: [
    Ending(
      field: "common_http_protocol_options: {max_requests_per_connection: 3}",
      stat: "http.main.downstream_cx_max_requests_reached"),
    Ending(
      field: "common_http_protocol_options: {max_connection_duration: 0.4s}",
      stat: "http.main.downstream_cx_max_duration_reached"),
    Ending(field: "common_http_protocol_options: {idle_timeout: 0.4s}"),
  ])
  func connectionsEndWithGoAway(_ ending: Ending) async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(backend.port, manager: [ending.field, "drain_timeout: 0.2s"])
    let port = try proxy.port()
    try await blocking {
      let client = try HTTP2Client(port: port)
      for _ in 0..<3 {
        guard try client.wait(for: client.request("/x")).status == 200 else { throw TestFailure("no answer") }
      }
      try client.waitForEnd()
      guard client.goAwayCode == 0, client.lastStream == 5 else {
        throw TestFailure("GOAWAY \(client.goAwayCode ?? 99), last stream \(client.lastStream ?? 0)")
      }
    }
    if let stat = ending.stat { #expect(try await proxy.stat(stat) == 1) }
  }

  @Test func aHeadThatDoesNotEndIsAnswered() async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(backend.port, manager: ["request_headers_timeout: 0.3s"])
    let port = try proxy.port()
    try await blocking {
      let client = try HTTP2Client(port: port)
      // What would be sent in between is an error.
      while try client.receive()?.type != 4 {}
      try client.send(HTTP2Client.frame(1, 1, 1, [0x82, 0x86]))
      while let frame = try client.receive() { if frame.stream == 1 { break } }
    }
    #expect(try await proxy.stat("http.main.downstream_rq_header_timeout") == 1)
  }

  @Test func aKilledUpstreamResetsTheStream() async throws {
    let backend = try sizes()
    let inner = try await proxy(backend.port)
    let proxy = try await proxy(inner.port(), cluster: [Self.overHTTP2])
    let port = try proxy.port()
    try await blocking {
      let client = try HTTP2Client(port: port, window: 100_000)
      client.opensWindows = false
      let stream = try client.request("/100000000")
      while client.responses[stream]?.count ?? 0 < 100_000 { try client.receive() }
      inner.program.signal(SIGKILL)
      let response = try client.wait(for: stream)
      guard response.status == 200, response.resetCode == 2 else { throw TestFailure("\(response)") }
      // The connection is as good as before.
      let next = try client.wait(for: client.request("/1"))
      guard next.isComplete, next.status == 0 else { throw TestFailure("\(next)") }
    }
  }

  // MARK: Who waits for whom

  @Test func largeResponsesTakeTurns() async throws {
    let backend = try sizes()
    let proxy = try await proxy(backend.port)
    let port = try proxy.port()
    try await blocking {
      let client = try HTTP2Client(port: port)
      let size = 64_000_000
      let streams = try (0..<4).map { _ in try client.request("/\(size)") }
      let late: UInt32
      while client.responses[streams[0]]?.count ?? 0 < 1_000_000 { try client.receive() }
      // A small one does not wait for the large ones' ends.
      late = try client.request("/10")
      _ = try client.wait(for: late)
      guard streams.allSatisfy({ client.responses[$0]?.isComplete == false }) else {
        throw TestFailure("the small response came behind a large one")
      }
      while !streams.contains(where: { client.responses[$0]?.isComplete == true }) { try client.receive() }
      let counts = streams.map { client.responses[$0]?.count ?? 0 }
      // On a busy machine one of the threads that send them may come late; two would be no chance.
      guard counts.count(where: { $0 > size / 8 }) >= 3 else {
        throw TestFailure("when the first is complete: \(counts)")
      }
      for stream in streams { _ = try client.wait(for: stream) }
    }
  }

  @Test func aStreamThatIsNotReadHoldsUpNobody() async throws {
    let backend = try sizes()
    let inner = try await proxy(backend.port)
    // What streams may hold must be less than what their connection may.
    let small = Self.overHTTP2.replacing(
      "http2_protocol_options: {}", with: "http2_protocol_options: {initial_stream_window_size: 65536}")
    let proxy = try await proxy(inner.port(), cluster: [small])
    let port = try proxy.port()
    try await blocking {
      let client = try HTTP2Client(port: port, window: 65536)
      client.opensWindows = false
      let slow = try (0..<8).map { _ in try client.request("/50000000") }
      for stream in slow { while client.responses[stream]?.count ?? 0 < 65536 { try client.receive() } }
      for _ in 0..<200 {
        let response = try client.wait(for: client.request("/1000"))
        guard response.status == 200, response.count == 1000 else { throw TestFailure("\(response)") }
      }
    }
    #expect(proxy.memory.peak < 80 << 10)
  }

  // MARK: Large bodies

  private static let gibibyte = 1 << 30

  @Test(arguments: [false, true])
  func aGibibyteEachWay(throughTwo: Bool) async throws {
    let backend = try sizes(1 << 18)
    let inner = try await proxy(backend.port)
    let proxy = throughTwo ? try await proxy(inner.port(), cluster: [Self.overHTTP2]) : inner
    let port = try proxy.port()
    let directory = try TemporaryDirectory()
    let file = directory.file("body")
    #expect(creat(file, 0o600) >= 0 && truncate(file, Self.gibibyte) == 0)
    for way in ["http://127.0.0.1:\(port)/\(Self.gibibyte)", "-T \(file) http://127.0.0.1:\(port)/1"] {
      let command =
        "curl -sS --http2-prior-knowledge -o /dev/null -w '%{http_code} %{size_download} %{size_upload}' \(way)"
      let curl = try RunningProgram("/bin/sh", ["-c", command])
      #expect(try await curl.waitForEnd(within: Deadline(.seconds(200))) == .exited(0), "\(curl.logs)")
      try await curl.waitForOutput("200 ")
      try await curl.waitForOutput("\(Self.gibibyte)")
    }
    print("HTTP/2: 1 GiB each way, at most \(proxy.memory.peak) KiB resident")
    #expect(proxy.memory.peak < 128 << 10)
  }
}
