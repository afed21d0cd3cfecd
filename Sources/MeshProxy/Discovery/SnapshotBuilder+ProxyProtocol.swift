import MeshAPI
import MeshHTTP
import MeshPrimitives

/// The PROXY protocol with endpoints.
extension SnapshotBuilder {
  /// The header with which a cluster's connections begin; nil if they have none.
  mutating func upstreamProxyHeader(_ cluster: Cluster, _ path: String) -> UpstreamProxyHeader? {
    guard cluster.hasTransportSocket,
      let transport: ProxyProtocolUpstreamTransport = try? cluster.transportSocket.typedConfig.unpack()
    else { return nil }
    let config = transport.config
    let configPath = "\(path).transport_socket.typed_config.config"
    var added: [ConnectionFindings.TypedValue] = []
    for (index, entry) in config.addedTlvs.enumerated() {
      guard let type = UInt8(exactly: entry.type) else {
        report("\(configPath).added_tlvs[\(index)].type", "must be at most 255, not \(entry.type)")
        continue
      }
      added.append(.init(type: type, value: Array(entry.value)))
    }
    if config.version == .v1, config.hasPassThroughTlvs || !added.isEmpty {
      report(configPath, "version 1 has no typed values (version: V2)")
    }
    let length = added.reduce(0) { $0 + 3 + $1.value.count }
    if length > 4096 { report("\(configPath).added_tlvs", "must be at most 4096 bytes together, not \(length)") }
    return UpstreamProxyHeader(
      version: config.version == .v2 ? .v2 : .v1,
      passedTypes: config.hasPassThroughTlvs
        ? passedTypes(config.passThroughTlvs, "\(configPath).pass_through_tlvs") : [],
      added: added)
  }
}
