import MeshHTTP
import MeshIO
import MeshPrimitives

/// Connections to the cluster's endpoints.
extension ActiveCluster {
  /// There can be no connection: what TLS needs has not arrived.
  struct SecretsNotReady: Error {
    var detail: StaticString { "TLS_secrets_not_ready" }
  }

  /// The TLS of a connection; nil for plaintext.
  /// - Parameters:
  ///   - host: of the requests that the connection is for, where it depends on that.
  ///   - codec: what is to be spoken.
  func tls(
    for endpoint: Endpoint, host: String, codec: PoolKey.Codec
  ) throws(SecretsNotReady) -> ConnectAttempt.TLS? {
    guard let tls else { return nil }
    guard let context = tls.cell.current else {
      tls.stats.factory.lane(worker.index).add(.upstreamSecretsNotReady)
      throw SecretsNotReady()
    }
    return ConnectAttempt.TLS(context, tls.target(endpoint, host: host, codec: codec))
  }

  /// Begins a connection to an endpoint as the configuration says: from which address, with which socket options, with
  /// which header before everything else. The attempt is to be started.
  /// - Parameter client: the connection that the new one is for; nil if it is for many, or for none.
  func beginConnection(
    to endpoint: Endpoint, _ tls: ConnectAttempt.TLS?, client: ConnectionInfo?, for owner: any ConnectAttemptOwner
  ) -> Result<ConnectAttempt, SystemError> {
    let source = configuration.pool.source(for: endpoint.address)
    return Socket.connect(to: endpoint.address, bindTo: source.address, options: source.options).map { descriptor in
      ConnectAttempt(
        loop: worker.loop, descriptor: descriptor, address: endpoint.address, timeout: configuration.connectTimeout,
        preamble: configuration.proxyHeader?.bytes(for: client) ?? [], tls: tls, owner: owner)
    }
  }
}
