import Glibc
import MeshIO
import MeshPrimitives
import MeshTesting

/// What most tests of TLS begin with.
enum TLSFixture {
  static func pem(_ name: String) -> PEMText {
    PEMText(TestCertificates.bytes(name), source: TestCertificates.path(name))
  }

  static func certificate(_ name: String) -> TLSCertificateText {
    TLSCertificateText(chain: pem(name), key: pem("\(name)-key"))
  }

  static func server(_ names: [String] = ["server-ecdsa"], _ change: (inout TLSServerSettings) -> Void = { _ in })
    throws -> TLSContext
  {
    var settings = TLSServerSettings()
    settings.certificates = names.map { certificate($0) }
    change(&settings)
    return try TLSContext(settings)
  }

  static func client(_ change: (inout TLSClientSettings) -> Void = { _ in }) throws -> TLSContext {
    var settings = TLSClientSettings()
    change(&settings)
    return try TLSContext(settings)
  }

  /// Trusts the authority of the tests.
  static func trusting(_ name: String = "ca", _ change: (inout PeerVerification) -> Void = { _ in }) -> PeerVerification
  {
    var verification = PeerVerification()
    verification.trustedCA = pem(name)
    change(&verification)
    return verification
  }
}

/// A server's and a client's transport with TLS, joined by two sockets and whatever lies between them.
final class TLSPair: HandshakeWaiter {
  let loop: EventLoop
  var server: Transport
  var client: Transport
  /// The sockets between: what one writes, the test carries to the other.
  private var sockets: (server: Int32, client: Int32) = (-1, -1)
  /// Everything that went by, for who wants to look.
  private(set) var carried = (toServer: [UInt8](), toClient: [UInt8]())

  init(_ server: TLSContext, _ client: TLSContext, _ target: TLSClientTarget = TLSClientTarget()) throws {
    loop = try EventLoop()
    let (near, far) = try Self.sockets()
    let (other, otherFar) = try Self.sockets()
    sockets = (far, otherFar)
    self.server = Transport(descriptor: near, isWritable: true)
    self.client = Transport(descriptor: other, isWritable: true)
    guard let accepting = TLSSession(server: server, loop: loop),
      let connecting = TLSSession(client: client, target: target, loop: loop)
    else { throw TestFailure("no session") }
    self.server.protect(with: accepting)
    self.client.protect(with: connecting)
  }

  deinit {
    server.close(loop)
    client.close(loop)
    close(sockets.server)
    close(sockets.client)
  }

  static func sockets() throws -> (Int32, Int32) {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &ends) == 0 else {
      throw TestFailure("socketpair: \(errno)")
    }
    return (ends[0], ends[1])
  }

  /// Carries what waits in both directions, at most `limit` bytes each. - Returns: whether there was anything.
  @discardableResult
  func carry(atMost limit: Int = .max) -> Bool {
    let up = Self.move(sockets.client, sockets.server, limit)
    let down = Self.move(sockets.server, sockets.client, limit)
    carried.toServer += up
    carried.toClient += down
    if !up.isEmpty { server.note([.readable, .writable]) }
    if !down.isEmpty { client.note([.readable, .writable]) }
    return !up.isEmpty || !down.isEmpty
  }

  /// The network between breaks: both ends see the other's direction end.
  func cut() {
    close(sockets.server)
    close(sockets.client)
    sockets = (-1, -1)
  }

  /// Bytes that neither end has sent arrive at the server.
  func inject(_ bytes: [UInt8]) { _ = bytes.withUnsafeBytes { write(sockets.server, $0.baseAddress, $0.count) } }

  private static func move(_ from: Int32, _ to: Int32, _ limit: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: min(limit, 1 << 16))
    let count = read(from, &bytes, bytes.count)
    guard count > 0 else { return [] }
    bytes.removeLast(bytes.count - count)
    var sent = 0
    while sent < count {
      let result = bytes.withUnsafeBytes { write(to, $0.baseAddress.map { $0 + sent }, count - sent) }
      if result <= 0 { break }
      sent += result
    }
    return bytes
  }

  /// How far the handshakes have come.
  private(set) var result = (server: TLSHandshakeProgress.wouldBlock, client: TLSHandshakeProgress.wouldBlock)

  /// Lets both shake hands until they have, or one has failed, or nothing moves any more.
  func handshake(atMost limit: Int = .max) -> (server: TLSHandshakeProgress, client: TLSHandshakeProgress) {
    var idle = 0
    while idle < 2 {
      // Another turn of the loop, or the time for handshakes would be used up.
      loop.turn()
      if result.client == .wouldBlock { result.client = handshakeClient() }
      if result.server == .wouldBlock { result.server = handshakeServer() }
      idle = carry(atMost: limit) ? 0 : idle + 1
    }
    return result
  }

  /// Both sessions wait in the name of this.
  func continueHandshake() {
    if result.server == .wouldBlock { result.server = handshakeServer() }
    if result.client == .wouldBlock { result.client = handshakeClient() }
  }

  // The macros of the tests cannot look into a value that is not copyable.
  func flushServer() -> Bool { server.flush(loop.bufferPool) }
  var isServerFlushed: Bool { server.isFlushed }
  var serverDetails: TLSDetails? { server.tls?.details(loop) }
  var clientDetails: TLSDetails? { client.tls?.details(loop) }
  func handshakeServer() -> TLSHandshakeProgress { server.handshake(loop, self) }
  func handshakeClient() -> TLSHandshakeProgress { client.handshake(loop, self) }
  func sendFromClient(_ text: String) -> Bool { Self.send(text, &client, loop) }
  func sendFromServer(_ text: String) -> Bool { Self.send(text, &server, loop) }

  private static func send(_ text: String, _ transport: inout Transport, _ loop: EventLoop) -> Bool {
    var text = text
    return text.withUTF8 { transport.send($0, loop.bufferPool) }
  }

  enum End: Error, Equatable { case failed(Int) }

  /// Everything that arrives at the server until nothing moves.
  func receiveAtServer() throws -> [UInt8] { try receive(atServer: true) }
  func receiveAtClient() throws -> [UInt8] { try receive(atServer: false) }

  private func receive(atServer: Bool) throws -> [UInt8] {
    var received: [UInt8] = []
    for _ in 0..<2000 {
      carry()
      let buffer = loop.receiveBuffer
      let size = EventLoop.receiveBufferSize
      let count = atServer ? server.receive(buffer, size) : client.receive(buffer, size)
      if count > 0 {
        received += Bytes(start: buffer, count: count)
      } else if !received.isEmpty {
        // The end, if it is one, comes again.
        break
      } else if count != Socket.wouldBlock {
        throw End.failed(count)
      }
    }
    return received
  }
}
