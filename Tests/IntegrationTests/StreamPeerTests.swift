import MeshTesting
import Testing

/// Real clients and servers of WebSocket, CONNECT and gRPC, with the proxy between them.
@Suite("Peers of streams", .timeLimit(.minutes(5)), .serialized)
struct StreamPeerTests {
  /// Of a cluster that speaks HTTP/2.
  static let options =
    "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {\"@type\": "
    + "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: "
    + "{http2_protocol_options: {}}}}"

  /// One listener before a cluster, with WebSocket and CONNECT, in HTTP/1.1 and HTTP/2.
  private func listener(_ name: String, port: UInt16 = 0, cluster: String) -> ProxyConfiguration.Listener {
    var listener = ProxyConfiguration.Listener()
    listener.name = name
    listener.port = port
    listener.managerFields = [
      "http2_protocol_options: {allow_connect: true}", "upgrade_configs: [{upgrade_type: websocket}]",
    ]
    listener.routes = [
      "{match: {connect_matcher: {}}, "
        + "route: {cluster: raw, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}",
      "{match: {prefix: /no}, route: {cluster: \(cluster), upgrade_configs: [{upgrade_type: websocket, enabled: false}]}}",
      "{match: {prefix: /}, route: {cluster: \(cluster)}}",
    ]
    return listener
  }

  private func cluster(_ name: String, _ port: UInt16, isHTTP2: Bool = false) -> ProxyConfiguration.Cluster {
    var cluster = ProxyConfiguration.Cluster(name: name, endpoints: [("127.0.0.1", port)])
    if isHTTP2 { cluster.fields = [Self.options] }
    return cluster
  }

  // MARK: Tunnels

  @Test("WebSocket and CONNECT by HTTP/1.1 and HTTP/2, in every combination")
  func tunnels() async throws {
    let http1 = try await PythonPeer.serve("websocket_server.py")
    let http2 = try await PythonPeer.serve("extended_connect.py", ["server"])
    let echo = try ScriptedServer { connection, _ in
      while true {
        let bytes = try connection.receive("anything", within: Deadline(.seconds(60))) { $0.isEmpty ? nil : $0.count }
        try connection.send(bytes)
      }
    }
    let last = try await RunningProxy.start(
      ProxyConfiguration(
        listeners: [listener("main", cluster: "peer")],
        clusters: [cluster("peer", http1.port), cluster("raw", echo.port)]))
    let port = try last.port()
    // To the other proxy by HTTP/2.
    let first = try await RunningProxy.start(
      ProxyConfiguration(
        listeners: [listener("main", cluster: "proxy"), listener("h2", cluster: "peer")],
        clusters: [
          cluster("proxy", port, isHTTP2: true), cluster("peer", http2.port, isHTTP2: true), cluster("raw", echo.port),
        ]))
    for proxy in [last, first] {
      let port = try "\(proxy.port())"
      try await PythonPeer.run("websocket_client.py", [port, "messages", "many", "refused"])
      try await PythonPeer.run("extended_connect.py", ["client", port, "websocket", "refused", "connect"])
    }
    // A server that knows nothing of keys.
    try await PythonPeer.run("websocket_client.py", ["\(first.port("h2"))", "many"])
    for proxy in [last, first] {
      try await eventually("no tunnel is left") {
        let tunnels = try await proxy.stat("http.main.downstream_cx_upgrades_active")
        let connections = try await proxy.stat("cluster.raw.upstream_cx_active")
        return tunnels == 0 && connections == 0
      }
    }
  }

  // MARK: gRPC

  private func grpc(_ backend: UInt16, filters: [String] = []) async throws -> RunningProxy {
    var listener = ProxyConfiguration.Listener()
    listener.routes = [
      "{match: {prefix: /test.Nowhere, grpc: {}}, route: {cluster: nowhere}}",
      "{match: {prefix: /test.Echo, grpc: {}, headers: [{name: hang, present_match: true}]}, "
        + "route: {cluster: backend, max_stream_duration: {grpc_timeout_header_max: 2s}}}",
      "{match: {prefix: /test.Echo, grpc: {}}, route: {cluster: backend, timeout: 0s}}",
      "{match: {prefix: /}, direct_response: {status: 404}}",
    ]
    listener.filters = filters
    var nowhere = cluster("nowhere", 1, isHTTP2: true)
    nowhere.endpoints = []
    return try await RunningProxy.start(
      ProxyConfiguration(listeners: [listener], clusters: [cluster("backend", backend, isHTTP2: true), nowhere]))
  }

  private static let statsFilter = ProxyConfiguration.typed(
    "stats", "filters.http.grpc_stats.v3.FilterConfig", ["stats_for_all_methods: true"])

  @Test("all kinds of calls, their errors, deadlines and cancellations")
  func calls() async throws {
    let server = try await PythonPeer.serve("grpc_server.py")
    let proxy = try await grpc(server.port, filters: [Self.statsFilter])
    try await PythonPeer.run(
      "grpc_client.py", ["\(proxy.port())", "kinds", "errors", "deadline", "bounded", "cancel", "nowhere"])
    // The server has heard of all that were given up: the deadlines, and what was cancelled.
    try await eventually("the server knows") {
      server.program.output.split(separator: "\n").count { $0 == "CANCELLED" } == 3
    }
    #expect(try await proxy.stat("cluster.backend.grpc.test.Echo.Both.total") == 2)
    #expect(try await proxy.stat("cluster.backend.grpc.test.Echo.Both.request_message_count") == 9)
    #expect(try await proxy.stat("cluster.backend.grpc.test.Echo.Both.response_message_count") == 9)
    #expect(try await proxy.stat("cluster.backend.grpc.test.Echo.Unary.5") == 1)
    #expect(try await proxy.stat("cluster.backend.grpc.test.Echo.Unknown.failure") == 1)
    #expect(try await proxy.stat("cluster.nowhere.grpc.test.Nowhere.Unary.14") == 1)
  }

  @Test("a gibibyte each way, in memory that does not grow with it")
  func large() async throws {
    let server = try await PythonPeer.serve("grpc_server.py")
    let proxy = try await grpc(server.port)
    try await PythonPeer.run("grpc_client.py", ["\(proxy.port())", "kinds"])
    let before = proxy.memory.peak
    try await PythonPeer.run("grpc_client.py", ["\(proxy.port())", "large"], within: .seconds(250))
    // Windows of 16 MiB on both sides.
    #expect(proxy.memory.peak - before < 80 * 1024, "\(before) → \(proxy.memory.peak) KiB")
  }

  // MARK: gRPC for others

  @Test("a client of HTTP/1.1 makes unary calls")
  func bridge() async throws {
    let server = try await PythonPeer.serve("grpc_server.py")
    let filter = ProxyConfiguration.typed(
      "bridge", "filters.http.grpc_http1_bridge.v3.Config", ["upgrade_protobuf_to_grpc: true"])
    let proxy = try await grpc(server.port, filters: [filter])
    let port = try proxy.port()
    try await blocking {
      func call(_ method: String, _ type: String, _ body: [UInt8], _ fields: String = "") throws -> RawResponse {
        let connection = try RawConnection(port: port)
        try connection.send(
          "POST /test.Echo/\(method) HTTP/1.1\r\nhost: test\r\ncontent-type: \(type)\r\ncontent-length: \(body.count)\r\n"
            + "\(fields)\r\n")
        try connection.send(body)
        return try connection.receiveResponse()
      }
      let message = Array("hello".utf8)
      let framed = try call("Unary", "application/grpc", [0, 0, 0, 0, 5] + message)
      #expect(framed.status == 200)
      #expect(framed.value("grpc-status") == "0")
      #expect(framed.value("content-length") == "22")
      #expect(framed.body == [0, 0, 0, 0, 17] + Array("hello remaining=0".utf8))

      let plain = try call("Unary", "application/x-protobuf", message)
      #expect(plain.value("grpc-status") == "0")
      #expect(plain.text == "hello remaining=0")
      #expect(try call("Unary", "application/x-protobuf", []).text == " remaining=0")

      let failed = try call("Unary", "application/grpc", [0, 0, 0, 0, 5] + message, "fail: 5\r\n")
      #expect(failed.value("grpc-status") == "5")
      #expect(failed.value("grpc-message") == "no: 50%25 %C3%A9")
    }
  }

  @Test("gRPC-Web, binary and as text")
  func web() async throws {
    let server = try await PythonPeer.serve("grpc_server.py")
    let filter = ProxyConfiguration.typed("web", "filters.http.grpc_web.v3.GrpcWeb")
    let proxy = try await grpc(server.port, filters: [filter])
    let port = try proxy.port()
    try await blocking {
      func call(_ type: String, _ body: String, _ fields: String = "") throws -> RawResponse {
        let connection = try RawConnection(port: port)
        try connection.send(
          "POST /test.Echo/Unary HTTP/1.1\r\nhost: test\r\ncontent-type: \(type)\r\naccept: \(type)\r\n"
            + "content-length: \(body.utf8.count)\r\n\(fields)\r\n\(body)")
        return try connection.receiveResponse()
      }
      let binary = try call("application/grpc-web", "\u{0}\u{0}\u{0}\u{0}\u{5}hello")
      #expect(binary.status == 200)
      #expect(binary.value("content-type") == "application/grpc-web+proto")
      #expect(binary.value("x-header") == "h")
      let answer = [0, 0, 0, 0, 17] + Array("hello remaining=0".utf8)
      #expect(Array(binary.body.prefix(answer.count)) == answer)
      #expect(binary.body[answer.count] == 0x80)
      let trailers = String(decoding: binary.body[(answer.count + 5)...], as: UTF8.self)
      #expect(trailers.contains("grpc-status:0\r\n") && trailers.contains("x-trailer:t\r\n"))
      #expect(Int(binary.body[answer.count + 4]) == trailers.utf8.count)

      // "AAAAAAVoZWxsbw==" is the same frame.
      let text = try call("application/grpc-web-text", "AAAAAAVoZWxsbw==")
      #expect(text.value("content-type") == "application/grpc-web-text+proto")
      #expect(text.text.hasPrefix("AAAAABFoZWxsbyByZW1haW5pbmc9MA==gAAA"))

      for wrong in ["AAAAAAVoZWxsbw=", "AAAA!AVoZWxsbw=="] {
        let refused = try call("application/grpc-web-text", wrong)
        #expect(refused.status == 400)
        #expect(refused.value("grpc-status") == "13")
        #expect(refused.value("grpc-message") == "Bad gRPC-web request, invalid base64 data.")
      }
    }
  }
}
