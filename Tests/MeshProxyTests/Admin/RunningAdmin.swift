import Glibc
import MeshIO
import MeshPrimitives
import MeshTesting
import Synchronization

@testable import MeshProxy

/// An `AdminServer` on a port of its own, with its loop on a thread of its own. Calls block: use it under `blocking`.
final class RunningAdmin: @unchecked Sendable {
  // SAFETY: all properties are constants after `init`; what belongs to the loop is touched on its thread only.
  let port: UInt16
  private let mailbox: Mailbox<Host>
  private let thread: LoopThread

  /// What lives on the loop's thread.
  final class Host {
    let loop: EventLoop
    let context: FakeAdminContext
    let server: AdminServer
    let sockets: ListenSockets
    let address: MeshPrimitives.SocketAddress
    /// What a test has counted.
    var turns: Int?

    init(_ context: FakeAdminContext, _ limits: AdminLimits) throws {
      loop = try EventLoop()
      self.context = context
      sockets = ListenSockets(loop)
      let wanted = SocketAddress(IPAddress(v4: 0x7f00_0001), port: 0)
      let descriptors = try sockets.acquire(wanted, workers: 1)
      guard let first = descriptors.first, let address = Socket.localAddress(first) else {
        throw TestFailure("no socket")
      }
      self.address = address
      server = AdminServer(loop: loop, context: context, descriptors: descriptors, address: address)
      server.limits = limits
    }
  }

  /// - Parameter prepare: gives the context its content; runs on the loop's thread.
  init(
    limits: @escaping @Sendable (inout AdminLimits) -> Void = { _ in },
    _ prepare: @escaping @Sendable (FakeAdminContext) throws -> Void = { _ in }
  ) throws {
    let (ours, theirs) = try Self.pair()
    let mailbox = Mailbox<Host>()
    self.mailbox = mailbox
    let box = Box<Result<UInt16, any Error>?>(Mutex(nil))
    thread = try LoopThread.start(name: "admin") {
      do {
        let context = FakeAdminContext()
        try prepare(context)
        var bounds = AdminLimits()
        limits(&bounds)
        let host = try Host(context, bounds)
        try mailbox.attach(to: host.loop, owner: host)
        host.server.startAccepting()
        box.value.withLock { $0 = .success(host.address.port) }
        theirs.close()
        host.loop.run()
        host.server.close()
        mailbox.detach(from: host.loop)
      } catch {
        box.value.withLock { $0 = .failure(error) }
        theirs.close()
      }
    }
    _ = try ours.receiveToEnd()
    guard let result = box.value.withLock({ $0 }) else { throw TestFailure("the admin thread said nothing") }
    port = try result.get()
  }

  private final class Box<T: Sendable>: Sendable {
    let value: Mutex<T>
    init(_ value: consuming sending Mutex<T>) { self.value = value }
  }

  private static func pair() throws -> (RawConnection, RawConnection) {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { throw TestFailure("socketpair") }
    return (RawConnection(taking: ends[0]), RawConnection(taking: ends[1]))
  }

  /// Runs `body` on the loop's thread and waits for it.
  @discardableResult
  func onLoop<T: Sendable>(_ body: @escaping @Sendable (Host) -> T) throws -> T {
    let (ours, theirs) = try Self.pair()
    let result = Box<T?>(Mutex(nil))
    mailbox.post { host in
      let value = body(host)
      result.value.withLock { $0 = value }
      theirs.close()
    }
    _ = try ours.receiveToEnd()
    guard let value = result.value.withLock({ $0 }) else { throw TestFailure("the loop is gone") }
    return value
  }

  var calls: [String] { get throws { try onLoop { $0.context.calls } } }

  /// Ends the thread. Nothing may be asked afterwards.
  func stop() {
    mailbox.post { $0.loop.stop() }
    thread.join()
  }

  // MARK: Requests

  func connect() throws -> RawConnection { try RawConnection(port: port) }

  /// One request on a connection of its own.
  func request(
    _ method: String, _ target: String, headers: [String] = [], body: String = ""
  ) throws -> RawResponse {
    let connection = try connect()
    try connection.send(Self.message(method, target, headers: headers, body: body))
    return try connection.receiveResponse(toHead: method == "HEAD")
  }

  func get(_ target: String) throws -> RawResponse { try request("GET", target) }
  func post(_ target: String) throws -> RawResponse { try request("POST", target) }

  static func message(_ method: String, _ target: String, headers: [String] = [], body: String = "") -> String {
    var lines = ["\(method) \(target) HTTP/1.1", "host: 127.0.0.1:9901"] + headers
    if !body.isEmpty || method == "POST" { lines.append("content-length: \(body.utf8.count)") }
    return lines.joined(separator: "\r\n") + "\r\n\r\n" + body
  }
}

/// Runs `body` with a fresh admin server on a thread of its own, and ends the server whatever happens.
/// - Parameter prepare: gives the server's context its content; runs on the loop's thread.
func withAdmin(
  limits: @escaping @Sendable (inout AdminLimits) -> Void = { _ in },
  _ prepare: @escaping @Sendable (FakeAdminContext) throws -> Void,
  serving body: @escaping @Sendable (RunningAdmin) throws -> Void
) async throws {
  try await blocking {
    let admin = try RunningAdmin(limits: limits, prepare)
    defer { admin.stop() }
    try body(admin)
  }
}

/// The same with a context that has no content.
func withAdmin(
  limits: @escaping @Sendable (inout AdminLimits) -> Void = { _ in },
  _ body: @escaping @Sendable (RunningAdmin) throws -> Void
) async throws {
  try await withAdmin(limits: limits, { _ in }, serving: body)
}
