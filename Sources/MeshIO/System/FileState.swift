internal import CLinux

/// Which file a path leads to, and when that file last changed. Two states are equal if a reader would find the same.
public struct FileState: Hashable, Sendable {
  let device: UInt64
  let inode: UInt64
  let size: Int64
  let modified: Int64
  let isSocket: Bool

  /// nil if there is no such file.
  /// - Parameter followsLinks: of a symbolic link the target, not the link.
  public init?(_ path: String, followsLinks: Bool = true) {
    var state = clinux_file_state()
    guard clinux_file_state(path, followsLinks ? 1 : 0, &state) >= 0 else { return nil }
    device = state.device
    inode = state.inode
    size = state.size
    modified = state.modified_ns
    isSocket = state.is_socket != 0
  }

  /// Whether both are the same file, whatever is in it now.
  public func isSameFile(as other: FileState) -> Bool { device == other.device && inode == other.inode }
}
