import MeshTesting
import Testing

/// Limits on connections and on how long a peer may take.
@Suite("Limits", .timeLimit(.minutes(2)))
struct LimitTests {
  private static let request = "GET / HTTP/1.1\r\nhost: test\r\n\r\n"

  private static func limited(to maximum: Int) -> String {
    """
    overload_manager: {resource_monitors: [{name: envoy.resource_monitors.global_downstream_max_connections, \
    typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.\
    DownstreamConnectionsConfig, max_active_downstream_connections: \(maximum)}}]}
    """
  }

  private static func answering(_ fields: [String] = []) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(clusters: [])
    configuration.listeners[0].routes = [
      "{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: ok}}}"
    ]
    configuration.fields = fields
    return configuration
  }

  @Test func connectionsAboveTheGlobalLimitAreClosed() async throws {
    var configuration = Self.answering([Self.limited(to: 2)])
    var privileged = configuration.listeners[0]
    configuration.listeners[0].fields = ["stat_prefix: main"]
    privileged.name = "privileged"
    privileged.fields = ["ignore_global_conn_limit: true"]
    configuration.listeners.append(privileged)
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let privilegedPort = try proxy.port("privileged")
    try await blocking {
      var open: [RawConnection] = []
      for _ in 0..<2 {
        let client = try RawConnection(port: port)
        try client.send(Self.request)
        #expect(try client.receiveResponse().status == 200)
        open.append(client)
      }
      for _ in 0..<3 {
        let refused = try RawConnection(port: port)
        #expect(try refused.receiveToEnd(within: Deadline(.seconds(10))).isEmpty)
      }
      // A listener that ignores the limit goes on.
      let other = try RawConnection(port: privilegedPort)
      try other.send(Self.request)
      #expect(try other.receiveResponse().status == 200)
    }
    // Both old connections are closed by now; there is room again.
    try await eventually("a place is free") { (try? await proxy.get())?.status == 200 }
    #expect(try await proxy.stat("listener.main.downstream_global_cx_overflow") >= 3)
    let pressure = "overload.envoy.resource_monitors.global_downstream_max_connections.pressure"
    try await eventually("nobody is there") { try await proxy.stat(pressure) == 0 }
    let client = try await blocking { try RawConnection(port: port) }
    try await eventually("half of the places are taken") { try await proxy.stat(pressure) == 50 }
    client.close()
  }

  /// The client reads nothing; what waits for it may not wait for ever.
  @Test func aResponseThatNobodyReadsEndsWithItsConnection() async throws {
    let server = try ScriptedServer { connection, _ in
      _ = try connection.receiveRequest()
      try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 16000000\r\n\r\n")
      try connection.send([UInt8](repeating: 120, count: 16_000_000), within: Deadline(.seconds(60)))
      _ = try connection.receiveToEnd(within: Deadline(.seconds(60)))
    }
    var configuration = ProxyConfiguration(backend: server.port)
    // The whole response is to wait in the proxy, beyond what the kernel takes.
    configuration.listeners[0].fields = ["per_connection_buffer_limit_bytes: 67108864"]
    configuration.listeners[0].managerFields = ["stream_flush_timeout: 0.2s"]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let client = try await blocking {
      let client = try RawConnection(port: port)
      try client.send(Self.request)
      return client
    }
    try await eventually("the connection is closed") {
      try await proxy.stat("http.main.downstream_cx_destroy_local") == 1
    }
    #expect(try await proxy.stat("http.main.downstream_cx_active") == 0)
    withExtendedLifetime(client) {}
  }

  @Test func aConnectionEndsAfterItsLastRequest() async throws {
    var configuration = Self.answering()
    configuration.listeners[0].managerFields = ["common_http_protocol_options: {max_requests_per_connection: 2}"]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send(Self.request)
      #expect(try client.receiveResponse().value("connection") == nil)
      try client.send(Self.request)
      #expect(try client.receiveResponse().value("connection") == "close")
      #expect(try client.receiveToEnd(within: Deadline(.seconds(10))).isEmpty)
    }
    #expect(try await proxy.stat("http.main.downstream_cx_max_requests_reached") == 1)
  }

  @Test(arguments: [false, true])
  func anOldConnectionEnds(_ waitsForRequest: Bool) async throws {
    var configuration = Self.answering()
    configuration.listeners[0].managerFields = [
      "common_http_protocol_options: {max_connection_duration: 0.1s}", "drain_timeout: 0.1s",
      "http1_safe_max_connection_duration: \(waitsForRequest)",
    ]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let client = try await blocking { try RawConnection(port: port) }
    try await eventually("the connection is old") {
      try await proxy.stat("http.main.downstream_cx_max_duration_reached") == 1
    }
    try await blocking {
      if waitsForRequest {
        try client.send(Self.request)
        #expect(try client.receiveResponse().value("connection") == "close")
      }
      #expect(try client.receiveToEnd(within: Deadline(.seconds(10))).isEmpty)
    }
  }

  private static func runtime(_ values: String) -> String {
    "layered_runtime: {layers: [{name: fixed, static_layer: {\(values)}}, {name: admin, admin_layer: {}}]}"
  }

  /// The limit of one listener follows the runtime while connections are open.
  @Test func aListenersLimitFollowsTheRuntime() async throws {
    var configuration = Self.answering([
      Self.runtime("envoy.resource_limits.listener.main.connection_limit: 1")
    ])
    configuration.listeners[0].fields = ["stat_prefix: main"]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let first = try await blocking {
      let first = try RawConnection(port: port)
      try first.send(Self.request)
      #expect(try first.receiveResponse().status == 200)
      let refused = try RawConnection(port: port)
      #expect(try refused.receiveToEnd(within: Deadline(.seconds(10))).isEmpty)
      return first
    }
    #expect(try await proxy.stat("listener.main.downstream_cx_overflow") == 1)
    let change = "/runtime_modify?envoy.resource_limits.listener.main.connection_limit=2"
    #expect(try await proxy.admin(change, method: "POST").status == 200)
    #expect(try await proxy.get().status == 200)
    withExtendedLifetime(first) {}
  }

  /// A client that sends its body a byte at a time is let go; one that is held up by the upstream is not.
  @Test func aBodyThatTricklesIsRefused() async throws {
    let upstreamReads = Gate()
    defer { upstreamReads.open() }
    let server = try ScriptedServer { connection, _ in
      try upstreamReads.wait()
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-length: \(request.body.count)\r\n\r\n")
      }
    }
    var configuration = ProxyConfiguration(backend: server.port)
    configuration.fields = [
      Self.runtime("martlet.http.min_request_body_rate: 1000000, martlet.http.min_request_body_window_ms: 200")
    ]
    configuration.listeners[0].fields = ["per_connection_buffer_limit_bytes: 65536"]
    configuration.clusters[0].fields = ["per_connection_buffer_limit_bytes: 65536"]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    // The upstream reads nothing at first; that is not this client's fault.
    let body = [UInt8](repeating: 120, count: 20_000_000)
    async let length = blocking {
      let patient = try RawConnection(port: port)
      try patient.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: \(body.count)\r\n\r\n")
      try patient.send(body, within: Deadline(.seconds(60)))
      return try patient.receiveResponse(within: Deadline(.seconds(60))).value("x-length")
    }
    try await eventually("the client is held up") {
      try await proxy.stat("http.main.downstream_flow_control_paused_reading_total") > 0
    }
    // Each takes a window, so that several pass for the first client too.
    try await blocking {
      for _ in 0..<3 {
        let slow = try RawConnection(port: port)
        try slow.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\nx")
        let refused = try slow.receiveResponse()
        #expect(refused.status == 408)
        #expect(refused.text == "request body too slow")
        #expect(refused.value("connection") == "close")
      }
    }
    upstreamReads.open()
    #expect(try await length == "20000000")
    #expect(try await proxy.stat("http.main.downstream_rq_body_too_slow") == 3)
  }
}
