import MeshPrimitives

internal import COpenSSL

/// A certificate of our own with its chain and key, read and checked. Immutable.
final class TLSCertificate: @unchecked Sendable {
  // SAFETY: made in `init` and only read afterwards; OpenSSL counts references with atomics.
  let leaf: OpaquePointer
  let issuers: [OpaquePointer]
  let key: OpaquePointer
  let facts: CertificateFacts
  let source: String
  let isECDSA: Bool

  /// - Parameter index: its place, for errors.
  init(_ text: TLSCertificateText, _ index: Int) throws(TLSConfigurationError) {
    var chain = try PEMReader.certificates(text.chain, .certificateChain(index), wantsTrustAttributes: true)
    defer { for certificate in chain { X509_free(certificate) } }
    let key = try PEMReader.privateKey(text.key, password: text.password, .privateKey(index))
    guard X509_check_private_key(chain[0], key) == 1 else {
      _ = OpenSSLErrors.take()
      EVP_PKEY_free(key)
      throw TLSConfigurationError(
        .privateKey(index), "the key (\(text.key.source)) is not that of the certificate (\(text.chain.source))")
    }
    leaf = chain[0]
    issuers = Array(chain[1...])
    self.key = key
    source = text.chain.source
    facts = CertificateFacts(chain[0], chain: chain[1...].map { CertificateFacts($0) })
    isECDSA = EVP_PKEY_get_base_id(key) == EVP_PKEY_EC
    // They are this object's now.
    chain = []
  }

  deinit {
    X509_free(leaf)
    for issuer in issuers { X509_free(issuer) }
    EVP_PKEY_free(key)
  }

  /// The names that clients may ask for: those in the certificate, or its common name where it has none, as in Envoy.
  var serverNames: [String] {
    if !facts.dnsNames.isEmpty { return facts.dnsNames }
    let common = facts.commonName
    return common.isEmpty ? [] : [common]
  }
}

/// Reads PEM, and says what is wrong with it.
enum PEMReader {
  /// Every certificate in a text, at least one. Each is the caller's to free.
  static func certificates(
    _ text: PEMText, _ subject: TLSConfigurationError.Subject, wantsTrustAttributes: Bool = false
  ) throws(TLSConfigurationError) -> [OpaquePointer] {
    guard let bio = memory(text) else { throw TLSConfigurationError(subject, OpenSSLErrors.text()) }
    defer { BIO_free(bio) }
    var result: [OpaquePointer] = []
    while let certificate = result.isEmpty && wantsTrustAttributes
      ? PEM_read_bio_X509_AUX(bio, nil, nil, nil) : PEM_read_bio_X509(bio, nil, nil, nil)
    { result.append(certificate) }
    let errors = OpenSSLErrors.take()
    // At the end of the text there is no further beginning; anything else is a mistake in it.
    let isEnd = errors.allSatisfy { $0.reasonNumber == PEM_R_NO_START_LINE }
    if isEnd, !result.isEmpty { return result }
    for certificate in result { X509_free(certificate) }
    if isEnd { throw TLSConfigurationError(subject, "\(text.source) holds no certificate in PEM") }
    throw TLSConfigurationError(
      subject, "\(text.source): certificate \(result.count + 1) is broken: \(reasons(errors))")
  }

  /// Every revocation list in a text, at least one. Each is the caller's to free.
  static func revocationLists(_ text: PEMText) throws(TLSConfigurationError) -> [OpaquePointer] {
    guard let bio = memory(text) else { throw TLSConfigurationError(.revocationList, OpenSSLErrors.text()) }
    defer { BIO_free(bio) }
    var result: [OpaquePointer] = []
    while let list = PEM_read_bio_X509_CRL(bio, nil, nil, nil) { result.append(list) }
    let errors = OpenSSLErrors.take()
    let isEnd = errors.allSatisfy { $0.reasonNumber == PEM_R_NO_START_LINE }
    if isEnd, !result.isEmpty { return result }
    for list in result { X509_CRL_free(list) }
    if isEnd { throw TLSConfigurationError(.revocationList, "\(text.source) holds no revocation list in PEM") }
    throw TLSConfigurationError(
      .revocationList, "\(text.source): revocation list \(result.count + 1) is broken: \(reasons(errors))")
  }

  /// The first private key in a text; the caller's to free.
  static func privateKey(
    _ text: PEMText, password: [UInt8]?, _ subject: TLSConfigurationError.Subject
  ) throws(TLSConfigurationError) -> OpaquePointer {
    guard let bio = memory(text) else { throw TLSConfigurationError(subject, OpenSSLErrors.text()) }
    defer { BIO_free(bio) }
    let asked = PasswordQuestion(password ?? [])
    let key = withExtendedLifetime(asked) {
      PEM_read_bio_PrivateKey(
        bio, nil, { buffer, size, _, question in PasswordQuestion.answer(buffer, size, question) },
        Unmanaged.passUnretained(asked).toOpaque())
    }
    if let key { return key }
    let errors = OpenSSLErrors.take()
    let message: String
    if !String(decoding: text.bytes, as: UTF8.self).contains("PRIVATE KEY-----") {
      message = "\(text.source) holds no private key in PEM"
    } else if asked.wasAsked {
      message =
        password == nil
        ? "\(text.source): the key is encrypted, and there is no password" : "\(text.source): the password is wrong"
    } else {
      message = "\(text.source): the key is broken: \(reasons(errors))"
    }
    throw TLSConfigurationError(subject, message)
  }

  /// OpenSSL asks for a password, on the terminal if nobody answers.
  private final class PasswordQuestion {
    let password: [UInt8]
    private(set) var wasAsked = false

    init(_ password: [UInt8]) { self.password = password }

    static func answer(
      _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int32, _ question: UnsafeMutableRawPointer?
    ) -> Int32 {
      guard let buffer, let question else { return -1 }
      let asked = Unmanaged<PasswordQuestion>.fromOpaque(question).takeUnretainedValue()
      asked.wasAsked = true
      guard asked.password.count <= Int(size) else { return -1 }
      for (index, byte) in asked.password.enumerated() { buffer[index] = CChar(bitPattern: byte) }
      return Int32(asked.password.count)
    }
  }

  private static func reasons(_ errors: [OpenSSLErrors.Entry]) -> String {
    errors.map(\.reason).joined(separator: "; ")
  }

  /// A BIO with a copy of the text.
  private static func memory(_ text: PEMText) -> OpaquePointer? {
    guard let bio = BIO_new(BIO_s_mem()) else { return nil }
    if !text.bytes.isEmpty, BIO_write(bio, text.bytes, Int32(clamping: text.bytes.count)) <= 0 {
      BIO_free(bio)
      return nil
    }
    return bio
  }
}

extension TLSCertificateText {
  /// Reads certificate and key, and whether they belong together.
  public func check() throws(TLSConfigurationError) { _ = try TLSCertificate(self, 0) }
}
