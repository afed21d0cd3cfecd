import MeshIO
import MeshPrimitives

/// The end of a process that serves: `/ready` fails → connections are still accepted, every response says
/// `connection: close` (lame duck) → the accept queues are emptied and closed → requests in flight finish, or the
/// deadline ends them → their spans are exported → the last statistics are told → exit. On the main thread.
final class ShutdownSequence: TimerTarget {
  enum Manner {
    /// With the lame-duck time: whoever sends us traffic gets to see that `/ready` fails.
    case graceful
    /// Without, and without waiting for what idle clients may send.
    case prompt
  }

  /// How long a prompt end waits for requests that may be on their way on idle connections.
  private static let promptPatience = Nanoseconds.milliseconds(200)
  /// How long collectors are waited for when all requests have ended, and when the time is over.
  private static let exportPatience = Nanoseconds.seconds(5)
  private static let lateExportPatience = Nanoseconds.milliseconds(500)

  private enum Step: UInt8 { case lameDuck, deadline }

  private unowned let proxy: Proxy
  private let manner: Manner
  private var lameDuck: Timer?
  private var deadline: Timer?
  private var remaining = 0
  private var isExporting = false

  init(_ proxy: Proxy, _ manner: Manner) {
    self.proxy = proxy
    self.manner = manner
  }

  func begin() {
    let drain = Nanoseconds.seconds(UInt64(proxy.options.drainSeconds))
    let wait = manner == .graceful ? min(Nanoseconds.seconds(UInt64(proxy.options.lameDuckSeconds)), drain) : .zero
    Log.main.info(
      "draining: \(wait.wholeMilliseconds) ms more of accepting, at most \(drain.wholeMilliseconds) ms in all")
    for worker in proxy.workers { worker.mailbox.post { $0.beginDraining() } }
    lameDuck = Timer(proxy.loop, self, tag: Step.lameDuck.rawValue)
    deadline = Timer(proxy.loop, self, tag: Step.deadline.rawValue)
    deadline?.arm(after: drain)
    if wait == .zero { stopListening() } else { lameDuck?.arm(after: wait) }
  }

  func timerFired(_ tag: UInt8) {
    switch Step(rawValue: tag) {
    case .lameDuck: stopListening()
    case .deadline:
      Log.main.warning("the drain time is over: ending the connections that are left")
      for worker in proxy.workers { worker.mailbox.post { $0.closeConnections() } }
      exportSpans(patience: Self.lateExportPatience)
    case nil: break
    }
  }

  private func stopListening() {
    // From here on the kernel begins no new handshake with us; what it has completed is accepted by the workers. Then the
    // sockets close: whoever comes now is refused at once, or is our successor's.
    for address in proxy.sockets.values.flatMap(\.addresses) { proxy.listenSockets.stopRouting(address) }
    remaining = proxy.workers.count
    let main = proxy.mailbox
    let patience = manner == .prompt ? Self.promptPatience : nil
    proxy.atAllWorkers({ worker in
      worker.stopListening(idleFor: patience) { main.post { $0.workerDrained() } }
    }) { [unowned proxy] in proxy.releaseSockets() }
  }

  /// One worker has no connection left.
  func workerDrained() {
    remaining -= 1
    guard remaining == 0 else { return }
    Log.main.info("drained")
    exportSpans(patience: Self.exportPatience)
  }

  /// The last step: what workers have recorded goes to the collectors.
  private func exportSpans(patience: Nanoseconds) {
    guard !isExporting else { return }
    isExporting = true
    let exporters = proxy.identities.spanExporters
    let main = proxy.mailbox
    proxy.atAllWorkers({ $0.flushSpans() }) {
      // Behind the last batches.
      exporters.post { $0.flush(patience: patience) { main.post { $0.tellLastStatistics() } } }
    }
  }
}

extension Proxy {
  func workerDrained() { shutdown?.workerDrained() }

  /// Everything has been counted: whoever is told the statistics hears it, then the loop ends.
  fileprivate func tellLastStatistics() { statSinks.finish { [unowned self] in loop.stop() } }
}
