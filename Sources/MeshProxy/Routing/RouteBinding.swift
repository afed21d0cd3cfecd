import MeshHTTP
import MeshPrimitives
import MeshRouting

/// A request's headers as routing sees them.
struct RoutingView: RouteRequest {
  private let headers: HeaderMap

  @inline(__always)
  init(_ headers: HeaderMap) { self.headers = headers }

  @inline(__always)
  var host: Bytes { headers.value(.host) ?? Bytes(start: nil, count: 0) }
  @inline(__always)
  var path: Bytes { headers.value(.path) ?? Bytes(start: nil, count: 0) }
  @inline(__always)
  var method: Bytes { headers.value(.method) ?? Bytes(start: nil, count: 0) }
  @inline(__always)
  var peerCertificate: PeerCertificateState { headers.peerCertificate }
  @inline(__always)
  func header(_ name: HeaderName) -> Bytes? { headers.value(name) }

  func forEachHeader(_ name: HeaderName, _ body: (Bytes) -> Bool) {
    var goesOn = true
    headers.values(name) { value in if goesOn { goesOn = body(value) } }
  }
}

/// A route table with the worker's own clusters behind its routes: resolved once for each configuration, so that a
/// request looks up no name. Confined to the worker.
struct RouteBinding {
  let table: RouteTable
  private let clusters: [ActiveCluster?]

  init(_ table: RouteTable, _ worker: Worker) {
    self.table = table
    clusters = table.clusterNames.map { worker.clusters[$0] }
  }

  /// - Parameter random: decides between weighted clusters.
  @inline(__always)
  func match(_ headers: HeaderMap, random: UInt64) -> RouteEntry? { table.match(RoutingView(headers), random: random) }

  /// The same for a request that may be one for a tunnel.
  func match(_ headers: HeaderMap, _ tunnel: TunnelKind, random: UInt64) -> RouteEntry? {
    guard tunnel == .connect else { return match(headers, random: random) }
    return table.matchConnect(RoutingView(headers), random: random)
  }

  /// Removes the headers that only requests from inside may have (`internal_only_headers`).
  @inline(never)
  func removeInternalHeaders(_ headers: HeaderMap) {
    if let value = headers.value(.xEnvoyInternal), value.equals("true") { return }
    for name in table.internalOnlyHeaders { headers.remove(name) }
  }

  /// The cluster at a position of `RouteTable.clusterNames`; nil if the configuration has no such cluster.
  func cluster(at index: Int) -> ActiveCluster? { clusters[index] }

  /// The cluster of a request; nil if the configuration has no such cluster, or the request does not name one.
  @inline(__always)
  func cluster(_ action: ForwardAction, _ headers: HeaderMap, _ worker: Worker) -> ActiveCluster? {
    if action.clusterIndex >= 0 { return clusters[action.clusterIndex] }
    return named(action, headers, worker)
  }

  @inline(never)
  private func named(_ action: ForwardAction, _ headers: HeaderMap, _ worker: Worker) -> ActiveCluster? {
    action.clusterHeader.flatMap { headers.value($0) }.flatMap { worker.clusters[$0.text] }
  }
}
