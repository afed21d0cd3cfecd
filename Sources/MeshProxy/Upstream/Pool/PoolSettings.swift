import MeshIO
import MeshPrimitives

/// How a cluster's connections are made and kept.
public struct PoolSettings: Sendable, Equatable {
  /// Where connections come from (`upstream_bind_config`).
  public struct Source: Sendable, Equatable {
    public var address: SocketAddress
    public var options: SocketOptions
  }

  /// At most one for each IP version; the first where none has the endpoint's version.
  public var sources: [Source] = []
  /// Options of connections that no source speaks of.
  public var options = SocketOptions()
  /// Connections for each request that is active or waits, 1… (`per_upstream_preconnect_ratio`).
  public var preconnectRatio = 1.0
  /// Each downstream connection has upstream connections of its own
  /// (`connection_pool_per_downstream_connection`).
  public var isPerDownstreamConnection = false

  /// How a pool's connections come by their version of HTTP.
  enum Codec: Sendable, Equatable {
    case always(PoolKey.Codec)
    /// The one that the request came by (`use_downstream_protocol_config`).
    case asDownstream
  }
  /// `HttpProtocolOptions.upstream_protocol_options`.
  var codec = Codec.always(.http1)

  public init() {}

  /// All requests of one priority share connections.
  var isOne: Bool { !isPerDownstreamConnection && codec != .asDownstream }

  /// Where a connection to `endpoint` comes from, and its socket's options.
  func source(for endpoint: SocketAddress) -> (address: SocketAddress?, options: SocketOptions) {
    guard !endpoint.isUnix, let first = sources.first else { return (nil, options) }
    let source = sources.first { $0.address.ip.family == endpoint.ip.family } ?? first
    return (source.address, source.options)
  }
}
