import MeshAPI
import MeshPrimitives
import MeshRouting

/// A stream's request as the actions of `rate_limits` see it.
struct RateLimitView: RateLimitSubject {
  let stream: Stream
  let ownCluster: [UInt8]
  private let action: ForwardAction
  private let entry: RouteEntry

  /// Nil for a request that no route leads to a cluster: it is not counted under anything.
  init?(_ stream: Stream, ownCluster: [UInt8]) {
    guard let entry = stream.route, case .forward(let action) = entry.action else { return nil }
    self.stream = stream
    self.ownCluster = ownCluster
    self.action = action
    self.entry = entry
  }

  var route: RouteRateLimits? { entry.rateLimits }
  var request: RoutingView { RoutingView(stream.requestHeaders) }
  var client: IPAddress? { stream.info.downstreamRemoteAddress.flatMap { $0.isUnix ? nil : $0.ip } }
  var routeMetadata: Metadata { entry.metadata }

  var destinationCluster: [UInt8] {
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
