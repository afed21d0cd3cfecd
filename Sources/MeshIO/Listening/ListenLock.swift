internal import CLinux
import MeshPrimitives

/// The lock that keeps a second process of ours from sharing an address by SO_REUSEPORT without anyone noticing: an
/// abstract Unix socket named after the address. The name belongs to the network namespace, as ports do, and the kernel
/// frees it when the holder ends, however it ends. Whoever finds it taken connects, and the kernel says who holds it.
enum ListenLock {
  enum Outcome: Sendable {
    /// The lock is ours; a listening Unix socket.
    case taken(Int32)
    /// Someone else's. The connection hangs up when the holder lets go.
    case held(by: ListenHolder, connection: Int32)
    /// A process of another user has the name. It cannot share our ports (SO_REUSEPORT is per user), so it does not
    /// count; bind(2) decides.
    case foreign
  }

  private static let prefix = "@martlet/listen/"

  static func name(of address: SocketAddress) -> SocketAddress? {
    let text = prefix + address.description
    // A long path name is cut to its hash (FNV-1a): two names would have to collide to be taken for one.
    if text.utf8.count <= 107 { return SocketAddress(unixPath: text) }
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return SocketAddress(unixPath: prefix + String(hash, radix: 16))
  }

  static func take(_ address: SocketAddress) throws(SystemError) -> Outcome {
    guard let name = name(of: address) else { throw SystemError("bind", errno: 36, "lock of \(address)") }
    // Between two attempts the holder may go, or may have bound the name and not listen yet.
    for _ in 0..<100 {
      let fd = clinux_socket(CLINUX_FAMILY_UNIX, 0)
      if fd < 0 { throw SystemError("socket", result: fd, "lock of \(address)") }
      var result = Socket.bind(fd, name)
      if result >= 0 { result = clinux_listen(fd, 64) }
      if result >= 0 { return .taken(fd) }
      _ = clinux_close(fd)
      if result != -98 { throw SystemError("bind", result: result, "lock of \(address)") }
      switch Socket.connect(to: name) {
      case .success(let connection):
        if clinux_peer_uid(connection) != clinux_effective_uid() {
          _ = clinux_close(connection)
          return .foreign
        }
        return .held(by: holder(connection, address), connection: connection)
      case .failure:
        clinux_yield()
      }
    }
    return .foreign
  }

  /// Who, of ours, listens on an address that shares packets with `address`: the same port, and one of both a wildcard.
  static func overlapping(_ address: SocketAddress) -> ListenHolder? {
    guard !address.isUnix, let table = try? FileContents.text("/proc/thread-self/net/unix", limit: 16 << 20) else {
      return nil
    }
    for line in table.split(separator: "\n") {
      guard let path = line.split(separator: " ").last, path.hasPrefix(prefix) else { continue }
      guard let held = SocketAddress(String(path.dropFirst(prefix.count))), held.port == address.port else { continue }
      // The address's own lock is the caller's.
      guard held != address, held.isUnspecified || address.isUnspecified else { continue }
      guard let name = SocketAddress(unixPath: String(path)), case .success(let fd) = Socket.connect(to: name) else {
        continue
      }
      defer { _ = clinux_close(fd) }
      return holder(fd, held)
    }
    return nil
  }

  private static func holder(_ connection: Int32, _ address: SocketAddress) -> ListenHolder {
    let process = max(0, clinux_peer_pid(connection))
    let name = try? FileContents.text("/proc/\(process)/comm", limit: 4096)
    return ListenHolder(process: process, program: name.map { String($0.prefix { $0 != "\n" }) }, address: address)
  }
}

/// Holds a lock, or waits to take it over: a successor that inherited the sockets listens while its predecessor still
/// has the lock, and takes it when the predecessor ends.
final class ListenLockKeeper: IOHandler {
  private enum State {
    case idle
    case holding(Int32)
    case watching(Int32)
  }

  /// Connections of those who wait for the lock. Not read; when more come, the oldest is closed, and its owner asks
  /// again.
  private static let maximumWatchers = 16

  private let loop: EventLoop
  private let address: SocketAddress
  private var state = State.idle
  private var watchers: [Int32] = []

  init(_ loop: EventLoop, _ address: SocketAddress, _ outcome: ListenLock.Outcome) {
    self.loop = loop
    self.address = address
    adopt(outcome)
  }

  var isHeld: Bool {
    if case .holding = state { return true }
    return false
  }

  /// Lets go of the lock. The keeper must not be used afterwards.
  func release() {
    switch state {
    case .idle: break
    case .holding(let fd), .watching(let fd): loop.close(fd)
    }
    state = .idle
    for fd in watchers { _ = clinux_close(fd) }
    watchers = []
  }

  func ready(_ events: IOEvents) {
    switch state {
    case .idle: break
    case .holding(let fd):
      while true {
        let accepted = Socket.accept(fd)
        if accepted.fd < 0 { break }
        if watchers.count == Self.maximumWatchers { _ = clinux_close(watchers.removeFirst()) }
        watchers.append(accepted.fd)
      }
    case .watching(let fd):
      // The holder says nothing: whatever happens is its end.
      loop.close(fd)
      state = .idle
      if let outcome = try? ListenLock.take(address) { adopt(outcome) }
    }
  }

  private func adopt(_ outcome: ListenLock.Outcome) {
    let fd: Int32
    switch outcome {
    case .foreign: return
    case .taken(let lock):
      fd = lock
      state = .holding(lock)
    case .held(_, let connection):
      fd = connection
      state = .watching(connection)
    }
    do {
      try loop.register(fd, self, interest: .levelRead)
    } catch {
      // Without events the lock still holds; only a takeover would go unnoticed.
      if case .watching = state {
        _ = clinux_close(fd)
        state = .idle
      }
    }
  }
}
