import MeshIO
import MeshPrimitives

/// One address of a listener, and how its sockets are set up.
public struct ListenAddress: Equatable, Sendable {
  public let address: SocketAddress
  public let options: ListenOptions

  public init(_ address: SocketAddress, _ options: ListenOptions = ListenOptions()) {
    self.address = address
    self.options = options
  }
}

/// A listening socket as a worker gets it. The descriptor stays the main thread's.
struct ListeningSocket: Sendable {
  let descriptor: Int32
  /// As the kernel bound it, port 0 resolved.
  let address: SocketAddress
  /// Other workers accept from the same queue.
  let isShared: Bool
}
