import MeshHTTP
import MeshPrimitives

/// The PROXY protocol header with which connections to a cluster's endpoints begin
/// (`envoy.transport_sockets.upstream_proxy_protocol`). Immutable; shared by all threads.
public struct UpstreamProxyHeader: Sendable, Equatable {
  let version: ProxyHeader.Version
  /// Types of the client's typed values that are passed on; nil: all.
  let passedTypes: Set<UInt8>?
  let added: [ConnectionFindings.TypedValue]

  /// The header's bytes.
  /// - Parameter client: the connection that the new one is for; nil: none, it is the proxy's own.
  func bytes(for client: ConnectionInfo?) -> [UInt8] {
    var header = ProxyHeader(version: version)
    if let client { header.addresses = .init(source: client.remoteAddress, destination: client.localAddress) }
    if version == .v2 {
      let passed = client?.findings?.typedValues ?? []
      header.typedValues =
        added
        + passed.filter { value in
          passedTypes?.contains(value.type) ?? true && !added.contains { $0.type == value.type }
        }
    }
    return header.bytes
  }
}
