import MeshPrimitives

internal import COpenSSL

/// Which of several certificates a client gets: the one that has the name it asks for, exactly before by wildcard, and an
/// ECDSA one before an RSA one if the client can use both (as Envoy chooses). Pure; immutable.
struct CertificateChoice: Sendable {
  struct Candidate: Sendable, Equatable {
    var isECDSA: Bool
    /// `name`, or `*.rest`.
    var names: [String]
  }

  private let candidates: [Candidate]
  private let scansAll: Bool
  /// Candidates by lower-case name, in their order; wildcards under `.rest`.
  private let byName: [String: [Int]]

  init(_ candidates: [Candidate], scansAll: Bool) {
    self.candidates = candidates
    self.scansAll = scansAll
    var byName: [String: [Int]] = [:]
    for (index, candidate) in candidates.enumerated() {
      for name in candidate.names.map({ $0.lowercased() }) {
        let key = name.hasPrefix("*.") ? String(name.dropFirst()) : name
        if byName[key]?.last != index { byName[key, default: []].append(index) }
      }
    }
    self.byName = byName
  }

  init(_ certificates: [TLSCertificate], scansAll: Bool) {
    self.init(
      certificates.map { Candidate(isECDSA: $0.isECDSA, names: $0.serverNames) }, scansAll: scansAll)
  }

  /// - Parameters:
  ///   - name: what the client asks for; empty if nothing.
  ///   - takesECDSA: the client can verify ECDSA signatures.
  /// - Returns: the place of the certificate.
  func index(forName name: String, takesECDSA: Bool) -> Int {
    var name = name.lowercased()
    if name.hasSuffix(".") { name.removeLast() }
    if !name.isEmpty {
      if let found = best(of: byName[name] ?? [], takesECDSA) { return found }
      if let dot = name.firstIndex(of: "."), dot > name.startIndex,
        let found = best(of: byName[String(name[dot...])] ?? [], takesECDSA)
      {
        return found
      }
      if !scansAll { return 0 }
    }
    return best(of: candidates.indices, takesECDSA) ?? 0
  }

  private func best(of indices: some Sequence<Int>, _ takesECDSA: Bool) -> Int? {
    var second: Int?
    for index in indices {
      if candidates[index].isECDSA == takesECDSA { return index }
      // An RSA certificate is of use to every client.
      if takesECDSA, second == nil { second = index }
    }
    return second
  }
}
