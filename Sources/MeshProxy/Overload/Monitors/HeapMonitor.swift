import MeshIO
import MeshPrimitives

/// `envoy.resource_monitors.fixed_heap`: the process's own resident memory.
///
/// Memory that malloc keeps for later is resident, too, and would keep a pressure up that is over. So before a pressure
/// counts at which anything happens, free memory is given back, at most once a second, and every ten seconds if that
/// does not help.
final class HeapMonitor: ResourceMonitor {
  private let maximum: UInt64
  private let onset: Double?
  private let loop: EventLoop
  private var nextRelease = MonotonicTime(nanoseconds: 0)

  init(maximum: UInt64, onset: Double?, loop: EventLoop) {
    self.maximum = max(maximum, 1)
    self.onset = onset
    self.loop = loop
  }

  func pressure() throws(ResourceFailure) -> Double {
    let used = try read()
    guard let onset, share(used) >= onset, loop.now >= nextRelease else { return share(used) }
    CurrentProcess.releaseFreeHeap()
    let left = try read()
    nextRelease = loop.now + (left < used - used / 16 ? .seconds(1) : .seconds(10))
    return share(left)
  }

  private func read() throws(ResourceFailure) -> UInt64 {
    guard let bytes = CurrentProcess.ownResidentMemory else {
      throw ResourceFailure(reason: "/proc/self/statm: no data")
    }
    return bytes
  }

  private func share(_ used: UInt64) -> Double { Double(used) / Double(maximum) }
}
