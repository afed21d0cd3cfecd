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
      case .redirect where !Self.isGRPC(headers):
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

  /// Clients of gRPC follow no redirects.
  private static func isGRPC(_ headers: HeaderMap) -> Bool {
    let grpc: StaticString = "application/grpc"
    guard let type = headers.value(.contentType), type.count >= grpc.utf8CodeUnitCount else { return false }
    let rest = type.slice(grpc.utf8CodeUnitCount, type.count - grpc.utf8CodeUnitCount)
    return type.slice(0, grpc.utf8CodeUnitCount).equalsIgnoringCase(grpc)
      && (rest.count == 0 || rest[0] == UInt8(ascii: "+") || rest[0] == UInt8(ascii: ";"))
  }
}
