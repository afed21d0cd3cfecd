import MeshIO
import MeshPrimitives

/// Watches one resource. Confined to the main thread.
protocol ResourceMonitor: AnyObject {
  /// The pressure now: 0 is none, 1 all that there is; more is possible. Never waits.
  func pressure() throws(ResourceFailure) -> Double
}

/// A resource cannot be looked at.
struct ResourceFailure: Error {
  /// For the log.
  let reason: String
}

extension OverloadConfiguration.Kind {
  /// - Parameter onset: the lowest pressure at which anything happens; nil if nothing does.
  func monitor(onset: Double?, _ loop: EventLoop) -> any ResourceMonitor {
    switch self {
    case .heap(let maximum): memory(HeapMonitor(maximum: maximum), onset, loop)
    case .controlGroupMemory(let maximum): memory(ControlGroupMemoryMonitor(maximum: maximum), onset, loop)
    case .processors(let isContainer): ProcessorMonitor(isContainer ? .controlGroup : .machine)
    case .connections(let limit): ConnectionMonitor(limit)
    case .injected(let path): InjectedMonitor(path: path)
    }
  }

  private func memory(_ monitor: any ResourceMonitor, _ onset: Double?, _ loop: EventLoop) -> any ResourceMonitor {
    guard let onset else { return monitor }
    return UsedMemoryMonitor(monitor, onset: onset, loop: loop)
  }
}
