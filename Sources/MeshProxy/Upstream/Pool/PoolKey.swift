import MeshRouting

/// Which requests to an endpoint share connections: those of one priority, by one version of HTTP and, where the cluster
/// is so configured, of one downstream connection.
struct PoolKey: Hashable {
  /// What connections of a pool speak.
  enum Codec: UInt8, Sendable {
    case http1, http2
    /// What the handshake agrees on (ALPN).
    case negotiated
    /// Nothing: each carries the bytes of one tunnel.
    case tcp
  }

  var priority = RoutePriority.normal
  var codec = Codec.http1
  /// The downstream connection; 0: all.
  var connection: UInt64 = 0
  /// The host of the requests, where TLS asks for it or verifies it (`UpstreamTLS.host`); empty: it does not matter.
  var host = ""

  /// Whether there may be ever new keys: their pools go when they are empty.
  var isPassing: Bool { connection != 0 || !host.isEmpty }
}
