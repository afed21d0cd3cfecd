internal import CLinux
import MeshPrimitives

/// Reading small files whole: configuration, secrets, `/proc`.
public enum FileContents {
  /// Reads a file to its end.
  /// - Parameter limit: the most bytes accepted; a larger file fails with EFBIG.
  public static func read(_ path: String, limit: Int = 256 << 20) throws(SystemError) -> [UInt8] {
    let fd = clinux_open(path, CLINUX_OPEN_READ)
    if fd < 0 { throw SystemError("open", result: fd, path) }
    defer { _ = clinux_close(fd) }
    let size = clinux_file_size(fd)
    if size > Int64(limit) { throw SystemError("read", errno: 27, path) }
    var contents: [UInt8] = []
    // One byte more than the size, so that the end is seen without growing; files of /proc have no size.
    var room = max(4096, Int(size) + 1)
    while true {
      var count: Int64 = 0
      let have = contents.count
      contents.append(contentsOf: repeatElement(0, count: room))
      contents.withUnsafeMutableBytes { bytes in
        guard let base = bytes.baseAddress else { return }
        count = clinux_read(fd, base + have, room)
      }
      contents.removeLast(room - max(0, Int(count)))
      if count == -4 { continue }
      if count < 0 { throw SystemError("read", errno: Int32(-count), path) }
      if count == 0 { return contents }
      if contents.count > limit { throw SystemError("read", errno: 27, path) }
      room = max(4096, min(contents.count, 1 << 20))
    }
  }

  /// Reads a file as text; bytes that are no UTF-8 become U+FFFD.
  public static func text(_ path: String, limit: Int = 256 << 20) throws(SystemError) -> String {
    String(decoding: try read(path, limit: limit), as: UTF8.self)
  }
}
