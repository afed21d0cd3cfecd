import MeshPrimitives

internal import COpenSSL

/// The subject alternative names of one certificate (RFC 5280 §4.2.1.6), as far as they can be compared.
struct SubjectAltNames: Sequence {
  struct Name: Equatable {
    var kind: SubjectAltNameMatcher.Kind
    /// DNS names, URIs and addresses as text; an IP address in its usual form.
    var text: String
  }

  private(set) var names: [Name] = []

  /// - Parameter certificate: an `X509 *` that is borrowed for the call.
  init(_ certificate: OpaquePointer) {
    guard let raw = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else {
      // It may be there and broken.
      _ = OpenSSLErrors.take()
      return
    }
    let all = OpaquePointer(raw)
    defer { GENERAL_NAMES_free(all) }
    for index in 0..<copenssl_general_name_count(all) {
      guard let name = copenssl_general_name_at(all, index), let known = Self.read(name) else { continue }
      names.append(known)
    }
  }

  func makeIterator() -> IndexingIterator<[Name]> { names.makeIterator() }

  private static func read(_ name: UnsafeMutablePointer<GENERAL_NAME>) -> Name? {
    var type: Int32 = 0
    guard let value = GENERAL_NAME_get0_value(name, &type) else { return nil }
    switch type {
    case GEN_DNS: return text(value).map { Name(kind: .dns, text: $0) }
    case GEN_URI: return text(value).map { Name(kind: .uri, text: $0) }
    case GEN_EMAIL: return text(value).map { Name(kind: .email, text: $0) }
    case GEN_IPADD: return address(value).map { Name(kind: .ip, text: $0) }
    case GEN_OTHERNAME: return other(name)
    default: return nil
    }
  }

  /// An IA5String. One with a zero byte or without ASCII in it is not what it seems to be, and is no name.
  private static func text(_ value: UnsafeMutableRawPointer) -> String? {
    let bytes = contents(value.assumingMemoryBound(to: ASN1_STRING.self))
    return bytes.allSatisfy { $0 > 0 && $0 < 0x80 } ? String(decoding: bytes, as: UTF8.self) : nil
  }

  private static func contents(_ string: UnsafePointer<ASN1_STRING>) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string)))
  }

  private static func address(_ value: UnsafeMutableRawPointer) -> String? {
    let bytes = contents(value.assumingMemoryBound(to: ASN1_STRING.self))
    func word(_ offset: Int) -> UInt64 { (0..<8).reduce(0) { $0 << 8 | UInt64(bytes[offset + $1]) } }
    switch bytes.count {
    case 4: return IPAddress(v4: bytes.reduce(0) { $0 << 8 | UInt32($1) }).description
    case 16: return IPAddress(v6: word(0), word(8)).description
    default: return nil
    }
  }

  private static func other(_ name: UnsafeMutablePointer<GENERAL_NAME>) -> Name? {
    var identifier: OpaquePointer?
    var value: UnsafeMutablePointer<ASN1_TYPE>?
    guard GENERAL_NAME_get0_otherName(name, &identifier, &value) == 1, let identifier, let value else { return nil }
    var text = [CChar](repeating: 0, count: 128)
    let length = Int(OBJ_obj2txt(&text, Int32(text.count), identifier, 1))
    guard length > 0, length < text.count else { return nil }
    switch ASN1_TYPE_get(value) {
    case V_ASN1_UTF8STRING, V_ASN1_IA5STRING, V_ASN1_PRINTABLESTRING, V_ASN1_VISIBLESTRING:
      guard let string = value.pointee.value.asn1_string else { return nil }
      let bytes = contents(string)
      guard bytes.isUTF8, !bytes.contains(0) else { return nil }
      let oid = text[0..<length].map { UInt8(bitPattern: $0) }
      return Name(
        kind: .other(String(decoding: oid, as: UTF8.self)), text: String(decoding: bytes, as: UTF8.self))
    default: return nil
    }
  }
}

/// DNS names of certificates.
enum CertificateName {
  /// Whether a certificate's DNS name stands for `name`: the same but for the case of letters, or a pattern `*.rest` for
  /// one label in place of the star (RFC 6125 §6.4.3). A star elsewhere stands for nothing.
  static func matches(_ pattern: String, _ name: String) -> Bool {
    let pattern = Array(pattern.utf8)
    let name = Array(name.utf8)
    func equal(_ a: ArraySlice<UInt8>, _ b: ArraySlice<UInt8>) -> Bool {
      a.count == b.count && zip(a, b).allSatisfy { $0.asciiLowercased == $1.asciiLowercased }
    }
    if equal(pattern[...], name[...]) { return true }
    guard pattern.count > 2, pattern[0] == UInt8(ascii: "*"), pattern[1] == UInt8(ascii: "."),
      let dot = name.firstIndex(of: UInt8(ascii: ".")), dot > 0
    else { return false }
    return equal(pattern[1...], name[dot...])
  }
}

extension SubjectAltNameMatcher {
  /// Whether one of the names is what is wanted.
  func matches(_ names: SubjectAltNames) -> Bool {
    names.contains { name in
      switch kind {
      case .any: if case .other = name.kind { return false }
      default: guard name.kind == kind else { return false }
      }
      switch test {
      case .exactly(let wanted):
        if name.kind == .dns { return CertificateName.matches(name.text, wanted) }
        return name.text == wanted
      case .matches(let matches):
        var text = name.text
        return text.withUTF8 { matches($0) }
      }
    }
  }
}

extension SubjectAltNames {
  /// Whether one of the names is `wanted`, a DNS name or an IP address.
  func contain(host wanted: String) -> Bool {
    let address = IPAddress(wanted)?.description
    return contains { name in
      if let address { return name.kind == .ip && name.text == address }
      return name.kind == .dns && CertificateName.matches(name.text, wanted)
    }
  }
}
