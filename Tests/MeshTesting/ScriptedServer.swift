import Glibc

/// A server on a TCP port of 127.0.0.1, or on a Unix socket, that does what a test's script says, each connection on a thread of its own.
public final class ScriptedServer: Sendable {
  public let port: UInt16
  private let listener: Int32
  private let state = Monitor(State())

  private struct State: Sendable {
    var accepted = 0
    var failures: [String] = []
    var stopped = false
  }

  public typealias Script = @Sendable (_ connection: RawConnection, _ number: Int) throws -> Void

  /// - Parameters:
  ///   - host: an IPv4 address of this machine.
  ///   - port: 0 for one that the kernel chooses.
  ///   - script: called for each connection, with its number from 0. The connection is closed when it returns. A
  ///     `TestFailure` it throws is kept in `failures`.
  public convenience init(
    host: String = "127.0.0.1", port: UInt16 = 0, backlog: Int32 = 128, _ script: @escaping Script
  ) throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    inet_pton(AF_INET, host, &address.sin_addr)
    var yes: Int32 = 1
    if port != 0 { setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, 4) }
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    try self.init(listener, isBound: bound == 0, backlog, script)
  }

  /// - Parameter unixPath: a path name, or a name in the abstract namespace after an `@`.
  public convenience init(unixPath path: String, _ script: @escaping Script) throws {
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    let bound = withUnixAddress(path) { bind(listener, $0, $1) }
    try self.init(listener, isBound: bound == 0, 128, script)
  }

  private init(_ listener: Int32, isBound: Bool, _ backlog: Int32, _ script: @escaping Script) throws {
    guard isBound, listen(listener, backlog) == 0 else {
      Glibc.close(listener)
      throw TestFailure("cannot listen: errno \(errno)")
    }
    self.listener = listener
    port = MeshTesting.port(ofSocket: listener)
    startThread { [state] in
      while true {
        var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        if poll(&entry, 1, -1) < 0, errno == EINTR { continue }
        let fd = spawning.withLock { _ in
          let fd = accept(listener, nil, nil)
          if fd >= 0 { _ = fcntl(fd, F_SETFD, FD_CLOEXEC) }
          return fd
        }
        if fd < 0 { break }
        let number = state.change { state in
          state.accepted += 1
          return state.accepted - 1
        }
        startThread {
          let connection = RawConnection(taking: fd)
          do {
            try script(connection, number)
          } catch {
            state.change { $0.failures.append("connection \(number): \(error)") }
          }
          connection.close()
        }
      }
      Glibc.close(listener)
    }
  }

  deinit { stop() }

  /// Connections accepted so far.
  public var accepted: Int { state.read { $0.accepted } }

  /// What the scripts threw.
  public var failures: [String] { state.read { $0.failures } }

  /// Waits until `count` connections have been accepted. Blocks.
  public func waitForConnections(_ count: Int, within deadline: Deadline = Deadline()) throws {
    guard state.wait(deadline, { $0.accepted >= count ? true : nil }) != nil else {
      throw TestFailure("\(accepted) of \(count) connections")
    }
  }

  /// Stops accepting: new connections are refused. Connections that exist go on.
  public func stop() {
    state.change { state in
      if !state.stopped { shutdown(listener, Int32(SHUT_RDWR)) }
      state.stopped = true
    }
  }
}
