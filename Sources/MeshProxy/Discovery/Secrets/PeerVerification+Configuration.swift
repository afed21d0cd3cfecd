import MeshAPI
import MeshConfig
import MeshIO
import MeshPrimitives
import MeshRouting

extension PeerVerification {
  /// Compiles what is expected of a peer's certificate.
  init(_ content: SecretContent.ValidationContent) throws(SecretProblem) {
    self.init()
    let message = content.message
    trustedCA = content.trustedCA
    revoked = content.revoked
    checksLeafRevocationOnly = message.onlyVerifyLeafCertCrl
    allowsExpired = message.allowExpiredCertificate
    acceptsUntrusted = message.trustChainVerification == .acceptUntrusted
    if message.hasMaxVerifyDepth { maximumDepth = Int(message.maxVerifyDepth.value) }
    for (index, text) in message.verifyCertificateHash.enumerated() {
      guard let hash = Self.fingerprint(text) else {
        throw SecretProblem(
          path: "verify_certificate_hash[\(index)]", message: "must be a SHA-256 in hexadecimal, not \"\(text)\"")
      }
      certificateHashes.append(hash)
    }
    for (index, text) in message.verifyCertificateSpki.enumerated() {
      var text = text
      guard let hash = text.withUTF8({ Base64.decode($0) }), hash.count == 32 else {
        throw SecretProblem(
          path: "verify_certificate_spki[\(index)]", message: "must be a SHA-256 in base64, not \"\(text)\"")
      }
      publicKeyHashes.append(hash)
    }
    for (index, matcher) in message.matchTypedSubjectAltNames.enumerated() {
      let path = "match_typed_subject_alt_names[\(index)]"
      let kind: SubjectAltNameMatcher.Kind
      switch matcher.sanType {
      case .email: kind = .email
      case .dns: kind = .dns
      case .uri: kind = .uri
      case .ipAddress: kind = .ip
      case .otherName:
        guard !matcher.oid.isEmpty else {
          throw SecretProblem(path: "\(path).oid", message: "OTHER_NAME needs an object identifier")
        }
        kind = .other(matcher.oid)
      default:
        throw SecretProblem(path: "\(path).san_type", message: "must be one of DNS, URI, EMAIL, IP_ADDRESS, OTHER_NAME")
      }
      if !matcher.oid.isEmpty, matcher.sanType != .otherName {
        throw SecretProblem(path: "\(path).oid", message: "only for OTHER_NAME")
      }
      names.append(SubjectAltNameMatcher(kind, try Self.test(matcher.matcher, "\(path).matcher")))
    }
    for (index, matcher) in message.matchSubjectAltNames.enumerated() {
      names.append(SubjectAltNameMatcher(.any, try Self.test(matcher, "match_subject_alt_names[\(index)]")))
    }
  }

  private static func test(_ matcher: StringMatcher, _ path: String) throws(SecretProblem) -> SubjectAltNameMatcher.Test
  {
    if case .exact(let text)? = matcher.matchPattern, !matcher.ignoreCase { return .exactly(text) }
    switch TextPattern.build(matcher, path: path) {
    case .success(let pattern): return .matches { pattern.matches($0) }
    case .failure(let failure):
      let first = failure.problems.first
      throw SecretProblem(path: first?.path ?? path, message: first?.message ?? "is no condition")
    }
  }

  /// 64 hexadecimal digits, or pairs of them with colons between.
  private static func fingerprint(_ text: String) -> [UInt8]? {
    let characters = Array(text.utf8)
    let step = characters.count == 95 ? 3 : 2
    guard characters.count == 64 || characters.count == 95 else { return nil }
    var result: [UInt8] = []
    for at in stride(from: 0, to: characters.count, by: step) {
      if step == 3, at > 0, characters[at - 1] != UInt8(ascii: ":") { return nil }
      guard let high = digit(characters[at]), let low = digit(characters[at + 1]) else { return nil }
      result.append(high << 4 | low)
    }
    return result
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    if byte &- 0x30 < 10 { return byte &- 0x30 }
    let letter = byte.asciiLowercased &- 0x61
    return letter < 6 ? letter + 10 : nil
  }
}
