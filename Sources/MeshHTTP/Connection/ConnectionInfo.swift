import MeshIO
import MeshPrimitives

/// Who is at the two ends of a downstream connection. One object for all of its streams, but for those whose headers
/// name a client further away. Immutable.
public final class ConnectionInfo: Sendable {
  /// The client: whoever is connected, or whom trusted proxies between have named (its port is then 0).
  public let remoteAddress: SocketAddress
  /// Whoever is connected.
  public let directRemoteAddress: SocketAddress
  /// Where the client connected to, as far as is known: its original destination, or what a PROXY header says.
  public let localAddress: SocketAddress
  /// This end of the socket.
  public let directLocalAddress: SocketAddress
  /// Unique in this process; `%CONNECTION_ID%`.
  public let identifier: UInt64
  /// What the handshake has settled; nil without TLS.
  public let tls: TLSDetails?
  /// What listener filters found; nil if there was none that looks.
  public let findings: ConnectionFindings?

  /// - Parameters:
  ///   - directRemoteAddress: nil: the client's.
  ///   - directLocalAddress: nil: where the client connected to.
  public init(
    remoteAddress: SocketAddress, directRemoteAddress: SocketAddress? = nil, localAddress: SocketAddress,
    directLocalAddress: SocketAddress? = nil, identifier: UInt64, tls: TLSDetails? = nil,
    findings: ConnectionFindings? = nil
  ) {
    self.remoteAddress = remoteAddress
    self.directRemoteAddress = directRemoteAddress ?? remoteAddress
    self.localAddress = localAddress
    self.directLocalAddress = directLocalAddress ?? localAddress
    self.identifier = identifier
    self.tls = tls
    self.findings = findings
  }

  /// The same connection after its handshake.
  public func with(tls: TLSDetails) -> ConnectionInfo {
    ConnectionInfo(
      remoteAddress: remoteAddress, directRemoteAddress: directRemoteAddress, localAddress: localAddress,
      directLocalAddress: directLocalAddress, identifier: identifier, tls: tls, findings: findings)
  }

  /// The same connection after the listener filters.
  /// - Parameters:
  ///   - source: the client.
  ///   - destination: where it connected to.
  public func with(source: SocketAddress, destination: SocketAddress, findings: ConnectionFindings) -> ConnectionInfo {
    ConnectionInfo(
      remoteAddress: source, directRemoteAddress: directRemoteAddress, localAddress: destination,
      directLocalAddress: directLocalAddress, identifier: identifier, tls: tls, findings: findings)
  }

  /// The same connection with a client further away.
  public func with(client: IPAddress) -> ConnectionInfo {
    ConnectionInfo(
      remoteAddress: SocketAddress(client, port: 0), directRemoteAddress: directRemoteAddress,
      localAddress: localAddress, directLocalAddress: directLocalAddress, identifier: identifier, tls: tls,
      findings: findings)
  }

  /// The name that the client asked for in its TLS hello (SNI), whoever has read that; empty if there is none.
  public var requestedServerName: String { findings?.serverName ?? tls?.serverName ?? "" }
}

/// What listener filters found out about a connection before anybody served it. Immutable.
public final class ConnectionFindings: Sendable {
  /// A piece of a PROXY protocol header (type, length, value), its length left out.
  public struct TypedValue: Equatable, Sendable {
    public let type: UInt8
    public let value: [UInt8]

    public init(type: UInt8, value: [UInt8]) {
      self.type = type
      self.value = value
    }
  }

  /// SNI, in lower case; nil if nobody looked, or there was none.
  public let serverName: String?
  /// What is noted for the log and for filters: `namespace.key` → text.
  public let metadata: [String: String]
  /// Of the PROXY protocol header, as far as they are to be passed on.
  public let typedValues: [TypedValue]

  public init(serverName: String? = nil, metadata: [String: String] = [:], typedValues: [TypedValue] = []) {
    self.serverName = serverName
    self.metadata = metadata
    self.typedValues = typedValues
  }
}
