import MeshIO
import MeshPrimitives

/// A resource of memory, without what malloc only keeps for later: that is resident, too, and would keep a pressure up that
/// is over. So before a pressure counts at which anything happens, free memory is given back: at most once a second, and
/// every ten seconds if that does not help.
final class UsedMemoryMonitor: ResourceMonitor {
  private let base: any ResourceMonitor
  private let onset: Double
  private let loop: EventLoop
  private let release: () -> Void
  private var nextRelease = MonotonicTime(nanoseconds: 0)

  /// - Parameters:
  ///   - onset: the lowest pressure at which anything happens.
  ///   - release: gives free memory back.
  init(
    _ base: any ResourceMonitor, onset: Double, loop: EventLoop,
    release: @escaping () -> Void = CurrentProcess.releaseFreeHeap
  ) {
    self.base = base
    self.onset = onset
    self.loop = loop
    self.release = release
  }

  func pressure() throws(ResourceFailure) -> Double {
    let used = try base.pressure()
    guard used >= onset, loop.now >= nextRelease else { return used }
    release()
    let left = try base.pressure()
    nextRelease = loop.now + (left < used * 15 / 16 ? .seconds(1) : .seconds(10))
    return left
  }
}
