import MeshHTTP
import MeshIO
import MeshPrimitives

/// A filter chain that ends in a TCP proxy. Sessions keep the proxy that they began with: a new configuration of the same
/// chain is for the connections that come. Confined to its worker.
final class TCPFilterChain: ActiveFilterChain {
  private(set) var configuration: FilterChainConfiguration
  private(set) var connectionCount = 0
  private let worker: Worker
  /// Keeps this chain until its last connection is gone.
  private unowned let listener: ActiveListener
  private var proxy: TCPProxy
  private var sessions: [TCPSession] = []
  /// Sessions end, those that come included.
  private var ending: Ending?

  private struct Ending {
    let patience: Nanoseconds?
  }

  init(
    _ listener: ActiveListener, _ configuration: FilterChainConfiguration, _ proxy: TCPProxyConfiguration,
    _ identity: TCPProxyIdentity
  ) {
    self.listener = listener
    worker = listener.worker
    self.configuration = configuration
    self.proxy = TCPProxy(worker: worker, configuration: proxy, identity: identity)
  }

  func update(_ new: FilterChainConfiguration) {
    configuration = new
    guard case .tcpProxy(let configuration, let identity) = new.network else { return }
    proxy = TCPProxy(worker: worker, configuration: configuration, identity: identity)
  }

  /// TCP has no word for it.
  func beginDraining() {}

  /// Nobody can know where a session could be cut without harm. Each may last for the process's drain time, as in Envoy;
  /// with a `patience` those end earlier on which nothing has moved for so long.
  func drainConnections(idleFor patience: Nanoseconds?) {
    ending = Ending(patience: patience)
    for session in Array(sessions) { end(session, patience) }
  }

  private func end(_ session: TCPSession, _ patience: Nanoseconds?) {
    if let patience { return session.close(ifIdleFor: patience) }
    worker.after(worker.drainTime) { [weak session] in session?.close(.drained) }
  }

  func closeConnections() { for session in Array(sessions) { session.close(.drained) } }

  // MARK: Connections

  func connectionBegan() {
    connectionCount += 1
    listener.connectionBegan()
    proxy.stats.add(.connectionTotal)
  }

  func serve(_ transport: consuming Transport, _ info: ConnectionInfo, initial: consuming ByteQueue) {
    let session = TCPSession(self, proxy, transport, info, initial: initial)
    session.listIndex = sessions.count
    sessions.append(session)
    session.start()
    if let ending { end(session, ending.patience) }
  }

  func connectionEnded(
    _ info: ConnectionInfo, openedAt: MonotonicTime, _ reason: ServerCloseReason, _ refusal: ConnectionRefusal?
  ) {
    listener.connectionEnded(info, openedAt: openedAt, refusal)
    if let refusal { proxy.log(info, openedAt: openedAt, refusal) }
    left()
  }

  func sessionEnded(_ session: TCPSession) {
    let last = sessions.count - 1
    let index = session.listIndex
    if index < last {
      sessions[index] = sessions[last]
      sessions[index].listIndex = index
    }
    sessions.removeLast()
    listener.connectionEnded(session)
    session.proxy.log(session, .tcpConnectionEnd)
    if let failures = worker.failures { ConnectionFailure(session)?.write(to: failures) }
    left()
  }

  private func left() {
    connectionCount -= 1
    if connectionCount == 0 { listener.becameEmpty(self) }
  }
}
