import MeshPrimitives

internal import COpenSSL

/// What is known of a TLS connection once its handshake is done, for logs, headers and statistics. Immutable; any thread.
public final class TLSDetails: Sendable {
  /// `TLSv1.3`.
  public let version: TLSVersion
  /// The cipher suite's number (IANA).
  public let cipher: UInt16
  /// Its name, `TLS_AES_128_GCM_SHA256` or, before TLS 1.3, OpenSSL's.
  public let cipherName: String
  /// The group of the key exchange as Envoy names it (`X25519`, `P-256`); empty if there was none.
  public let group: String
  /// How the peer signed, as RFC 8446 names it; empty if it did not.
  public let signatureAlgorithm: String
  /// What the client asked for (SNI); empty if nothing.
  public let serverName: String
  /// The protocol that both chose (ALPN); empty if none.
  public let applicationProtocol: String
  /// The number under which the session can be resumed, lower-case hexadecimal; empty if it has none, as with tickets.
  public let sessionIdentifier: String
  /// From the beginning of the handshake to its end.
  public let handshakeTime: Nanoseconds
  /// The handshake was a short one.
  public let isResumed: Bool
  /// The peer's certificate; nil if it showed none.
  public let peer: CertificateFacts?
  /// Whether the peer's certificate was verified, and found good.
  public let isPeerValidated: Bool
  /// What is wrong with the peer's certificate, though it was accepted; nil if nothing.
  public let tolerated: TLSFailure.Kind?
  /// What this end showed; nil if nothing.
  public let own: CertificateFacts?

  /// The same as routes ask for it.
  public var peerState: PeerCertificateState {
    peer == nil ? [] : isPeerValidated ? [.presented, .validated] : .presented
  }

  init(_ session: TLSSession, now: MonotonicTime) {
    let ssl = session.ssl
    version = TLSVersion(rawValue: SSL_version(ssl)) ?? .v12
    let current = SSL_get_current_cipher(ssl)
    cipher = current.map { UInt16(truncatingIfNeeded: SSL_CIPHER_get_id($0)) } ?? 0
    cipherName = current.flatMap { SSL_CIPHER_get_name($0) }.map { String(cString: $0) } ?? ""
    isResumed = SSL_session_reused(ssl) == 1
    group = isResumed && version == .v12 ? "" : Self.group(ssl)
    signatureAlgorithm = Self.signature(ssl)
    serverName = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) } ?? ""
    var bytes: UnsafePointer<UInt8>?
    var length: UInt32 = 0
    SSL_get0_alpn_selected(ssl, &bytes, &length)
    applicationProtocol = Bytes(start: bytes, count: Int(length)).text
    if version == .v12, let current = SSL_get_session(ssl) {
      let identifier = SSL_SESSION_get_id(current, &length)
      sessionIdentifier = CertificateFacts.hexadecimal(Bytes(start: identifier, count: Int(length)))
    } else {
      sessionIdentifier = ""
    }
    handshakeTime = now.since(session.startedAt)
    if let certificate = SSL_get0_peer_certificate(ssl) {
      peer = CertificateFacts(certificate, chain: Self.chain(ssl, session.context.isServer))
    } else {
      peer = nil
    }
    let verification = session.context.verification
    let isVerified = verification.map { $0.trustedCA != nil || $0.hasPins } ?? false
    isPeerValidated = peer != nil && isVerified && SSL_get_verify_result(ssl) == Int(X509_V_OK)
    tolerated = session.rejection?.kind
    own = session.ownCertificate?.facts
  }

  /// The certificates that came with the peer's own.
  private static func chain(_ ssl: OpaquePointer, _ isServer: Bool) -> [CertificateFacts] {
    guard let chain = SSL_get_peer_cert_chain(ssl) else { return [] }
    // A client's view of the chain begins with the server's own certificate.
    let first: Int32 = isServer ? 0 : 1
    let count = copenssl_certificate_count(chain)
    guard first < count else { return [] }
    return (first..<count).compactMap { copenssl_certificate_at(chain, $0).map { CertificateFacts($0) } }
  }

  private static func group(_ ssl: OpaquePointer) -> String {
    let identifier = copenssl_negotiated_group(ssl)
    switch identifier {
    case NID_undef: return ""
    case NID_X25519: return "X25519"
    case NID_X448: return "X448"
    case NID_X9_62_prime256v1: return "P-256"
    case NID_secp384r1: return "P-384"
    case NID_secp521r1: return "P-521"
    default: return OBJ_nid2sn(identifier).map { String(cString: $0) } ?? ""
    }
  }

  private static func signature(_ ssl: OpaquePointer) -> String {
    var type: Int32 = 0
    var digest: Int32 = 0
    guard SSL_get_peer_signature_type_nid(ssl, &type) == 1 else { return "" }
    _ = copenssl_peer_signature(ssl, &digest)
    let hash =
      switch digest {
      case NID_sha1: "sha1"
      case NID_sha256: "sha256"
      case NID_sha384: "sha384"
      case NID_sha512: "sha512"
      default: ""
      }
    switch type {
    case EVP_PKEY_RSA: return "rsa_pkcs1_\(hash)"
    case EVP_PKEY_RSA_PSS: return "rsa_pss_rsae_\(hash)"
    case EVP_PKEY_ED25519: return "ed25519"
    case EVP_PKEY_EC:
      let curve = hash == "sha384" ? "secp384r1" : hash == "sha512" ? "secp521r1" : "secp256r1"
      return hash == "sha1" ? "ecdsa_sha1" : "ecdsa_\(curve)_\(hash)"
    default: return ""
    }
  }
}

extension TLSVersion {
  /// As logs have it.
  public var text: String { self == .v13 ? "TLSv1.3" : "TLSv1.2" }
}

extension TLSSession {
  /// What is known of the connection. Once the handshake is done; not free: ask once.
  public func details(_ loop: EventLoop) -> TLSDetails { TLSDetails(self, now: loop.now) }

  /// The protocol that both ends chose; nil if none.
  public var applicationProtocol: String? {
    var bytes: UnsafePointer<UInt8>?
    var length: UInt32 = 0
    SSL_get0_alpn_selected(ssl, &bytes, &length)
    return length > 0 ? Bytes(start: bytes, count: Int(length)).text : nil
  }

  /// Which of the context's certificates this connection shows.
  var ownCertificate: TLSCertificate? {
    guard let leaf = SSL_get_certificate(ssl) else { return nil }
    return context.certificates.first { $0.leaf == leaf }
  }
}
