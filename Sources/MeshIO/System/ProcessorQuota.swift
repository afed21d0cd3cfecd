internal import CLinux

/// How many processors this process may use: the affinity mask, lowered by the CPU quota of its control group and of
/// the groups above it (versions 1 and 2), rounded up.
public enum ProcessorQuota {
  /// Never fails: where there is no control group, no `/proc` or no quota, the affinity mask decides.
  /// - Returns: the count, at least 1, and in words where it comes from.
  public static func availableProcessors() -> (count: Int, explanation: String) {
    evaluate(affinity: max(1, Int(clinux_affinity_count()))) { path in
      try? String(decoding: FileContents.read(path, limit: 1 << 20), as: UTF8.self)
    }
  }

  /// The decision, without the machine.
  /// - Parameters:
  ///   - affinity: processors in the affinity mask.
  ///   - read: the contents of a file, or nil if it cannot be read.
  static func evaluate(affinity: Int, read: (String) -> String?) -> (count: Int, explanation: String) {
    guard let quota = smallestQuota(read), quota.processors < Double(affinity) else {
      return (affinity, "\(affinity) by the affinity mask")
    }
    let count = max(1, Int(quota.processors.rounded(.up)))
    return (count, "\(count) by the CPU quota of \(quota.path) (\(quota.processors) of \(affinity) processors)")
  }

  private struct Quota {
    var processors: Double
    var path: String
  }

  private static func smallestQuota(_ read: (String) -> String?) -> Quota? {
    guard let groups = read("/proc/self/cgroup"), let mounts = read("/proc/self/mountinfo") else { return nil }
    var smallest: Quota?
    for line in groups.split(separator: "\n") {
      // hierarchy-ID:controllers:path, with 0 and no controllers for version 2 (cgroups(7)).
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let unified = fields[0] == "0" && fields[1].isEmpty
      guard unified || fields[1].split(separator: ",").contains("cpu") else { continue }
      guard let mount = mountPoint(unified: unified, mounts) else { continue }
      // A limit of any ancestor binds too; the walk ends at the mount point.
      var path = relative(String(fields[2]), to: mount.root)
      while true {
        let directory = path == "/" ? mount.point : mount.point + path
        if let processors = quota(directory, unified, read), processors < smallest?.processors ?? .infinity {
          smallest = Quota(processors: processors, path: directory)
        }
        guard path != "/", let slash = path.lastIndex(of: "/") else { break }
        path = slash == path.startIndex ? "/" : String(path[..<slash])
      }
    }
    return smallest
  }

  private static func quota(_ directory: String, _ unified: Bool, _ read: (String) -> String?) -> Double? {
    let limit: Int64?
    let period: Int64?
    if unified {
      // "max 100000" or "150000 100000"
      guard let words = read(directory + "/cpu.max")?.split(whereSeparator: \.isWhitespace), words.count == 2 else {
        return nil
      }
      (limit, period) = (Int64(words[0]), Int64(words[1]))
    } else {
      (limit, period) = (
        number(read(directory + "/cpu.cfs_quota_us")), number(read(directory + "/cpu.cfs_period_us"))
      )
    }
    guard let limit, let period, limit > 0, period > 0 else { return nil }
    return Double(limit) / Double(period)
  }

  private static func number(_ text: String?) -> Int64? {
    text.flatMap { $0.split(whereSeparator: \.isWhitespace).first }.flatMap { Int64($0) }
  }

  /// Where the hierarchy is mounted, and which of its directories is at the top there (proc_pid_mountinfo(5)).
  private static func mountPoint(unified: Bool, _ mounts: String) -> (point: String, root: String)? {
    for line in mounts.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard let dash = words.firstIndex(of: "-"), words.count > dash + 3, dash >= 6 else { continue }
      let type = words[dash + 1]
      let matches =
        unified ? type == "cgroup2" : type == "cgroup" && words[dash + 3].split(separator: ",").contains("cpu")
      if matches { return (words[4] == "/" ? "" : String(words[4]), String(words[3])) }
    }
    return nil
  }

  /// A group's path as seen below the mount point. A group outside of what is mounted (another cgroup namespace) is
  /// judged by the mount's top.
  private static func relative(_ path: String, to root: String) -> String {
    if path.hasPrefix("/..") { return "/" }
    if root == "/" { return path }
    if path == root { return "/" }
    return path.hasPrefix(root + "/") ? String(path.dropFirst(root.count)) : "/"
  }
}
