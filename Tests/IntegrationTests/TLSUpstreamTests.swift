import MeshTesting
import Testing

/// TLS with endpoints: one proxy before another that speaks TLS.
@Suite("TLS upstream", .timeLimit(.minutes(3)))
struct TLSUpstreamTests {
  private static let trusted = "validation_context: {trusted_ca: {filename: \(TestCertificates.path("ca"))}"

  /// A proxy with TLS before an echo.
  private func server(_ backend: EchoBackend, _ name: String = "server-ecdsa", asks: Bool = false) async throws
    -> RunningProxy
  {
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].fields = ["stat_prefix: front"]
    configuration.listeners[0].chainFields = [
      TLSClients.downstream(
        "tls_certificates: [\(TLSClients.certificate(name))], alpn_protocols: [h2, http/1.1]"
          + (asks ? ", \(Self.trusted)}" : ""), asks ? "require_client_certificate: true" : "")
    ]
    return try await RunningProxy.start(configuration)
  }

  /// A proxy before that.
  private func client(
    _ server: RunningProxy, _ shared: String, _ more: String = "", options: String? = nil,
    log: TemporaryDirectory? = nil
  ) async throws -> RunningProxy {
    var configuration = ProxyConfiguration(backend: try server.port())
    configuration.clusters[0].fields = [TLSClients.upstream(shared, more)]
    if let options {
      let type = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
      configuration.clusters[0].fields.append(
        "typed_extension_protocol_options: {\(type): {\"@type\": type.googleapis.com/\(type), \(options)}}")
    }
    if let log {
      configuration.listeners[0].accessLogs = [
        (
          log.file("log"),
          "%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_TLS_VERSION% %UPSTREAM_PEER_SUBJECT% "
            + "%UPSTREAM_TRANSPORT_FAILURE_REASON%\\n"
        )
      ]
    }
    return try await RunningProxy.start(configuration)
  }

  private static let http1 = "explicit_http_config: {http_protocol_options: {}}"

  @Test("a verified server, a certificate of our own, resumption, and names from the host")
  func good() async throws {
    let backend = try EchoBackend()
    let server = try await server(backend, asks: true)
    let log = try TemporaryDirectory()
    let shared =
      "tls_certificates: [\(TLSClients.certificate("client"))], \(Self.trusted), "
      + "match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: x.wild.test}}]}"
    let client = try await client(
      server, shared, "sni: server.test, auto_sni_san_validation: true", options: nil, log: log)
    for _ in 0..<4 { #expect(try await client.get("/up").text == "echo GET /up 0\n") }
    try await eventually("the log has its lines") { log.read("log").split(separator: "\n").count == 4 }
    #expect(log.read("log").hasPrefix("200 - TLSv1.2 CN=server -\n"))
    #expect(try await client.stat("cluster.backend.ssl.handshake") > 0)
    #expect(try await server.stat("listener.front.ssl.no_certificate") == 0)
  }

  @Test(
    "a server that is not the one that is wanted gets nothing",
    arguments: [
      ("validation_context: {trusted_ca: {filename: \(TestCertificates.path("other-ca"))}}", "fail_verify_error"),
      (
        "\(trusted), match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: other.test}}]}", "fail_verify_san"
      ),
      (
        "validation_context: {verify_certificate_hash: [\(String(repeating: "00", count: 32))]}",
        "fail_verify_cert_hash"
      ),
      (
        "\(trusted)}, tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3, "
          + "signature_algorithms: [rsa_pss_rsae_sha256]}", "connection_error"
      ),
    ])
  func refused(_ shared: String, _ stat: String) async throws {
    let backend = try EchoBackend()
    let server = try await server(backend)
    let log = try TemporaryDirectory()
    let client = try await client(server, shared, log: log)
    let response = try await client.get("/")
    #expect(response.status == 503)
    try await eventually("the log has a line") { log.read("log").hasSuffix("\n") }
    #expect(log.read("log").hasPrefix("503 UF - - TLS_error:|"), "\(log.read("log"))")
    #expect(try await client.stat("cluster.backend.ssl.\(stat)") == 1)
    #expect(backend.accepted == 0)
  }

  @Test("auto_sni and auto_san_validation: the name is the request's, and connections are kept apart by it")
  func namesOfRequests() async throws {
    let backend = try EchoBackend()
    let server = try await server(backend)
    let client = try await client(
      server, "\(Self.trusted)}", "",
      options: "\(Self.http1), upstream_http_protocol_options: {auto_sni: true, auto_san_validation: true}")
    let port = try client.port()
    func ask(_ host: String) async throws -> Int {
      try await blocking {
        let connection = try RawConnection(port: port)
        try connection.send("GET / HTTP/1.1\r\nhost: \(host)\r\nconnection: close\r\n\r\n")
        return try connection.receiveResponse(within: Deadline(.seconds(30))).status
      }
    }
    #expect(try await ask("server.test") == 200)
    #expect(try await ask("a.wild.test:8443") == 200)
    #expect(try await ask("127.0.0.1") == 200)
    #expect(try await ask("stranger.test") == 503)
    #expect(try await ask("b.a.wild.test") == 503)
    #expect(try await client.stat("cluster.backend.ssl.fail_verify_san") == 2)
  }

  @Test("a response without a length that ends without close_notify is no whole one")
  func truncated() async throws {
    // openssl as a server ends its connections without saying so when it is killed.
    let server = try RunningProgram(
      "sh",
      [
        "-c",
        "printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhalf' | exec openssl s_server -accept 127.0.0.1:0 -naccept 1 -cert "
          + "\(TestCertificates.path("server-ecdsa")) -key \(TestCertificates.path("server-ecdsa-key"))",
      ])
    let port = try await server.waitForOutput("the port") { output -> UInt16? in
      output.split(separator: "\n").first { $0.hasPrefix("ACCEPT 127.0.0.1:") }.flatMap {
        UInt16($0.dropFirst("ACCEPT 127.0.0.1:".count))
      }
    }
    var configuration = ProxyConfiguration(backend: port)
    configuration.clusters[0].fields = [TLSClients.upstream("\(Self.trusted)}")]
    let client = try await RunningProxy.start(configuration)
    let front = try client.port()
    let task = Task {
      try await blocking {
        let connection = try RawConnection(port: front)
        try connection.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        _ = try connection.receive(through: "half", within: Deadline(.seconds(30)))
        server.signal(9)
        return try connection.receiveToEnd(within: Deadline(.seconds(30)))
      }
    }
    // Neither a last chunk nor anything else that could be taken for an end.
    #expect(!printable(try await task.value).contains("0\\r\\n"))
    #expect(try await client.stat("cluster.backend.upstream_cx_destroy_remote") == 1)
  }

  /// What has been encrypted and waits for the kernel is a part of the tunnel, too.
  @Test("a CONNECT that ends at a TLS cluster sends all of it before it ends its direction")
  func tunnelEnds() async throws {
    let gate = Gate()
    let size = 24 * 1024 * 1024
    let last = try ScriptedServer { connection, _ in
      try gate.wait()
      try connection.discard(count: size, piece: 1024, within: Deadline(.seconds(60)))
      #expect(try connection.receiveToEnd().isEmpty)
      try connection.send("done")
    }
    var inner = TCPConfiguration(backend: last.port)
    inner.chains[0].chainFields = [
      TLSClients.downstream("tls_certificates: [\(TLSClients.certificate("server-ecdsa"))]")
    ]
    let server = try await RunningProxy.start(inner)
    var outer = ProxyConfiguration(backend: try server.port())
    outer.clusters[0].fields = [TLSClients.upstream("", "")]
    outer.listeners[0].managerFields = ["upgrade_configs: [{upgrade_type: CONNECT}]"]
    outer.listeners[0].routes = [
      "{match: {connect_matcher: {}}, "
        + "route: {cluster: backend, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}"
    ]
    let proxy = try await RunningProxy.start(outer)
    let port = try proxy.port()
    try await blockingParts {
      let client = try RawConnection(port: port)
      try client.send("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n")
      #expect(try client.receive(through: "\r\n\r\n").hasPrefix("HTTP/1.1 200"))
      async let end = blocking {
        try client.send([UInt8](repeating: 5, count: size), within: Deadline(.seconds(60)))
        client.halfClose()
        return try client.receiveToEnd(within: Deadline(.seconds(60)))
      }
      try await eventually("every buffer on the way is full") {
        try await proxy.stat("cluster.backend.upstream_flow_control_backed_up_total") > 0
      }
      gate.open()
      #expect(try await end == Array("done".utf8))
    }
  }
}
