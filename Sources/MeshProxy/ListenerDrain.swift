import MeshIO
import MeshPrimitives

/// Listeners that close when their drain time is over, while the process goes on (`POST /drain_listeners?graceful`). On
/// the main thread.
final class ListenerDrain: TimerTarget {
  private unowned let proxy: Proxy
  private var keys: Set<ListenerKey> = []
  private var timer: Timer?

  init(_ proxy: Proxy) { self.proxy = proxy }

  /// Closes these listeners after `span`. A drain that runs already keeps its time, and takes them in.
  func start(_ more: Set<ListenerKey>, after span: Nanoseconds) {
    keys.formUnion(more)
    if timer == nil {
      timer = Timer(proxy.loop, self)
      timer?.arm(after: span)
    }
  }

  func timerFired(_ tag: UInt8) {
    proxy.listenerDrain = nil
    proxy.closeListeners(keys)
  }
}
