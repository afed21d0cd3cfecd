/// Where the process's control groups are (cgroups(7)), of either version.
public enum ControlGroup {
  /// A group of one hierarchy.
  public struct Place: Sendable, Equatable {
    /// Version 2.
    public let isUnified: Bool
    /// The group's own directory, then those of the groups above it, up to where the hierarchy is mounted.
    public let directories: [String]
  }

  /// The contents of a file, or nil if it cannot be read.
  public static func readFile(_ path: String) -> String? {
    try? String(decoding: FileContents.read(path, limit: 1 << 20), as: UTF8.self)
  }

  /// The groups in which a controller (`cpu`, `memory`) may be; none where there are no control groups.
  /// - Parameter read: the contents of a file, or nil if it cannot be read.
  public static func places(of controller: String, read: (String) -> String? = readFile) -> [Place] {
    guard let groups = read("/proc/self/cgroup"), let mounts = read("/proc/self/mountinfo") else { return [] }
    var places: [Place] = []
    for line in groups.split(separator: "\n") {
      // hierarchy-ID:controllers:path, with 0 and no controllers for version 2 (cgroups(7)).
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let isUnified = fields[0] == "0" && fields[1].isEmpty
      guard isUnified || fields[1].split(separator: ",").contains(Substring(controller)) else { continue }
      guard let mount = mountPoint(isUnified ? nil : controller, mounts) else { continue }
      var directories: [String] = []
      var path = relative(String(fields[2]), to: mount.root)
      while true {
        directories.append(path == "/" ? mount.point : mount.point + path)
        guard path != "/", let slash = path.lastIndex(of: "/") else { break }
        path = slash == path.startIndex ? "/" : String(path[..<slash])
      }
      places.append(Place(isUnified: isUnified, directories: directories))
    }
    return places
  }

  /// Where the hierarchy is mounted, and which of its directories is at the top there (proc_pid_mountinfo(5)).
  /// - Parameter controller: nil for version 2.
  private static func mountPoint(_ controller: String?, _ mounts: String) -> (point: String, root: String)? {
    for line in mounts.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard let dash = words.firstIndex(of: "-"), words.count > dash + 3, dash >= 6 else { continue }
      let type = words[dash + 1]
      let matches =
        controller.map { type == "cgroup" && words[dash + 3].split(separator: ",").contains(Substring($0)) }
        ?? (type == "cgroup2")
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
