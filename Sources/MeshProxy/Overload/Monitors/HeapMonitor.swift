import MeshIO

/// `envoy.resource_monitors.fixed_heap`: the process's own resident memory.
final class HeapMonitor: ResourceMonitor {
  private let maximum: UInt64

  init(maximum: UInt64) { self.maximum = max(maximum, 1) }

  func pressure() throws(ResourceFailure) -> Double {
    guard let bytes = CurrentProcess.ownResidentMemory else {
      throw ResourceFailure(reason: "/proc/self/statm: no data")
    }
    return Double(bytes) / Double(maximum)
  }
}
