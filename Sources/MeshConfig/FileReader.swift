import Glibc

/// Reads whole files, without Foundation.
enum FileReader {
  /// Why a file could not be read, as the end of a sentence that begins with its name.
  struct Failure: Error {
    var message: String
  }

  /// How long a pipe's writer may be silent, in milliseconds.
  private static let pipePatience: Int32 = 5000

  /// The bytes of a file, at most `limit`.
  static func read(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
    guard !path.utf8.contains(0) else { throw Failure(message: "cannot be read: its name contains NUL") }
    // Not to wait for a pipe's writer, who may never come.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw failure(errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) != 0 || status.st_size <= limit else { throw tooLong(limit) }
    var content: [UInt8] = []
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 1)
    defer { chunk.deallocate() }
    while true {
      let count = Glibc.read(descriptor, chunk.baseAddress, chunk.count)
      if count < 0 {
        if errno == EINTR { continue }
        if errno == EAGAIN {
          var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
          if poll(&entry, 1, pipePatience) != 0 { continue }
          throw Failure(message: "cannot be read: nothing came for \(pipePatience / 1000) seconds")
        }
        throw failure(errno)
      }
      if count == 0 { return content }
      guard content.count + count <= limit else { throw tooLong(limit) }
      content.append(contentsOf: chunk[..<count])
    }
  }

  private static func tooLong(_ limit: Int) -> Failure { Failure(message: "is longer than \(limit) bytes") }

  private static func failure(_ code: Int32) -> Failure {
    Failure(message: "cannot be read: \(String(cString: strerror(code)))")
  }
}
