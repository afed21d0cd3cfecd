import MeshHTTP
import MeshIO
import MeshPrimitives

/// Network filters before the one that serves: they admit a connection, or it is closed.
extension PendingConnection {
  /// - Returns: whether the connection goes on.
  func admit(_ chain: any ActiveFilterChain) -> Bool {
    for filter in chain.configuration.admission {
      if case .refused(let refusal, let delay) = filter.judge(info.identifier, worker) {
        refuse(refusal, after: delay)
        return false
      }
    }
    return true
  }

  private func refuse(_ refusal: ConnectionRefusal, after delay: Nanoseconds) {
    self.refusal = refusal
    guard delay > .zero else { return close(.local) }
    // Nothing is read; but a client that leaves is let go.
    do { try worker.loop.take(over: transport.descriptor, self) } catch { return close(.local) }
    timer = Timer(worker.loop, self)
    timer?.arm(after: delay)
  }

  /// Something happened to a connection that waits for its end.
  func readyWhileRefused() { if transport.peerClosed { close(.remote) } }
}
