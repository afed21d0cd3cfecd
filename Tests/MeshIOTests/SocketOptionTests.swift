import Glibc
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshIO

/// What the kernel is told about sockets, read back from it.
@Suite("Socket options", .timeLimit(.minutes(1)))
struct SocketOptionTests {
  private static func option(_ fd: Int32, _ level: Int32, _ name: Int32) -> Int32 {
    var value: Int32 = -1
    var length = socklen_t(4)
    getsockopt(fd, level, name, &value, &length)
    return value
  }

  private static let tcp = Int32(IPPROTO_TCP)
  private static let anyPort = SocketAddress(.loopbackV4, port: 0)

  @Test("a connection's keep-alive, source address and raw options are the kernel's")
  func connection() throws {
    let server = try ScriptedServer { connection, _ in try connection.receiveToEnd() }
    let source = try #require(SocketAddress("127.0.0.9:0"))
    let options = SocketOptions(
      keepAlive: KeepAlive(probes: 3, idleSeconds: 11, intervalSeconds: 5), freeBind: true,
      raw: [
        RawSocketOption(level: SOL_SOCKET, name: SO_MARK, value: 0),
        RawSocketOption(level: Self.tcp, name: TCP_USER_TIMEOUT, value: 4321, state: .bound),
        RawSocketOption(level: Self.tcp, name: 9999, value: 1, state: .listening),
      ])
    let fd = try Socket.connect(
      to: SocketAddress(.loopbackV4, port: server.port), bindTo: source, options: options
    ).get()
    defer { Socket.close(fd) }
    #expect(Self.option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1)
    #expect(Self.option(fd, Self.tcp, TCP_KEEPCNT) == 3)
    #expect(Self.option(fd, Self.tcp, TCP_KEEPIDLE) == 11)
    #expect(Self.option(fd, Self.tcp, TCP_KEEPINTVL) == 5)
    #expect(Self.option(fd, Self.tcp, TCP_USER_TIMEOUT) == 4321)
    #expect(Self.option(fd, Int32(IPPROTO_IP), IP_FREEBIND) == 1)
    #expect(Socket.localAddress(fd)?.ip == source.ip)
  }

  @Test("an option that the kernel does not know is an error, and no descriptor is left")
  func unknownOption() throws {
    let server = try ScriptedServer { _, _ in }
    let address = SocketAddress(.loopbackV4, port: server.port)
    for state in [RawSocketOption.State.beforeBind, .bound] {
      let options = SocketOptions(raw: [RawSocketOption(level: Self.tcp, name: 9999, value: 1, state: state)])
      guard case .failure(let error) = Socket.connect(to: address, options: options) else {
        Issue.record("connected")
        continue
      }
      #expect(error.errno == ENOPROTOOPT)
    }
    let sockets = ListenSockets(try EventLoop())
    for state in [RawSocketOption.State.beforeBind, .bound, .listening] {
      let options = ListenOptions(raw: [RawSocketOption(level: Self.tcp, name: 9999, value: [1], state: state)])
      #expect(throws: ListenError.self) { try sockets.acquire(Self.anyPort, workers: 1, options: options) }
    }
  }

  @Test("a listening socket's options are set, each in its state")
  func listening() throws {
    let sockets = ListenSockets(try EventLoop())
    let options = ListenOptions(
      freeBind: true, fastOpenQueue: 7,
      raw: [
        RawSocketOption(level: SOL_SOCKET, name: SO_RCVBUF, value: 30_000),
        RawSocketOption(level: Self.tcp, name: TCP_DEFER_ACCEPT, value: 3, state: .bound),
        RawSocketOption(level: Self.tcp, name: TCP_USER_TIMEOUT, value: 1234, state: .listening),
      ])
    let fds = try sockets.acquire(Self.anyPort, workers: 2, options: options)
    for fd in fds {
      #expect(Self.option(fd, Self.tcp, TCP_FASTOPEN) == 7)
      #expect(Self.option(fd, Int32(IPPROTO_IP), IP_FREEBIND) == 1)
      // The kernel doubles it.
      #expect(Self.option(fd, SOL_SOCKET, SO_RCVBUF) == 60_000)
      #expect(Self.option(fd, Self.tcp, TCP_DEFER_ACCEPT) > 0)
      #expect(Self.option(fd, Self.tcp, TCP_USER_TIMEOUT) == 1234)
      #expect(Self.option(fd, SOL_SOCKET, SO_REUSEPORT) == 1)
    }
  }

  @Test("one queue for all workers, if they are not to have one each")
  func sharedQueue() throws {
    let sockets = ListenSockets(try EventLoop())
    let fds = try sockets.acquire(Self.anyPort, workers: 2, options: ListenOptions(sharesQueue: true))
    let address = try #require(Socket.localAddress(fds[0]))
    #expect(Set(fds).count == 2)
    #expect(Self.option(fds[0], SOL_SOCKET, SO_REUSEPORT) == 0)
    let client = try RawConnection(port: address.port)
    defer { client.close() }
    // Whichever worker asks has it.
    let accepted = Socket.accept(fds[1])
    #expect(accepted.fd >= 0)
    Socket.close(accepted.fd)
    #expect(Int(Socket.accept(fds[0]).fd) == Socket.wouldBlock)
  }

  @Test("an IPv6 wildcard takes IPv4 only if it is to; its IPv4 peers are known by their IPv4 address")
  func dualStack() throws {
    let any = SocketAddress(IPAddress(v6: 0, 0), port: 0)
    let sockets = ListenSockets(try EventLoop())
    let both = try sockets.acquire(any, workers: 1, options: ListenOptions(acceptsV4: true))
    let port = try #require(Socket.localAddress(both[0])?.port)
    let client = try RawConnection(port: port)
    defer { client.close() }
    let accepted = Socket.accept(both[0])
    defer { Socket.close(accepted.fd) }
    #expect(accepted.peer.ip.family == .v6)
    #expect(accepted.peer.unmapped == SocketAddress(.loopbackV4, port: client.localPort))
    let only = try sockets.acquire(any, workers: 1)
    let onlyPort = try #require(Socket.localAddress(only[0])?.port)
    #expect(throws: TestFailure.self) { try RawConnection(port: onlyPort) }
  }

  // MARK: Unix sockets

  @Test("the file of a Unix socket has the mode it is to have, whatever the umask")
  func mode() throws {
    let directory = try TemporaryDirectory()
    let sockets = ListenSockets(try EventLoop())
    for mode in [UInt32(0o600), 0o666] {
      let path = directory.file("socket-\(mode)")
      let address = try #require(SocketAddress(unixPath: path))
      _ = try sockets.acquire(address, workers: 2, options: ListenOptions(mode: mode))
      var state = stat()
      #expect(stat(path, &state) == 0)
      #expect(state.st_mode & 0o777 == mode)
      #expect(state.st_mode & S_IFMT == S_IFSOCK)
    }
  }

  @Test("a socket that someone has put into the place of ours stays")
  func replaced() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("socket")
    let address = try #require(SocketAddress(unixPath: path))
    let sockets = ListenSockets(try EventLoop())
    _ = try sockets.acquire(address, workers: 1)
    unlink(path)
    let other = try ScriptedServer(unixPath: path) { _, _ in }
    defer { other.stop() }
    #expect(!sockets.stopRouting(address))
    sockets.release(address)
    #expect(access(path, F_OK) == 0)
    _ = try RawConnection(unixPath: path)
  }

  @Test("from stopRouting on nobody finds a Unix socket, and who has connected is accepted")
  func stopRouting() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("socket")
    let address = try #require(SocketAddress(unixPath: path))
    let sockets = ListenSockets(try EventLoop())
    let fds = try sockets.acquire(address, workers: 1)
    let early = try RawConnection(unixPath: path)
    defer { early.close() }
    #expect(sockets.stopRouting(address))
    #expect(throws: TestFailure.self) { try RawConnection(unixPath: path) }
    let accepted = Socket.accept(fds[0])
    #expect(accepted.fd >= 0)
    Socket.close(accepted.fd)
    sockets.release(address)
  }

  @Test("what is no socket is not removed for one; a failed bind leaves no file")
  func notASocket() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("file", "precious")
    let sockets = ListenSockets(try EventLoop())
    #expect(throws: ListenError.self) { try sockets.acquire(#require(SocketAddress(unixPath: path)), workers: 1) }
    #expect(directory.read("file") == "precious")
    let other = directory.file("socket")
    let bad = ListenOptions(raw: [RawSocketOption(level: SOL_SOCKET, name: 9999, value: 1, state: .listening)])
    #expect(throws: ListenError.self) {
      try sockets.acquire(#require(SocketAddress(unixPath: other)), workers: 1, options: bad)
    }
    #expect(access(other, F_OK) != 0)
  }

  @Test("abstract names: shared by the workers, gone with the socket")
  func abstractName() throws {
    let name = "@martlet-test-\(getpid())-abstract"
    let address = try #require(SocketAddress(unixPath: name))
    let sockets = ListenSockets(try EventLoop())
    let fds = try sockets.acquire(address, workers: 2)
    let client = try RawConnection(unixPath: name)
    defer { client.close() }
    let accepted = Socket.accept(fds[1])
    #expect(accepted.fd >= 0)
    Socket.close(accepted.fd)
    sockets.release(address)
    #expect(throws: TestFailure.self) { try RawConnection(unixPath: name) }
  }
}
