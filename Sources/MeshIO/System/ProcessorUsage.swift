import MeshPrimitives

/// How much processor time has been used, and how much there was, both since some moment in the past: two of them tell
/// how busy processors were between.
public struct ProcessorUsage: Sendable, Equatable {
  /// Unit: any, the same for both.
  public let used: Double
  public let available: Double

  public init(used: Double, available: Double) {
    self.used = used
    self.available = available
  }

  /// All of the machine's processors (proc_stat(5)); nil where `/proc` is missing.
  public static func machine(read: (String) -> String? = ControlGroup.readFile) -> ProcessorUsage? {
    guard let line = read("/proc/stat")?.split(separator: "\n").first, line.hasPrefix("cpu ") else { return nil }
    // user nice system idle …, in clock ticks.
    let ticks = line.split(separator: " ").dropFirst().prefix(4).compactMap { UInt64($0).map { Double($0) } }
    guard ticks.count == 4 else { return nil }
    let used = ticks[0] + ticks[1] + ticks[2]
    return ProcessorUsage(used: used, available: used + ticks[3])
  }

  /// What the process's control group has used of what it may use; nil where there is no control group.
  public static func controlGroup() -> ProcessorUsage? {
    controlGroup(
      at: ProcessClock.monotonic(), processors: ProcessorQuota.capacity(), read: ControlGroup.readFile)
  }

  static func controlGroup(
    at now: MonotonicTime, processors: Double, read: (String) -> String?
  ) -> ProcessorUsage? {
    for controller in ["cpuacct", "cpu"] {
      for place in ControlGroup.places(of: controller, read: read) {
        guard let directory = place.directories.first, let used = seconds(directory, place.isUnified, read) else {
          continue
        }
        return ProcessorUsage(used: used, available: Double(now.nanoseconds) / 1e9 * processors)
      }
    }
    return nil
  }

  private static func seconds(_ directory: String, _ isUnified: Bool, _ read: (String) -> String?) -> Double? {
    if isUnified {
      let lines = read(directory + "/cpu.stat")?.split(separator: "\n") ?? []
      let line = lines.first { $0.hasPrefix("usage_usec ") }
      return line.flatMap { UInt64($0.dropFirst(11)) }.map { Double($0) / 1e6 }
    }
    let text = read(directory + "/cpuacct.usage")?.split(whereSeparator: \.isWhitespace).first
    return text.flatMap { UInt64($0) }.map { Double($0) / 1e9 }
  }
}
