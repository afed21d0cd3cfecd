import MeshIO
import MeshPrimitives
import Synchronization

/// `listener.<address>.ssl.…`, `cluster.<name>.ssl.…`
public enum TLSStat: Int, StatSet {
  case connectionError, handshake, sessionReused, noCertificate
  case failVerifyNoCertificate, failVerifyError, failVerifySAN, failVerifyCertificateHash

  public var definition: StatDefinition {
    switch self {
    case .connectionError:
      .counter(
        "connection_error",
        "Handshakes that failed: no TLS, nothing in common, or the peer did not like our certificate.")
    case .handshake: .counter("handshake", "Handshakes that were done.")
    case .sessionReused: .counter("session_reused", "Handshakes that resumed a session.")
    case .noCertificate: .counter("no_certificate", "Handshakes in which the peer showed no certificate.")
    case .failVerifyNoCertificate:
      .counter("fail_verify_no_cert", "Handshakes that failed because the client showed no certificate and has to.")
    case .failVerifyError:
      .counter("fail_verify_error", "Handshakes that failed because the peer's certificate cannot be verified.")
    case .failVerifySAN:
      .counter(
        "fail_verify_san", "Handshakes that failed because no name in the peer's certificate is one of those expected.")
    case .failVerifyCertificateHash:
      .counter(
        "fail_verify_cert_hash", "Handshakes that failed because the peer's certificate is none of those pinned.")
    }
  }
}

/// `listener.<address>.server_ssl_socket_factory.…`, `cluster.<name>.client_ssl_socket_factory.…`
public enum TLSFactoryStat: Int, StatSet {
  case updatedBySecret, downstreamSecretsNotReady, upstreamSecretsNotReady

  public var definition: StatDefinition {
    switch self {
    case .updatedBySecret:
      .counter("ssl_context_update_by_sds", "Times that a secret has brought a new certificate or authority into use.")
    case .downstreamSecretsNotReady:
      .counter(
        "downstream_context_secrets_not_ready", "Connections that could not be accepted because a secret was missing.")
    case .upstreamSecretsNotReady:
      .counter("upstream_context_secrets_not_ready", "Connections that could not be made because a secret was missing.")
    }
  }
}

/// `….ssl.certificate.<name>.…`
public enum CertificateStat: Int, StatSet {
  case expiration

  public var definition: StatDefinition {
    .gauge("expiration_unix_time_seconds", "When a certificate ends, in seconds since 1970.")
  }
}

/// What is counted of the TLS of one listener or cluster. Shared by all threads.
final class TLSStats: Sendable {
  let block: StatBlock<TLSStat>
  let factory: StatBlock<TLSFactoryStat>
  private let store: StatsStore
  private let scope: String
  private let prometheus: PrometheusScope
  private let leases: [StatsLease]
  /// Counters of what handshakes have settled, as it was met.
  private let settled = Mutex<[Settled: StatBlock<SoleStat>]>([:])

  private struct Settled: Hashable {
    let kind: String
    let name: String
  }

  /// - Parameters:
  ///   - owner: the listener's or cluster's own scope.
  ///   - factory: Envoy's word for whoever makes the contexts.
  init(_ owner: String, factory: String, prometheus: (metric: String, labels: [(String, String)]), store: StatsStore) {
    scope = "\(owner).ssl"
    self.store = store
    self.prometheus = PrometheusScope("\(prometheus.metric)_ssl", labels: prometheus.labels)
    let factoryScope = "\(owner).\(factory)"
    leases =
      [store.lease(scope), store.lease(factoryScope)]
      + ["ciphers", "versions", "curves", "sigalgs"].map { [scope] in store.lease("\(scope).\($0)") }
    block = store.scope(scope, prometheus: self.prometheus)
    self.factory = store.scope(
      factoryScope, prometheus: PrometheusScope("\(prometheus.metric)_\(factory)", labels: prometheus.labels))
  }

  /// The main thread's.
  var mainLane: Int { store.lanes - 1 }

  /// Those of a listener.
  static func listener(_ statName: String, store: StatsStore) -> TLSStats {
    TLSStats(
      ListenerIdentity.scope(statName), factory: "server_ssl_socket_factory",
      prometheus: ("envoy_listener", [ListenerIdentity.label(statName)]), store: store)
  }

  /// Those of a cluster.
  static func cluster(_ statName: String, store: StatsStore) -> TLSStats {
    TLSStats(
      "cluster.\(statName)", factory: "client_ssl_socket_factory",
      prometheus: ("envoy_cluster", [("envoy_cluster_name", statName)]), store: store)
  }

  /// What is shown of certificates.
  private let certificates = Mutex<[StatsLease]>([])

  /// Shows when certificates end. Of several of one name the first that ends.
  func show(_ ends: [(name: String, end: Int64)]) {
    var leases: [StatsLease] = []
    for (name, all) in Dictionary(grouping: ends, by: \.name) {
      let certificate = "\(scope).certificate.\(name.replacingColons)"
      leases.append(store.lease(certificate))
      let block: StatBlock<CertificateStat> = store.scope(
        certificate,
        prometheus: PrometheusScope(
          "\(prometheus.metricPrefix)_certificate",
          labels: prometheus.labels + [(name: "envoy_tls_certificate", value: name)]))
      block.lane(store.lanes - 1).set(.expiration, all.map(\.end).min() ?? 0)
    }
    certificates.withLock { $0 = leases }
  }

  /// A handshake is done.
  func count(_ details: TLSDetails, lane: Int) {
    let stats = block.lane(lane)
    stats.add(.handshake)
    if details.isResumed { stats.add(.sessionReused) }
    if details.peer == nil { stats.add(.noCertificate) }
    if let tolerated = details.tolerated { count(tolerated, stats) }
    count("versions", details.version == .v13 ? "TLSv1.3" : "TLSv1.2", lane)
    count("ciphers", TLSNames.cipher(details.cipher), lane)
    if !details.group.isEmpty { count("curves", TLSNames.group(details.group), lane) }
    if !details.signatureAlgorithm.isEmpty {
      count("sigalgs", TLSNames.signatureAlgorithm(details.signatureAlgorithm), lane)
    }
  }

  /// A handshake has failed.
  func count(_ failure: TLSFailure, lane: Int) {
    count(failure.kind, block.lane(lane))
  }

  private func count(_ failure: TLSFailure.Kind, _ stats: StatLane<TLSStat>) {
    switch failure {
    case .protocolError, .resources: stats.add(.connectionError)
    case .certificateMissing: stats.add(.failVerifyNoCertificate)
    case .certificateInvalid: stats.add(.failVerifyError)
    case .nameMismatch: stats.add(.failVerifySAN)
    case .pinMismatch: stats.add(.failVerifyCertificateHash)
    case .closed: break
    }
  }

  private func count(_ kind: String, _ name: StaticString, _ lane: Int) {
    let key = Settled(kind: kind, name: name.description)
    let counter = settled.withLock { settled in
      if let known = settled[key] { return known }
      let made = store.counter(
        "\(scope).\(kind)", name, help: "Handshakes that settled this.",
        prometheus: PrometheusScope("\(prometheus.metricPrefix)_\(kind)", labels: prometheus.labels))
      settled[key] = made
      return made
    }
    counter.lane(lane).add(.count)
  }
}

/// The names that statistics have for what handshakes settle.
enum TLSNames {
  static func cipher(_ number: UInt16) -> StaticString {
    switch number {
    case 0x1301: "TLS_AES_128_GCM_SHA256"
    case 0x1302: "TLS_AES_256_GCM_SHA384"
    case 0x1303: "TLS_CHACHA20_POLY1305_SHA256"
    case 0xc02b: "ECDHE-ECDSA-AES128-GCM-SHA256"
    case 0xc02c: "ECDHE-ECDSA-AES256-GCM-SHA384"
    case 0xc02f: "ECDHE-RSA-AES128-GCM-SHA256"
    case 0xc030: "ECDHE-RSA-AES256-GCM-SHA384"
    case 0xcca8: "ECDHE-RSA-CHACHA20-POLY1305"
    case 0xcca9: "ECDHE-ECDSA-CHACHA20-POLY1305"
    case 0xc009: "ECDHE-ECDSA-AES128-SHA"
    case 0xc00a: "ECDHE-ECDSA-AES256-SHA"
    case 0xc013: "ECDHE-RSA-AES128-SHA"
    case 0xc014: "ECDHE-RSA-AES256-SHA"
    case 0xc023: "ECDHE-ECDSA-AES128-SHA256"
    case 0xc027: "ECDHE-RSA-AES128-SHA256"
    case 0x009c: "AES128-GCM-SHA256"
    case 0x009d: "AES256-GCM-SHA384"
    case 0x002f: "AES128-SHA"
    case 0x0035: "AES256-SHA"
    default: "other"
    }
  }

  static func group(_ name: String) -> StaticString {
    switch name {
    case "X25519": "X25519"
    case "X448": "X448"
    case "P-256": "P-256"
    case "P-384": "P-384"
    case "P-521": "P-521"
    default: "other"
    }
  }

  static func signatureAlgorithm(_ name: String) -> StaticString {
    switch name {
    case "rsa_pkcs1_sha256": "rsa_pkcs1_sha256"
    case "rsa_pkcs1_sha384": "rsa_pkcs1_sha384"
    case "rsa_pkcs1_sha512": "rsa_pkcs1_sha512"
    case "rsa_pss_rsae_sha256": "rsa_pss_rsae_sha256"
    case "rsa_pss_rsae_sha384": "rsa_pss_rsae_sha384"
    case "rsa_pss_rsae_sha512": "rsa_pss_rsae_sha512"
    case "ecdsa_secp256r1_sha256": "ecdsa_secp256r1_sha256"
    case "ecdsa_secp384r1_sha384": "ecdsa_secp384r1_sha384"
    case "ecdsa_secp521r1_sha512": "ecdsa_secp521r1_sha512"
    case "ed25519": "ed25519"
    default: "other"
    }
  }
}
