import MeshAPI
import MeshConfig
import MeshIO

/// What is wrong with a secret, or with a TLS context, and where; the path is relative to the message that is read.
struct SecretProblem: Error, Equatable {
  var path: String
  var message: String

  func below(_ prefix: String) -> SecretProblem {
    SecretProblem(path: path.isEmpty ? prefix : "\(prefix).\(path)", message: message)
  }
}

/// A secret whose files have been read, so that it stays what it is whatever becomes of them.
enum SecretContent: Sendable {
  case certificate(TLSCertificateText)
  case validation(ValidationContent)
  case ticketKeys([TLSTicketKeys.Key])

  /// What is expected of a peer's certificate, with the texts that it refers to.
  struct ValidationContent: Sendable {
    var message: CertificateValidationContext
    var trustedCA: PEMText?
    var revoked: PEMText?

    /// As protobuf merges messages: lists are joined, other values replaced.
    func merged(with other: ValidationContent) -> ValidationContent {
      var result = self
      // Messages of one type always merge.
      if let bytes: [UInt8] = try? other.message.serializedBytes() { try? result.message.merge(serializedBytes: bytes) }
      if let text = other.trustedCA { result.trustedCA = text }
      if let text = other.revoked { result.revoked = text }
      return result
    }
  }

  /// Reads what a secret refers to, and checks what can be checked of a secret alone.
  static func load(_ secret: Secret) throws(SecretProblem) -> SecretContent {
    switch secret.type {
    case .tlsCertificate(let message):
      do { return .certificate(try certificate(message)) } catch { throw error.below("tls_certificate") }
    case .validationContext(let message):
      do { return .validation(try validation(message)) } catch { throw error.below("validation_context") }
    case .sessionTicketKeys(let message):
      do { return .ticketKeys(try ticketKeys(message)) } catch { throw error.below("session_ticket_keys") }
    case nil: throw SecretProblem(path: "", message: "says nothing (tls_certificate, validation_context, …)")
    }
  }

  static func certificate(_ message: MeshAPI.TlsCertificate) throws(SecretProblem) -> TLSCertificateText {
    guard message.hasCertificateChain else {
      throw SecretProblem(path: "certificate_chain", message: "must be given")
    }
    guard message.hasPrivateKey else { throw SecretProblem(path: "private_key", message: "must be given") }
    let text = TLSCertificateText(
      chain: try pem(message.certificateChain, "certificate_chain"), key: try pem(message.privateKey, "private_key"),
      password: message.hasPassword ? try bytes(message.password, "password") : nil)
    do { try text.check() } catch {
      switch error.subject {
      case .privateKey: throw SecretProblem(path: "private_key", message: error.message)
      default: throw SecretProblem(path: "certificate_chain", message: error.message)
      }
    }
    return text
  }

  static func validation(_ message: CertificateValidationContext) throws(SecretProblem) -> ValidationContent {
    var content = ValidationContent(message: message)
    if message.hasTrustedCa { content.trustedCA = try pem(message.trustedCa, "trusted_ca") }
    if message.hasCrl { content.revoked = try pem(message.crl, "crl") }
    return content
  }

  static func ticketKeys(_ message: TlsSessionTicketKeys) throws(SecretProblem) -> [TLSTicketKeys.Key] {
    var keys: [TLSTicketKeys.Key] = []
    for (index, source) in message.keys.enumerated() {
      let bytes = try bytes(source, "keys[\(index)]")
      guard let key = TLSTicketKeys.Key(bytes) else {
        throw SecretProblem(
          path: "keys[\(index)]", message: "must have \(TLSTicketKeys.Key.size) bytes, not \(bytes.count)")
      }
      keys.append(key)
    }
    guard !keys.isEmpty else { throw SecretProblem(path: "keys", message: "must have a key") }
    return keys
  }

  private static func pem(_ source: DataSource, _ path: String) throws(SecretProblem) -> PEMText {
    PEMText(try bytes(source, path), source: source.filename.isEmpty ? source.kind : source.filename)
  }

  private static func bytes(_ source: DataSource, _ path: String) throws(SecretProblem) -> [UInt8] {
    do { return try DataSourceReader.bytes(of: source, limit: 1 << 20) } catch {
      throw SecretProblem(path: path, message: error.description)
    }
  }

  /// The files that a secret is read from.
  static func files(of secret: Secret) -> [String] {
    let sources: [DataSource] =
      switch secret.type {
      case .tlsCertificate(let message): [message.certificateChain, message.privateKey, message.password]
      case .validationContext(let message): [message.trustedCa, message.crl]
      case .sessionTicketKeys(let message): message.keys
      case nil: []
      }
    return sources.map(\.filename).filter { !$0.isEmpty }
  }

  /// The directory in which a move means that the files of a secret have changed; empty: that of each file.
  static func watchedDirectory(of secret: Secret) -> String {
    switch secret.type {
    case .tlsCertificate(let message): message.watchedDirectory.path
    case .validationContext(let message): message.watchedDirectory.path
    case .sessionTicketKeys, nil: ""
    }
  }
}

extension DataSource {
  /// What people call it.
  fileprivate var kind: String {
    switch specifier {
    case .environmentVariable(let name): "environment variable \(name)"
    default: "inline"
    }
  }
}
