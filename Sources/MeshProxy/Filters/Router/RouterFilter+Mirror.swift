import MeshHTTP
import MeshPrimitives
import MeshRouting

/// Copies of the request, and what it holds.
extension RouterFilter {
  /// Starts a copy of the request for each mirror that gets one.
  @inline(never)
  func mirror(_ stream: Stream, _ headers: HeaderMap, _ action: ForwardAction) {
    guard let routes = stream.manager?.routes else { return }
    for mirror in action.mirrors where mirror.fraction.includes(stream.worker.random.next()) {
      let cluster: ActiveCluster? =
        switch mirror.target {
        case .cluster(let index): routes.cluster(at: index)
        case .header(let name): headers.value(name).flatMap { stream.worker.clusters[$0.text] }
        }
      guard let cluster else { continue }
      let shadow = ShadowRequest.start(
        mirror, of: stream, headers, to: cluster, timeout: timeout, endStream: requestEnded)
      if let shadow, !requestEnded { shadows.append(shadow) }
    }
  }

  /// Bytes of the request that wait to be sent.
  var heldBytes: Int { pendingBody.count + (upstream?.waitingOutput ?? 0) }
}
