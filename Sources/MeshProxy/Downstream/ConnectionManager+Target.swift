import MeshHTTP
import MeshPrimitives

/// What a request's path and host are made into, and which targets are refused.
extension ConnectionManager {
  /// - Returns: whether the request goes on; if not it has been answered.
  @inline(never)
  func checkTarget(
    _ headers: HeaderMap, _ stream: Stream, _ connection: ConnectionInfo, _ start: RequestStart
  ) -> Bool {
    if start.isAbsoluteTarget, !configuration.edge.allowsAbsoluteTarget {
      stats.add(.requestNonRelativePath)
      stream.sendLocalReply(.absoluteTarget)
      return false
    }
    if !configuration.edge.path.isIdle {
      switch headers.normalizePath(configuration.edge.path) {
      case .unchanged, .changed: break
      // Clients of gRPC follow no redirects.
      case .redirect where !GRPCStatus.isCall(headers):
        stats.add(.requestRedirectedPath)
        stream.sendLocalReply(.normalizedPath(headers))
        return false
      case .redirect, .refused:
        stats.add(.requestFailedPathNormalization)
        stream.sendLocalReply(.invalidPath)
        return false
      }
    }
    if !configuration.edge.host.isIdle {
      headers.normalizeHost(configuration.edge.host, localPort: connection.localAddress.port)
    }
    return true
  }
}
