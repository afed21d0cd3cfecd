internal import CLinux

/// What is in a directory.
public enum DirectoryListing {
  public struct Entry: Sendable, Equatable {
    public let name: String
    public let isDirectory: Bool
  }

  /// The files and directories of a directory, by name; symbolic links count as what they lead to. Devices, sockets,
  /// pipes and links that lead nowhere are left out. Names that are no UTF-8 are too: no configuration can name them.
  /// - Parameter limit: the most bytes that the names may have in all; more fails with EFBIG.
  public static func entries(of path: String, limit: Int = 256 << 10) throws(SystemError) -> [Entry] {
    var entries: [Entry] = []
    var failure: Int64 = 0
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: limit) { buffer in
      guard let base = buffer.baseAddress else { return }
      let count = clinux_list_directory(path, base, limit)
      guard count >= 0 else { return failure = count }
      var start = 0
      while start < Int(count) {
        var end = start + 1
        while base[end] != 0 { end += 1 }
        let bytes = UnsafeRawBufferPointer(start: base + start + 1, count: end - start - 1)
        if let name = String(validating: bytes, as: UTF8.self) {
          entries.append(Entry(name: name, isDirectory: UInt8(bitPattern: base[start]) == UInt8(ascii: "d")))
        }
        start = end + 1
      }
    }
    if failure < 0 { throw SystemError("list", errno: Int32(-failure), path) }
    return entries.sorted { $0.name < $1.name }
  }
}
