import MeshAPI
import MeshHTTP
import MeshPrimitives

/// What formats read of a stream.
extension Stream: SubstitutionSource {
  var downstreamWire: WireBytes { sender?.wire ?? WireBytes() }
  var downstreamRoundTrip: Nanoseconds? { sender?.roundTripTime }
  var listenerName: String { manager?.configuration.logging.listenerName ?? "" }
  var filterChainName: String { manager?.configuration.logging.filterChainName ?? "" }
  var virtualClusterName: String { info.virtualCluster?.name ?? "" }

  func randomBits() -> (UInt64, UInt64) { (worker.random.next(), worker.random.next()) }

  func metadata(_ source: SubstitutionMetadataSource) -> Metadata? {
    switch source {
    case .route: info.route?.metadata
    case .virtualHost: info.route?.virtualHostMetadata
    case .cluster: info.cluster?.configuration.metadata
    case .upstreamHost: info.endpoint?.metadata
    case .listener: manager?.configuration.logging.listenerMetadata
    case .listenerFilterChain: manager?.configuration.logging.filterChainMetadata
    case .dynamic: nil
    }
  }
}
