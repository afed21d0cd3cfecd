import Glibc

internal import COpenSSL

/// The keys that session tickets are sealed with (RFC 5077 §4), shared by all workers and kept over reloads, so that a
/// session can be resumed wherever the client comes back. The first seals, all open. Any thread.
public final class TLSTicketKeys: Sendable {
  /// One key: 16 bytes of name, 32 for HMAC-SHA-256, 32 for AES-256 (Envoy's layout of `session_ticket_keys`).
  public struct Key: Sendable, Equatable {
    /// In bytes.
    public static let size = 80
    let name: [UInt8]
    let hmac: [UInt8]
    let aes: [UInt8]

    /// nil if `bytes` are not `size` bytes.
    public init?(_ bytes: [UInt8]) {
      guard bytes.count == Self.size else { return nil }
      name = Array(bytes[0..<16])
      hmac = Array(bytes[16..<48])
      aes = Array(bytes[48..<80])
    }

    /// A new key that nobody can guess.
    public static func random() -> Key? {
      var bytes = [UInt8](repeating: 0, count: size)
      guard RAND_priv_bytes(&bytes, Int32(size)) == 1 else {
        _ = OpenSSLErrors.take()
        return nil
      }
      return Key(bytes)
    }
  }

  /// Keys that only open: those of the last two rotations.
  static let kept = 2
  private let keys: Locked<[Key]>

  /// - Parameter keys: at least one.
  public init(_ keys: [Key]) { self.keys = Locked(keys) }

  /// One key of our own making; nil if the system has no randomness.
  public convenience init?() {
    guard let key = Key.random() else { return nil }
    self.init([key])
  }

  /// From now on a new key seals; tickets of the last two before it are still opened.
  public func rotate() {
    guard let key = Key.random() else { return }
    keys.withLock { $0 = [key] + $0.prefix(Self.kept) }
  }

  /// Takes other keys (`session_ticket_keys` of a secret that has changed).
  public func replace(_ new: [Key]) { keys.withLock { $0 = new } }

  private var current: [Key] { keys.withLock { $0 } }

  /// OpenSSL asks for a key: to seal (`isSealing`) or to open a ticket with this name.
  /// - Returns: as SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1, 2 (open, then seal anew), 0 (unknown), -1.
  func prepare(
    _ name: UnsafeMutablePointer<UInt8>, _ iv: UnsafeMutablePointer<UInt8>, _ cipher: OpaquePointer,
    _ mac: OpaquePointer, isSealing: Bool
  ) -> Int32 {
    let keys = current
    guard let newest = keys.first, let algorithm = EVP_aes_256_cbc() else { return -1 }
    let key: Key
    var result: Int32 = 1
    if isSealing {
      key = newest
      guard RAND_bytes(iv, EVP_CIPHER_get_iv_length(algorithm)) == 1 else { return -1 }
      name.update(from: key.name, count: 16)
      guard EVP_EncryptInit_ex(cipher, algorithm, nil, key.aes, iv) == 1 else { return -1 }
    } else {
      guard let found = keys.firstIndex(where: { memcmp($0.name, name, 16) == 0 }) else { return 0 }
      key = keys[found]
      // A ticket of an older key is exchanged for one of the newest, so that the session outlives the rotation.
      if found > 0 { result = 2 }
      guard EVP_DecryptInit_ex(cipher, algorithm, nil, key.aes, iv) == 1 else { return -1 }
    }
    return setMAC(mac, key.hmac) ? result : -1
  }

  private func setMAC(_ mac: OpaquePointer, _ key: [UInt8]) -> Bool {
    // Parameters point to their names and values, which have to outlive the call that uses them.
    var key = key
    return OSSL_MAC_PARAM_KEY.withCString { keyName in
      OSSL_MAC_PARAM_DIGEST.withCString { digestName in
        "SHA256".withCString { digest in
          key.withUnsafeMutableBytes { key in
            let parameters = [
              OSSL_PARAM_construct_octet_string(keyName, key.baseAddress, key.count),
              OSSL_PARAM_construct_utf8_string(digestName, UnsafeMutablePointer(mutating: digest), 0),
              OSSL_PARAM_construct_end(),
            ]
            return EVP_MAC_CTX_set_params(mac, parameters) == 1
          }
        }
      }
    }
  }
}
