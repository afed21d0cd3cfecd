import MeshAPI
import MeshIO
import MeshPrimitives

/// How the TLS context of a filter chain or a cluster is made: once with its configuration, and again whenever one of its
/// secrets changes. Confined to the main thread.
final class TLSContextRecipe {
  enum Kind {
    case downstream(DownstreamTlsContext)
    case upstream(UpstreamTlsContext)
  }

  /// What makes two configurations' transports the same one.
  struct Identity: Hashable {
    /// For messages: `listener "x"`, `cluster "y"`.
    let owner: String
    let message: [UInt8]
  }

  let kind: Kind
  let identity: Identity
  /// The secrets of the configuration that it belongs to, by name.
  private let configured: [String: SecretContent]
  let stats: TLSStats
  /// Where the context is put; it goes with the last configuration that has it.
  weak var cell: TLSContextCell?

  init(_ kind: Kind, owner: String, stats: TLSStats, configured: [String: SecretContent]) {
    self.kind = kind
    self.stats = stats
    self.configured = configured
    let message: [UInt8]? =
      switch kind {
      case .downstream(let context): try? context.serializedBytes()
      case .upstream(let context): try? context.serializedBytes()
      }
    identity = Identity(owner: owner, message: message ?? [])
  }

  var owner: String { identity.owner }

  var shared: SharedTlsContext {
    switch kind {
    case .downstream(let context): context.commonTlsContext
    case .upstream(let context): context.commonTlsContext
    }
  }

  /// The secrets that it refers to, and where it does.
  var references: [(path: String, config: SdsSecretConfig)] {
    let shared = self.shared
    var result = shared.tlsCertificateSdsSecretConfigs.enumerated().map {
      (path: "common_tls_context.tls_certificate_sds_secret_configs[\($0.offset)]", config: $0.element)
    }
    switch shared.validationContextType {
    case .validationContextSdsSecretConfig(let config):
      result.append(("common_tls_context.validation_context_sds_secret_config", config))
    case .combinedValidationContext(let combined):
      let path = "common_tls_context.combined_validation_context.validation_context_sds_secret_config"
      result.append((path, combined.validationContextSdsSecretConfig))
    case .validationContext, nil: break
    }
    if case .downstream(let context) = kind,
      case .sessionTicketKeysSdsSecretConfig(let config)? =
        context.sessionTicketKeysType
    {
      result.append(("session_ticket_keys_sds_secret_config", config))
    }
    return result
  }

  /// Whether a secret is one of those.
  func uses(_ key: SecretKey) -> Bool { references.contains { SecretKey($0.config) == key } }

  /// When the certificates of a context end, by the names that statistics have for them: those of their secrets, or Envoy's
  /// for what has no name.
  func ends(of context: TLSContext) -> [(name: String, end: Int64)] {
    let secrets = shared.tlsCertificateSdsSecretConfigs.map(\.name)
    var result = context.ownCertificates.enumerated().map { index, shown in
      (name: index < secrets.count ? secrets[index] : "unnamed_cert_e3b0c442", end: shown.facts.notAfter)
    }
    let authority =
      switch shared.validationContextType {
      case .validationContextSdsSecretConfig(let config): config.name
      case .combinedValidationContext(let combined): combined.validationContextSdsSecretConfig.name
      case .validationContext, nil: "unnamed_ca_cert_e3b0c442"
      }
    if let first = context.authorities.first { result.append((authority, first.notAfter)) }
    return result
  }

  /// The directories in which a move means that files of the context itself have changed.
  var watchedDirectories: Set<String> {
    var result = Set(shared.tlsCertificates.map(\.watchedDirectory.path))
    switch shared.validationContextType {
    case .validationContext(let message): result.insert(message.watchedDirectory.path)
    case .combinedValidationContext(let combined):
      result.insert(combined.defaultValidationContext.watchedDirectory.path)
    case .validationContextSdsSecretConfig, nil: break
    }
    result.remove("")
    return result
  }

  /// Makes the context from what its files and secrets are now.
  /// - Parameter isUpdate: secrets are those that the store has read, which is what the update is about.
  func make(_ store: SecretStore, isUpdate: Bool = false) throws(SecretProblem) -> TLSContext {
    let secrets = SecretLookup(configured: configured, store: store, isUpdate: isUpdate)
    return switch kind {
    case .downstream(let context): try makeServer(context, secrets)
    case .upstream(let context): try makeClient(context, secrets)
    }
  }

  private func makeServer(_ context: DownstreamTlsContext, _ secrets: SecretLookup) throws(SecretProblem) -> TLSContext
  {
    var settings = TLSServerSettings()
    let certificates = try certificates(secrets)
    guard !certificates.isEmpty else {
      throw SecretProblem(
        path: "common_tls_context",
        message: "a server needs a certificate (tls_certificates or tls_certificate_sds_secret_configs)")
    }
    settings.parameters = try parameters(newest: .v13)
    settings.certificates = certificates.map(\.text)
    settings.verification = try verification(secrets)
    settings.requiresClientCertificate = context.requireClientCertificate.value
    settings.applicationProtocols = shared.alpnProtocols
    settings.scansAllCertificates = context.fullScanCertsOnSniMismatch.value
    settings.prefersClientCiphers = context.preferClientCiphers
    settings.remembersSessions = !context.disableStatefulSessionResumption
    if context.hasSessionTimeout {
      settings.sessionSeconds = Int(clamping: max(0, context.sessionTimeout.seconds))
    }
    settings.ticketKeys = try ticketKeys(context, secrets)
    settings.sessionContext = sessionContext(context)
    do { return try TLSContext(settings) } catch { throw problem(error, certificates) }
  }

  private func ticketKeys(
    _ context: DownstreamTlsContext, _ secrets: SecretLookup
  ) throws(SecretProblem) -> TLSTicketKeys? {
    switch context.sessionTicketKeysType {
    case .disableStatelessSessionResumption(true): return nil
    case .sessionTicketKeys(let message):
      do { return TLSTicketKeys(try SecretContent.ticketKeys(message)) } catch {
        throw error.below("session_ticket_keys")
      }
    case .sessionTicketKeysSdsSecretConfig(let config):
      let path = "session_ticket_keys_sds_secret_config"
      guard case .ticketKeys(let keys) = try secrets.content(config, path) else {
        throw SecretProblem(path: path, message: "secret \"\(config.name)\" holds no session_ticket_keys")
      }
      return TLSTicketKeys(keys)
    case .disableStatelessSessionResumption(false), nil: return secrets.store.ownTicketKeys
    }
  }

  /// Who is let in by what a client once showed: with another answer its session is not resumed.
  private func sessionContext(_ context: DownstreamTlsContext) -> [UInt8] {
    var demands = DownstreamTlsContext()
    demands.requireClientCertificate = context.requireClientCertificate
    demands.commonTlsContext.validationContextType = context.commonTlsContext.validationContextType
    return (try? demands.serializedBytes()) ?? []
  }

  private func makeClient(_ context: UpstreamTlsContext, _ secrets: SecretLookup) throws(SecretProblem) -> TLSContext {
    var settings = TLSClientSettings()
    let certificates = try certificates(secrets)
    guard certificates.count <= 1 else {
      throw SecretProblem(path: certificates[1].path, message: "a client has one certificate at most")
    }
    settings.parameters = try parameters(newest: .v12)
    settings.certificates = certificates.map(\.text)
    settings.verification = try verification(secrets)
    settings.applicationProtocols = shared.alpnProtocols
    if context.hasMaxSessionKeys { settings.maximumSessions = Int(min(context.maxSessionKeys.value, 1_000_000)) }
    do { return try TLSContext(settings) } catch { throw problem(error, certificates) }
  }

  // MARK: Parts

  private func certificates(_ secrets: SecretLookup) throws(SecretProblem) -> [(text: TLSCertificateText, path: String)]
  {
    let shared = self.shared
    var result: [(text: TLSCertificateText, path: String)] = []
    for (index, message) in shared.tlsCertificates.enumerated() {
      let path = "common_tls_context.tls_certificates[\(index)]"
      do { result.append((try SecretContent.certificate(message), path)) } catch { throw error.below(path) }
    }
    for (index, config) in shared.tlsCertificateSdsSecretConfigs.enumerated() {
      let path = "common_tls_context.tls_certificate_sds_secret_configs[\(index)]"
      guard shared.tlsCertificates.isEmpty else {
        throw SecretProblem(path: path, message: "must not be combined with tls_certificates")
      }
      guard case .certificate(let text) = try secrets.content(config, path) else {
        throw SecretProblem(path: path, message: "secret \"\(config.name)\" holds no tls_certificate")
      }
      result.append((text, path))
    }
    return result
  }

  private func verification(_ secrets: SecretLookup) throws(SecretProblem) -> PeerVerification? {
    let content: SecretContent.ValidationContent
    let path: String
    switch shared.validationContextType {
    case .validationContext(let message):
      path = "common_tls_context.validation_context"
      do { content = try SecretContent.validation(message) } catch { throw error.below(path) }
    case .validationContextSdsSecretConfig(let config):
      path = "common_tls_context.validation_context_sds_secret_config"
      content = try validation(config, path, secrets)
    case .combinedValidationContext(let combined):
      path = "common_tls_context.combined_validation_context"
      let base: SecretContent.ValidationContent
      do { base = try SecretContent.validation(combined.defaultValidationContext) } catch {
        throw error.below("\(path).default_validation_context")
      }
      content = base.merged(
        with: try validation(
          combined.validationContextSdsSecretConfig, "\(path).validation_context_sds_secret_config", secrets))
    case nil: return nil
    }
    do { return try PeerVerification(content) } catch { throw error.below(path) }
  }

  private func validation(
    _ config: SdsSecretConfig, _ path: String, _ secrets: SecretLookup
  ) throws(SecretProblem) -> SecretContent.ValidationContent {
    guard case .validation(let content) = try secrets.content(config, path) else {
      throw SecretProblem(path: path, message: "secret \"\(config.name)\" holds no validation_context")
    }
    return content
  }

  private func parameters(newest: TLSVersion) throws(SecretProblem) -> TLSParameters {
    let message = shared.tlsParams
    var parameters = TLSParameters()
    let path = "common_tls_context.tls_params"
    parameters.minimum =
      try Self.version(message.tlsMinimumProtocolVersion, "\(path).tls_minimum_protocol_version") ?? .v12
    parameters.maximum =
      try Self.version(message.tlsMaximumProtocolVersion, "\(path).tls_maximum_protocol_version")
      ?? max(newest, parameters.minimum)
    parameters.ciphers = message.cipherSuites
    parameters.groups = message.ecdhCurves
    parameters.signatureAlgorithms = message.signatureAlgorithms
    return parameters
  }

  private static func version(
    _ value: MeshAPI.TlsParameters.TlsProtocol, _ path: String
  ) throws(SecretProblem) -> TLSVersion? {
    switch value {
    case .tlsv12: return .v12
    case .tlsv13: return .v13
    case .tlsv10, .tlsv11:
      throw SecretProblem(path: path, message: "TLS before 1.2 is not supported (TLSv1_2, TLSv1_3)")
    default: return nil
    }
  }

  private func problem(
    _ error: TLSConfigurationError, _ certificates: [(text: TLSCertificateText, path: String)]
  ) -> SecretProblem {
    let base = "common_tls_context"
    func certificate(_ index: Int) -> String { index < certificates.count ? certificates[index].path : base }
    let path =
      switch error.subject {
      case .certificateChain(let index), .privateKey(let index): certificate(index)
      case .trustedCA, .revocationList, .names: "\(base).\(validationPath)"
      case .ciphers: "\(base).tls_params.cipher_suites"
      case .groups: "\(base).tls_params.ecdh_curves"
      case .signatureAlgorithms: "\(base).tls_params.signature_algorithms"
      case .versions: "\(base).tls_params"
      case .applicationProtocols: "\(base).alpn_protocols"
      case .other: base
      }
    return SecretProblem(path: path, message: error.message)
  }

  private var validationPath: String {
    switch shared.validationContextType {
    case .validationContextSdsSecretConfig: "validation_context_sds_secret_config"
    case .combinedValidationContext: "combined_validation_context"
    case .validationContext, nil: "validation_context"
    }
  }
}
