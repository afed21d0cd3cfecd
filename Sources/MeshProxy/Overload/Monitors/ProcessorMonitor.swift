import MeshIO
import MeshPrimitives

/// `envoy.resource_monitors.cpu_utilization`: how busy processors have been since the last look, smoothed: each look
/// weighs a twentieth, as in Envoy.
final class ProcessorMonitor: ResourceMonitor {
  enum Scope {
    /// All processors of the machine.
    case machine
    /// What the process's control group may use.
    case controlGroup
  }

  private let source: () throws(ResourceFailure) -> ProcessorUsage
  private var last: ProcessorUsage?
  private var smoothed = 0.0
  private static let weight = 0.05

  convenience init(_ scope: Scope) {
    switch scope {
    case .machine:
      self.init { () throws(ResourceFailure) in
        guard let usage = ProcessorUsage.machine() else { throw ResourceFailure(reason: "/proc/stat: no data") }
        return usage
      }
    case .controlGroup:
      self.init { () throws(ResourceFailure) in
        guard let usage = ProcessorUsage.controlGroup() else {
          throw ResourceFailure(reason: "there is no control group for processors")
        }
        return usage
      }
    }
  }

  init(source: @escaping () throws(ResourceFailure) -> ProcessorUsage) {
    self.source = source
    last = try? source()
  }

  func pressure() throws(ResourceFailure) -> Double {
    let now = try source()
    defer { last = now }
    guard let last, now.available > last.available, now.used >= last.used else { return smoothed }
    let share = min((now.used - last.used) / (now.available - last.available), 1)
    smoothed = share * Self.weight + smoothed * (1 - Self.weight)
    return smoothed
  }
}
