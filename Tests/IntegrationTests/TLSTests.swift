import MeshTesting
import Testing

/// TLS with clients, as curl and openssl see it.
@Suite("TLS downstream", .timeLimit(.minutes(3)))
struct TLSTests {
  private func proxy(
    _ backend: UInt16, _ shared: String, _ more: String = "",
    _ change: (inout ProxyConfiguration.Listener) -> Void = { _ in }
  ) async throws -> RunningProxy {
    var configuration = ProxyConfiguration(backend: backend)
    configuration.listeners[0].fields = ["stat_prefix: front"]
    configuration.listeners[0].chainFields = [TLSClients.downstream(shared, more)]
    change(&configuration.listeners[0])
    return try await RunningProxy.start(configuration)
  }

  private static let certificates =
    "tls_certificates: [\(TLSClients.certificate("server-rsa")), \(TLSClients.certificate("server-ecdsa"))]"

  @Test("requests by HTTP/1.1 and HTTP/2, as the client's ALPN asks, small and large")
  func protocols() async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(backend.port, "\(Self.certificates), alpn_protocols: [h2, http/1.1]")
    let port = try proxy.port()
    for (argument, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
      let result = try await TLSClients.curl(port, "/a", [argument, "--write-out", " %{http_version}"])
      #expect(result.output == "echo GET /a 0\n \(version)", "\(result)")
      let large = try await TLSClients.curl(
        port, "/large", [argument, "--output", "/dev/null", "-w", "%{size_download}"])
      #expect(large.output == "\(EchoBackend.largeBody)", "\(large)")
    }
    #expect(try await proxy.stat("http.main.downstream_cx_http2_total") == 2)
    #expect(try await proxy.stat("http.main.downstream_cx_ssl_total") == 4)
    #expect(try await proxy.stat("listener.front.ssl.handshake") == 4)
    #expect(try await proxy.stat("listener.front.ssl.versions.TLSv1.3") == 4)
  }

  @Test("TLS 1.2 and 1.3, nothing older; ECDSA or RSA as the client can")
  func versions() async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(backend.port, Self.certificates)
    let port = try proxy.port()
    let old = try await TLSClients.openssl(port, ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])
    #expect(old.output.contains("New, (NONE)") || old.error.contains("alert protocol version"), "\(old)")
    let ecdsa = try await TLSClients.openssl(port, ["-tls1_2"])
    #expect(ecdsa.output.contains("New, TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"), "\(ecdsa)")
    let rsa = try await TLSClients.openssl(port, ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"])
    #expect(rsa.output.contains("New, TLSv1.2, Cipher is ECDHE-RSA-AES256-GCM-SHA384"), "\(rsa)")
    let newest = try await TLSClients.openssl(port, ["-tls1_3"])
    #expect(newest.output.contains("New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256"), "\(newest)")
    #expect(newest.output.contains("Verify return code: 0 (ok)"))
  }

  @Test("sessions are resumed whichever worker the client meets", arguments: ["-tls1_2", "-tls1_3"])
  func resumption(_ version: String) async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(backend.port, Self.certificates)
    let port = try proxy.port()
    let session = proxy.directory.file("session")
    // A request, so that the tickets of TLS 1.3, which come behind the handshake, are waited for.
    let request = "printf 'GET / HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n' | openssl s_client -connect "
    func ask(_ more: String) async throws -> TLSClients.Result {
      try await TLSClients.run("sh", ["-c", "\(request)127.0.0.1:\(port) \(version) -ign_eof \(more)"])
    }
    let first = try await ask("-sess_out \(session)")
    #expect(first.output.contains("New, TLSv1"), "\(first)")
    // Sixteen connections: both workers have their share of them.
    for _ in 0..<16 {
      let next = try await ask("-sess_in \(session)")
      #expect(next.output.contains("Reused, TLSv1"), "\(next)")
    }
    #expect(try await proxy.stat("listener.front.ssl.session_reused") == 16)
    let counts = try await (
      proxy.stat("listener.front.worker_0.downstream_cx_total"),
      proxy.stat("listener.front.worker_1.downstream_cx_total")
    )
    #expect(counts.0 + counts.1 == 17)
  }

  @Test("clients' certificates: good ones, and each way not to be")
  func clientCertificates() async throws {
    let backend = try EchoBackend()
    let validation =
      "validation_context: {trusted_ca: {filename: \(TestCertificates.path("ca"))}, "
      + "crl: {filename: \(TestCertificates.path("crl"))}, "
      + "match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: \"spiffe://mesh/\"}}, "
      + "{san_type: DNS, matcher: {exact: client.test}}]}"
    let log = try TemporaryDirectory()
    let proxy = try await proxy(
      backend.port, "\(Self.certificates), \(validation)", "require_client_certificate: true"
    ) {
      $0.accessLogs = [
        (log.file("log"), "%DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_URI_SAN% %REQUESTED_SERVER_NAME%\\n")
      ]
    }
    let port = try proxy.port()
    func ask(_ name: String?) async throws -> Bool {
      let result = try await TLSClients.curl(port, "/", name.map { TLSClients.showing($0) } ?? [])
      return result.status == .exited(0) && result.output == "echo GET / 0\n"
    }
    #expect(try await ask("client"))
    for name in ["stranger", "expired", "revoked", "second"] { #expect(try await !ask(name), "\(name)") }
    #expect(try await !ask(nil))
    func stat(_ name: String) async throws -> Int { try await proxy.stat("listener.front.ssl.\(name)") }
    #expect(try await stat("fail_verify_error") == 3)
    #expect(try await stat("fail_verify_san") == 1)
    #expect(try await stat("fail_verify_no_cert") == 1)
    #expect(try await stat("handshake") == 1)
    #expect(try await stat("connection_error") == 0)
    try await eventually("the log has a line") { !log.read("log").isEmpty }
    #expect(
      log.read("log") == "O=Martlet,CN=client\\x5C,with comma spiffe://mesh/ns/default/sa/client server.test\n")
  }

  @Test("bytes that are no TLS are refused, with an alert")
  func garbage() async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(backend.port, Self.certificates)
    let port = try proxy.port()
    for garbage in ["GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{7f}\u{7f}" + String(repeating: "x", count: 40_000)] {
      try await blocking {
        let connection = try RawConnection(port: port)
        try connection.send(garbage)
        let answer = try connection.receiveToEnd(within: Deadline(.seconds(30)))
        // A fatal alert, or nothing where the record's length is what is wrong.
        #expect(answer.isEmpty || (answer[0] == 0x15 && answer.count >= 7 && answer[5] == 2), "\(answer)")
      }
    }
    try await eventually("the failures are counted") {
      try await proxy.stat("listener.front.ssl.connection_error") == 2
    }
    #expect(try await TLSClients.curl(port).output == "echo GET / 0\n")
  }

  @Test("clients that do not finish their handshake hold up nobody, and are let go of")
  func slowHandshakes() async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(backend.port, Self.certificates) {
      $0.chainFields.append("transport_socket_connect_timeout: 1s")
    }
    let port = try proxy.port()
    var silent: [RawConnection] = []
    for _ in 0..<50 {
      let connection = try RawConnection(port: port)
      try connection.send("\u{16}\u{3}\u{1}")
      silent.append(connection)
    }
    #expect(try await TLSClients.curl(port).output == "echo GET / 0\n")
    let waiting = silent
    try await blocking {
      for connection in waiting { _ = try connection.receiveToEnd(within: Deadline(.seconds(30))) }
    }
    #expect(try await proxy.stat("listener.front.downstream_cx_transport_socket_connect_timeout") == 50)
    #expect(try await proxy.stat("http.main.downstream_cx_active") == 0)
  }

  @Test("nobody can have a connection's keys negotiated anew")
  func renegotiation() async throws {
    let backend = try EchoBackend()
    let proxy = try await proxy(backend.port, Self.certificates)
    let result = try await TLSClients.run(
      "sh", ["-c", "echo R | openssl s_client -connect 127.0.0.1:\(try proxy.port()) -tls1_2"])
    #expect(result.error.contains("no renegotiation"), "\(result)")
  }

  @Test("what is shown has neither keys nor passwords")
  func shown() async throws {
    let backend = try EchoBackend()
    let key = TestCertificates.text("server-ecdsa-key").replacingNewlines
    let inline =
      "tls_certificates: [{certificate_chain: {filename: \(TestCertificates.path("server-ecdsa"))}, "
      + "private_key: {inline_string: \"\(key)\"}}]"
    let proxy = try await proxy(backend.port, inline)
    let dump = try await proxy.admin("/config_dump").text
    #expect(dump.contains("\"inline_string\": \"[redacted]\""))
    #expect(!dump.contains("PRIVATE KEY"))
    #expect(!proxy.program.errorOutput.contains("PRIVATE KEY"))
    let certificates = try await proxy.admin("/certs").text
    #expect(certificates.contains("\"dns\": \"*.wild.test\""), "\(certificates)")
    #expect(certificates.contains("\"expiration_time\": \"2119-12-31T23:59:59Z\""))
    #expect(try await proxy.stat("server.days_until_first_cert_expiring") > 30_000)
  }
}

extension String {
  /// As YAML has it in double quotes.
  var replacingNewlines: String { split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\\n") }
}
