import MeshTesting
import Testing

/// Faults that the proxy injects (`envoy.filters.http.fault`) under the conditions in which they could do harm.
@Suite("Injected faults", .timeLimit(.minutes(2)))
struct InjectedFaultTests {
  private static func configuration(_ port: UInt16, _ fault: String) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(backend: port)
    configuration.listeners[0].fields = ["per_connection_buffer_limit_bytes: 65536"]
    configuration.clusters[0].fields = ["per_connection_buffer_limit_bytes: 65536"]
    configuration.listeners[0].filters = [
      ProxyConfiguration.typed("envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault", [fault])
    ]
    return configuration
  }

  private static let slow = "response_rate_limit: {fixed_limit: {limit_kbps: 512}, percentage: {numerator: 100}}"

  /// The upstream waits; the proxy does not keep what the client may not have yet.
  @Test func aSlowResponseHoldsItsUpstreamBack() async throws {
    let length = 64 << 20
    let server = try ScriptedServer { connection, _ in
      guard try connection.receiveRequest() != nil else { return }
      try connection.send("HTTP/1.1 200 OK\r\ncontent-length: \(length)\r\n\r\n")
      try? connection.send([UInt8](repeating: 120, count: length), within: Deadline(.seconds(60)))
    }
    let proxy = try await RunningProxy.start(Self.configuration(server.port, Self.slow))
    let port = try proxy.port()
    let before = proxy.memory.now
    let (took, held) = try await blocking {
      let client = try RawConnection(port: port)
      try client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n")
      try client.receive(through: "\r\n\r\n", within: Deadline(.seconds(10)))
      let clock = ContinuousClock()
      let begin = clock.now
      for _ in 0..<8 { try client.discard(count: 65536) }
      let took = clock.now - begin
      let held = proxy.memory.now - before
      client.close()
      return (took, held)
    }
    // Half a mebibyte at half a mebibyte a second.
    #expect((.milliseconds(800)...(.seconds(4))).contains(took))
    // In KiB: a good deal less than the upstream would like to send.
    #expect(held < 8 << 10)
    #expect(try await proxy.stat("cluster.backend.upstream_flow_control_paused_reading_total") >= 1)
    try await eventually("the client has taken its fault along") {
      try await proxy.stat("http.main.fault.active_faults") == 0
    }
    #expect(try await proxy.stat("http.main.fault.response_rl_injected") == 1)
  }

  /// What comes while a request is delayed waits in the kernel, and the request is complete when it goes on.
  @Test func aDelayedUploadArrivesWhole() async throws {
    let server = try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: \("\(request.body.count)".utf8.count)\r\n\r\n")
        try connection.send("\(request.body.count)")
      }
    }
    let proxy = try await RunningProxy.start(
      Self.configuration(server.port, "delay: {fixed_delay: 0.3s, percentage: {numerator: 100}}"))
    let port = try proxy.port()
    let before = proxy.memory.now
    try await blocking {
      let client = try RawConnection(port: port)
      let body = [UInt8](repeating: 120, count: 32 << 20)
      try client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: \(body.count)\r\n\r\n")
      try client.send(body, within: Deadline(.seconds(30)))
      // The last of it is on its way only now.
      #expect(proxy.memory.now - before < 8 << 10)
      #expect(try client.receiveResponse(within: Deadline(.seconds(30))).text == "\(body.count)")
    }
  }

  /// A client that leaves during its delay leaves nothing behind, and its request goes nowhere.
  @Test func aClientLeavesDuringItsDelay() async throws {
    let server = try ScriptedServer { _, _ in }
    let proxy = try await RunningProxy.start(
      Self.configuration(
        server.port, "delay: {fixed_delay: 60s, percentage: {numerator: 100}}, max_active_faults: 3"))
    let port = try proxy.port()
    for _ in 0..<2 {
      let clients = try await blocking {
        try (0..<3).map { number in
          let client = try RawConnection(port: port)
          try client.send("POST /\(number) HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n")
          return client
        }
      }
      try await eventually("they are delayed") { try await proxy.stat("http.main.fault.active_faults") == 3 }
      try await blocking {
        clients[0].close()
        clients[1].reset()
        try clients[2].send("hel")
        clients[2].close()
      }
      try await eventually("nothing is left") { try await proxy.stat("http.main.fault.active_faults") == 0 }
    }
    #expect(try await proxy.stat("http.main.fault.faults_overflow") == 0)
    #expect(try await proxy.stat("cluster.backend.upstream_rq_total") == 0)
    #expect(try await proxy.stat("http.main.downstream_rq_active") == 0)
  }

  /// No more faults than may be: the next request is served as if there were none.
  @Test func beyondTheLimitThereIsNoFault() async throws {
    let server = try ScriptedServer { connection, _ in
      while try connection.receiveRequest(within: Deadline(.seconds(60))) != nil {
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
      }
    }
    let proxy = try await RunningProxy.start(
      Self.configuration(
        server.port, "delay: {fixed_delay: 60s, percentage: {numerator: 100}}, max_active_faults: 1"))
    let port = try proxy.port()
    let first = try await blocking {
      let first = try RawConnection(port: port)
      try first.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n")
      return first
    }
    try await eventually("one is delayed") { try await proxy.stat("http.main.fault.active_faults") == 1 }
    #expect(try await proxy.get().status == 200)
    #expect(try await proxy.stat("http.main.fault.faults_overflow") == 1)
    first.close()
  }

  /// The same where the upstream speaks HTTP/2: its window is not opened while the client may not have more.
  @Test func aSlowResponseByHTTP2HoldsItsUpstreamBack() async throws {
    let length = 64 << 20
    let server = try ScriptedServer { connection, _ in
      guard try connection.receiveRequest() != nil else { return }
      try connection.send("HTTP/1.1 200 OK\r\ncontent-length: \(length)\r\n\r\n")
      try? connection.send([UInt8](repeating: 120, count: length), within: Deadline(.seconds(60)))
    }
    // The proxy is its own upstream, by HTTP/2.
    let directory = try TemporaryDirectory()
    let socket = directory.file("inner")
    var configuration = Self.configuration(server.port, Self.slow)
    var inner = configuration.listeners[0]
    inner.name = "inner"
    inner.host = socket
    inner.filters = []
    configuration.listeners.append(inner)
    configuration.listeners[0].routes = ["{match: {prefix: /}, route: {cluster: inner, timeout: 60s}}"]
    configuration.clusters.append(
      .init(
        name: "inner", endpoints: [(host: socket, port: UInt16(0))],
        fields: [
          """
          typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": \
          type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: \
          {http2_protocol_options: {initial_stream_window_size: 65536, initial_connection_window_size: 65536}}}}
          """
        ]))
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let client = try await blocking {
      let client = try RawConnection(port: port)
      try client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n")
      try client.receive(through: "\r\n\r\n", within: Deadline(.seconds(10)))
      for _ in 0..<6 { try client.discard(count: 65536) }
      return client
    }
    #expect(try await proxy.stat("cluster.inner.upstream_cx_http2_total") == 1)
    // What the client has, a window and what waits in between.
    #expect(try await proxy.stat("cluster.inner.upstream_cx_rx_bytes_total") < 1 << 20)
    client.close()
    try await eventually("all is over") { try await proxy.stat("http.inner.downstream_rq_active") == 0 }
  }
}
