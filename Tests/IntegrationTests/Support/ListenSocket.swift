import Glibc
import MeshTesting

/// A listening socket that a test owns and hands to programs, as systemd's socket activation does.
final class ListenSocket: Sendable {
  let descriptor: Int32
  let port: UInt16

  /// - Parameter port: 0: whichever the kernel gives.
  init(port wanted: UInt16 = 0, backlog: Int32 = 4096) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = wanted.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let descriptor = descriptor
    let isBound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
      }
    }
    port = UInt16(bigEndian: address.sin_port)
    guard isBound, listen(descriptor, backlog) == 0 else { throw TestFailure("cannot listen: errno \(errno)") }
  }

  deinit { close(descriptor) }

  /// A port at which nobody listens, and that nobody gets by chance: the kernel's own choice for sockets, also for those
  /// that connect, begins at 32768.
  static func freePort() throws -> UInt16 {
    for _ in 0..<100 {
      if let socket = try? ListenSocket(port: .random(in: 12_000..<30_000)) { return socket.port }
    }
    throw TestFailure("no port is free")
  }
}
