import MeshIO
import MeshPrimitives

/// What is known of a connection to an upstream. One object for all of its requests. Immutable.
public final class UpstreamConnectionInfo: Sendable {
  /// The other end.
  public let address: SocketAddress
  /// This end; nil for a Unix socket, whose own end has no name.
  public let localAddress: SocketAddress?
  /// Unique in this process; `%UPSTREAM_CONNECTION_ID%`.
  public let identifier: UInt64
  /// When `connect` was called.
  public let openedAt: MonotonicTime
  /// When the connection was established.
  public let establishedAt: MonotonicTime
  /// What the handshake has settled; nil without TLS.
  public let tls: TLSDetails?

  public init(
    address: SocketAddress, localAddress: SocketAddress?, identifier: UInt64, openedAt: MonotonicTime,
    establishedAt: MonotonicTime, tls: TLSDetails? = nil
  ) {
    self.address = address
    self.localAddress = localAddress
    self.identifier = identifier
    self.openedAt = openedAt
    self.establishedAt = establishedAt
    self.tls = tls
  }
}
