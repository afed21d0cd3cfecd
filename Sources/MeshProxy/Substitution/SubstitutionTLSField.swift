/// What `%DOWNSTREAM_TLS_VERSION%` and its like say of a TLS connection.
enum SubstitutionTLSField: Int32, CaseIterable, Sendable {
  case version, cipher, group, sessionID, serverName, handshakeDuration
  case peerCertificate, peerSubject, peerIssuer, peerSerial, peerFingerprint256, peerFingerprint1
  case peerStart, peerEnd
  case peerDNS, peerURI, peerIP, peerEmail, peerOther
  case peerChainSerials, peerChainFingerprints256, peerChainFingerprints1, peerIssuerSerial, peerIssuerFingerprint256
  case ownSubject, ownDNS, ownURI, ownIP, ownEmail, ownOther

  /// Whether the name begins with `DOWNSTREAM_` and with `UPSTREAM_`, and how it goes on.
  private static let names: [(field: SubstitutionTLSField, name: String, isUpstreamToo: Bool)] = [
    (.version, "TLS_VERSION", true), (.cipher, "TLS_CIPHER", true), (.group, "TLS_GROUP", true),
    (.sessionID, "TLS_SESSION_ID", true), (.handshakeDuration, "HANDSHAKE_DURATION", false),
    (.peerCertificate, "PEER_CERT", true), (.peerSubject, "PEER_SUBJECT", true), (.peerIssuer, "PEER_ISSUER", true),
    (.peerSerial, "PEER_SERIAL", false), (.peerFingerprint256, "PEER_FINGERPRINT_256", false),
    (.peerFingerprint1, "PEER_FINGERPRINT_1", false), (.peerStart, "PEER_CERT_V_START", true),
    (.peerEnd, "PEER_CERT_V_END", true), (.peerDNS, "PEER_DNS_SAN", true), (.peerURI, "PEER_URI_SAN", true),
    (.peerIP, "PEER_IP_SAN", true), (.peerEmail, "PEER_EMAIL_SAN", false), (.peerOther, "PEER_OTHERNAME_SAN", false),
    (.peerChainSerials, "PEER_CHAIN_SERIALS", false),
    (.peerChainFingerprints256, "PEER_CHAIN_FINGERPRINTS_256", false),
    (.peerChainFingerprints1, "PEER_CHAIN_FINGERPRINTS_1", false), (.peerIssuerSerial, "PEER_ISSUER_SERIAL", false),
    (.peerIssuerFingerprint256, "PEER_ISSUER_FINGERPRINT_256", false), (.ownSubject, "LOCAL_SUBJECT", false),
    (.ownDNS, "LOCAL_DNS_SAN", true), (.ownURI, "LOCAL_URI_SAN", true), (.ownIP, "LOCAL_IP_SAN", true),
    (.ownEmail, "LOCAL_EMAIL_SAN", false), (.ownOther, "LOCAL_OTHERNAME_SAN", false),
  ]

  /// The operators.
  static let operators: [SubstitutionName] =
    names.map { SubstitutionName("DOWNSTREAM_\($0.name)", .downstreamTLS, .tls($0.field)) }
    + names.filter(\.isUpstreamToo).map { SubstitutionName("UPSTREAM_\($0.name)", .upstreamTLS, .tls($0.field)) }
    + [SubstitutionName("UPSTREAM_SERVER_NAME", .upstreamTLS, .tls(.serverName))]

  /// A time, which takes a format.
  var isTime: Bool { self == .peerStart || self == .peerEnd }
}
