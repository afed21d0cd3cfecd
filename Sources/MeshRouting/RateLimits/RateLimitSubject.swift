import MeshAPI
import MeshPrimitives

/// The request that is counted, as the actions of `rate_limits` see it.
public protocol RateLimitSubject {
  associatedtype Request: RouteRequest
  var request: Request { get }
  /// The proxy's own cluster (`node.cluster`); may be empty.
  var ownCluster: [UInt8] { get }
  /// The name of the cluster that the route leads to; nil if it leads to none.
  var destinationCluster: [UInt8]? { get }
  /// The client, as trusted proxies name it; nil if it has no IP address.
  var client: IPAddress? { get }
  /// The route's metadata.
  var routeMetadata: Metadata { get }
  /// What filters noted of the request under a namespace and names of members; nil if nothing.
  func noted(_ path: [String]) -> String?
  /// Appends what `format` makes of the request; what is not known becomes nothing.
  func write(_ format: any HeaderValueFormat, into buffer: inout [UInt8])
}
