import Glibc
import MeshTesting
import Testing

/// What is found out about a connection before a filter chain is chosen for it.
@Suite("Listener filters", .timeLimit(.minutes(5)))
struct ListenerFilterTests {
  private func filter(_ name: String, _ type: String, _ fields: [String] = []) -> String {
    ProxyConfiguration.typed(name, "filters.listener.\(name).v3.\(type)", fields)
  }

  private func named(_ name: String) throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      try connection.send(name)
      _ = try connection.receiveToEnd()
    }
  }

  @Test("Real TLS clients are passed on by the name they ask for, without being decrypted")
  func passthrough() async throws {
    let openssl = "/usr/bin/openssl"
    try #require(access(openssl, X_OK) == 0, "openssl is not installed")
    let directory = try TemporaryDirectory()
    let servers = try ["server-rsa", "server-ecdsa"].map { name -> (RunningProgram, UInt16) in
      let port = try ListenSocket.freePort()
      let program = try RunningProgram(
        openssl,
        [
          "s_server", "-accept", "127.0.0.1:\(port)", "-cert", TestCertificates.path(name), "-key",
          TestCertificates.path("\(name)-key"), "-quiet", "-rev",
        ])
      return (program, port)
    }
    var configuration = TCPConfiguration(backend: servers[0].1)
    configuration.clusters.append(.init(name: "ecdsa", endpoints: [("127.0.0.1", servers[1].1)]))
    configuration.listenerFields = ["listener_filters: [\(filter("tls_inspector", "TlsInspector"))]"]
    configuration.chains = [
      .init(name: "rsa", match: ["server_names: [\"*.rsa.test\"]"]),
      .init(name: "ecdsa", match: ["server_names: [ecdsa.test]", "application_protocols: [echo]"], cluster: "ecdsa"),
    ]
    configuration.log = "%FILTER_CHAIN_NAME% %REQUESTED_SERVER_NAME%"
    let proxy = try await RunningProxy.start(configuration)
    for (_, port) in servers {
      try await eventually("openssl listens") { (try? RawConnection(port: port)) != nil }
    }
    for (name, arguments, key) in [
      ("a.rsa.test", [], "rsaEncryption"), ("ecdsa.test", ["-alpn", "x,echo"], "id-ecPublicKey"),
    ] {
      let client = try RunningProgram(
        "/bin/sh",
        [
          "-c",
          "\(openssl) s_client -connect 127.0.0.1:\(try proxy.port()) -servername \(name) "
            + arguments.joined(separator: " ") + " -showcerts </dev/null | \(openssl) x509 -noout -text",
        ])
      try await client.waitForOutput("Public Key Algorithm: \(key)", within: Deadline(.seconds(20)))
    }
    #expect(try await proxy.stat("tls_inspector.tls_found") == 2)
    #expect(try await proxy.stat("tls_inspector.sni_found") == 2)
    #expect(try await proxy.stat("tls_inspector.alpn_found") == 1)
    _ = directory
  }

  @Test("A hello that comes byte by byte; none at all; time")
  func slowHello() async throws {
    let server = try named("tls")
    let plain = try named("plain")
    var configuration = TCPConfiguration(backend: server.port)
    configuration.clusters.append(.init(name: "plain", endpoints: [("127.0.0.1", plain.port)]))
    configuration.listenerFields = [
      "listener_filters: [\(filter("tls_inspector", "TlsInspector"))]", "listener_filters_timeout: 0.3s",
    ]
    configuration.chains = [
      .init(name: "tls", match: ["transport_protocol: tls", "server_names: [a.test]"]),
      .init(name: "plain", match: ["transport_protocol: raw_buffer"], cluster: "plain"),
    ]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let hello = Self.hello(name: "a.test")
    let heard = try await blocking {
      let slow = try RawConnection(port: port)
      for byte in hello { try slow.send([byte]) }
      let tls = try slow.receive(count: 3)
      let clear = try RawConnection(port: port)
      try clear.send("SSH-2.0")
      return (tls, try clear.receive(count: 5), try RawConnection(port: port).receiveToEnd())
    }
    #expect(heard == (Array("tls".utf8), Array("plain".utf8), []))
    #expect(try await proxy.stat("listener.127.0.0.1_0.downstream_pre_cx_timeout") == 1)
    configuration.listenerFields.append("continue_on_listener_filters_timeout: true")
    try await proxy.reload(configuration)
    #expect(try await blocking { try RawConnection(port: port).receive(count: 5) } == Array("plain".utf8))
    #expect(try await proxy.stat("listener.127.0.0.1_0.downstream_pre_cx_active") == 0)
  }

  @Test("The PROXY protocol tells who the client is, for TCP and for HTTP")
  func proxyProtocol() async throws {
    let server = try named("here")
    var configuration = TCPConfiguration(backend: server.port)
    let header = filter(
      "proxy_protocol", "ProxyProtocol", ["rules: [{tlv_type: 2, on_tlv_present: {key: authority}}]"])
    configuration.listenerFields = ["listener_filters: [\(header), \(filter("tls_inspector", "TlsInspector"))]"]
    configuration.chains[0].match = ["source_prefix_ranges: [{address_prefix: 192.0.2.0, prefix_len: 24}]"]
    configuration.log =
      "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% "
      + "%DYNAMIC_METADATA(envoy.filters.listener.proxy_protocol:authority)%"
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      for byte in "PROXY TCP4 192.0.2.9 198.51.100.1 4711 443\r\nhello".utf8 { try client.send([byte]) }
      try client.receive(count: 4)
      client.halfClose()
      try client.receiveToEnd()
      let second = try RawConnection(port: port)
      let body: [UInt8] = [192, 0, 2, 7, 1, 1, 1, 1, 0, 1, 0, 2, 2, 0, 1, 65]
      try second.send([13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21, 0x11, 0, 16] + body + [1])
      try second.receive(count: 4)
      second.halfClose()
      try second.receiveToEnd()
      let refused = try RawConnection(port: port)
      try refused.send("GET / HTTP/1.1\r\n\r\n")
      _ = try refused.receiveToEnd()
    }
    try await proxy.program.waitForOutput("192.0.2.9:4711 198.51.100.1:443 -", within: Deadline())
    try await proxy.program.waitForOutput("192.0.2.7:1 1.1.1.1:2 A", within: Deadline())
    #expect(try await proxy.stat("proxy_proto.not_found_disallowed") == 1)
    #expect(try await proxy.stat("proxy_proto.versions.v1.found") == 1)

    let backend = try EchoBackend("backend")
    var http = ProxyConfiguration(backend: backend.port)
    http.listeners[0].fields = ["listener_filters: [\(header)]"]
    http.listeners[0].routes = [
      "{match: {prefix: /}, route: {cluster: backend}, response_headers_to_add: "
        + "[{header: {key: x-client, value: \"%DOWNSTREAM_REMOTE_ADDRESS%\"}}]}"
    ]
    let front = try await RunningProxy.start(http)
    let answer = try await blocking {
      let client = try RawConnection(port: try front.port())
      try client.send("PROXY TCP6 2001:db8::5 ::1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
      return try client.receiveResponse(within: Deadline())
    }
    #expect(answer.value("x-client") == "[2001:db8::5]:1", "\(answer)")
  }

  /// A hello as small as it can be.
  static func hello(name: String) -> [UInt8] {
    func sized(_ size: Int, _ bytes: [UInt8]) -> [UInt8] {
      (0..<size).reversed().map { UInt8(truncatingIfNeeded: bytes.count >> ($0 * 8)) } + bytes
    }
    let names = [0, 0] + sized(2, sized(2, [0] + sized(2, Array(name.utf8))))
    let random = [UInt8](repeating: 1, count: 32)
    let body = [3, 3] + random + [0] + sized(2, [0x13, 1]) + sized(1, [0]) + sized(2, names)
    return [22, 3, 1] + sized(2, [1] + sized(3, body))
  }
}
