import Glibc
import MeshTesting
import Testing

/// Certificates that change while the program runs.
@Suite("TLS secrets", .timeLimit(.minutes(3)))
struct TLSSecretTests {
  private static func configuration(_ backend: UInt16, _ shared: String) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(backend: backend)
    configuration.listeners[0].fields = ["stat_prefix: front"]
    configuration.listeners[0].chainFields = [TLSClients.downstream(shared)]
    return configuration
  }

  /// Moves a file over another, as whoever changes secrets does.
  private static func replace(_ directory: TemporaryDirectory, _ name: String, _ contents: String) throws {
    try directory.write("\(name).new", contents)
    guard rename(directory.file("\(name).new"), directory.file(name)) == 0 else {
      throw TestFailure("rename: \(errno)")
    }
  }

  /// The subject of the certificate that the server shows.
  private static func subject(_ port: UInt16) async throws -> String {
    let output = try await TLSClients.openssl(port, []).output
    return output.split(separator: "\n").first { $0.hasPrefix("subject=") }.map(String.init) ?? output
  }

  @Test("a secret's new certificate is for new connections; those that are there stay; a bad one changes nothing")
  func replaced() async throws {
    let backend = try EchoBackend()
    let secrets = try TemporaryDirectory()
    try secrets.write("secret.yaml", TLSClients.secretFile("front", certificate: "server-ecdsa"))
    let proxy = try await RunningProxy.start(
      Self.configuration(
        backend.port,
        "tls_certificate_sds_secret_configs: [{name: front, sds_config: {path_config_source: "
          + "{path: \(secrets.file("secret.yaml"))}, resource_api_version: V3}}]"))
    let port = try proxy.port()
    #expect(try await Self.subject(port) == "subject=CN = server")
    // A client that goes on over one connection, whatever happens to certificates.
    let client = try RunningProgram(
      "curl",
      [
        "--silent", "--show-error", "--max-time", "60", "--insecure", "--rate", "100/s", "--write-out",
        "%{num_connects} ", "--output", "/dev/null", "https://127.0.0.1:\(port)/[1-200]",
      ])
    try await client.waitForOutput("1 0 0 ")
    try Self.replace(secrets, "secret.yaml", TLSClients.secretFile("front", certificate: "second"))
    try await proxy.waitForLog("new connections have the new TLS context")
    #expect(try await Self.subject(port) == "subject=CN = second")
    #expect(try await proxy.stat("listener.front.server_ssl_socket_factory.ssl_context_update_by_sds") == 1)

    let broken = TLSClients.secretFile("front", certificate: "second").replacing(
      TestCertificates.path("second-key"), TestCertificates.path("client-key"))
    try Self.replace(secrets, "secret.yaml", broken)
    try await proxy.waitForLog("is not that of the certificate")
    #expect(try await Self.subject(port) == "subject=CN = second")
    // Also a new configuration leaves what is good in force.
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await Self.subject(port) == "subject=CN = second")

    #expect(try await client.waitForEnd(within: Deadline(.seconds(90))) == .exited(0))
    #expect(client.output == "1 " + String(repeating: "0 ", count: 199), "\(client.logs)")
  }

  @Test("files that a secret refers to are watched, in a directory of their own too")
  func watched() async throws {
    let backend = try EchoBackend()
    let secrets = try TemporaryDirectory()
    try secrets.write("v1/tls.pem", TestCertificates.text("server-ecdsa"))
    try secrets.write("v1/tls-key.pem", TestCertificates.text("server-ecdsa-key"))
    try secrets.write("v2/tls.pem", TestCertificates.text("second"))
    try secrets.write("v2/tls-key.pem", TestCertificates.text("second-key"))
    guard symlink("v1", secrets.file("current")) == 0, symlink("v2", secrets.file("next")) == 0 else {
      throw TestFailure("symlink: \(errno)")
    }
    try secrets.write(
      "secret.yaml",
      """
      resources:
      - "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
        name: front
        tls_certificate:
          certificate_chain: {filename: \(secrets.file("current/tls.pem"))}
          private_key: {filename: \(secrets.file("current/tls-key.pem"))}
          watched_directory: {path: \(secrets.path)}

      """)
    let proxy = try await RunningProxy.start(
      Self.configuration(
        backend.port,
        "tls_certificate_sds_secret_configs: [{name: front, sds_config: {path_config_source: "
          + "{path: \(secrets.file("secret.yaml"))}}}]"))
    let port = try proxy.port()
    #expect(try await Self.subject(port) == "subject=CN = server")
    guard rename(secrets.file("next"), secrets.file("current")) == 0 else { throw TestFailure("rename: \(errno)") }
    try await proxy.waitForLog("new connections have the new TLS context")
    #expect(try await Self.subject(port) == "subject=CN = second")
  }

  @Test("secrets of the configuration, by name; a reload brings new certificates to who has not changed otherwise")
  func configured() async throws {
    let backend = try EchoBackend()
    let files = try TemporaryDirectory()
    try files.write("tls.pem", TestCertificates.text("server-ecdsa"))
    try files.write("tls-key.pem", TestCertificates.text("server-ecdsa-key"))
    var configuration = Self.configuration(backend.port, "tls_certificate_sds_secret_configs: [{name: front}]")
    configuration.resourceFields = [
      "secrets: [{name: front, tls_certificate: {certificate_chain: {filename: \(files.file("tls.pem"))}, "
        + "private_key: {filename: \(files.file("tls-key.pem"))}}}]"
    ]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    #expect(try await Self.subject(port) == "subject=CN = server")
    try files.write("tls.pem", TestCertificates.text("second"))
    try files.write("tls-key.pem", TestCertificates.text("second-key"))
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await Self.subject(port) == "subject=CN = second")
    #expect(try await proxy.stat("listener.front.ssl.certificate.front.expiration_unix_time_seconds") == 4_733_510_399)
  }

  @Test(
    "what is wrong with certificates is said with its place",
    arguments: [
      (
        "tls_certificates: [{certificate_chain: {filename: /nowhere/cert.pem}, private_key: {inline_string: x}}]",
        "tls_certificates[0].certificate_chain: \"/nowhere/cert.pem\""
      ),
      (
        "tls_certificates: [{certificate_chain: {filename: \(TestCertificates.path("client"))}, "
          + "private_key: {filename: \(TestCertificates.path("second-key"))}}]",
        "tls_certificates[0].private_key: the key (\(TestCertificates.path("second-key"))) is not that of the certificate"
      ),
      (
        "tls_certificates: [{certificate_chain: {inline_string: x}, private_key: {inline_string: x}}]",
        "holds no certificate"
      ),
      ("alpn_protocols: [h2]", "a server needs a certificate"),
      ("tls_certificate_sds_secret_configs: [{name: nobody}]", "unknown secret \"nobody\""),
      (
        "tls_certificates: [\(TLSClients.certificate("server-ecdsa"))], tls_params: {cipher_suites: [RC4-MD5]}",
        "tls_params.cipher_suites: unknown cipher suite \"RC4-MD5\""
      ),
      (
        "tls_certificates: [\(TLSClients.certificate("server-ecdsa"))], "
          + "tls_params: {tls_minimum_protocol_version: TLSv1_0}",
        "tls_params.tls_minimum_protocol_version: TLS before 1.2 is not supported"
      ),
      (
        "tls_certificates: [\(TLSClients.certificate("server-ecdsa"))], validation_context: "
          + "{match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: a}}]}",
        "names say nothing without a trusted_ca"
      ),
    ])
  func problems(_ shared: String, _ problem: String) async throws {
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", Self.configuration(1, shared).yaml)
    let result = try await TLSClients.run(
      RunningProxy.path, ["-c", directory.file("proxy.yaml"), "--mode", "validate"])
    #expect(result.status == .exited(1))
    #expect(result.error.contains(problem), "\(result.error)")
  }
}

extension String {
  fileprivate func replacing(_ text: String, _ other: String) -> String {
    let bytes = Array(utf8)
    guard let start = MeshTesting.firstRange(of: Array(text.utf8), in: bytes) else { return self }
    return String(decoding: bytes[..<start] + Array(other.utf8) + bytes[(start + text.utf8.count)...], as: UTF8.self)
  }
}
