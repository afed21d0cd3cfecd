import MeshHTTP
import MeshIO
import MeshPrimitives

/// A filter chain as one worker's listener has it, with its connections: from when it is chosen for them until they are
/// closed. Lives as long as its listener's configurations have it, and then until its last connection is gone.
protocol ActiveFilterChain: AnyObject {
  var configuration: FilterChainConfiguration { get }
  /// Connections that this chain was chosen for, also those whose transport is not established.
  var connectionCount: Int { get }
  /// Takes the next configuration of the same filter chain.
  func update(_ configuration: FilterChainConfiguration)
  /// The chain is chosen for a connection: counts it. `serve` or `connectionEnded` follows.
  func connectionBegan()
  /// Speaks with the client from now on.
  /// - Parameters:
  ///   - transport: established; whoever watched it before is let go of.
  ///   - initial: bytes that were read from it already.
  func serve(_ transport: consuming Transport, _ info: ConnectionInfo, initial: consuming ByteQueue)
  /// A connection that was begun ended before it was served.
  /// - Parameter refusal: why it was not going to be.
  func connectionEnded(
    _ info: ConnectionInfo, openedAt: MonotonicTime, _ reason: ServerCloseReason, _ refusal: ConnectionRefusal?)
  /// The listener is ending: every response is its connection's last.
  func beginDraining()
  /// Connections end as soon as their protocol allows; idle ones after `patience` (nil: the configured `drain_timeout`).
  /// So do those that come to `serve` from now on.
  func drainConnections(idleFor patience: Nanoseconds?)
  /// Ends what is left.
  func closeConnections()
  /// The overload manager makes timeouts shorter, or gives them back.
  func timeoutsChanged()
  /// Calls `body` with every stream of HTTP.
  func forEachStream(_ body: (Stream) -> Void)
}

extension ActiveFilterChain {
  func timeoutsChanged() {}
  func forEachStream(_ body: (Stream) -> Void) {}
}

extension FilterChainConfiguration {
  /// This filter chain at work.
  func activate(_ listener: ActiveListener) -> any ActiveFilterChain {
    switch network {
    case .connectionManager(let configuration, let identity):
      HTTPFilterChain(listener, self, configuration, identity)
    case .tcpProxy(let configuration, let identity): TCPFilterChain(listener, self, configuration, identity)
    }
  }
}
