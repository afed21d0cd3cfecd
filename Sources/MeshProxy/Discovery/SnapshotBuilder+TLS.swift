import MeshAPI
import MeshIO
import MeshPrimitives
import SwiftProtobuf

/// Transport sockets and secrets.
extension SnapshotBuilder {
  /// Reads `static_resources.secrets`.
  mutating func loadSecrets(_ resources: Bootstrap.StaticResources) {
    identities.secrets.beginConfiguration()
    for (index, secret) in resources.secrets.enumerated() {
      let path = "static_resources.secrets[\(index)]"
      if secrets[secret.name] != nil { report("\(path).name", "\"\(secret.name)\" is there already") }
      do { secrets[secret.name] = try SecretContent.load(secret) } catch { report(error.below(path)) }
    }
  }

  private mutating func report(_ problem: SecretProblem) { report(problem.path, problem.message) }

  /// What is between a filter chain's sockets and its filters; nil if it cannot be.
  mutating func downstreamTransport(
    _ chain: FilterChain, _ path: String, _ listener: String, statName: String
  ) -> DownstreamTransport? {
    guard chain.hasTransportSocket else { return .rawBuffer }
    let config = chain.transportSocket.typedConfig
    let configPath = "\(path).transport_socket.typed_config"
    if config.holds(RawBuffer.self) { return .rawBuffer }
    guard let message: DownstreamTlsContext = try? config.unpack() else {
      report(
        configPath, "must hold \(DownstreamTlsContext.protoMessageName) or \(RawBuffer.protoMessageName)")
      return nil
    }
    let stats = TLSStats.listener(statName, store: identities.store)
    let recipe = TLSContextRecipe(
      .downstream(message), owner: "listener \"\(listener)\"", stats: stats, configured: secrets)
    guard let cell = begin(recipe, configPath) else { return nil }
    let timeout =
      chain.hasTransportSocketConnectTimeout
      ? Nanoseconds(orNever: chain.transportSocketConnectTimeout) : DownstreamTLS.usualHandshakeTimeout
    var fingerprint = FilterChain()
    fingerprint.transportSocket = chain.transportSocket
    if chain.hasTransportSocketConnectTimeout {
      fingerprint.transportSocketConnectTimeout = chain.transportSocketConnectTimeout
    }
    return .tls(
      DownstreamTLS(
        cell, stats, handshakeTimeout: timeout,
        fingerprint: (try? fingerprint.serializedBytes()) ?? []))
  }

  /// What is between a cluster's sockets and the protocol spoken with its endpoints; nil for plaintext.
  /// - Parameter http: what requests say for it.
  mutating func upstreamTLS(_ cluster: Cluster, _ path: String, _ http: RequestTLSOptions) -> UpstreamTLS? {
    guard cluster.hasTransportSocket else { return nil }
    var config = cluster.transportSocket.typedConfig
    var configPath = "\(path).transport_socket.typed_config"
    if let wrapper: ProxyProtocolUpstreamTransport = try? config.unpack() {
      config = wrapper.transportSocket.typedConfig
      configPath += ".transport_socket.typed_config"
    }
    if config.holds(RawBuffer.self) { return nil }
    guard let message: UpstreamTlsContext = try? config.unpack() else {
      report(configPath, "must hold \(UpstreamTlsContext.protoMessageName) or \(RawBuffer.protoMessageName)")
      return nil
    }
    let statName = (cluster.altStatName.isEmpty ? cluster.name : cluster.altStatName).replacingColons
    let stats = TLSStats.cluster(statName, store: identities.store)
    let recipe = TLSContextRecipe(
      .upstream(message), owner: "cluster \"\(cluster.name)\"", stats: stats, configured: secrets)
    guard let cell = begin(recipe, configPath) else { return nil }
    var tls = UpstreamTLS(cell, stats)
    tls.serverName = message.sni
    tls.asksForHostname = message.autoHostSni
    tls.verifiesServerName = message.autoSniSanValidation
    tls.asksForRequestHost = http.autoSni
    tls.verifiesRequestHost = http.autoSanValidation
    tls.hostHeader = http.overrideAutoSniHeader.isEmpty ? nil : HeaderName(http.overrideAutoSniHeader)
    let authorities = cell.current?.authorities ?? []
    if authorities.isEmpty {
      if tls.verifiesServerName || tls.verifiesRequestHost {
        report(
          configPath, "names of certificates are verified with a trusted_ca only: anyone can make such a certificate")
      }
      if cell.current?.verifiesPeer != true {
        Log.config.warning(
          "cluster \"\(cluster.name)\": the certificates of its endpoints are not verified: there is no trusted_ca")
      }
    }
    return tls
  }

  private mutating func begin(_ recipe: TLSContextRecipe, _ path: String) -> TLSContextCell? {
    do { return try identities.secrets.begin(recipe) } catch {
      report(error.below(path))
      return nil
    }
  }
}

extension ForwardedClientCertificate {
  init(_ manager: HttpConnectionManager) {
    switch manager.forwardClientCertDetails {
    case .forwardOnly: mode = .forwardOnly
    case .appendForward: mode = .append
    case .sanitizeSet: mode = .set
    case .alwaysForwardOnly: mode = .alwaysForward
    default: mode = .sanitize
    }
    let details = manager.setCurrentClientCertDetails
    if details.cert { parts.insert(.certificate) }
    if details.chain { parts.insert(.chain) }
    if details.subject.value { parts.insert(.subject) }
    if details.uri { parts.insert(.uri) }
    if details.dns { parts.insert(.dns) }
  }
}
