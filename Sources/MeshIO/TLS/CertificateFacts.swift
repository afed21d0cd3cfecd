import Glibc
import MeshPrimitives

internal import COpenSSL

/// What a certificate says, read once. Immutable; any thread.
public final class CertificateFacts: Sendable {
  /// As RFC 2253 writes names: `CN=a,O=b`.
  public let subject: String
  public let issuer: String
  /// Lower-case hexadecimal.
  public let serialNumber: String
  /// Subject alternative names by kind; of what is not ASCII nothing is shown.
  public let dnsNames: [String]
  public let uris: [String]
  public let emails: [String]
  public let addresses: [String]
  public let otherNames: [String]
  /// Seconds since 1970.
  public let notBefore: Int64
  public let notAfter: Int64
  /// The certificate as it came.
  public let der: [UInt8]
  /// SHA-256 and SHA-1 of `der`, lower-case hexadecimal.
  public let fingerprint256: String
  public let fingerprint1: String
  /// The certificates above it that came with it.
  public let chain: [CertificateFacts]

  /// - Parameter certificate: an `X509 *` that is borrowed for the call.
  init(_ certificate: OpaquePointer, chain: [CertificateFacts] = []) {
    subject = Self.text(of: X509_get_subject_name(certificate))
    issuer = Self.text(of: X509_get_issuer_name(certificate))
    serialNumber = Self.serialNumber(certificate)
    let names = SubjectAltNames(certificate)
    dnsNames = names.compactMap { $0.kind == .dns ? $0.text : nil }
    uris = names.compactMap { $0.kind == .uri ? $0.text : nil }
    emails = names.compactMap { $0.kind == .email ? $0.text : nil }
    addresses = names.compactMap { $0.kind == .ip ? $0.text : nil }
    otherNames = names.compactMap { if case .other = $0.kind { $0.text } else { nil } }
    notBefore = Self.seconds(X509_get0_notBefore(certificate))
    notAfter = Self.seconds(X509_get0_notAfter(certificate))
    der = Self.der(certificate)
    fingerprint256 = Self.digest(certificate, EVP_sha256())
    fingerprint1 = Self.digest(certificate, EVP_sha1())
    self.chain = chain
  }

  /// The certificate in PEM.
  public var pem: String { Self.pem(der) }

  /// It and what came with it, in PEM.
  public var chainPEM: String { ([self] + chain).map(\.pem).joined() }

  /// The common name of the subject; empty if there is none.
  public var commonName: String {
    // Read from the text, where a comma in a value has a backslash before it.
    guard let range = Self.attribute("CN=", in: subject) else { return "" }
    return String(subject[range])
  }

  /// Whole days until it ends, 0 from then on.
  /// - Parameter now: seconds since 1970.
  public func daysLeft(at now: Int64) -> Int64 { max(0, (notAfter - now) / 86_400) }

  // MARK: Reading

  private static func attribute(_ key: String, in name: String) -> Range<String.Index>? {
    var start = name.startIndex
    while start < name.endIndex {
      var end = start
      while end < name.endIndex, name[end] != "," {
        if name[end] == "\\" { end = name.index(after: end) }
        if end < name.endIndex { end = name.index(after: end) }
      }
      if name[start..<end].hasPrefix(key) { return name.index(start, offsetBy: key.count)..<end }
      start = end < name.endIndex ? name.index(after: end) : end
    }
    return nil
  }

  static func text(of name: OpaquePointer?) -> String {
    guard let name, let bio = BIO_new(BIO_s_mem()) else { return "" }
    defer { BIO_free(bio) }
    guard X509_NAME_print_ex(bio, name, 0, COPENSSL_NAME_RFC2253) >= 0 else {
      _ = OpenSSLErrors.take()
      return ""
    }
    var bytes: UnsafeMutablePointer<CChar>?
    let count = copenssl_bio_bytes(bio, &bytes)
    guard let bytes, count > 0 else { return "" }
    return String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
  }

  private static func serialNumber(_ certificate: OpaquePointer) -> String {
    guard let number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nil) else { return "" }
    defer { BN_free(number) }
    guard let text = BN_bn2hex(number) else { return "" }
    defer { CRYPTO_free(text, #file, #line) }
    return String(cString: text).lowercased()
  }

  static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
    var broken = tm()
    guard let time, ASN1_TIME_to_tm(time, &broken) == 1 else { return 0 }
    return Int64(timegm(&broken))
  }

  static func der(_ certificate: OpaquePointer) -> [UInt8] {
    var bytes: UnsafeMutablePointer<UInt8>?
    let count = i2d_X509(certificate, &bytes)
    guard count > 0, let bytes else { return [] }
    defer { CRYPTO_free(bytes, #file, #line) }
    return Array(UnsafeBufferPointer(start: bytes, count: Int(count)))
  }

  private static func digest(_ certificate: OpaquePointer, _ algorithm: OpaquePointer?) -> String {
    var length: UInt32 = 0
    var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    guard X509_digest(certificate, algorithm, &bytes, &length) == 1 else { return "" }
    return hexadecimal(bytes[0..<Int(length)])
  }

  static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    var out: [UInt8] = []
    let digits = Array("0123456789abcdef".utf8)
    for byte in bytes {
      out.append(digits[Int(byte >> 4)])
      out.append(digits[Int(byte & 15)])
    }
    return String(decoding: out, as: UTF8.self)
  }

  private static func pem(_ der: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var out: [UInt8] = Array("-----BEGIN CERTIFICATE-----\n".utf8)
    var at = 0
    var column = 0
    while at < der.count {
      let left = der.count - at
      let group =
        UInt32(der[at]) << 16 | (left > 1 ? UInt32(der[at + 1]) << 8 : 0) | (left > 2 ? UInt32(der[at + 2]) : 0)
      out.append(alphabet[Int(group >> 18 & 63)])
      out.append(alphabet[Int(group >> 12 & 63)])
      out.append(left > 1 ? alphabet[Int(group >> 6 & 63)] : UInt8(ascii: "="))
      out.append(left > 2 ? alphabet[Int(group & 63)] : UInt8(ascii: "="))
      at += 3
      column += 4
      if column == 64 || at >= der.count {
        out.append(0x0a)
        column = 0
      }
    }
    out += Array("-----END CERTIFICATE-----\n".utf8)
    return String(decoding: out, as: UTF8.self)
  }
}
