import MeshHTTP
import MeshIO
import MeshPrimitives

/// What becomes of `x-forwarded-client-cert` (`forward_client_cert_details`), and what it says of the client's certificate
/// (`set_current_client_cert_details`). Immutable.
struct ForwardedClientCertificate: Equatable, Sendable {
  enum Mode: Equatable, Sendable { case sanitize, forwardOnly, append, set, alwaysForward }

  /// Parts beside the hash.
  struct Parts: OptionSet, Sendable {
    let rawValue: UInt8

    static let certificate = Parts(rawValue: 1)
    static let chain = Parts(rawValue: 2)
    static let subject = Parts(rawValue: 4)
    static let uri = Parts(rawValue: 8)
    static let dns = Parts(rawValue: 16)
  }

  var mode = Mode.sanitize
  var parts: Parts = []

  /// Whether it depends on the connection what becomes of the header.
  var asksConnection: Bool { mode != .sanitize && mode != .alwaysForward }

  /// Makes the header what it is to be, for a mode that depends on the connection.
  func apply(_ headers: HeaderMap, _ tls: TLSDetails?) {
    guard let tls, let peer = tls.peer else { return headers.remove(.xForwardedClientCert) }
    guard mode == .append || mode == .set else { return }
    var text = value(peer, own: tls.own)
    text.withUTF8 { bytes in
      if mode == .set {
        headers.set(.xForwardedClientCert, bytes)
      } else {
        headers.appendValue(.xForwardedClientCert, separator: ",", bytes)
      }
    }
  }

  /// One element: `By=…;Hash=…;Subject="…"`, in Envoy's order.
  func value(_ peer: CertificateFacts, own: CertificateFacts?) -> String {
    var elements = (own?.uris ?? []).map { "By=\($0)" }
    elements.append("Hash=\(peer.fingerprint256)")
    if parts.contains(.certificate) { elements.append("Cert=\"\(Self.encoded(peer.pem))\"") }
    if parts.contains(.chain) { elements.append("Chain=\"\(Self.encoded(peer.chainPEM))\"") }
    if parts.contains(.subject) { elements.append("Subject=\"\(Self.printable(peer.subject))\"") }
    if parts.contains(.uri) { elements += peer.uris.isEmpty ? ["URI="] : peer.uris.map { "URI=\($0)" } }
    if parts.contains(.dns) { elements += peer.dnsNames.map { "DNS=\($0)" } }
    return elements.joined(separator: ";")
  }

  /// What PEM has and a header's value is better without.
  static func encoded(_ pem: String) -> String {
    var out = ""
    out.reserveCapacity(pem.utf8.count + 128)
    for character in pem {
      switch character {
      case "\n": out += "%0A"
      case " ": out += "%20"
      case "+": out += "%2B"
      case "/": out += "%2F"
      case "=": out += "%3D"
      default: out.append(character)
      }
    }
    return out
  }

  /// A name is the peer's to choose: what no header may hold becomes `?`.
  private static func printable(_ text: String) -> String {
    text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
      ? text : String(text.map { $0.isASCII && ($0.asciiValue ?? 0) < 0x20 || $0 == "\u{7f}" ? "?" : $0 })
  }
}
