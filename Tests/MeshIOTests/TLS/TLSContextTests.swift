import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@Suite("TLS contexts", .timeLimit(.minutes(1)))
struct TLSContextTests {
  /// Who is shown what.
  private static func shown(_ server: TLSContext, _ client: TLSContext, _ name: String) throws -> String? {
    let pair = try TLSPair(server, client, TLSClientTarget(serverName: name))
    guard pair.handshake().client == .done else { return nil }
    let peer = pair.clientDetails?.peer
    return peer.map { "\($0.subject) \(pair.clientDetails?.signatureAlgorithm.prefix(3) ?? "")" }
  }

  @Test("of several certificates a client gets the one for its name, and of those the one that it can use best")
  func choice() throws {
    let server = try TLSFixture.server(["server-rsa", "second", "server-ecdsa", "chained"])
    let any = try TLSFixture.client()
    let onlyRSA = try TLSFixture.client { $0.parameters.signatureAlgorithms = ["rsa_pss_rsae_sha256"] }
    #expect(try Self.shown(server, any, "server.test") == "CN=server ecd")
    #expect(try Self.shown(server, any, "SERVER.test") == "CN=server ecd")
    #expect(try Self.shown(server, onlyRSA, "server.test") == "CN=server rsa")
    #expect(try Self.shown(server, any, "second.test") == "CN=second ecd")
    // By its very name before by wildcard.
    #expect(try Self.shown(server, any, "a.wild.test") == "CN=second ecd")
    #expect(try Self.shown(server, any, "b.wild.test") == "CN=server ecd")
    #expect(try Self.shown(server, any, "chained.test") == "CN=chained ecd")
    // No name, or none that is known: the first of all, unless the others are looked through for a name that is known to
    // nobody.
    #expect(try Self.shown(server, any, "unknown.test") == "CN=server rsa")
    #expect(try Self.shown(server, any, "") == "CN=second ecd")
    let scanning = try TLSFixture.server(["server-rsa", "second"]) { $0.scansAllCertificates = true }
    #expect(try Self.shown(scanning, any, "unknown.test") == "CN=second ecd")
  }

  @Test("TLS 1.2 clients say by their ciphers, too, what they can use")
  func choiceByCipher() throws {
    let server = try TLSFixture.server(["server-rsa", "server-ecdsa"]) { $0.parameters.maximum = .v12 }
    let rsa = try TLSFixture.client { $0.parameters.ciphers = ["ECDHE-RSA-AES128-GCM-SHA256"] }
    #expect(try Self.shown(server, rsa, "server.test") == "CN=server rsa")
    #expect(try Self.shown(server, try TLSFixture.client(), "server.test") == "CN=server ecd")
  }

  private static func failure(
    _ verification: PeerVerification, certificate: String? = nil, expected: [String] = [],
    server name: String = "server-ecdsa"
  ) throws -> TLSFailure.Kind? {
    let server: TLSContext
    let client: TLSContext
    if let certificate {
      server = try TLSFixture.server {
        $0.verification = verification
        $0.requiresClientCertificate = true
        $0.parameters.maximum = .v12
      }
      client = try TLSFixture.client {
        $0.certificates = certificate.isEmpty ? [] : [TLSFixture.certificate(certificate)]
      }
    } else {
      server = try TLSFixture.server([name])
      client = try TLSFixture.client { $0.verification = verification }
    }
    let pair = try TLSPair(server, client, TLSClientTarget(serverName: "server.test", expectedNames: expected))
    let result = pair.handshake()
    let judged = certificate == nil ? result.client : result.server
    if case .failed(let failure) = judged { return failure.kind }
    #expect(judged == .done)
    return nil
  }

  @Test("the chain of a peer's certificate")
  func chains() throws {
    let trusting = TLSFixture.trusting()
    #expect(try Self.failure(trusting) == nil)
    #expect(try Self.failure(TLSFixture.trusting("other-ca")) == .certificateInvalid)
    #expect(try Self.failure(trusting, server: "chained") == nil)
    // An authority between, alone.
    #expect(try Self.failure(TLSFixture.trusting("middle"), server: "chained") == nil)
    #expect(try Self.failure(trusting, certificate: "client") == nil)
    #expect(try Self.failure(trusting, certificate: "expired") == .certificateInvalid)
    #expect(try Self.failure(TLSFixture.trusting { $0.allowsExpired = true }, certificate: "expired") == nil)
    #expect(try Self.failure(trusting, certificate: "stranger") == .certificateInvalid)
    #expect(try Self.failure(TLSFixture.trusting { $0.acceptsUntrusted = true }, certificate: "stranger") == nil)
    #expect(try Self.failure(trusting, certificate: "revoked") == nil)
    let checking = TLSFixture.trusting { $0.revoked = TLSFixture.pem("crl") }
    #expect(try Self.failure(checking, certificate: "revoked") == .certificateInvalid)
    #expect(try Self.failure(checking, certificate: "client") == nil)
    #expect(try Self.failure(trusting, certificate: "") == .certificateMissing)
  }

  @Test("the names in a peer's certificate")
  func names() throws {
    func judge(_ kind: SubjectAltNameMatcher.Kind, _ test: SubjectAltNameMatcher.Test) throws -> TLSFailure.Kind? {
      try Self.failure(TLSFixture.trusting { $0.names = [SubjectAltNameMatcher(kind, test)] }, certificate: "client")
    }
    #expect(try judge(.dns, .exactly("client.test")) == nil)
    #expect(try judge(.dns, .exactly("other.test")) == .nameMismatch)
    #expect(try judge(.uri, .exactly("spiffe://mesh/ns/default/sa/client")) == nil)
    #expect(try judge(.uri, .matches { $0.starts(with: Bytes("spiffe://mesh/")) }) == nil)
    #expect(try judge(.uri, .exactly("client.test")) == .nameMismatch)
    #expect(try judge(.email, .exactly("client@client.test")) == nil)
    #expect(try judge(.ip, .exactly("10.1.2.3")) == nil)
    #expect(try judge(.ip, .exactly("10.1.2.4")) == .nameMismatch)
    #expect(try judge(.other("1.2.3.4"), .exactly("someone")) == nil)
    #expect(try judge(.other("1.2.3.5"), .exactly("someone")) == .nameMismatch)
    #expect(try judge(.any, .exactly("10.1.2.3")) == nil)
    for (name, isThere) in [
      ("server.test", true), ("x.wild.test", true), ("X.WILD.test", true), ("wild.test", false),
      ("a.b.wild.test", false),
      ("127.0.0.1", true), ("::1", true), ("0:0:0:0:0:0:0:1", true), ("127.0.0.2", false), ("other.test", false),
    ] {
      #expect(
        try Self.failure(TLSFixture.trusting(), expected: [name]) == (isThere ? nil : .nameMismatch), "\(name)")
    }
    // A wildcard is no name of the peer's to be expected.
    #expect(try Self.failure(TLSFixture.trusting(), expected: [".wild.test"]) == .nameMismatch)
  }

  @Test("pins: of the certificate or of its key, without an authority")
  func pins() throws {
    let context = try TLSFixture.server()
    let fingerprint = try #require(context.ownCertificates.first?.facts.fingerprint256)
    let hash = stride(from: 0, to: 64, by: 2).map { at in
      UInt8(fingerprint.dropFirst(at).prefix(2), radix: 16) ?? 0
    }
    var verification = PeerVerification()
    verification.certificateHashes = [[UInt8](repeating: 0, count: 32), hash]
    #expect(try Self.failure(verification) == nil)
    verification.certificateHashes.removeLast()
    #expect(try Self.failure(verification) == .pinMismatch)
    verification.publicKeyHashes = [hash]
    #expect(try Self.failure(verification) == .pinMismatch)
  }

  @Test("tickets are opened over rotations of their keys, and by another context with the same keys")
  func rotation() throws {
    let keys = try #require(TLSTicketKeys())
    func server() throws -> TLSContext {
      try TLSFixture.server {
        $0.ticketKeys = keys
        $0.remembersSessions = false
        $0.parameters.maximum = .v12
      }
    }
    let client = try TLSFixture.client()
    func isResumed(_ server: TLSContext) throws -> Bool {
      let pair = try TLSPair(server, client, TLSClientTarget(serverName: "server.test"))
      #expect(pair.handshake().client == .done)
      return try #require(pair.clientDetails).isResumed
    }
    let first = try server()
    #expect(try !isResumed(first))
    #expect(try isResumed(first))
    let second = try server()
    #expect(try isResumed(second))
    keys.rotate()
    keys.rotate()
    #expect(try isResumed(second))
    // The third rotation drops the key that the client's ticket was sealed with.
    keys.rotate()
    #expect(try !isResumed(second))
    let others = try TLSFixture.server { $0.ticketKeys = TLSTicketKeys() }
    #expect(try !isResumed(others))
  }

  @Test("a session is not resumed where something else is asked of clients")
  func sessionContext() throws {
    let keys = try #require(TLSTicketKeys())
    func server(_ more: [UInt8]) throws -> TLSContext {
      try TLSFixture.server {
        $0.ticketKeys = keys
        $0.sessionContext = more
        $0.verification = TLSFixture.trusting()
      }
    }
    let client = try TLSFixture.client { $0.maximumSessions = 4 }
    func isResumed(_ server: TLSContext) throws -> Bool? {
      let pair = try TLSPair(server, client, TLSClientTarget(serverName: "server.test"))
      _ = pair.handshake()
      // The tickets of TLS 1.3 come behind the handshake.
      pair.client.note(.readable)
      _ = pair.client.receive(pair.loop.receiveBuffer, 100)
      return pair.clientDetails?.isResumed
    }
    #expect(try isResumed(server([1])) == false)
    #expect(try isResumed(server([1])) == true)
    #expect(try isResumed(server([2])) != true)
  }

  @Test(
    "what is wrong with a configuration",
    arguments: [
      ("RC4-SHA", "unknown cipher suite"), ("[ECDHE-RSA-AES128-GCM-SHA256", "no ] at its end"),
      ("ALL", "unknown cipher suite"), ("TLS_AES_128_GCM_SHA256", "unknown cipher suite"), ("", "unknown cipher suite"),
    ])
  func ciphers(_ list: String, _ problem: String) throws {
    do {
      _ = try TLSFixture.server { $0.parameters.ciphers = ["[\(list)|ECDHE-RSA-AES128-GCM-SHA256]"] }
      _ = try TLSFixture.server { $0.parameters.ciphers = [list] }
      Issue.record("accepted")
    } catch let error as TLSConfigurationError {
      #expect(error.subject == .ciphers)
      #expect(error.message.contains(problem) || error.message.contains("unknown cipher"), "\(error)")
    }
  }

  @Test("keys and certificates that are no good are refused with what is wrong")
  func material() throws {
    func message(_ chain: PEMText, _ key: PEMText, _ password: String? = nil) -> String {
      do {
        try TLSCertificateText(chain: chain, key: key, password: password.map { Array($0.utf8) }).check()
        return ""
      } catch { return error.message }
    }
    let chain = TLSFixture.pem("client")
    #expect(message(chain, TLSFixture.pem("client-key")) == "")
    #expect(message(chain, TLSFixture.pem("client-encrypted-key"), "secret") == "")
    #expect(
      message(chain, TLSFixture.pem("client-encrypted-key")).hasSuffix("the key is encrypted, and there is no password")
    )
    #expect(message(chain, TLSFixture.pem("client-encrypted-key"), "wrong").hasSuffix("the password is wrong"))
    #expect(message(chain, TLSFixture.pem("second-key")).contains("is not that of the certificate"))
    #expect(
      message(PEMText([], source: "inline"), TLSFixture.pem("client-key")) == "inline holds no certificate in PEM")
    #expect(message(chain, PEMText([], source: "inline")) == "inline holds no private key in PEM")
    var broken = TLSFixture.pem("chained")
    broken.bytes[broken.bytes.count - 200] = 0x21
    #expect(message(broken, TLSFixture.pem("chained-key")).contains("certificate 2 is broken"))
    // Cut anywhere, PEM is refused or read, and nothing else happens.
    let whole = TLSFixture.pem("client")
    for length in stride(from: 0, to: whole.bytes.count - 40, by: 7) {
      #expect(message(PEMText(Array(whole.bytes.prefix(length)), source: "cut"), TLSFixture.pem("client-key")) != "")
    }
  }
}
