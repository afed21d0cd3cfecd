import Glibc
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshIO

@Suite("Socket", .timeLimit(.minutes(1)))
struct SocketTests {
  /// Turns the loop until `condition` holds.
  private static func turn(_ loop: EventLoop, until condition: () -> Bool) {
    let deadline = Deadline()
    while !condition(), !deadline.hasPassed { loop.turn(upTo: .milliseconds(100)) }
    #expect(condition())
  }

  @Test("connect, send in two pieces, receive, half-close, end")
  func conversation() throws {
    let server = try ScriptedServer { connection, _ in
      try connection.send(connection.receive(count: 10))
      try connection.receiveToEnd()
      try connection.send("bye")
    }
    let loop = try EventLoop()
    let fd = try Socket.connect(to: SocketAddress(.loopbackV4, port: server.port)).get()
    let handler = ClosureHandler()
    var events: IOEvents = []
    handler.onReady = { events.formUnion($0) }
    try loop.register(fd, handler)
    Self.turn(loop) { events.contains(.writable) }
    #expect(Socket.connectError(fd) == 0)
    #expect(Socket.peerAddress(fd) == SocketAddress(.loopbackV4, port: server.port))
    #expect(Socket.localAddress(fd)?.isLoopback == true)
    #expect(Socket.receive(fd, loop.receiveBuffer, 10) == Socket.wouldBlock)
    #expect(Socket.sendv(fd, Bytes("hello"), Bytes("world")) == 10)
    Self.turn(loop) { events.contains(.readable) }
    #expect(Socket.peek(fd, loop.receiveBuffer, 4) == 4)
    #expect(Socket.receive(fd, loop.receiveBuffer, EventLoop.receiveBufferSize) == 10)
    #expect(Bytes(start: loop.receiveBuffer, count: 10).text == "helloworld")
    Socket.shutdownWrite(fd)
    Self.turn(loop) { events.contains(.peerClosed) }
    #expect(Socket.receive(fd, loop.receiveBuffer, 100) == 3)
    #expect(Socket.receive(fd, loop.receiveBuffer, 100) == 0)
    var noDelay: Int32 = 0
    var length = socklen_t(4)
    getsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &noDelay, &length)
    #expect(noDelay == 1)
    loop.close(fd)
    #expect(server.failures.isEmpty)
  }

  @Test("a refused connection is an error with words, at once or as an event")
  func refused() throws {
    let server = try ScriptedServer { _, _ in }
    let address = SocketAddress(.loopbackV4, port: server.port)
    server.stop()
    let loop = try EventLoop()
    let handler = ClosureHandler()
    let deadline = Deadline()
    while !deadline.hasPassed {
      switch Socket.connect(to: address) {
      case .failure(let error):
        #expect(error.errno == ECONNREFUSED)
        #expect(error.description == "connect \(address): Connection refused")
        return
      case .success(let fd):
        var events: IOEvents = []
        handler.onReady = { events = $0 }
        try loop.register(fd, handler)
        Self.turn(loop) { !events.isEmpty }
        let refused = events.contains(.error)
        if refused { #expect(Socket.connectError(fd) == ECONNREFUSED) }
        loop.close(fd)
        if refused { return }
      }
    }
    Issue.record("never refused")
  }

  @Test("a source address can be chosen")
  func source() throws {
    let server = try ScriptedServer { connection, _ in try connection.receiveToEnd() }
    let source = try #require(SocketAddress(ip: "127.9.8.7", port: 0))
    let fd = try Socket.connect(to: SocketAddress(.loopbackV4, port: server.port), bindTo: source).get()
    defer { Socket.close(fd) }
    #expect(Socket.localAddress(fd)?.ip == source.ip)
    #expect(Socket.localAddress(fd)?.port != 0)
    let foreign = try #require(SocketAddress(ip: "192.0.2.1", port: 0))
    guard case .failure(let error) = Socket.connect(to: SocketAddress(.loopbackV4, port: server.port), bindTo: foreign)
    else {
      Issue.record("bound to an address that is not here")
      return
    }
    #expect(error.errno == EADDRNOTAVAIL)
    #expect(error.description.contains("192.0.2.1"))
  }

  @Test("linger 0 resets")
  func reset() throws {
    let server = try ScriptedServer { connection, _ in
      try connection.receiveToEnd()
      #expect(connection.receiveError == ECONNRESET)
    }
    let fd = try Socket.connect(to: SocketAddress(.loopbackV4, port: server.port)).get()
    try server.waitForConnections(1)
    Socket.setLinger0(fd)
    Socket.close(fd)
  }

  @Test("no operation, done or failed, leaks a descriptor")
  func noLeaks() async throws {
    // In a process of its own: other tests open and close descriptors meanwhile.
    await #expect(processExitsWith: .success) {
      func round() throws {
        let loop = try EventLoop()
        let mailbox = Mailbox<ClosureHandler>()
        let owner = ClosureHandler()
        try mailbox.attach(to: loop, owner: owner)
        mailbox.detach(from: loop)
        let attached = Mailbox<ClosureHandler>()
        try attached.attach(to: loop, owner: owner)
        let sockets = ListenSockets(loop)
        let fds = try sockets.acquire(SocketAddress(.loopbackV4, port: 0), workers: 3)
        guard let address = Socket.localAddress(fds[0]) else { exit(3) }
        _ = try? ListenSockets(loop).acquire(address, workers: 2)
        _ = try? ListenSockets(loop).acquire(SocketAddress(IPAddress(v4: 0), port: address.port), workers: 2)
        _ = try? ListenSockets(loop).acquire(SocketAddress(IPAddress(v4: 0xc000_0201), port: 1), workers: 2)
        let copies = fds.map { dup($0) }
        let inheriting = ListenSockets(loop, source: InheritedSockets(descriptors: copies, fallback: BoundSockets()))
        _ = try inheriting.acquire(address, workers: 5)
        _ = InheritedSockets(descriptors: fds.map { dup($0) }, fallback: BoundSockets())
        loop.turn()
        sockets.release(address)
        _ = try Socket.connect(to: address).map { Socket.close($0) }.get()
        for _ in 0..<4 { loop.turn() }
        var options = ResolverOptions()
        options.servers = [SocketAddress(.loopbackV4, port: 9)]
        let resolver = try Resolver(loop, options)
        resolver.resolve("a.test") { _ in }
        loop.turn()
        _ = try FileContents.read("/proc/self/status")
        _ = try AppendFile("/dev/null").reopen()
      }
      try round()
      let before = CurrentProcess.openDescriptors
      for _ in 0..<5 { try round() }
      if CurrentProcess.openDescriptors != before { exit(4) }
    }
  }
}
