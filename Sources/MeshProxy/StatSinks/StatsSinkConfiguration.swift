import MeshAPI
import MeshPrimitives

/// Where statistics are sent, and when (`stats_sinks`). Immutable; the main thread's.
struct StatsSinkConfiguration: Sendable {
  enum Kind: Sendable {
    /// A service of gRPC.
    /// - Parameter identifier: what its first message says of this proxy.
    case metricsService(GRPCStream.Call, MetricStreamEncoder.Options, identifier: [UInt8])
    /// A datagram for each statistic, or as many in one as fit into `limit` bytes.
    case datagrams(MeshPrimitives.SocketAddress, prefix: String, hasTags: Bool, limit: Int?)
    /// Lines over a connection to a cluster.
    case connection(cluster: String, prefix: String)
  }

  let kinds: [Kind]
  /// nil: when the admin interface is asked for statistics.
  let interval: Nanoseconds?
  /// What it was made of.
  let messages: [StatsSink]
  let node: Node

  /// Whether the sinks can go on as they are.
  func isSame(as other: StatsSinkConfiguration?) -> Bool {
    interval == other?.interval && messages == other?.messages && node == other?.node
  }
}
