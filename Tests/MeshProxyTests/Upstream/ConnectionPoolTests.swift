import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Connection pools", .timeLimit(.minutes(1)))
struct ConnectionPoolTests {
  private let all = #"[{match: {prefix: "/"}, route: {cluster: up}}]"#

  /// Someone who wants a connection.
  private final class Client: PoolClient, ResponseReceiver {
    private(set) var connection: (any ClientConnection)?
    private(set) var failure: StreamResetReason?
    private(set) var isRefused = false

    func poolReady(_ connection: any ClientConnection) { self.connection = connection }
    func poolFailed(_ reason: StreamResetReason, _ detail: StaticString, _ transport: TransportFailure?) {
      failure = reason
    }
    func poolUnavailable() { isRefused = true }
    func receiveInformational(status: Int, _ headers: HeaderMap) {}
    func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {}
    func receiveData(_ bytes: Bytes, endStream: Bool) {}
    func receiveTrailers(_ trailers: HeaderMap) {}
    func responseReset(_ reason: StreamResetReason, detail: StaticString) {}
    func requestBlocked() {}
    func requestUnblocked() {}

    /// Uses the connection for a request, as whoever gets one must.
    func send(_ worker: Worker) {
      let headers = worker.headerMaps.take()
      Array("/".utf8).withUnsafeBufferPointer { headers.set(.path, $0) }
      Array("GET".utf8).withUnsafeBufferPointer { headers.set(.method, $0) }
      Array("up".utf8).withUnsafeBufferPointer { headers.set(.host, $0) }
      _ = connection?.send(headers, method: .get, endStream: true, receiver: self)
    }
  }

  private static func backend() throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest() {
        if request.target.hasSuffix("/hang") { _ = try connection.receiveToEnd() }
        try connection.sendResponse(body: Array("ok".utf8))
      }
    }
  }

  private func fixture(_ port: UInt16, _ fields: String) throws -> WorkerFixture {
    try WorkerFixture(routes: all, clusters: "[\(cluster("up", port, more: fields))]")
  }

  private func up(_ fixture: WorkerFixture) throws -> ActiveCluster { try #require(fixture.worker.clusters["up"]) }

  @Test("high priority has connections and limits of its own")
  func priorities() throws {
    let server = try Self.backend()
    let fixture = try fixture(
      server.port, "circuit_breakers: {thresholds: [{max_pending_requests: 0}, {priority: HIGH, max_requests: 1}]},")
    let cluster = try up(fixture)
    let endpoint = try #require(cluster.endpoints.first)
    let (normal, high) = (Client(), Client())
    #expect(endpoint.pool(.normal, .http11, downstream: 0).acquire(normal) === nil)
    #expect(normal.failure == .overflow)
    _ = endpoint.pool(.high, .http11, downstream: 0).acquire(high)
    #expect(fixture.turn { high.connection != nil })
    #expect(cluster.breakers.high.connections.current == 1)
    #expect(cluster.breakers.normal.connections.current == 0)
    #expect(cluster.admitRequest(.high))
    #expect(!cluster.admitRequest(.high))
    #expect(cluster.admitRequest(.normal))
    #expect(endpoint.pool(.high, .http11, downstream: 1) === endpoint.pool(.high, .http11, downstream: 2))
  }

  @Test("a route's priority chooses the limits")
  func routePriority() throws {
    let server = try Self.backend()
    let fixture = try WorkerFixture(
      routes: "[{match: {prefix: /high}, route: {cluster: up, priority: HIGH}}, "
        + "{match: {prefix: /}, route: {cluster: up}}]",
      clusters:
        "[\(cluster("up", server.port, more: "circuit_breakers: {thresholds: [{priority: HIGH, max_requests: 1}]},"))]"
    )
    let hanging = fixture.open("GET", "/high/hang")
    let refused = fixture.open("GET", "/high")
    #expect(refused.status == 503 && refused.headers["x-envoy-overloaded"] == "true")
    let normal = fixture.open()
    #expect(fixture.turn { normal.isEnded })
    #expect(normal.status == 200)
    hanging.stream?.requestReset(.connectionTermination)
    #expect(try up(fixture).breakers.high.requests.current == 0)
    let high = fixture.open("GET", "/high")
    #expect(fixture.turn { high.isEnded })
    #expect(high.status == 200)
  }

  @Test("more pools than may be: requests of the others are answered by 503, until a pool is empty")
  func pools() throws {
    let server = try Self.backend()
    let fixture = try fixture(
      server.port,
      "circuit_breakers: {thresholds: [{max_connection_pools: 1}]}, "
        + "connection_pool_per_downstream_connection: true,")
    let cluster = try up(fixture)
    let endpoint = try #require(cluster.endpoints.first)
    let (first, second) = (Client(), Client())
    _ = endpoint.pool(.normal, .http11, downstream: 1).acquire(first)
    _ = endpoint.pool(.normal, .http11, downstream: 2).acquire(second)
    #expect(second.isRefused && second.failure == nil)
    #expect(cluster.stats.value(.connectionPoolOverflow) == 1)
    #expect(fixture.turn { first.connection != nil })
    first.connection?.drain()
    first.send(fixture.worker)
    #expect(fixture.turn { cluster.breakers.normal.pools.current == 0 })
    let third = Client()
    _ = endpoint.pool(.normal, .http11, downstream: 2).acquire(third)
    #expect(fixture.turn { third.connection != nil })
  }

  @Test("each downstream connection has its own, and they go with their last connection")
  func perDownstreamConnection() throws {
    let server = try Self.backend()
    let fixture = try fixture(server.port, "connection_pool_per_downstream_connection: true,")
    let endpoint = try #require(try up(fixture).endpoints.first)
    let (first, second) = (Client(), Client())
    weak var pool: ConnectionPool?
    do {
      let strong = endpoint.pool(.normal, .http11, downstream: 1)
      #expect(endpoint.pool(.normal, .http11, downstream: 1) === strong)
      #expect(endpoint.pool(.normal, .http11, downstream: 2) !== strong)
      _ = strong.acquire(first)
      _ = endpoint.pool(.normal, .http11, downstream: 2).acquire(second)
      pool = strong
    }
    #expect(fixture.turn { first.connection != nil && second.connection != nil })
    try server.waitForConnections(2)
    first.send(fixture.worker)
    first.connection?.drain()
    #expect(fixture.turn { first.connection?.isClosed == true })
    #expect(pool !== endpoint.pool(.normal, .http11, downstream: 1))
  }

  @Test("connections are made ahead, as many as the ratio asks for")
  func preconnect() throws {
    let server = try Self.backend()
    let fixture = try fixture(server.port, "preconnect_policy: {per_upstream_preconnect_ratio: 3},")
    let cluster = try up(fixture)
    let endpoint = try #require(cluster.endpoints.first)
    let client = Client()
    _ = endpoint.pool.acquire(client)
    #expect(fixture.turn { cluster.stats.value(.connectionActive) == 3 && client.connection != nil })
    // An idle one is taken: with two in use there are to be six.
    #expect(fixture.turn { server.accepted == 3 })
    fixture.worker.loop.turn(upTo: .milliseconds(20))
    client.send(fixture.worker)
    let second = Client()
    #expect(endpoint.pool.acquire(second) === nil)
    #expect(cluster.stats.value(.connectionActive) > 3)
  }

  @Test("without a ratio there is no connection that nobody waits for")
  func noPreconnect() throws {
    let server = try Self.backend()
    let fixture = try fixture(server.port, "")
    let cluster = try up(fixture)
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded })
    #expect(cluster.stats.value(.connectionTotal) == 1)
  }

  @Test("a connection of the greatest age closes when it is idle, one that is busy after its request")
  func maximumDuration() throws {
    let server = try Self.backend()
    let options =
      "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {\"@type\": "
      + "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, "
      + "common_http_protocol_options: {max_connection_duration: 0.05s, idle_timeout: 60s}, "
      + "use_downstream_protocol_config: {http_protocol_options: {}}}},"
    let fixture = try fixture(server.port, options)
    let cluster = try up(fixture)
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded })
    #expect(fixture.turn { cluster.stats.value(.connectionMaximumDuration) == 1 })
    #expect(cluster.stats.value(.connectionActive) == 0)
  }

  @Test("the deprecated fields of a cluster count where the options say nothing")
  func deprecatedFields() throws {
    let server = try Self.backend()
    let fixture = try fixture(
      server.port, "max_requests_per_connection: 2, common_http_protocol_options: {idle_timeout: 60s},")
    let cluster = try up(fixture)
    #expect(cluster.configuration.connection.maximumRequests == 2)
    #expect(cluster.configuration.connection.idleTimeout == .seconds(60))
    for _ in 0..<3 {
      let response = fixture.open()
      #expect(fixture.turn { response.isEnded })
    }
    #expect(cluster.stats.value(.connectionMaximumRequests) == 1)
    #expect(server.accepted == 2)
  }

  @Test("an attempt that takes too long is answered by 504; one whose response has begun is reset")
  func streamDuration() throws {
    let server = try ScriptedServer { connection, number in
      _ = try connection.receiveRequest()
      if number == 1 { try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab") }
      _ = try connection.receiveToEnd()
    }
    let options =
      "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {\"@type\": "
      + "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, "
      + "common_http_protocol_options: {max_stream_duration: 0.1s}, explicit_http_config: "
      + "{http_protocol_options: {}}}},"
    let fixture = try fixture(server.port, options)
    let cluster = try up(fixture)
    let silent = fixture.open()
    #expect(fixture.turn { silent.isEnded })
    #expect(silent.status == 504)
    #expect(silent.text == "upstream max stream duration reached")
    let begun = fixture.open()
    #expect(fixture.turn { begun.isReset })
    #expect(begun.status == 200)
    #expect(cluster.stats.value(.requestMaximumDurationReached) == 2)
    #expect(cluster.stats.value(.requestActive) == 0)
  }

  @Test("a request that may not be sent again, as too many are, fails")
  func retries() throws {
    let server = try ScriptedServer { connection, _ in
      _ = try connection.receiveRequest()
      try connection.sendResponse(body: Array("ok".utf8))
      _ = try connection.receiveRequest()
    }
    let fixture = try fixture(server.port, "circuit_breakers: {thresholds: [{max_retries: 0}]},")
    let cluster = try up(fixture)
    let first = fixture.open()
    #expect(fixture.turn { first.isEnded })
    let second = fixture.open()
    #expect(fixture.turn { second.isEnded })
    #expect(second.status == 503)
    #expect(cluster.stats.value(.requestRetry) == 0)
    #expect(cluster.stats.value(.requestRetryOverflow) == 1)
    #expect(cluster.breakers.normal.retries.current == 0)
  }

  // MARK: Addresses

  @Test("a new address of a logical endpoint is for new connections; the old ones stay in use")
  func logicalEndpoint() throws {
    let server = try Self.backend()
    let fixture = try fixture(server.port, "")
    let cluster = try up(fixture)
    let endpoint = try #require(cluster.endpoints.first)
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded })
    let before = endpoint.endpoint
    // Nobody listens there.
    let moved = Endpoint(
      address: SocketAddress(IPAddress(v4: 0x7f00_0003), port: 1), hostname: "", identity: before.identity)
    cluster.update(
      HostSets([WeightedEndpoint(endpoint: moved, weight: 1, health: .healthy, locality: .init())], .roundRobin))
    #expect(cluster.endpoints.first === endpoint)
    #expect(endpoint.endpoint === moved)
    let old = fixture.open()
    #expect(fixture.turn { old.isEnded })
    #expect(old.status == 200)
    let hanging = fixture.open("GET", "/hang")
    let new = fixture.open()
    #expect(fixture.turn { new.isEnded })
    #expect(new.status == 503)
    hanging.stream?.requestReset(.connectionTermination)
    #expect(server.accepted == 1)
  }

  @Test("connections to a Unix socket; no file, or nobody there, is a failure of the other end")
  func unixSocket() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("up")
    let fixture = try WorkerFixture(
      routes: all,
      clusters: "[{name: up, load_assignment: {cluster_name: up, endpoints: [{lb_endpoints: [{endpoint: {address: "
        + "{pipe: {path: \"\(path)\"}}}}]}]}}]")
    let missing = fixture.open()
    #expect(fixture.turn { missing.isEnded })
    #expect(missing.status == 503)
    #expect(missing.text.hasSuffix("reset reason: remote connection failure"))
    let server = try ScriptedServer(unixPath: path) { connection, _ in
      while try connection.receiveRequest() != nil { try connection.sendResponse(body: Array("ok".utf8)) }
    }
    for _ in 0..<2 {
      let response = fixture.open()
      #expect(fixture.turn { response.isEnded })
      #expect(response.status == 200)
    }
    #expect(server.accepted == 1)
    #expect(try up(fixture).endpoints.first?.endpoint.address.description == path)
  }

  @Test("connections come from the source address of the endpoint's IP version, with their options")
  func source() throws {
    let peers = Monitor<[UInt32]>([])
    let server = try ScriptedServer { connection, _ in
      peers.change { $0.append(connection.peer.address) }
      while try connection.receiveRequest() != nil { try connection.sendResponse(body: Array("ok".utf8)) }
    }
    let fixture = try fixture(
      server.port,
      "upstream_bind_config: {source_address: {address: \"::1\", port_value: 0}, extra_source_addresses: "
        + "[{address: {address: 127.0.0.77, port_value: 0}}]}, "
        + "upstream_connection_options: {tcp_keepalive: {keepalive_probes: 2, keepalive_time: 9}},")
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded })
    #expect(response.status == 200)
    #expect(peers.read { $0 } == [0x7f00_004d])
    let pool = try up(fixture).configuration.pool
    #expect(pool.sources.count == 2)
    #expect(pool.sources.allSatisfy { $0.options.keepAlive == KeepAlive(probes: 2, idleSeconds: 9) })
  }
}
