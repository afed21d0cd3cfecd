import MeshIO

/// `envoy.resource_monitors.cgroup_memory`: the memory of the process's control group, and of the groups above it, which
/// bind as well: the one that is nearest to its limit counts. Pages of files that nobody has read lately, which the
/// kernel takes back before it kills, are not counted.
final class ControlGroupMemoryMonitor: ResourceMonitor {
  private let maximum: UInt64?
  private let read: (String) -> String?
  private let places: [ControlGroup.Place]

  /// - Parameters:
  ///   - maximum: a limit of our own for the process's group.
  ///   - read: the contents of a file, or nil if it cannot be read.
  init(maximum: UInt64?, read: @escaping (String) -> String? = ControlGroup.readFile) {
    self.maximum = maximum
    self.read = read
    places = ControlGroup.places(of: "memory", read: read)
  }

  func pressure() throws(ResourceFailure) -> Double {
    var highest: Double?
    for place in places {
      for (level, directory) in place.directories.enumerated() {
        guard let used = used(directory, place.isUnified) else { continue }
        var limit = limit(directory, place.isUnified)
        if level == 0, let maximum { limit = min(limit ?? .max, maximum) }
        highest = max(highest ?? 0, limit.map { Double(used) / Double(max($0, 1)) } ?? 0)
      }
    }
    guard let highest else { throw ResourceFailure(reason: "there is no control group for memory") }
    return highest
  }

  private func used(_ directory: String, _ isUnified: Bool) -> UInt64? {
    let file = isUnified ? "/memory.current" : "/memory.usage_in_bytes"
    guard let used = read(directory + file).flatMap(Self.number) else { return nil }
    let name = isUnified ? "inactive_file" : "total_inactive_file"
    let lines = read(directory + "/memory.stat")?.split(separator: "\n") ?? []
    let reclaimable = lines.first { $0.hasPrefix(name + " ") }.flatMap { Self.number(String($0.dropFirst(name.count))) }
    return used - min(used, reclaimable ?? 0)
  }

  /// nil: none.
  private func limit(_ directory: String, _ isUnified: Bool) -> UInt64? {
    let limit = read(directory + (isUnified ? "/memory.max" : "/memory.limit_in_bytes")).flatMap(Self.number)
    // Version 1 says "none" by the largest number of pages there is.
    return limit.flatMap { $0 >= 1 << 62 ? nil : $0 }
  }

  private static func number(_ text: String) -> UInt64? {
    text.split(whereSeparator: \.isWhitespace).first.flatMap { UInt64($0) }
  }
}
