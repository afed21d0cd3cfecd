import Glibc

/// Reads whole files, without Foundation.
enum FileReader {
  /// Why a file could not be read, as the end of a sentence that begins with its name.
  struct Failure: Error {
    var message: String
  }

  /// The bytes of a file, at most `limit`.
  static func read(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
    guard !path.utf8.contains(0) else { throw Failure(message: "cannot be read: its name contains NUL") }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(errno) }
    defer { close(descriptor) }
    var content: [UInt8] = []
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 1)
    defer { chunk.deallocate() }
    while true {
      let count = Glibc.read(descriptor, chunk.baseAddress, chunk.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw failure(errno)
      }
      if count == 0 { return content }
      guard content.count + count <= limit else { throw Failure(message: "is longer than \(limit) bytes") }
      content.append(contentsOf: chunk[..<count])
    }
  }

  private static func failure(_ code: Int32) -> Failure {
    Failure(message: "cannot be read: \(String(cString: strerror(code)))")
  }
}
