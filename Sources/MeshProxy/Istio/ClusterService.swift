import MeshAPI
import MeshPrimitives

/// What a cluster says of the service behind it (`metadata.filter_metadata.istio`), for Istio's metrics. Immutable; any
/// thread.
final class ClusterService: Sendable {
  /// As `WorkloadIdentity.number`.
  let number: UInt64
  /// `services[0].host`, a name within the mesh; nil if it has none.
  let host: [UInt8]?
  /// `services[0].name`, or the first part of the host; nil if it has none.
  let name: [UInt8]?
  /// `services[0].namespace`; nil if it has none.
  let namespace: [UInt8]?
  /// Those behind it are outside of the mesh: nothing is told them.
  let isExternal: Bool
  /// Those behind it are never told anything (`disable_mx`).
  let refusesMetadata: Bool

  /// Clusters that stand for any service: their names are shown as the service's.
  private static let catchAll: Set<String> = [
    "BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster", "InboundPassthroughClusterIpv4",
    "InboundPassthroughClusterIpv6",
  ]
  private static let outside = "PassthroughCluster"
  /// What stands for a service that nobody may call.
  static let blackHole = ClusterService(clusterName: "BlackHoleCluster", nil)

  /// - Returns: nil if the cluster says nothing.
  init?(clusterName: String, _ metadata: Metadata?) {
    let facts = metadata?.filterMetadata[WorkloadIdentity.metadataNamespace]
    let isCatchAll = Self.catchAll.contains(clusterName)
    guard facts != nil || isCatchAll else { return nil }
    number = WorkloadIdentity.nextNumber()
    isExternal = facts?.fields["external"]?.boolValue ?? false || clusterName == Self.outside
    refusesMetadata = facts?.fields["disable_mx"]?.boolValue ?? false
    if isCatchAll {
      host = nil
      name = Array(clusterName.utf8)
      namespace = nil
      return
    }
    var service = StructValue()
    if case .listValue(let services)? = facts?.fields["services"]?.kind,
      case .structValue(let first)? = services.values.first?.kind
    {
      service = first
    }
    let host = Self.text(service, "host")
    self.host = host
    name = Self.text(service, "name") ?? host.map { Array($0.prefix { $0 != UInt8(ascii: ".") }) }
    namespace = Self.text(service, "namespace")
  }

  private static func text(_ structure: StructValue, _ field: String) -> [UInt8]? {
    guard case .stringValue(let text)? = structure.fields[field]?.kind, !text.isEmpty else { return nil }
    return Array(text.utf8)
  }
}
