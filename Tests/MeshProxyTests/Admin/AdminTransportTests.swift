import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

/// How the admin interface treats its clients, good and bad.
@Suite("Admin transport")
struct AdminTransportTests {
  @Test("HEAD has the headers of GET and no body; the connection goes on")
  func head() async throws {
    try await withAdmin {
      $0.addCluster("a")
    } serving: { admin in
      let connection = try admin.connect()
      for target in ["/ready", "/stats", "/", "/config_dump", "/clusters?format=json", "/nope"] {
        try connection.send(RunningAdmin.message("HEAD", target))
        let response = try connection.receiveResponse(toHead: true)
        #expect(response.status == (target == "/nope" ? 404 : 200), "\(target)")
        #expect(response.value("content-type") != nil)
      }
      try connection.send(RunningAdmin.message("GET", "/ready"))
      try #expect(connection.receiveResponse().text == "LIVE\n")
    }
  }

  @Test("pipelined requests are answered in order, reports among them")
  func pipelining() async throws {
    try await withAdmin { context in
      for index in 0..<500 { context.addCluster("c\(index)") }
    } serving: { admin in
      let connection = try admin.connect()
      let targets = ["/ready", "/stats", "/hot_restart_version", "/clusters", "/ready"]
      try connection.send(targets.map { RunningAdmin.message("GET", $0) }.joined())
      let responses = try targets.map { _ in try connection.receiveResponse() }
      #expect(responses.map(\.status) == [200, 200, 200, 200, 200])
      #expect(responses[0].text == "LIVE\n")
      #expect(responses[1].body.count > 500_000)
      #expect(responses[2].text == "disabled")
      #expect(responses[3].text.hasPrefix("c0::observability_name::c0\n"))
      #expect(responses[4].text == "LIVE\n")
    }
  }

  /// Clusters of which `/clusters` takes over 10 MB to tell, more than the kernel takes for a client that does not read
  /// (the client's own buffer must not be made small: segments would be dropped and sent again seconds later). The long
  /// names make that cheap.
  private static let addLongNames: @Sendable (FakeAdminContext) throws -> Void = { context in
    for index in 100..<250 {
      let name = String(repeating: "\(index)", count: 1000)
      context.addCluster(name, endpoints: [FakeAdminContext.endpoint("127.0.0.1:\(index)")])
    }
  }

  @Test("a slow reader of a huge answer holds up no one, costs little memory, and gets all of it")
  func slowReader() async throws {
    try await withAdmin(Self.addLongNames) { admin in
      let slow = try admin.connect()
      try slow.send(RunningAdmin.message("GET", "/clusters"))
      // The head is here, so the report has begun; nothing more is read for now.
      let head = try slow.receive(through: "\r\n\r\n")
      #expect(head.contains("transfer-encoding: chunked"))
      for _ in 0..<20 { try #expect(admin.get("/ready").text == "LIVE\n") }
      // However many turns the loop takes, the last cluster is not written before the client has made room for it.
      try admin.onLoop { Self.skipTurns($0, 1_000) }
      let deadline = Deadline()
      while try admin.onLoop({ $0.turns }) == nil {
        if deadline.hasPassed { throw TestFailure("the loop does not turn") }
      }
      let expected = try admin.get("/clusters").body
      #expect(expected.count > 10_000_000)
      var body: [UInt8] = []
      while true {
        let line = try slow.receive(through: "\r\n")
        // CR LF is one character.
        guard let size = Int(line.dropLast(), radix: 16) else { throw TestFailure("no chunk size: \(line)") }
        if size == 0 { break }
        body += try slow.receive(count: size)
        try slow.receive(count: 2)
      }
      // Not the arrays themselves: a failure would be explained at length.
      let isSame = body == expected
      #expect(body.count == expected.count)
      #expect(isSame)
    }
  }

  /// Lets the loop turn, then counts a connection on the last cluster's endpoint.
  private static func skipTurns(_ host: RunningAdmin.Host, _ count: Int) {
    host.loop.defer { [unowned host] in
      guard count == 0 else { return skipTurns(host, count - 1) }
      host.turns = 1_000
      host.context.clusters.last?.endpoints.first?.endpoint.stats.lane(0).add(.connectionTotal, 12_345)
    }
  }

  /// Counts the loop's turns until something arrives at `connection`, then lets `host` know.
  private static func countTurns(_ host: RunningAdmin.Host, _ turn: Int, until connection: RawConnection) {
    host.loop.defer { [unowned host] in
      guard connection.hasSomething(within: .zero) else { return countTurns(host, turn + 1, until: connection) }
      host.turns = turn
      host.context.clusters.last?.identity.stats.lane(0).add(.connectionTotal, 12_345)
    }
  }

  @Test("/ready is answered between two portions of a report")
  func fairness() async throws {
    try await withAdmin { limits in
      limits.portion = 1
      limits.connection.highWatermark = 64 << 20
    } _: { context in
      for index in 0..<300 { context.addCluster("cluster-\(index)") }
    } serving: { admin in
      let scraper = try admin.connect()
      let prober = try admin.connect()
      try admin.onLoop { host in
        // Both requests are here before the loop looks at either.
        try? scraper.send(RunningAdmin.message("GET", "/stats?type=Counters"))
        try? prober.send(RunningAdmin.message("GET", "/ready"))
        Self.countTurns(host, 0, until: prober)
      }
      let report = try scraper.receiveResponse()
      try #expect(prober.receiveResponse().text == "LIVE\n")
      let turns = try #require(try admin.onLoop { $0.turns })
      #expect(turns < 20)
      // The answer came before the report's end was written.
      #expect(report.text.split(separator: "\n").last?.hasPrefix("cluster.cluster-99.") == true)
      #expect(firstRange(of: Array("upstream_cx_total: 12345\n".utf8), in: report.body) != nil)
    }
  }

  @Test("a client that leaves in the middle of a report is forgotten")
  func leaves() async throws {
    try await withAdmin(Self.addLongNames) { admin in
      for abrupt in [true, false] {
        let client = try admin.connect()
        try client.send(RunningAdmin.message("GET", "/clusters"))
        try client.receive(through: "\r\n\r\n")
        if abrupt { client.reset() } else { client.close() }
      }
      let deadline = Deadline()
      while try admin.onLoop({ $0.server.connectionCount }) > 0 {
        if deadline.hasPassed { throw TestFailure("connections are left") }
      }
      try #expect(admin.get("/ready").status == 200)
    }
  }

  @Test("a body up to the limit is taken, a longer one refused, however it is framed")
  func bodySize() async throws {
    try await withAdmin {
      $0.bodySize = 1000
    } _: { _ in
    } serving: { admin in
      let fits = String(repeating: "x", count: 1000)
      try #expect(admin.request("POST", "/healthcheck/ok", body: fits).status == 200)
      for chunked in [false, true] {
        let connection = try admin.connect()
        if chunked {
          try connection.send(
            "POST /healthcheck/ok HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n\(fits)x\r\n")
        } else {
          try connection.send(RunningAdmin.message("POST", "/healthcheck/ok", body: fits + "x"))
        }
        let response = try connection.receiveResponse()
        #expect(response.status == 413)
        #expect(response.value("connection") == "close")
      }
      try #expect(admin.calls == ["failHealthCheck false"])
    }
  }

  @Test("a chunked form, split at every byte")
  func splitBody() async throws {
    try await withAdmin { context in
      _ = context.processLog.component("http")
    } serving: { admin in
      let connection = try admin.connect()
      let message =
        "POST /logging HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n"
        + "content-type: application/x-www-form-urlencoded\r\n\r\n6\r\nhttp=d\r\n4\r\nebug\r\n0\r\nx-t: y\r\n\r\n"
      for byte in Array(message.utf8) { try connection.send([byte]) }
      try #expect(connection.receiveResponse().text == "active loggers:\n  http: debug\n\n")
    }
  }

  @Test("a client that waits for 100 Continue gets it")
  func expectContinue() async throws {
    try await withAdmin { admin in
      let connection = try admin.connect()
      try connection.send(
        "POST /healthcheck/fail HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n")
      try #expect(connection.receiveResponse().status == 100)
      try #expect(admin.calls == [])
      try connection.send("x")
      try #expect(connection.receiveResponse().text == "OK\n")
      try #expect(admin.calls == ["failHealthCheck true"])
    }
  }

  @Test("a request that is cut off does nothing")
  func truncated() async throws {
    try await withAdmin { admin in
      let connection = try admin.connect()
      try connection.send("POST /quitquitquit HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab")
      connection.halfClose()
      _ = try connection.receiveToEnd()
      try #expect(admin.calls == [])
    }
  }

  @Test(
    "garbage is answered and the connection closed",
    arguments: [
      ("\u{1}\u{2}\u{3}\r\n\r\n", 400), ("GET / HTTP/1.0\r\n\r\n", 426), ("GET /ready HTTP/1.1\r\n\r\n", 400),
      ("GET /ready HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400), ("GET /ready HTTP/2.0\r\nhost: a\r\n\r\n", 505),
      ("POST /quitquitquit HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
      ("POST /quitquitquit HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
      ("GET /\(String(repeating: "a", count: 20_000)) HTTP/1.1\r\nhost: a\r\n\r\n", 414),
      ("GET / HTTP/1.1\r\nhost: a\r\nx: \(String(repeating: "a", count: 70_000))\r\n\r\n", 431),
    ])
  func garbage(text: String, status: Int) async throws {
    try await withAdmin { admin in
      let connection = try admin.connect()
      try connection.send(text)
      let response = try connection.receiveResponse()
      #expect(response.status == status)
      #expect(response.value("connection") == "close")
      connection.halfClose()
      _ = try connection.receiveToEnd()
      try #expect(admin.get("/ready").status == 200)
      try #expect(admin.calls == [])
    }
  }

  @Test("random bytes harm no one")
  func noise() async throws {
    try await withAdmin { admin in
      var random = SeededRandom(seed: 7)
      for _ in 0..<50 {
        let connection = try admin.connect()
        var bytes = (0..<Int.random(in: 1...3000, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random)
        }
        if Bool.random(using: &random) { bytes = Array("GET /stats?".utf8) + bytes }
        // The server may have closed already.
        try? connection.send(bytes)
        connection.halfClose()
        _ = try connection.receiveToEnd()
      }
      try #expect(admin.get("/ready").status == 200)
      try #expect(admin.calls == [])
    }
  }

  @Test("when all connections are taken, one that stands still gives way")
  func eviction() async throws {
    try await withAdmin { limits in
      limits.connections = 4
      limits.evictionAge = .zero
    } _: { _ in
    } serving: { admin in
      let idle = try (0..<4).map { _ in
        let connection = try admin.connect()
        try connection.send(RunningAdmin.message("GET", "/ready"))
        _ = try connection.receiveResponse()
        return connection
      }
      try #expect(admin.get("/ready").status == 200)
      // The oldest went, the others are there.
      try #expect(idle[0].receiveToEnd() == [])
      try idle[3].send(RunningAdmin.message("GET", "/ready"))
      try #expect(idle[3].receiveResponse().status == 200)
    }
  }

  @Test("when all connections are at work, another is refused")
  func refusesBeyondLimit() async throws {
    try await withAdmin { limits in
      limits.connections = 4
      limits.evictionAge = .seconds(3600)
    } _: { _ in
    } serving: { admin in
      let busy = try (0..<4).map { _ in
        let connection = try admin.connect()
        try connection.send(RunningAdmin.message("GET", "/ready"))
        _ = try connection.receiveResponse()
        return connection
      }
      let extra = try admin.connect()
      try #expect(extra.receiveToEnd() == [])
      busy[0].close()
      let deadline = Deadline()
      while try admin.onLoop({ $0.server.connectionCount }) == 4 {
        if deadline.hasPassed { throw TestFailure("the closed connection is still counted") }
      }
      try #expect(admin.get("/ready").status == 200)
    }
  }

  @Test("a request or a response that stands still is cut")
  func stalls() async throws {
    try await withAdmin { limits in
      limits.stall = .milliseconds(50)
    } _: {
      try Self.addLongNames($0)
    } serving: { admin in
      let reader = try admin.connect()
      try reader.send(RunningAdmin.message("GET", "/clusters"))
      let sender = try admin.connect()
      try sender.send("POST /quitquitquit HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab")
      let deadline = Deadline()
      while try admin.onLoop({ $0.server.connectionCount }) > 0 {
        if deadline.hasPassed { throw TestFailure("connections are left") }
      }
      let received = try reader.receiveToEnd()
      #expect(!String(decoding: received.suffix(8), as: UTF8.self).hasSuffix("0\r\n\r\n"), "not a complete answer")
      try #expect(admin.calls == [])
    }
  }

  @Test("a body that dribbles in is cut off when its time is over")
  func dribble() async throws {
    try await withAdmin {
      $0.bodyTime = .milliseconds(50)
    } _: { _ in
    } serving: { admin in
      let connection = try admin.connect()
      try connection.send("POST /quitquitquit HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab")
      let response = try connection.receiveResponse()
      #expect(response.status == 408)
      #expect(response.value("connection") == "close")
      try #expect(admin.calls == [])
    }
  }

  @Test("idle connections are closed in time")
  func idle() async throws {
    try await withAdmin {
      $0.connection.idleTimeout = .milliseconds(50)
    } _: { _ in
    } serving: { admin in
      try #expect(admin.connect().receiveToEnd() == [])
    }
  }

  @Test("a head that does not end is answered in time")
  func unfinishedHead() async throws {
    try await withAdmin {
      $0.connection.headersTimeout = .milliseconds(50)
    } _: { _ in
    } serving: { admin in
      let slow = try admin.connect()
      try slow.send("GET /ready HT")
      try #expect(slow.receiveResponse().status == 408)
    }
  }

  @Test("close ends every connection and accepts no more")
  func close() async throws {
    try await withAdmin { admin in
      let idle = try admin.connect()
      try idle.send(RunningAdmin.message("GET", "/ready"))
      _ = try idle.receiveResponse()
      try admin.onLoop { $0.server.close() }
      try #expect(idle.receiveToEnd() == [])
      try #expect(admin.onLoop { $0.server.connectionCount } == 0)
      let late = try admin.connect()
      try late.send(RunningAdmin.message("GET", "/ready"))
      #expect(!late.hasSomething(within: .milliseconds(20)))
      try admin.onLoop { $0.server.startAccepting() }
      try #expect(late.receiveResponse().status == 200)
    }
  }
}
