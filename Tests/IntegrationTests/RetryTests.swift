import MeshTesting
import Testing

/// Attempts after the first: what is sent again, what is not, and what is left when they are over. What a policy's fields
/// mean is held by the comparison suite; this is about bodies, limits and things that go wrong in between.
@Suite("Retries", .timeLimit(.minutes(2)))
struct RetryTests {
  private final class Received: Sendable {
    let requests = Monitor<[RawRequest]>([])
  }

  /// An upstream that answers its first requests with 503, and the others with 200 and the length of their body.
  private func failing(_ count: Int, _ received: Received) throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        let number = received.requests.change {
          $0.append(request)
          return $0.count
        }
        let text = "\(request.body.count)"
        try connection.send(
          number <= count
            ? "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
            : "HTTP/1.1 200 OK\r\ncontent-length: \(text.utf8.count)\r\n\r\n\(text)")
      }
    }
  }

  private func proxy(
    _ port: UInt16, _ policy: String, route: String = "", cluster: [String] = [], arguments: [String] = [],
    log: TemporaryDirectory? = nil
  ) async throws -> RunningProxy {
    var configuration = ProxyConfiguration(backend: port)
    configuration.clusters[0].fields = cluster
    configuration.listeners[0].routes = [
      "{match: {prefix: /}, \(route) route: {cluster: backend, retry_policy: {\(policy)}}}"
    ]
    if let log {
      configuration.listeners[0].accessLogs = [
        (
          log.file("log"),
          "%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %DYNAMIC_METADATA(martlet.retry:refused)%\\n"
        )
      ]
    }
    return try await RunningProxy.start(configuration, arguments: arguments)
  }

  private func atRest(_ proxy: RunningProxy) async throws {
    try await eventually("nothing is on its way") {
      let active = try await proxy.stat("cluster.backend.upstream_rq_active")
      let pending = try await proxy.stat("cluster.backend.upstream_rq_pending_active")
      let retries = try await proxy.stat("cluster.backend.circuit_breakers.default.remaining_retries")
      return active == 0 && pending == 0 && retries == 3
    }
  }

  private static let tracked = ["circuit_breakers: {thresholds: [{track_remaining: true}]}"]

  // MARK: Bodies

  @Test("a body is sent again as it was, trailers too", arguments: [0, 1, 1000, 100_000, 900_000])
  func bodies(_ count: Int) async throws {
    let received = Received()
    let server = try failing(2, received)
    let proxy = try await proxy(server.port, "retry_on: 5xx, num_retries: 3", cluster: Self.tracked)
    let port = try proxy.port()
    let body = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
      if count > 0 {
        try client.send(String(count, radix: 16) + "\r\n")
        try client.send(body)
        try client.send("\r\n")
      }
      try client.send("0\r\n\r\n")
      let response = try client.receiveResponse()
      #expect(response.status == 200 && response.text == "\(count)")
    }
    #expect(received.requests.read { $0.count } == 3)
    #expect(received.requests.read { $0.allSatisfy { $0.body == body } })
    try await atRest(proxy)
  }

  @Test("of a body that is too large nothing is kept, and the first answer is the last one")
  func tooLarge() async throws {
    let received = Received()
    let server = try failing(10, received)
    let log = try TemporaryDirectory()
    let proxy = try await proxy(
      server.port, "retry_on: 5xx, num_retries: 3", route: "request_body_buffer_limit: 5000,", log: log)
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5001\r\n\r\n")
      try client.send([UInt8](repeating: 7, count: 5001))
      #expect(try client.receiveResponse().status == 503)
      try client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5000\r\n\r\n")
      try client.send([UInt8](repeating: 7, count: 5000))
      #expect(try client.receiveResponse().status == 503)
    }
    #expect(received.requests.read { $0.map(\.body.count) } == [5001, 5000, 5000, 5000, 5000])
    #expect(try await proxy.stat("cluster.backend.retry_or_shadow_abandoned") == 1)
    try await eventually("both are in the log") {
      log.read("log") == "503 - 1 body_too_large\n503 URX 4 limit_exceeded\n"
    }
  }

  @Test("a body that grows too large between two attempts is answered")
  func tooLargeBetween() async throws {
    let server = try ScriptedServer { connection, _ in
      _ = try connection.receive(through: "\r\n\r\n")
      try connection.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 60\r\n\r\n")
      _ = try? connection.receiveToEnd(within: Deadline(.seconds(60)))
    }
    let proxy = try await proxy(
      server.port,
      "retry_on: 5xx, rate_limited_retry_back_off: {reset_headers: [{name: retry-after}]}",
      route: "request_body_buffer_limit: 5000,", cluster: Self.tracked)
    let port = try proxy.port()
    try await blockingParts {
      let client = try RawConnection(port: port)
      try client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\nabc")
      try await eventually("it waits for its second attempt") {
        try await proxy.stat("cluster.backend.circuit_breakers.default.remaining_retries") == 2
      }
      try client.send([UInt8](repeating: 7, count: 20_000))
      let response = try client.receiveResponse()
      #expect(response.status == 507 && response.text == "exceeded request buffer limit while retrying upstream")
    }
    try await atRest(proxy)
  }

  @Test("an upstream that does not read a body, and then fails, leaves no client paused")
  func blockedUpload() async throws {
    let gate = Gate()
    let received = Received()
    let server = try ScriptedServer { connection, number in
      guard number > 0 else {
        connection.shrinkBuffers(to: 4096)
        _ = try connection.receive(through: "\r\n\r\n")
        try gate.wait()
        return connection.reset()
      }
      if let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        received.requests.change { $0.append(request) }
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
      }
    }
    let size = 8 * 1024 * 1024
    let proxy = try await proxy(
      server.port, "retry_on: reset", route: "request_body_buffer_limit: \(2 * size),",
      cluster: Self.tracked + ["per_connection_buffer_limit_bytes: 32768"])
    let port = try proxy.port()
    try await blockingParts {
      let client = try RawConnection(port: port)
      try client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: \(size)\r\n\r\n")
      async let response = blocking {
        try client.send([UInt8](repeating: 1, count: size), within: Deadline(.seconds(60)))
        return try client.receiveResponse(within: Deadline(.seconds(60)))
      }
      try await eventually("the client has to wait") {
        try await proxy.stat("cluster.backend.upstream_flow_control_backed_up_total") > 0
      }
      gate.open()
      #expect(try await response.status == 200)
    }
    #expect(received.requests.read { $0.first?.body.count } == size)
    try await atRest(proxy)
  }

  // MARK: Limits

  @Test("attempts never exceed the budget, and every permit comes back")
  func budget() async throws {
    let most = Monitor((now: 0, most: 0))
    let gate = Gate()
    let server = try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        let isRetry = (request.value("x-envoy-attempt-count").flatMap { Int($0) } ?? 1) > 1
        if isRetry {
          most.change { $0 = (now: $0.now + 1, most: max($0.most, $0.now + 1)) }
          try gate.wait()
          most.change { $0.now -= 1 }
        }
        try connection.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
      }
    }
    var configuration = ProxyConfiguration(backend: server.port)
    configuration.clusters[0].fields = [
      "circuit_breakers: {thresholds: [{track_remaining: true, retry_budget: {budget_percent: {value: 20}, "
        + "min_retry_concurrency: 3}}]}"
    ]
    configuration.listeners[0].hostFields = ["include_request_attempt_count: true"]
    configuration.listeners[0].routes = [
      "{match: {prefix: /}, route: {cluster: backend, retry_policy: {retry_on: 5xx, num_retries: 5}}}"
    ]
    let proxy = try await RunningProxy.start(configuration, arguments: ["--concurrency", "2"])
    let port = try proxy.port()
    let clients = 30
    try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<clients {
        group.addTask {
          try await blocking {
            let client = try RawConnection(port: port)
            try client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            return try client.receiveResponse(within: Deadline(.seconds(60))).status
          }
        }
      }
      try await eventually("the budget is spent") {
        try await proxy.stat("cluster.backend.upstream_rq_retry_overflow") >= clients - 6
      }
      gate.open()
      for try await status in group { #expect(status == 503) }
    }
    // 20 % of 30.
    #expect((1...6).contains(most.read { $0.most }))
    try await atRest(proxy)
  }

  // MARK: Between attempts

  @Test("a client that leaves between two attempts takes everything with it")
  func clientLeaves() async throws {
    let received = Received()
    let server = try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        received.requests.change { $0.append(request) }
        try connection.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 60\r\n\r\n")
      }
    }
    let log = try TemporaryDirectory()
    let proxy = try await proxy(
      server.port, "retry_on: 5xx, rate_limited_retry_back_off: {reset_headers: [{name: retry-after}]}",
      cluster: Self.tracked, log: log)
    let port = try proxy.port()
    try await blockingParts {
      for end in [{ $0.close() }, { $0.reset() }] as [(RawConnection) -> Void] {
        let client = try RawConnection(port: port)
        try client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc")
        try await eventually("it waits for its second attempt") {
          try await proxy.stat("cluster.backend.circuit_breakers.default.remaining_retries") == 2
        }
        end(client)
        try await atRest(proxy)
      }
    }
    #expect(received.requests.read { $0.count } == 2)
    #expect(try await proxy.stat("cluster.backend.upstream_rq_retry") == 0)
    try await eventually("both are in the log") { log.read("log") == "0 DC 1 -\n0 DC 1 -\n" }
  }

  @Test("endpoints that change between two attempts are those of the second one; a cluster that goes has none")
  func reload() async throws {
    let received = Received()
    let first = try ScriptedServer { connection, _ in
      while try connection.receiveRequest(within: Deadline(.seconds(60))) != nil {
        try connection.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 2\r\n\r\n")
      }
    }
    let second = try failing(0, received)
    @Sendable func configuration(_ name: String, _ port: UInt16) -> ProxyConfiguration {
      var configuration = ProxyConfiguration(clusters: [.init(name: name, endpoints: [("127.0.0.1", port)])])
      configuration.clusters[0].fields = Self.tracked
      configuration.listeners[0].routes = [
        "{match: {prefix: /}, route: {cluster: \(name), retry_policy: {retry_on: 5xx, "
          + "rate_limited_retry_back_off: {reset_headers: [{name: retry-after}]}}}}"
      ]
      return configuration
    }
    let proxy = try await RunningProxy.start(configuration("backend", first.port))
    let port = try proxy.port()
    try await blockingParts {
      var reloads = 0
      func use(_ configuration: ProxyConfiguration) async throws {
        try proxy.directory.write("proxy.yaml", configuration.yaml)
        proxy.program.signal(1)
        reloads += 1
        try await proxy.waitForLog("the new configuration is in use", times: reloads)
      }
      for (next, status) in [("backend", 200), ("other", 503)] {
        try await use(configuration("backend", first.port))
        let client = try RawConnection(port: port)
        try client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc")
        try await eventually("it waits for its second attempt") {
          try await proxy.stat("cluster.backend.circuit_breakers.default.remaining_retries") == 2
        }
        try await use(configuration(next, second.port))
        #expect(try client.receiveResponse(within: Deadline(.seconds(30))).status == status)
      }
    }
    #expect(received.requests.read { $0.map(\.body) } == [Array("abc".utf8)])
  }
}
