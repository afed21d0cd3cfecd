internal import COpenSSL

/// What is expected of the peer's certificate, given to OpenSSL.
extension TLSContext {
  /// - Returns: the authorities that are believed.
  static func applyVerification(
    _ verification: PeerVerification?, to ctx: OpaquePointer, isServer: Bool
  ) throws(TLSConfigurationError) -> [CertificateFacts] {
    guard let verification else { return [] }
    guard let store = SSL_CTX_get_cert_store(ctx), let parameters = SSL_CTX_get0_param(ctx) else { return [] }
    // An authority between the root and the peer may be the one that is trusted.
    var flags = UInt(X509_V_FLAG_PARTIAL_CHAIN)
    if verification.allowsExpired { flags |= UInt(X509_V_FLAG_NO_CHECK_TIME) }
    if let depth = verification.maximumDepth { SSL_CTX_set_verify_depth(ctx, Int32(clamping: depth)) }
    var authorities: [CertificateFacts] = []
    if let text = verification.trustedCA {
      let certificates = try PEMReader.certificates(text, .trustedCA)
      defer { for certificate in certificates { X509_free(certificate) } }
      let names = isServer ? copenssl_new_names() : nil
      for certificate in certificates {
        X509_STORE_add_cert(store, certificate)
        authorities.append(CertificateFacts(certificate))
        if let names, let name = X509_NAME_dup(X509_get_subject_name(certificate)) {
          copenssl_names_push(names, name)
        }
      }
      // The store has its own opinion of a certificate that is there twice.
      _ = OpenSSLErrors.take()
      // The server says whom it believes, so that a client with several certificates can choose. The list is the
      // context's from here on.
      if let names { SSL_CTX_set_client_CA_list(ctx, names) }
    }
    if let text = verification.revoked {
      guard verification.trustedCA != nil else {
        throw TLSConfigurationError(.revocationList, "revoked certificates are only looked up with a trusted CA")
      }
      let lists = try PEMReader.revocationLists(text)
      for list in lists {
        X509_STORE_add_crl(store, list)
        X509_CRL_free(list)
      }
      _ = OpenSSLErrors.take()
      flags |= UInt(X509_V_FLAG_CRL_CHECK)
      if !verification.checksLeafRevocationOnly { flags |= UInt(X509_V_FLAG_CRL_CHECK_ALL) }
    }
    X509_VERIFY_PARAM_set_flags(parameters, flags)
    for hash in verification.certificateHashes + verification.publicKeyHashes where hash.count != 32 {
      throw TLSConfigurationError(.other, "a SHA-256 has 32 bytes")
    }
    if !verification.names.isEmpty, verification.trustedCA == nil {
      throw TLSConfigurationError(.names, "names say nothing without a trusted_ca: anyone can make such a certificate")
    }
    return authorities
  }
}

extension PeerVerification {
  /// What is wrong with a certificate whose chain has been verified, or need not be; nil if nothing.
  /// - Parameters:
  ///   - certificate: an `X509 *`, borrowed.
  ///   - expected: names of which one must be there, if there are any.
  func judge(_ certificate: OpaquePointer, expected: [String]) -> (kind: TLSFailure.Kind, text: String)? {
    if !names.isEmpty || !expected.isEmpty {
      let found = SubjectAltNames(certificate)
      if !expected.isEmpty, !expected.contains(where: { found.contain(host: $0) }) {
        return (
          .nameMismatch,
          "verify cert failed: verify SAN list, expected SANs: [\(expected.joined(separator: ", "))], "
            + "certificate SANs: [\(found.text)]"
        )
      }
      if !names.isEmpty, !names.contains(where: { $0.matches(found) }) {
        return (.nameMismatch, "verify cert failed: SAN matcher, certificate SANs are [\(found.text)]")
      }
    }
    if hasPins, !isPinned(certificate) { return (.pinMismatch, "verify cert failed: cert hash and spki") }
    return nil
  }

  private func isPinned(_ certificate: OpaquePointer) -> Bool {
    if !certificateHashes.isEmpty {
      var digest = [UInt8](repeating: 0, count: 32)
      guard X509_digest(certificate, EVP_sha256(), &digest, nil) == 1 else { return false }
      if certificateHashes.contains(digest) { return true }
    }
    guard !publicKeyHashes.isEmpty else { return false }
    var bytes: UnsafeMutablePointer<UInt8>?
    let count = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &bytes)
    guard count > 0, let bytes else { return false }
    defer { CRYPTO_free(bytes, #file, #line) }
    var digest = [UInt8](repeating: 0, count: 32)
    guard EVP_Digest(bytes, Int(count), &digest, nil, EVP_sha256(), nil) == 1 else { return false }
    return publicKeyHashes.contains(digest)
  }
}

extension SubjectAltNames {
  /// For whoever wonders why none was right.
  fileprivate var text: String { names.prefix(100).map(\.text).joined(separator: ", ") }
}
