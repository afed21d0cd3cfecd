import Glibc
import MeshPrimitives
import MeshTesting
import Synchronization
import Testing

@testable import MeshIO

/// What a client under load has seen.
private final class Tally: Sendable {
  struct Counts: Sendable {
    var served = 0
    var refused = 0
    var lost: [String] = []
  }
  let counts = Locked(Counts())
  let stop = Atomic<Bool>(false)
}

/// A worker that answers every connection with "ok" and closes it.
private final class OkServer: IOHandler {
  let loop: EventLoop
  let fds: [Int32]
  private var index = 0

  init(_ loop: EventLoop, _ fds: [Int32]) throws {
    self.loop = loop
    self.fds = fds
    for fd in fds { try loop.register(fd, self, interest: .levelRead) }
  }

  func ready(_ events: IOEvents) { acceptAll() }

  func acceptAll() {
    for fd in fds {
      while true {
        let accepted = Socket.accept(fd)
        if accepted.fd < 0 { break }
        _ = Socket.send(accepted.fd, Bytes("ok"))
        Socket.close(accepted.fd)
      }
    }
  }

  /// Empties the queues for the last time.
  func finish() {
    acceptAll()
    for fd in fds { loop.deregister(fd) }
    loop.stop()
  }
}

@Suite("Listen sockets under load", .serialized, .timeLimit(.minutes(2)))
struct ListenHandoverTests {
  private static func startClients(_ count: Int, _ port: UInt16, _ tally: Tally) throws -> [LoopThread] {
    try (0..<count).map { number in
      try LoopThread.start(name: "client \(number)") {
        while !tally.stop.load(ordering: .relaxed) {
          do {
            let connection = try RawConnection(port: port)
            let answer = try connection.receiveToEnd()
            tally.counts.withLock {
              if answer == Array("ok".utf8) {
                $0.served += 1
              } else {
                $0.lost.append("\(connection.receiveError ?? 0)")
              }
            }
          } catch {
            tally.counts.withLock {
              if "\(error)".contains("errno \(ECONNREFUSED)") { $0.refused += 1 } else { $0.lost.append("\(error)") }
            }
            // Nobody will listen again.
            if "\(error)".contains("errno \(ECONNREFUSED)") { return }
          }
        }
      }
    }
  }

  /// Runs an `OkServer` on a thread until it is told to finish.
  private static func startServer(_ fds: [Int32]) throws -> (mailbox: Mailbox<OkServer>, thread: LoopThread) {
    let mailbox = Mailbox<OkServer>()
    let thread = try LoopThread.start(name: "server") {
      do {
        let loop = try EventLoop()
        let server = try OkServer(loop, fds)
        try mailbox.attach(to: loop, owner: server)
        withExtendedLifetime(server) { loop.run() }
        mailbox.detach(from: loop)
      } catch { Issue.record("\(error)") }
    }
    return (mailbox, thread)
  }

  private static func waitForServed(_ tally: Tally, _ more: Int) async throws {
    let goal = tally.counts.withLock { $0.served } + more
    try await eventually("\(goal) served") { tally.counts.withLock { $0.served >= goal || !$0.lost.isEmpty } }
  }

  @Test("twenty hand-overs to a successor that inherited the sockets lose no connection")
  func handover() async throws {
    let loop = try EventLoop()
    var sockets = ListenSockets(loop)
    var fds = try sockets.acquire(SocketAddress(.loopbackV4, port: 0), workers: 2)
    let address = try #require(Socket.localAddress(fds[0]))
    let tally = Tally()
    var server = try Self.startServer(fds)
    let clients = try Self.startClients(2, address.port, tally)
    for _ in 0..<20 {
      try await Self.waitForServed(tally, 50)
      let (exported, _) = sockets.exportForSuccessor()
      let source = InheritedSockets(descriptors: exported.map { dup($0) }, fallback: BoundSockets())
      let successors = ListenSockets(loop, source: source)
      let inherited = try successors.acquire(address, workers: 2)
      let successor = try Self.startServer(inherited)
      #expect(!sockets.stopRouting(address), "would stop the successor too")
      server.mailbox.post { $0.finish() }
      server.thread.join()
      sockets.release(address)
      (sockets, fds, server) = (successors, inherited, successor)
    }
    try await Self.waitForServed(tally, 50)
    tally.stop.store(true, ordering: .relaxed)
    try await blocking { for client in clients { client.join() } }
    server.mailbox.post { $0.finish() }
    server.thread.join()
    let counts = tally.counts.withLock { $0 }
    #expect(counts.lost == [])
    #expect(counts.refused == 0)
    #expect(counts.served >= 1000)
  }

  @Test("without a successor, stopRouting and emptying the queue lose no connection", arguments: 0..<3)
  func stopRouting(round: Int) async throws {
    let sockets = ListenSockets(try EventLoop())
    let fds = try sockets.acquire(SocketAddress(.loopbackV4, port: 0), workers: 2)
    let address = try #require(Socket.localAddress(fds[0]))
    let tally = Tally()
    let server = try Self.startServer(fds)
    let clients = try Self.startClients(4, address.port, tally)
    try await Self.waitForServed(tally, 100)
    #expect(sockets.stopRouting(address))
    server.mailbox.post { $0.finish() }
    server.thread.join()
    sockets.release(address)
    try await blocking { for client in clients { client.join() } }
    let counts = tally.counts.withLock { $0 }
    #expect(counts.lost == [])
    #expect(counts.refused == 4)
  }

  @Test("a successor program is started with the sockets, the protocol's variables and an unblocked signal mask")
  func startSuccessor() async throws {
    let loop = try EventLoop()
    let sockets = ListenSockets(loop)
    let address = try #require(
      Socket.localAddress(try sockets.acquire(SocketAddress(.loopbackV4, port: 0), workers: 2)[0]))
    let directory = try TemporaryDirectory()
    let script = """
      import os, signal, socket, sys
      assert os.environ["LISTEN_PID"] == str(os.getpid()), os.environ["LISTEN_PID"]
      assert os.environ["LISTEN_FDS"] == "2"
      assert os.environ["LISTEN_FDNAMES"] == "listen:listen"
      assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
      assert signal.getsignal(signal.SIGPIPE) != signal.SIG_IGN or sys.flags.isolated is not None
      names = [socket.socket(fileno=fd).getsockname()[1] for fd in (3, 4)]
      assert names == [\(address.port)] * 2, names
      open(sys.argv[1], "w").write("fine " + sys.argv[2])
      """
    let pid = try sockets.startSuccessor("/usr/bin/python3", ["-c", script, directory.file("result"), "an argument"])
    try await blocking {
      var status: Int32 = 0
      #expect(waitpid(pid, &status, 0) == pid)
      #expect(status == 0)
    }
    #expect(directory.read("result") == "fine an argument")
    #expect(sockets.isShared(address))
    #expect(throws: SystemError("start", errno: ENOENT, "/nowhere")) { try sockets.startSuccessor("/nowhere", []) }
  }

  @Test("another network namespace", .enabled(if: NamespaceProbe.isAllowed, "needs CAP_SYS_ADMIN"))
  func namespace() throws {
    let probe = try NamespaceProbe()
    let loop = try EventLoop()
    let here = ListenSockets(loop)
    let fds = try here.acquire(SocketAddress(IPAddress(v4: 0), port: 0), workers: 1)
    let address = try #require(Socket.localAddress(fds[0]))
    defer { withExtendedLifetime((here, probe)) {} }
    // The same address and the same lock name, in another namespace: no conflict.
    let there = ListenSockets(loop, source: NamespaceSockets(probe.path))
    #expect(try there.acquire(address, workers: 2).count == 2)
    #expect(there.holdsLock(address))
    #expect(throws: ListenError.self) {
      try ListenSockets(loop, source: NamespaceSockets(probe.path)).acquire(address, workers: 1)
    }
    #expect(throws: ListenError.failed(SystemError("open", errno: ENOENT, "/nowhere"))) {
      try ListenSockets(loop, source: NamespaceSockets("/nowhere")).acquire(address, workers: 1)
    }
  }
}

/// A network namespace that lives as long as this value: a program that was started in it.
private final class NamespaceProbe {
  let program: RunningProgram
  var path: String { "/proc/\(program.id)/ns/net" }

  static let isAllowed: Bool = geteuid() == 0 && access("/usr/bin/unshare", X_OK) == 0 && unshareWorks

  private static var unshareWorks: Bool {
    var pid = pid_t()
    var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("unshare"), strdup("-n"), strdup("true"), nil]
    defer { for argument in arguments { free(argument) } }
    guard posix_spawn(&pid, "/usr/bin/unshare", nil, nil, &arguments, nil) == 0 else { return false }
    var status: Int32 = 0
    return waitpid(pid, &status, 0) == pid && status == 0
  }

  init() throws {
    program = try RunningProgram("unshare", ["-n", "sh", "-c", "echo ready; exec sleep 1000"])
    let deadline = Deadline()
    while !program.output.contains("ready"), !deadline.hasPassed { sched_yield() }
  }
}
