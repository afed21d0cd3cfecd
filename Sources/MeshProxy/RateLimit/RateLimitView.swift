import MeshAPI
import MeshPrimitives
import MeshRouting

/// A stream's request as the actions of `rate_limits` see it.
struct RateLimitView: RateLimitSubject {
  let stream: Stream
  let ownCluster: [UInt8]
  private let entry: RouteEntry?

  init(_ stream: Stream, ownCluster: [UInt8]) {
    self.stream = stream
    self.ownCluster = ownCluster
    entry = stream.route
  }

  /// What the route says to rate limit filters.
  var route: RouteRateLimits? { entry?.rateLimits }
  var request: RoutingView { RoutingView(stream.requestHeaders) }
  var client: IPAddress? { stream.info.downstreamRemoteAddress.flatMap { $0.isUnix ? nil : $0.ip } }
  var routeMetadata: Metadata { entry?.metadata ?? Metadata() }

  var destinationCluster: [UInt8]? {
    guard case .forward(let action)? = entry?.action else { return nil }
    if let header = action.clusterHeader { return stream.requestHeaders.value(header).map { Array($0) } ?? [] }
    return Array(action.cluster.utf8)
  }

  func noted(_ path: [String]) -> String? {
    let noted = stream.info.metadata
    return noted.isEmpty ? nil : noted[path.joined(separator: ".")]
  }

  func write(_ format: any HeaderValueFormat, into buffer: inout [UInt8]) {
    HeaderFormat.write(format, of: stream, into: &buffer)
  }
}
