import MeshPrimitives

/// A version of TLS. Older ones than these are not spoken.
public enum TLSVersion: Int32, Sendable, Comparable, CaseIterable {
  case v12 = 0x0303
  case v13 = 0x0304

  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// A text in PEM (RFC 7468) and where it comes from, for messages.
public struct PEMText: Sendable, Equatable {
  public var bytes: [UInt8]
  /// What people know it by: a file's path, or "inline".
  public var source: String

  public init(_ bytes: [UInt8], source: String) {
    self.bytes = bytes
    self.source = source
  }
}

/// What both ends of a handshake may choose from (`tls_params`).
public struct TLSParameters: Sendable, Equatable {
  public var minimum = TLSVersion.v12
  public var maximum = TLSVersion.v13
  /// For TLS 1.2, best first, in the names that Envoy's configuration has (`CipherNames`); empty: `CipherNames.usual`.
  public var ciphers: [String] = []
  /// Key exchange groups, best first (`ecdh_curves`); empty: X25519 and P-256.
  public var groups: [String] = []
  /// In the names of RFC 8446 §4.2.3, best first; empty: OpenSSL's own choice.
  public var signatureAlgorithms: [String] = []

  public init() {}
}

/// A certificate with the chain below it and its private key.
public struct TLSCertificateText: Sendable, Equatable {
  public var chain: PEMText
  public var key: PEMText
  /// Decrypts the key; nil if it is not encrypted.
  public var password: [UInt8]?

  public init(chain: PEMText, key: PEMText, password: [UInt8]? = nil) {
    self.chain = chain
    self.key = key
    self.password = password
  }
}

/// What is expected of the peer's certificate (`CertificateValidationContext`).
public struct PeerVerification: Sendable {
  /// The authorities that are believed; nil: the chain is not checked.
  public var trustedCA: PEMText?
  /// Certificates that are not believed any more.
  public var revoked: PEMText?
  /// Only the peer's own certificate is looked up in `revoked`, not those above it.
  public var checksLeafRevocationOnly = false
  /// At least one must match, if there are any.
  public var names: [SubjectAltNameMatcher] = []
  /// SHA-256 of the peer's certificate (DER), 32 bytes each; with `publicKeyHashes` at least one must match, if there are
  /// any.
  public var certificateHashes: [[UInt8]] = []
  /// SHA-256 of the peer's public key (DER of SubjectPublicKeyInfo), 32 bytes each.
  public var publicKeyHashes: [[UInt8]] = []
  public var allowsExpired = false
  /// A certificate whose chain cannot be verified is taken all the same; what it says is then not to be believed
  /// (`trust_chain_verification: ACCEPT_UNTRUSTED`).
  public var acceptsUntrusted = false
  /// How many certificates there may be above the peer's own, the trusted one among them; nil: 100.
  public var maximumDepth: Int?

  public init() {}

  /// Whether anything at all is asked of a certificate.
  public var isEmpty: Bool {
    trustedCA == nil && names.isEmpty && certificateHashes.isEmpty && publicKeyHashes.isEmpty
  }

  var hasPins: Bool { !certificateHashes.isEmpty || !publicKeyHashes.isEmpty }
}

/// What one subject alternative name of the peer has to be.
public struct SubjectAltNameMatcher: Sendable {
  public enum Kind: Sendable, Equatable {
    case dns, uri, email, ip
    /// An OTHER_NAME of this object identifier, in dots.
    case other(String)
    /// Any of DNS, URI, email and IP address (`match_subject_alt_names`).
    case any
  }
  public enum Test: Sendable {
    /// This name; a DNS name of the certificate may begin with `*.` (RFC 6125 §6.4.3).
    case exactly(String)
    /// Whatever this says. IP addresses are asked in their usual text.
    case matches(@Sendable (Bytes) -> Bool)
  }

  public var kind: Kind
  public var test: Test

  public init(_ kind: Kind, _ test: Test) {
    self.kind = kind
    self.test = test
  }
}

/// What a server's end of TLS is made of.
public struct TLSServerSettings: Sendable {
  public var parameters = TLSParameters()
  /// At least one; the first is for clients that none fits better.
  public var certificates: [TLSCertificateText] = []
  /// Clients are asked for a certificate if this is there and says anything.
  public var verification: PeerVerification?
  /// A handshake without a client certificate fails.
  public var requiresClientCertificate = false
  /// Best first; empty: ALPN is not answered.
  public var applicationProtocols: [String] = []
  /// Where no certificate has the name that the client asks for, the first that its algorithms fit is taken, not the
  /// first of all (`full_scan_certs_on_sni_mismatch`).
  public var scansAllCertificates = false
  /// The keys of session tickets; nil: clients get none.
  public var ticketKeys: TLSTicketKeys?
  /// Sessions are also remembered by their number, for clients of TLS 1.2 without tickets.
  public var remembersSessions = true
  /// Seconds for which a session can be resumed.
  public var sessionSeconds = 7200
  /// Sessions are resumed only where this is the same: what else decided who may connect.
  public var sessionContext: [UInt8] = []
  /// The client's order of cipher suites decides, not the server's (`prefer_client_ciphers`).
  public var prefersClientCiphers = false

  public init() {}
}

/// What a client's end of TLS is made of.
public struct TLSClientSettings: Sendable {
  public var parameters = TLSParameters()
  /// What the client shows a server that asks; none or one.
  public var certificates: [TLSCertificateText] = []
  /// nil: any certificate is taken.
  public var verification: PeerVerification?
  public var applicationProtocols: [String] = []
  /// How many sessions are remembered to be resumed; 0: none (`max_session_keys`).
  public var maximumSessions = 1

  public init() {}
}

/// What one connection of a client asks for.
public struct TLSClientTarget: Sendable, Equatable {
  /// The name to ask for (SNI); empty: none. An IP address is no such name and is not sent.
  public var serverName = ""
  /// At least one of these must be a name of the server's certificate, if there are any: DNS names or IP addresses.
  public var expectedNames: [String] = []
  /// What to offer (ALPN) where the context has no protocols of its own.
  public var applicationProtocols: [String] = []
  /// They are offered whatever the context has.
  public var overridesProtocols = false

  public init(serverName: String = "", expectedNames: [String] = [], applicationProtocols: [String] = []) {
    self.serverName = serverName
    self.expectedNames = expectedNames
    self.applicationProtocols = applicationProtocols
  }
}

/// Why a context cannot be made.
public struct TLSConfigurationError: Error, Equatable, CustomStringConvertible {
  /// What it is about.
  public enum Subject: Sendable, Equatable {
    case certificateChain(Int), privateKey(Int)
    case trustedCA, revocationList, names
    case ciphers, groups, signatureAlgorithms, versions, applicationProtocols
    case other
  }

  public let subject: Subject
  public let message: String

  public init(_ subject: Subject, _ message: String) {
    self.subject = subject
    self.message = message
  }

  public var description: String { message }
}
