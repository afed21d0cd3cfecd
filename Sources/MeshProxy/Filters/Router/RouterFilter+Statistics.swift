import MeshHTTP
import MeshPrimitives
import MeshRouting

// What the router counts of responses, and of what it answers in their place.

extension RouterFilter {
  /// The request's cluster is known; its headers are still those of the client.
  @inline(__always)
  func beginCounting(_ stream: Stream, _ headers: HeaderMap, _ route: RouteEntry) {
    isInternal = headers.has(.xEnvoyInternal)
    guard let all = stream.manager?.configuration.virtualHostStatistics, !all.isEmpty else { return }
    scopes = route.virtualHostIndex < all.count ? all[route.virtualHostIndex]?.scopes(of: route, headers) : nil
    stream.info.virtualCluster = scopes?.virtualCluster
  }

  /// Counts a response's status, or that of what is answered in its place.
  @inline(__always)
  func count(_ status: Int, _ stream: Stream, _ cluster: ActiveCluster) {
    guard configuration.countsResponses, !stream.info.isHealthCheck else { return }
    cluster.stats.add(.requestCompleted)
    cluster.responseCodes.add(status)
    cluster.parts.add(status, isInternal: isInternal, cluster)
    if let scopes { scopes.add(status: status, lane: stream.worker.index) }
  }

  /// Counts the time that a response took.
  @inline(__always)
  func countTime(_ microseconds: UInt64, _ stream: Stream, _ cluster: ActiveCluster) {
    cluster.requestTime.record(microseconds)
    guard configuration.countsResponses else { return }
    cluster.parts.record(microseconds, isInternal: isInternal)
    if isCanary { cluster.parts.recordCanary(microseconds) }
    if let scopes { scopes.record(microseconds, lane: stream.worker.index) }
  }

  /// The upstream says that it is a new version on trial.
  @inline(never)
  func countCanary(_ status: Int, _ headers: HeaderMap, _ stream: Stream, _ cluster: ActiveCluster) {
    guard configuration.countsResponses, headers.value(.xEnvoyUpstreamCanary)?.elementsEqual("true".utf8) == true
    else { return }
    isCanary = true
    cluster.parts.addCanary(status, cluster)
  }

  /// There is no response to come: answers in its place.
  func fail(_ stream: Stream, _ reply: LocalReply) {
    if let cluster { count(reply.status, stream, cluster) }
    // Where there was no endpoint to ask, this was the first attempt nevertheless.
    if stream.info.attempts == 0 { stream.info.attempts = 1 }
    stream.sendLocalReply(reply)
  }
}
