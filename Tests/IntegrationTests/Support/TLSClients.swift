import MeshTesting

/// The programs that tests speak TLS with, and how a configuration asks for TLS.
enum TLSClients {
  private static let types = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"

  /// What a program said before it ended.
  struct Result: Sendable {
    let status: RunningProgram.Ending
    let output: String
    let error: String
  }

  static func run(_ program: String, _ arguments: [String]) async throws -> Result {
    let running = try RunningProgram(program, arguments)
    let status = try await running.waitForEnd(within: Deadline(.seconds(60)))
    // The outputs end with the program, but for what is on its way.
    try await eventually("the outputs of \(program) are complete") { running.isComplete }
    return Result(status: status, output: running.output, error: running.errorOutput)
  }

  /// `curl` for a path of `server.test`, which the authority of the tests vouches for.
  static func curl(_ port: UInt16, _ path: String = "/", _ arguments: [String] = []) async throws -> Result {
    try await run(
      "curl",
      [
        "--silent", "--show-error", "--max-time", "30", "--cacert", TestCertificates.path("ca"), "--resolve",
        "server.test:\(port):127.0.0.1",
      ] + arguments + ["https://server.test:\(port)\(path)"])
  }

  /// `openssl s_client`; ends after the handshake.
  static func openssl(_ port: UInt16, _ arguments: [String]) async throws -> Result {
    try await run(
      "openssl",
      [
        "s_client", "-connect", "127.0.0.1:\(port)", "-CAfile", TestCertificates.path("ca"), "-servername",
        "server.test",
      ]
        + arguments)
  }

  static func certificate(_ name: String) -> String {
    "{certificate_chain: {filename: \(TestCertificates.path(name))}, "
      + "private_key: {filename: \(TestCertificates.path("\(name)-key"))}}"
  }

  /// Makes a client show a certificate.
  static func showing(_ name: String) -> [String] {
    ["--cert", TestCertificates.path(name), "--key", TestCertificates.path("\(name)-key")]
  }

  /// `transport_socket` of a filter chain.
  static func downstream(_ shared: String, _ more: String = "") -> String {
    "transport_socket: {name: tls, typed_config: {\"@type\": \(types).DownstreamTlsContext, "
      + "common_tls_context: {\(shared)}\(more.isEmpty ? "" : ", \(more)")}}"
  }

  /// `transport_socket` of a cluster.
  static func upstream(_ shared: String, _ more: String = "") -> String {
    "transport_socket: {name: tls, typed_config: {\"@type\": \(types).UpstreamTlsContext, "
      + "common_tls_context: {\(shared)}\(more.isEmpty ? "" : ", \(more)")}}"
  }

  /// A file with a secret.
  static func secretFile(_ name: String, certificate: String) -> String {
    """
    resources:
    - "@type": \(types).Secret
      name: \(name)
      tls_certificate: \(Self.certificate(certificate))

    """
  }
}
