import Glibc
import MeshPrimitives
import MeshTesting
import Synchronization
import Testing

@testable import MeshIO

@Suite("ListenSockets", .timeLimit(.minutes(2)))
struct ListenSocketsTests {
  private static let addressesUsed = Atomic<UInt32>(0)

  /// An address that no other test uses: a port that was let go of stays free.
  private static var anyPort: SocketAddress {
    let number = addressesUsed.wrappingAdd(1, ordering: .relaxed).newValue
    return SocketAddress(IPAddress(v4: 0x7f4d_0000 + number), port: 0)
  }

  /// Acquires what was let go of just now. A child process that another test is starting holds copies of all
  /// descriptors until it executes its program, so that may take a moment.
  private static func acquireAgain(
    _ sockets: ListenSockets, _ address: SocketAddress, workers: Int
  ) throws -> [Int32] {
    let deadline = Deadline()
    while true {
      do {
        return try sockets.acquire(address, workers: workers)
      } catch {
        if deadline.hasPassed { throw error }
        sched_yield()
      }
    }
  }

  /// Whether connections are refused, at once or as soon as such a child has started.
  private static func becomesRefused(_ address: SocketAddress) -> Bool {
    let deadline = Deadline()
    while !deadline.hasPassed {
      if (try? connect(address)) == nil { return true }
      sched_yield()
    }
    return false
  }

  private static func connect(_ address: SocketAddress) throws -> RawConnection {
    try RawConnection(port: address.port, host: address.ipText)
  }

  private static func address(_ fd: Int32) throws -> SocketAddress { try #require(Socket.localAddress(fd)) }

  /// A separate process that holds an address's lock: a script, so that it is not this program.
  private static func foreignHolder(of address: SocketAddress) async throws -> RunningProgram {
    let script = """
      import socket, sys
      lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
      lock.bind("\\0martlet/listen/\(address)")
      lock.listen(8)
      print("ready", flush=True)
      sys.stdin.read() if False else __import__("signal").pause()
      """
    let program = try RunningProgram("python3", ["-c", script])
    try await program.waitForOutput("ready")
    return program
  }

  @Test("port 0 is resolved once, shared by the workers, and connections spread over them")
  func workers() throws {
    let sockets = ListenSockets(try EventLoop())
    let fds = try sockets.acquire(Self.anyPort, workers: 3)
    #expect(fds.count == 3 && Set(fds).count == 3)
    let address = try Self.address(fds[0])
    #expect(address.port != 0)
    for fd in fds { #expect(try Self.address(fd) == address) }
    #expect(sockets.addresses == [address])
    #expect(sockets.holdsLock(address))

    var clients: [RawConnection] = []
    for _ in 0..<60 { clients.append(try Self.connect(address)) }
    var accepted = [0, 0, 0]
    for (worker, fd) in fds.enumerated() {
      while true {
        let connection = Socket.accept(fd)
        if connection.fd < 0 {
          #expect(Int(connection.fd) == Socket.wouldBlock)
          break
        }
        accepted[worker] += 1
        #expect(clients.contains { $0.localPort == connection.peer.port })
        Socket.close(connection.fd)
      }
    }
    #expect(accepted.reduce(0, +) == 60)
    #expect(accepted.allSatisfy { $0 > 0 })
    sockets.release(address)
    #expect(sockets.addresses.isEmpty)
    #expect(Self.becomesRefused(address))
  }

  @Test("accepted connections inherit TCP_NODELAY and keep-alive, and are non-blocking")
  func inheritedOptions() throws {
    let sockets = ListenSockets(try EventLoop())
    let keepAlive = KeepAlive(probes: 3, idleSeconds: 7, intervalSeconds: 2)
    let fds = try sockets.acquire(Self.anyPort, workers: 1, options: ListenOptions(keepAlive: keepAlive))
    let client = try Self.connect(try Self.address(fds[0]))
    let connection = Socket.accept(fds[0])
    #expect(connection.fd >= 0)
    defer { Socket.close(connection.fd) }
    func option(_ level: Int32, _ name: Int32) -> Int32 {
      var value: Int32 = -1
      var length = socklen_t(4)
      getsockopt(connection.fd, level, name, &value, &length)
      return value
    }
    #expect(option(Int32(IPPROTO_TCP), TCP_NODELAY) == 1)
    #expect(option(SOL_SOCKET, SO_KEEPALIVE) == 1)
    #expect(option(Int32(IPPROTO_TCP), TCP_KEEPIDLE) == 7)
    #expect(fcntl(connection.fd, F_GETFL) & O_NONBLOCK != 0)
    #expect(fcntl(connection.fd, F_GETFD) & FD_CLOEXEC != 0)
    #expect(connection.peer == SocketAddress(.loopbackV4, port: client.localPort))
  }

  @Test("the same address is opened once, and closed with its last user")
  func users() throws {
    let sockets = ListenSockets(try EventLoop())
    let first = try sockets.acquire(Self.anyPort, workers: 2)
    let address = try Self.address(first[0])
    #expect(try sockets.acquire(address, workers: 2) == first)
    sockets.release(address)
    _ = try Self.connect(address)
    sockets.release(address)
    #expect(Self.becomesRefused(address))
    sockets.release(address)
  }

  @Test("a second process is refused with the holder's name and id, and admitted when the holder is gone")
  func lockedByAnotherProcess() async throws {
    let sockets = ListenSockets(try EventLoop())
    let probe = try sockets.acquire(Self.anyPort, workers: 1)
    let address = try Self.address(probe[0])
    sockets.release(address)
    let holder = try await Self.foreignHolder(of: address)
    #expect(
      throws: ListenError.inUse(address, by: ListenHolder(process: holder.id, program: "python3", address: address))
    ) {
      try sockets.acquire(address, workers: 1)
    }
    do {
      _ = try sockets.acquire(address, workers: 1)
    } catch {
      #expect("\(error)" == "\(address) is in use by python3 pid \(holder.id)")
    }
    try await holder.killAndWait()
    #expect(try Self.acquireAgain(sockets, address, workers: 1).count == 1)
  }

  @Test("the lock is refused within this process too, where SO_REUSEPORT would let both listen")
  func lockedByOurselves() throws {
    let loop = try EventLoop()
    let first = ListenSockets(loop)
    let fds = try first.acquire(Self.anyPort, workers: 2)
    let address = try Self.address(fds[0])
    let second = ListenSockets(loop)
    do {
      _ = try second.acquire(address, workers: 2)
      Issue.record("shared silently")
    } catch {
      guard case .inUse(address, let holder?) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(holder.process == getpid())
    }
    first.release(address)
    #expect(try Self.acquireAgain(second, address, workers: 2).count == 2)
  }

  @Test("overlap with a wildcard is refused and explained, in both directions")
  func wildcard() throws {
    let loop = try EventLoop()
    let first = ListenSockets(loop)
    let specific = try Self.address(try first.acquire(Self.anyPort, workers: 2)[0])
    let wildcard = SocketAddress(IPAddress(v4: 0), port: specific.port)
    let second = ListenSockets(loop)
    do {
      _ = try second.acquire(wildcard, workers: 2)
      Issue.record("shared silently")
    } catch {
      #expect("\(error)".hasPrefix("\(wildcard) is in use: "))
      #expect("\(error)".hasSuffix(" pid \(getpid()) listens on \(specific)"))
    }
    first.release(specific)
    _ = try Self.acquireAgain(second, wildcard, workers: 2)
    do {
      _ = try first.acquire(specific, workers: 2)
      Issue.record("shared silently")
    } catch {
      #expect("\(error)".hasSuffix(" pid \(getpid()) listens on \(wildcard)"))
    }
  }

  @Test("a foreign program is reported, with or without SO_REUSEPORT on its side", arguments: [false, true])
  func foreignProgram(reusePort: Bool) throws {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer { close(fd) }
    var one: Int32 = 1
    if reusePort { setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, 4) }
    var raw = sockaddr_in()
    raw.sin_family = sa_family_t(AF_INET)
    raw.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let bound = withUnsafePointer(to: &raw) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fd, $0, 16) }
    }
    #expect(bound == 0 && listen(fd, 1) == 0)
    let address = try Self.address(fd)
    let sockets = ListenSockets(try EventLoop())
    #expect(throws: ListenError.inUse(address, by: nil)) { try sockets.acquire(address, workers: 2) }
    #expect(sockets.addresses.isEmpty)
    // The failed attempt has let go of the lock again.
    let deadline = Deadline()
    while true {
      switch try ListenLock.take(address) {
      case .taken(let lock):
        close(lock)
        return
      case .held(_, let connection):
        close(connection)
        if deadline.hasPassed {
          Issue.record("the lock is still held")
          return
        }
        sched_yield()
      case .foreign: break
      }
    }
  }

  @Test("LISTEN_FDS counts only for the process it names")
  func environment() {
    #expect(InheritedSockets.count(pid: "\(getpid())", descriptors: "2") == 2)
    #expect(InheritedSockets.count(pid: "\(getpid() + 1)", descriptors: "2") == 0)
    #expect(InheritedSockets.count(pid: nil, descriptors: "2") == 0)
    for nonsense in ["", "-1", "0", "99999999999", "2 ", "x"] {
      #expect(InheritedSockets.count(pid: "\(getpid())", descriptors: nonsense) == 0)
    }
  }

  @Test("inherited sockets are used, whatever their number, and the lock is taken over when its holder goes")
  func inherited() throws {
    let loop = try EventLoop()
    let old = ListenSockets(loop)
    let fds = try old.acquire(Self.anyPort, workers: 2)
    let address = try Self.address(fds[0])
    let handover = old.exportForSuccessor()
    #expect(handover.descriptors == fds)
    #expect(handover.environment["LISTEN_FDS"] == "2")

    for workers in [1, 2, 5] {
      let copies = handover.descriptors.map { dup($0) }
      let source = InheritedSockets(descriptors: copies, fallback: BoundSockets())
      #expect(source.unclaimedAddresses == [address, address])
      let new = ListenSockets(loop, source: source)
      let inherited = try new.acquire(address, workers: workers)
      #expect(inherited.count == max(workers, 2))
      #expect(Set(inherited).count == inherited.count)
      #expect(new.isShared(address))
      #expect(!new.holdsLock(address))
      #expect(source.unclaimedAddresses.isEmpty)
      #expect(try new.acquire(address, workers: workers) == inherited)
      if workers == 5 {
        old.release(address)
        let deadline = Deadline()
        while !new.holdsLock(address), !deadline.hasPassed { loop.turn(upTo: .milliseconds(100)) }
        #expect(new.holdsLock(address))
      }
    }
  }

  @Test("an address that was not inherited is bound; what nobody wants is closed")
  func unclaimed() throws {
    let loop = try EventLoop()
    let other = ListenSockets(loop)
    let inheritedAddress = try Self.address(try other.acquire(Self.anyPort, workers: 1)[0])
    let (copies, _) = other.exportForSuccessor()
    let source = InheritedSockets(descriptors: copies.map { dup($0) } + [0], fallback: BoundSockets())
    let sockets = ListenSockets(loop, source: source)
    let fds = try sockets.acquire(Self.anyPort, workers: 1)
    #expect(try Self.address(fds[0]) != inheritedAddress)
    #expect(!sockets.isShared(try Self.address(fds[0])))
    #expect(source.closeUnclaimed() == [inheritedAddress])
    other.release(inheritedAddress)
    #expect(Self.becomesRefused(inheritedAddress))
  }

  @Test("an IPv6 wildcard that takes IPv4 serves the IPv4 wildcard")
  func dualStack() throws {
    let loop = try EventLoop()
    let old = ListenSockets(loop)
    let both = try old.acquire(
      SocketAddress(IPAddress(v6: 0, 0), port: 0), workers: 1, options: ListenOptions(acceptsV4: true))
    let port = try Self.address(both[0]).port
    let source = InheritedSockets(descriptors: [dup(both[0])], fallback: BoundSockets())
    let sockets = ListenSockets(loop, source: source)
    let wanted = SocketAddress(IPAddress(v4: 0), port: port)
    let fds = try sockets.acquire(wanted, workers: 1)
    #expect(fds.count == 1)
    #expect(try sockets.acquire(wanted, workers: 1) == fds)
    let client = try RawConnection(port: port)
    let accepted = Socket.accept(fds[0])
    #expect(accepted.peer.ip.unmapped == .loopbackV4)
    #expect(accepted.peer.port == client.localPort)
    Socket.close(accepted.fd)
  }

  @Test("Unix sockets: stale names are removed, live ones refused, the name goes with the socket")
  func unix() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("socket")
    let address = try #require(SocketAddress(unixPath: path))
    let loop = try EventLoop()
    let first = ListenSockets(loop)
    let fds = try first.acquire(address, workers: 2)
    #expect(Set(fds).count == 2)
    guard case .success(let client) = Socket.connect(to: address) else {
      Issue.record("cannot connect")
      return
    }
    let accepted = Socket.accept(fds[1])
    #expect(accepted.fd >= 0 && accepted.peer.isUnix)
    #expect(Socket.peerAddress(client) == address)
    #expect(Socket.peerProcess(client) == getpid())
    Socket.close(accepted.fd)
    Socket.close(client)
    #expect(throws: ListenError.self) { try ListenSockets(loop).acquire(address, workers: 1) }
    first.release(address)
    #expect(access(path, F_OK) != 0)
    // A name that a dead process left behind.
    let stale = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    #expect(Socket.bind(stale, address) == 0)
    close(stale)
    #expect(access(path, F_OK) == 0)
    #expect(try Self.acquireAgain(first, address, workers: 1).count == 1)
  }
}
