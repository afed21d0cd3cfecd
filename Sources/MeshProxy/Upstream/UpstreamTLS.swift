import MeshHTTP
import MeshIO
import MeshPrimitives

/// TLS with the endpoints of a cluster (`UpstreamTlsContext`). Immutable but for the context, which changes with its
/// secrets; shared by all threads.
struct UpstreamTLS: Sendable {
  let cell: TLSContextCell
  let stats: TLSStats
  /// `sni`.
  var serverName = ""
  /// `auto_host_sni`: the endpoint's host name is asked for, if it has one.
  var asksForHostname = false
  /// `auto_sni_san_validation`: the name that is asked for must be in the certificate.
  var verifiesServerName = false
  /// `auto_sni`: the host of the request is asked for.
  var asksForRequestHost = false
  /// `auto_san_validation`: the host of the request must be in the certificate.
  var verifiesRequestHost = false
  /// `override_auto_sni_header`: stands for the host where a request has it.
  var hostHeader: HeaderName?

  init(_ cell: TLSContextCell, _ stats: TLSStats) {
    self.cell = cell
    self.stats = stats
  }

  /// Whether connections are made for the host of a request.
  var dependsOnRequest: Bool { asksForRequestHost || verifiesRequestHost }

  /// The host that a connection for a request is made for; empty if requests do not matter.
  func host(of headers: HeaderMap) -> String {
    guard dependsOnRequest else { return "" }
    if let hostHeader, let value = headers.value(hostHeader), value.count > 0 { return Authority.host(value.text) }
    return headers.value(.host).map { Authority.host($0.text) } ?? ""
  }

  /// What a connection asks for.
  /// - Parameter host: see `host(of:)`.
  func target(_ endpoint: Endpoint, host: String, codec: PoolKey.Codec) -> TLSClientTarget {
    var target = TLSClientTarget(serverName: serverName)
    if asksForHostname, !endpoint.hostname.isEmpty { target.serverName = endpoint.hostname }
    if asksForRequestHost, !host.isEmpty { target.serverName = host }
    // A request without a host reaches nobody: an empty name is in no certificate.
    if verifiesRequestHost, codec != .tcp { target.expectedNames = [host] }
    // What is spoken is offered, unless `alpn_protocols` say otherwise.
    target.applicationProtocols =
      switch codec {
      case .http1: ["http/1.1"]
      case .http2: ["h2"]
      case .negotiated: ["h2", "http/1.1"]
      case .tcp: []
      }
    if verifiesServerName, !target.serverName.isEmpty { target.expectedNames = [target.serverName] }
    return target
  }
}
