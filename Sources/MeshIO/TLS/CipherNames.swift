internal import COpenSSL

/// Cipher suites of TLS 1.2 as Envoy's configuration names them, which are BoringSSL's names, in OpenSSL's.
public enum CipherNames {
  /// Envoy's own choice where the configuration makes none.
  public static let usual = [
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
    "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
  ]

  /// A list that OpenSSL understands.
  struct List: Equatable {
    /// Joined by colons.
    var text: String
    /// Of a group `[A|B]` the client chooses: OpenSSL can do that for ChaCha20 alone.
    var hasChoices: Bool
  }

  /// Names that differ: IANA's, which BoringSSL takes too.
  private static let standardNames: [String: String] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
  ]

  /// Translates the entries of `cipher_suites`.
  static func translate(_ entries: [String]) throws(TLSConfigurationError) -> List {
    var names: [String] = []
    var hasChoices = false
    // An entry may be a whole list, as BoringSSL has it.
    for entry in entries.flatMap({ $0.split(separator: ":", omittingEmptySubsequences: true) }) {
      var members = [entry]
      if entry.hasPrefix("[") {
        guard entry.hasSuffix("]") else {
          throw TLSConfigurationError(.ciphers, "\"\(entry)\" has no ] at its end")
        }
        members = entry.dropFirst().dropLast().split(separator: "|", omittingEmptySubsequences: false)
        hasChoices = true
      }
      for member in members {
        let name = standardNames[String(member)] ?? String(member)
        guard isKnown(name) else { throw TLSConfigurationError(.ciphers, "unknown cipher suite \"\(member)\"") }
        if !names.contains(name) { names.append(name) }
      }
    }
    return List(text: names.joined(separator: ":"), hasChoices: hasChoices)
  }

  /// Whether OpenSSL has a suite of exactly this name, and it is none of TLS 1.3.
  private static func isKnown(_ name: String) -> Bool {
    // OpenSSL's list language knows more than names (ALL, !x, @STRENGTH …); a name has none of its signs.
    guard !name.isEmpty, name.utf8.allSatisfy({ isNameByte($0) }) else { return false }
    guard let ctx = SSL_CTX_new(TLS_method()) else { return false }
    defer { SSL_CTX_free(ctx) }
    guard SSL_CTX_set_cipher_list(ctx, name) == 1, let ciphers = SSL_CTX_get_ciphers(ctx) else {
      _ = OpenSSLErrors.take()
      return false
    }
    for index in 0..<copenssl_cipher_count(ciphers) {
      guard let cipher = copenssl_cipher_at(ciphers, index), let text = SSL_CIPHER_get_name(cipher) else { continue }
      if String(cString: text) == name { return !name.hasPrefix("TLS_") }
    }
    return false
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || (0x30...0x39).contains(byte)
      || (0x41...0x5a).contains(byte)
  }
}
