import Glibc
import MeshPrimitives

internal import COpenSSL

/// One end's rules for TLS connections: versions and ciphers, certificates, what is expected of the peer. Made from
/// values, immutable, shared by all threads; connections that were made with it keep it for as long as they last.
public final class TLSContext: @unchecked Sendable {
  // SAFETY: all is made in `init` and only read afterwards; OpenSSL guards the parts of an SSL_CTX that change while it
  // is used (reference counts, the cache of sessions) with locks of its own.
  let ctx: OpaquePointer
  public let isServer: Bool
  let certificates: [TLSCertificate]
  let verification: PeerVerification?
  /// The server's protocols, each with its length before it (RFC 7301 §3.1).
  let applicationProtocols: [UInt8]
  let ticketKeys: TLSTicketKeys?
  let sessions: TLSClientSessions?
  /// Chooses among several certificates.
  let choice: CertificateChoice?
  /// The authorities that are believed, as their certificates say.
  public let authorities: [CertificateFacts]

  /// Whether peers' certificates are looked at.
  public var verifiesPeer: Bool { !(verification?.isEmpty ?? true) }

  /// A certificate, and what people know its text by.
  public struct Shown: Sendable {
    public let facts: CertificateFacts
    public let source: String
  }

  /// What this end may show its peers.
  public var ownCertificates: [Shown] { certificates.map { Shown(facts: $0.facts, source: $0.source) } }

  /// What the authorities that are believed were read from; nil if none are.
  public var authoritySource: String? { verification?.trustedCA?.source }

  /// A server's end.
  public convenience init(_ settings: TLSServerSettings) throws(TLSConfigurationError) {
    let certificates = try Self.load(settings.certificates)
    guard !certificates.isEmpty else { throw TLSConfigurationError(.other, "a server needs a certificate") }
    let choice =
      certificates.count > 1
      ? CertificateChoice(certificates, scansAll: settings.scansAllCertificates) : nil
    try self.init(
      TLS_server_method(), isServer: true, settings.parameters, certificates, settings.verification,
      try Self.wire(settings.applicationProtocols), ticketKeys: settings.ticketKeys, sessions: nil, choice: choice)
    try configureServer(settings)
  }

  /// A client's end.
  public convenience init(_ settings: TLSClientSettings) throws(TLSConfigurationError) {
    let protocols = try Self.wire(settings.applicationProtocols)
    let sessions = settings.maximumSessions > 0 ? TLSClientSessions(limit: settings.maximumSessions) : nil
    try self.init(
      TLS_client_method(), isServer: false, settings.parameters, try Self.load(settings.certificates),
      settings.verification, protocols, ticketKeys: nil, sessions: sessions, choice: nil)
    if !protocols.isEmpty { SSL_CTX_set_alpn_protos(ctx, protocols, UInt32(protocols.count)) }
    copenssl_ctx_set_session_cache_mode(
      ctx, Int(sessions == nil ? SSL_SESS_CACHE_OFF : SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE))
    SSL_CTX_set_verify(ctx, settings.verification?.isEmpty ?? true ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nil)
    if sessions != nil {
      SSL_CTX_sess_set_new_cb(ctx) { ssl, session in TLSSession.of(ssl)?.keep(session) == true ? 1 : 0 }
    }
  }

  private init(
    _ method: OpaquePointer?, isServer: Bool, _ parameters: TLSParameters, _ certificates: [TLSCertificate],
    _ verification: PeerVerification?, _ applicationProtocols: [UInt8], ticketKeys: TLSTicketKeys?,
    sessions: TLSClientSessions?, choice: CertificateChoice?
  ) throws(TLSConfigurationError) {
    guard let ctx = SSL_CTX_new(method) else { throw TLSConfigurationError(.other, OpenSSLErrors.text()) }
    self.ctx = ctx
    self.isServer = isServer
    self.certificates = certificates
    self.verification = verification
    self.applicationProtocols = applicationProtocols
    self.ticketKeys = ticketKeys
    self.sessions = sessions
    self.choice = choice
    do {
      authorities = try Self.applyVerification(verification, to: ctx, isServer: isServer)
    } catch {
      SSL_CTX_free(ctx)
      throw error
    }
    let options =
      COPENSSL_NO_COMPRESSION | COPENSSL_NO_RENEGOTIATION | COPENSSL_PRIORITIZE_CHACHA
    SSL_CTX_set_options(ctx, options)
    // An idle connection shall not hold two buffers of 16 KiB; what a caller sends may move between two tries; the chain
    // is the one that is configured, and not put together anew for each client.
    copenssl_ctx_set_mode(
      ctx, Int(SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN))
    try applyParameters(parameters)
    if let first = certificates.first { try use(first, 0) }
    SSL_CTX_set_cert_verify_callback(
      ctx, { store, _ in store.map { TLSSession.verifyPeer($0) } ?? 0 }, nil)
  }

  deinit { SSL_CTX_free(ctx) }

  // MARK: Parts

  private func applyParameters(_ parameters: TLSParameters) throws(TLSConfigurationError) {
    guard parameters.minimum <= parameters.maximum else {
      throw TLSConfigurationError(.versions, "the oldest version allowed is newer than the newest")
    }
    guard copenssl_ctx_set_min_version(ctx, parameters.minimum.rawValue) == 1,
      copenssl_ctx_set_max_version(ctx, parameters.maximum.rawValue) == 1
    else { throw TLSConfigurationError(.versions, OpenSSLErrors.text()) }
    let ciphers = try CipherNames.translate(parameters.ciphers.isEmpty ? CipherNames.usual : parameters.ciphers)
    guard SSL_CTX_set_cipher_list(ctx, ciphers.text) == 1 else {
      throw TLSConfigurationError(.ciphers, OpenSSLErrors.text())
    }
    // BoringSSL's order, in which the cheaper one is first; OpenSSL's own begins with AES-256.
    _ = SSL_CTX_set_ciphersuites(
      ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256")
    let groups = parameters.groups.isEmpty ? ["X25519", "P-256"] : parameters.groups
    guard copenssl_ctx_set_groups(ctx, groups.joined(separator: ":")) == 1 else {
      _ = OpenSSLErrors.take()
      throw TLSConfigurationError(.groups, "OpenSSL does not have all of \(groups.joined(separator: ", "))")
    }
    if !parameters.signatureAlgorithms.isEmpty {
      let list = parameters.signatureAlgorithms.joined(separator: ":")
      guard copenssl_ctx_set_sigalgs(ctx, list) == 1 else {
        _ = OpenSSLErrors.take()
        throw TLSConfigurationError(
          .signatureAlgorithms,
          "OpenSSL does not have all of \(parameters.signatureAlgorithms.joined(separator: ", "))")
      }
    }
  }

  /// Makes a certificate the one that is shown unless another is chosen.
  private func use(_ certificate: TLSCertificate, _ index: Int) throws(TLSConfigurationError) {
    guard SSL_CTX_use_certificate(ctx, certificate.leaf) == 1 else {
      throw TLSConfigurationError(.certificateChain(index), OpenSSLErrors.text())
    }
    for issuer in certificate.issuers where copenssl_ctx_add_chain(ctx, issuer) != 1 {
      throw TLSConfigurationError(.certificateChain(index), OpenSSLErrors.text())
    }
    guard SSL_CTX_use_PrivateKey(ctx, certificate.key) == 1 else {
      throw TLSConfigurationError(.privateKey(index), OpenSSLErrors.text())
    }
  }

  private func configureServer(_ settings: TLSServerSettings) throws(TLSConfigurationError) {
    if !settings.prefersClientCiphers { SSL_CTX_set_options(ctx, COPENSSL_CIPHER_SERVER_PREFERENCE) }
    var mode = SSL_VERIFY_NONE
    if let verification, !verification.isEmpty {
      mode = SSL_VERIFY_PEER
      // As in Envoy: where something is wanted of the certificate itself, there has to be one.
      if !verification.acceptsUntrusted, !verification.names.isEmpty || verification.hasPins {
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT
      }
    }
    if settings.requiresClientCertificate { mode |= SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT }
    SSL_CTX_set_verify(ctx, mode, nil)
    let identifier = sessionContext(settings.sessionContext)
    SSL_CTX_set_session_id_context(ctx, identifier, UInt32(identifier.count))
    SSL_CTX_set_timeout(ctx, settings.sessionSeconds)
    let remembers = settings.remembersSessions
    copenssl_ctx_set_session_cache_mode(ctx, Int(remembers ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF))
    copenssl_ctx_set_session_cache_size(ctx, 2048)
    if ticketKeys == nil {
      SSL_CTX_set_options(ctx, COPENSSL_NO_TICKET)
      // Without tickets TLS 1.3 resumes by the cache; with neither there is nothing to hand out.
      if !remembers { SSL_CTX_set_num_tickets(ctx, 0) }
    } else {
      SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx) { ssl, name, iv, cipher, mac, isSealing in
        guard let keys = TLSSession.of(ssl)?.context.ticketKeys, let name, let iv, let cipher, let mac else {
          return -1
        }
        return keys.prepare(name, iv, cipher, mac, isSealing: isSealing == 1)
      }
    }
    if !applicationProtocols.isEmpty {
      SSL_CTX_set_alpn_select_cb(
        ctx,
        { ssl, out, outLength, offered, offeredLength, _ in
          guard let session = TLSSession.of(ssl), let out, let outLength else { return SSL_TLSEXT_ERR_NOACK }
          return session.chooseProtocol(Bytes(start: offered, count: Int(offeredLength)), out, outLength)
        }, nil)
    }
    if choice != nil {
      SSL_CTX_set_cert_cb(ctx, { ssl, _ in ssl.map { TLSSession.chooseCertificate($0) } ?? 0 }, nil)
    }
  }

  /// A session is resumed only with a server that has the same names and asks the same of its clients.
  private func sessionContext(_ more: [UInt8]) -> [UInt8] {
    var text: [UInt8] = more
    for certificate in certificates {
      let facts = certificate.facts
      let names = facts.dnsNames + facts.uris + facts.addresses
      text += (names.isEmpty ? [facts.subject] : names + [""]).joined(separator: "\n").utf8
      text += facts.issuer.utf8
    }
    for authority in authorities { text += authority.fingerprint256.utf8 }
    var digest = [UInt8](repeating: 0, count: 32)
    EVP_Digest(text, text.count, &digest, nil, EVP_sha256(), nil)
    return digest
  }

  private static func load(_ texts: [TLSCertificateText]) throws(TLSConfigurationError) -> [TLSCertificate] {
    var result: [TLSCertificate] = []
    for (index, text) in texts.enumerated() { result.append(try TLSCertificate(text, index)) }
    return result
  }

  static func wire(_ protocols: [String]) throws(TLSConfigurationError) -> [UInt8] {
    var wire: [UInt8] = []
    for name in protocols {
      guard (1...255).contains(name.utf8.count) else {
        throw TLSConfigurationError(.applicationProtocols, "a protocol's name has 1 to 255 bytes")
      }
      wire.append(UInt8(name.utf8.count))
      wire += name.utf8
    }
    guard wire.count <= 0xffff else {
      throw TLSConfigurationError(.applicationProtocols, "they do not fit into a hello")
    }
    return wire
  }
}
