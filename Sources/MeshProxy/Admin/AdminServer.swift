import MeshIO
import MeshPrimitives

/// The admin interface (Envoy: `bootstrap.admin`): an HTTP/1.1 server on the main thread's loop.
public final class AdminServer {
  /// - Parameters:
  ///   - descriptors: listening sockets, which stay the caller's.
  ///   - address: as the kernel bound them.
  ///   - context: not kept alive; outlives this.
  public init(
    loop: EventLoop, context: any AdminContext, descriptors: [Int32], address: SocketAddress
  ) {
  }

  /// Begins to accept connections.
  public func startAccepting() {}

  /// Accepts no more and ends every connection.
  public func close() {}
}
