internal import CLinux
import MeshPrimitives

/// A file that is only appended to, such as an access log. The descriptor can be replaced while the program runs, so
/// that the file can be rotated. Writes block (a disk is not waited for by epoll): gather before writing.
public final class AppendFile {
  /// The path; for `standardOutput` and `standardError` a name for people.
  public let path: String
  private var fd: Int32
  private let owned: Bool

  /// Opens (creating it with mode 0644 if need be) a file for appending.
  public init(_ path: String) throws(SystemError) {
    self.path = path
    owned = true
    fd = clinux_open(path, CLINUX_OPEN_APPEND)
    if fd < 0 { throw SystemError("open", result: fd, path) }
  }

  /// Whether the file could be opened for appending, or made: for checking a configuration. Opens and makes nothing.
  /// - Throws: what `init` would fail with, as far as it can be told.
  public static func check(_ path: String) throws(SystemError) {
    var directory = "."
    if let slash = path.lastIndex(of: "/") { directory = slash == path.startIndex ? "/" : String(path[..<slash]) }
    let result = clinux_can_append(path, directory)
    if result < 0 { throw SystemError("open", result: result, path) }
  }

  private init(borrowing fd: Int32, _ name: String) {
    self.fd = fd
    path = name
    owned = false
  }

  deinit { if owned { _ = clinux_close(fd) } }

  public static func standardOutput() -> AppendFile { AppendFile(borrowing: 1, "/dev/stdout") }
  public static func standardError() -> AppendFile { AppendFile(borrowing: 2, "/dev/stderr") }

  /// Opens the path again, after the file was renamed. If that fails the old file stays in use.
  public func reopen() throws(SystemError) {
    guard owned else { return }
    let fresh = clinux_open(path, CLINUX_OPEN_APPEND)
    if fresh < 0 { throw SystemError("open", result: fresh, path) }
    _ = clinux_close(fd)
    fd = fresh
  }

  /// Appends all of `bytes`.
  /// - Returns: how many bytes were written; fewer than given when the disk is full or a pipe's reader is gone or slow.
  @discardableResult
  public func write(_ bytes: Bytes) -> Int {
    guard let base = bytes.baseAddress else { return 0 }
    var done = 0
    while done < bytes.count {
      let count = clinux_write(fd, base + done, bytes.count - done)
      if count == -4 { continue }
      if count <= 0 { break }
      done += Int(count)
    }
    return done
  }

  /// Appends text.
  @discardableResult
  public func write(_ text: String) -> Int {
    var text = text
    return text.withUTF8 { write($0) }
  }
}
