import MeshHTTP
import MeshPrimitives

/// Who a request's client is, and what it may say.
extension ConnectionManager {
  /// Fields by which one proxy instructs the next. From strangers they mean nothing.
  @inline(__always)
  private static var internalFields: HeaderIDSet {
    HeaderIDSet().adding(.xEnvoyRetryOn).adding(.xEnvoyRetryGRPCOn).adding(.xEnvoyMaxRetries)
      .adding(.xEnvoyRetriableStatusCodes).adding(.xEnvoyRetriableHeaderNames).adding(.xEnvoyUpstreamAltStatName)
      .adding(.xEnvoyUpstreamRequestTimeout).adding(.xEnvoyUpstreamRequestPerTryTimeout)
      .adding(.xEnvoyUpstreamRequestTimeoutAltResponse).adding(.xEnvoyUpstreamStreamDuration)
      .adding(.xEnvoyExpectedRequestTimeout).adding(.xEnvoyHedgeOnPerTryTimeout).adding(.xEnvoyForceTrace)
      .adding(.xEnvoyIPTags).adding(.xEnvoyOriginalURL)
  }

  /// What a client outside has no business to say either: where the request has been before.
  @inline(__always)
  private static var edgeFields: HeaderIDSet {
    internalFields.adding(.xEnvoyDecoratorOperation).adding(.xEnvoyDownstreamServiceCluster)
      .adding(.xEnvoyDownstreamServiceNode).adding(.xEnvoyOriginalPath).adding(.xEnvoyOriginalHost)
  }

  // MARK: Finding the client

  /// At the edge: the client is whoever is connected, or whom trusted proxies before us have named.
  /// - Returns: whether the client is a stranger.
  func identifyClientAtEdge(_ headers: HeaderMap, _ stream: Stream, _ connection: ConnectionInfo) -> Bool {
    let looksFurther = configuration.edge.client.looksFurther
    if looksFurther { lookBeyondEdge(headers, stream, connection) }
    let isInternal = stream.info.isInternalRequest
    if !connection.remoteAddress.isUnix {
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: SocketAddress.maximumText) { buffer in
        guard let base = buffer.baseAddress else { return }
        let peer = Bytes(start: base, count: connection.remoteAddress.writeText(into: base))
        if configuration.edge.client.appendsForwardedFor { headers.appendValue(.xForwardedFor, separator: ",", peer) }
        if !isInternal { headers.set(.xEnvoyExternalAddress, peer) }
      }
    }
    if looksFurther, !isInternal, let client = stream.info.connection, client !== connection {
      setExternalAddress(headers, client.remoteAddress)
    }
    let trustsProxy = configuration.edge.client.trustedHops > 0
    if !trustsProxy || !headers.has(.xForwardedProto) { headers.set(.xForwardedProto, scheme(connection)) }
    if configuration.edge.setsForwardedPort, !trustsProxy || !headers.has(.xForwardedPort) {
      setForwardedPort(headers, connection)
    }
    // Which workload it is only one of our own can say.
    if !isInternal, headers.has(.xEnvoyPeerMetadata) || headers.has(.xEnvoyPeerMetadataID) {
      headers.remove(.xEnvoyPeerMetadata)
      headers.remove(.xEnvoyPeerMetadataID)
    }
    return !isInternal
  }

  /// Finds the client that trusted proxies have named, and whether it is one of our own.
  @inline(never)
  private func lookBeyondEdge(_ headers: HeaderMap, _ stream: Stream, _ connection: ConnectionInfo) {
    var client = connection
    if let address = configuration.edge.client.clientBeforeEdge(headers) {
      client = connection.with(client: address)
      stream.info.connection = client
    }
    // A client that names others may be hiding behind them.
    stream.info.isInternalRequest =
      !headers.has(.xForwardedFor) && configuration.edge.client.isInternal(client.remoteAddress)
  }

  private func setExternalAddress(_ headers: HeaderMap, _ address: SocketAddress) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: SocketAddress.maximumText) { buffer in
      guard let base = buffer.baseAddress else { return }
      headers.set(.xEnvoyExternalAddress, Bytes(start: base, count: address.writeText(into: base)))
    }
  }

  /// Elsewhere: the client is whom the proxies before us have named.
  /// - Returns: whether the request goes on; if not it has been answered.
  func identifyClient(_ headers: HeaderMap, _ stream: Stream, _ connection: ConnectionInfo) -> Bool {
    if configuration.edge.client.alwaysDetects || headers.has(.xForwardedFor) {
      guard detectClient(headers, stream, connection) else { return false }
    }
    if !headers.has(.xForwardedProto) { headers.set(.xForwardedProto, scheme(connection)) }
    if configuration.edge.setsForwardedPort, !headers.has(.xForwardedPort) { setForwardedPort(headers, connection) }
    return true
  }

  @inline(never)
  private func detectClient(_ headers: HeaderMap, _ stream: Stream, _ connection: ConnectionInfo) -> Bool {
    let rules = configuration.edge.client
    let found = rules.detect(headers, peer: connection.remoteAddress)
    if let status = found.rejection {
      stats.add(.requestRejectedByAddress)
      stream.sendLocalReply(.clientNotDetected(status: status))
      return false
    }
    if let address = found.address {
      stream.info.connection = connection.with(client: address)
      stream.info.isInternalRequest = found.isTrusted && rules.isInternal(address)
    }
    if found.appends, !connection.remoteAddress.isUnix {
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: SocketAddress.maximumText) { buffer in
        guard let base = buffer.baseAddress else { return }
        let count = connection.remoteAddress.writeText(into: base)
        headers.appendValue(.xForwardedFor, separator: ",", Bytes(start: base, count: count))
      }
    }
    return true
  }

  @inline(never)
  private func setForwardedPort(_ headers: HeaderMap, _ connection: ConnectionInfo) {
    guard !connection.localAddress.isUnix else { return }
    headers.set(.xForwardedPort, number: UInt64(connection.localAddress.port))
  }

  @inline(__always)
  private func scheme(_ connection: ConnectionInfo) -> StaticString { connection.tls == nil ? "http" : "https" }

  // MARK: What it may say

  /// Removes what this client may not say. `isEdge`: it is a stranger, and this is the first proxy it meets.
  @inline(__always)
  func sanitize(_ headers: HeaderMap, isInternal: Bool, isEdge: Bool) {
    if headers.has(.xEnvoyInternal) { headers.remove(.xEnvoyInternal) }
    if isInternal {
      headers.add(.xEnvoyInternal, "true")
    } else if headers.hasAny(Self.edgeFields) {
      removeFields(headers, isEdge ? Self.edgeFields : Self.internalFields)
    }
    if headers.has(.xForwardedClientCert), configuration.edge.clientCertificate.mode == .sanitize {
      headers.remove(.xForwardedClientCert)
    }
  }

  @inline(never)
  private func removeFields(_ headers: HeaderMap, _ fields: HeaderIDSet) {
    for field in HeaderID.allCases where fields.contains(field) { headers.remove(field) }
  }
}
