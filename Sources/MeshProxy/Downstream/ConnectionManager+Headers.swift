import MeshHTTP
import MeshIO
import MeshPrimitives

/// What the proxy itself says in the headers of every request and response.
extension ConnectionManager {
  /// Who the client is, what it may say, the request's identifier, the trace it belongs to, and what its path and host
  /// are made into. Before the filters, so that they see it.
  /// - Returns: whether the request goes on; if not it has been answered.
  func prepareRequestHeaders(
    _ headers: HeaderMap, _ stream: Stream, _ connection: ConnectionInfo, _ start: RequestStart
  ) -> Bool {
    if configuration.edge.checksTarget, !checkTarget(headers, stream, connection, start) { return false }
    let isEdge: Bool
    if configuration.edge.client.usesRemoteAddress {
      isEdge = identifyClientAtEdge(headers, stream, connection)
    } else {
      guard identifyClient(headers, stream, connection) else { return false }
      isEdge = false
    }
    sanitize(headers, isInternal: stream.info.isInternalRequest, isEdge: isEdge)
    if configuration.edge.addsToRequest { addToRequest(headers, connection) }
    identifyRequest(headers, stream, isEdge: isEdge)
    return true
  }

  /// What is configured to be said in every request.
  @inline(never)
  private func addToRequest(_ headers: HeaderMap, _ connection: ConnectionInfo) {
    let certificate = configuration.edge.clientCertificate
    if certificate.asksConnection { certificate.apply(headers, connection.tls) }
    if configuration.edge.notesCertificate { headers.peerCertificate = connection.tls?.peerState ?? [] }
    switch configuration.edge.scheme {
    case .asForwarded: break
    case .matchUpstream: headers.set(.scheme, "http")
    case .overwrite(let scheme):
      scheme.withUnsafeBufferPointer {
        headers.set(.scheme, $0)
        headers.set(.xForwardedProto, $0)
      }
    }
    if let agent = configuration.edge.userAgent {
      agent.cluster.withUnsafeBufferPointer {
        headers.set(.xEnvoyDownstreamServiceCluster, $0)
        if headers.value(.userAgent)?.count ?? 0 == 0 { headers.set(.userAgent, $0) }
      }
      if !agent.node.isEmpty { agent.node.withUnsafeBufferPointer { headers.set(.xEnvoyDownstreamServiceNode, $0) } }
    }
    if configuration.edge.appendsVia { appendVia(headers) }
  }

  /// The request goes to an endpoint with TLS.
  @inline(never)
  func matchScheme(_ headers: HeaderMap) {
    if configuration.edge.scheme == .matchUpstream { headers.set(.scheme, "https") }
  }

  private func appendVia(_ headers: HeaderMap) {
    configuration.edge.via.withUnsafeBufferPointer { headers.appendValue(.via, separator: ", ", $0) }
  }

  /// `server`, `date`, `via`, and the request identifier where it is wanted. Past the filters: their answers get them too.
  func finishResponseHeaders(_ headers: HeaderMap, _ stream: Stream) {
    if hasObservers { tellOfResponse(headers, stream) }
    switch configuration.edge.serverHeader {
    case .overwrite: setServer(headers)
    case .appendIfAbsent: if !headers.has(.server) { setServer(headers) }
    case .passThrough: break
    }
    if !headers.has(.date) { headers.add(.date, worker.date) }
    if let tracing {
      tracing.stats.add(stream.info.traceOutcome)
      if tracing.tellsNames { nameSpan(tracing, ofResponse: headers, stream) }
    }
    if configuration.edge.appendsVia { appendVia(headers) }
    // A client that asks for a trace is told where to find it; only an internal one can ask.
    if configuration.edge.requestID.returnsAlways || stream.requestHeaders.has(.xEnvoyForceTrace),
      let identifier = stream.requestHeaders.value(.xRequestID)
    {
      headers.set(.xRequestID, identifier)
    }
  }

  @inline(__always)
  private func setServer(_ headers: HeaderMap) {
    configuration.edge.serverName.withUnsafeBufferPointer { headers.set(.server, $0) }
  }
}
