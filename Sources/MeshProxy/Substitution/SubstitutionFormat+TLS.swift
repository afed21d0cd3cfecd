import MeshIO
import MeshPrimitives

/// What is known of the TLS of a connection.
extension SubstitutionFormat {
  static func writeTLS(
    _ tls: TLSDetails?, _ step: Step, _ program: Program, _ output: inout SubstitutionOutput
  ) -> Bool {
    guard let tls, let field = SubstitutionTLSField(rawValue: step.alternativeIndex) else { return false }
    switch field {
    case .version: output.append(tls.version == .v13 ? "TLSv1.3" : "TLSv1.2")
    case .cipher: return writeText(tls.cipherName, &output)
    case .group: return writeText(tls.group, &output)
    case .sessionID: return writeText(tls.sessionIdentifier, &output)
    case .serverName: return writeText(tls.serverName, &output)
    case .handshakeDuration: output.append(decimal: tls.handshakeTime.wholeMilliseconds)
    case .ownSubject: return writeText(tls.own?.subject, &output)
    case .ownDNS: return writeList(tls.own?.dnsNames, &output)
    case .ownURI: return writeList(tls.own?.uris, &output)
    case .ownIP: return writeList(tls.own?.addresses, &output)
    case .ownEmail: return writeList(tls.own?.emails, &output)
    case .ownOther: return writeList(tls.own?.otherNames, &output)
    default:
      guard let peer = tls.peer else { return false }
      return writePeer(field, peer, step, program, &output)
    }
    return true
  }

  private static func writePeer(
    _ field: SubstitutionTLSField, _ peer: CertificateFacts, _ step: Step, _ program: Program,
    _ output: inout SubstitutionOutput
  ) -> Bool {
    let all = [peer] + peer.chain
    switch field {
    case .peerCertificate: return writeText(ForwardedClientCertificate.encoded(peer.pem), &output)
    case .peerSubject: return writeText(peer.subject, &output)
    case .peerIssuer: return writeText(peer.issuer, &output)
    case .peerSerial: return writeText(peer.serialNumber, &output)
    case .peerFingerprint256: return writeText(peer.fingerprint256, &output)
    case .peerFingerprint1: return writeText(peer.fingerprint1, &output)
    case .peerStart: return writeDate(peer.notBefore, step, program, &output)
    case .peerEnd: return writeDate(peer.notAfter, step, program, &output)
    case .peerDNS: return writeList(peer.dnsNames, &output)
    case .peerURI: return writeList(peer.uris, &output)
    case .peerIP: return writeList(peer.addresses, &output)
    case .peerEmail: return writeList(peer.emails, &output)
    case .peerOther: return writeList(peer.otherNames, &output)
    case .peerChainSerials: return writeList(all.map(\.serialNumber), &output)
    case .peerChainFingerprints256: return writeList(all.map(\.fingerprint256), &output)
    case .peerChainFingerprints1: return writeList(all.map(\.fingerprint1), &output)
    case .peerIssuerSerial: return writeText(peer.chain.first?.serialNumber, &output)
    case .peerIssuerFingerprint256: return writeText(peer.chain.first?.fingerprint256, &output)
    default: return false
    }
  }

  private static func writeDate(
    _ seconds: Int64, _ step: Step, _ program: Program, _ output: inout SubstitutionOutput
  ) -> Bool {
    // Wall clocks here begin in 1970 and end in 2554.
    let bounded = UInt64(min(max(seconds, 0), 18_000_000_000))
    writeTime(bounded * 1_000_000_000, step, program, &output)
    return true
  }

  private static func writeText(_ text: String?, _ output: inout SubstitutionOutput) -> Bool {
    guard let text, !text.isEmpty else { return false }
    output.appendEscaped(text)
    return true
  }

  private static func writeList(_ list: [String]?, _ output: inout SubstitutionOutput) -> Bool {
    guard let list, !list.isEmpty else { return false }
    output.appendEscaped(list.joined(separator: ","))
    return true
  }
}
