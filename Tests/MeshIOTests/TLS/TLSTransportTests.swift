import Glibc
import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

private final class Nobody: HandshakeWaiter {
  func continueHandshake() {}
}

@Suite("TLS in the transport", .timeLimit(.minutes(1)))
struct TLSTransportTests {
  @Test("two ends shake hands, and bytes go both ways", arguments: [TLSVersion.v12, .v13])
  func bothWays(_ version: TLSVersion) throws {
    let server = try TLSFixture.server {
      $0.parameters.minimum = version
      $0.parameters.maximum = version
      $0.applicationProtocols = ["h2", "http/1.1"]
    }
    let client = try TLSFixture.client {
      $0.verification = TLSFixture.trusting()
      $0.applicationProtocols = ["http/1.1"]
    }
    let pair = try TLSPair(server, client, TLSClientTarget(serverName: "server.test", expectedNames: ["server.test"]))
    let result = pair.handshake()
    #expect(result.server == .done)
    #expect(result.client == .done)
    let details = try #require(pair.serverDetails)
    #expect(details.version == version)
    #expect(details.serverName == "server.test")
    #expect(details.applicationProtocol == "http/1.1")
    #expect(!details.isResumed)
    #expect(details.peer == nil)
    #expect(details.own?.dnsNames.contains("server.test") == true)
    let seen = try #require(pair.clientDetails)
    #expect(seen.isPeerValidated)
    #expect(seen.peer?.subject == "CN=server")
    #expect(seen.group == "X25519")
    #expect(seen.signatureAlgorithm == "ecdsa_secp256r1_sha256")
    #expect(pair.sendFromClient("hello"))
    #expect(try pair.receiveAtServer() == Array("hello".utf8))
    #expect(pair.sendFromServer("and back"))
    #expect(try pair.receiveAtClient() == Array("and back".utf8))
  }

  @Test("a handshake comes in pieces of any size", arguments: [1, 2, 3, 5, 7, 64, 1000])
  func pieces(_ size: Int) throws {
    for version in TLSVersion.allCases {
      let server = try TLSFixture.server(["server-rsa"]) { $0.parameters.maximum = version }
      let pair = try TLSPair(server, try TLSFixture.client())
      let result = pair.handshake(atMost: size)
      #expect(result.server == .done)
      #expect(result.client == .done)
    }
  }

  @Test("a large message crosses in both directions, whatever the kernel takes at a time")
  func large() throws {
    let pair = try TLSPair(try TLSFixture.server(), try TLSFixture.client())
    _ = pair.handshake()
    var random = SeededRandom(seed: 7)
    let message = (0..<3_000_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    var received: [UInt8] = []
    let sound = message.withUnsafeBufferPointer { pair.server.send($0, pair.loop.bufferPool) }
    #expect(sound)
    #expect(!pair.isServerFlushed)
    while received.count < message.count {
      pair.carry()
      pair.server.note(.writable)
      #expect(pair.flushServer())
      while pair.client.isReadable {
        let count = pair.client.receive(pair.loop.receiveBuffer, EventLoop.receiveBufferSize)
        guard count > 0 else { break }
        received += Bytes(start: pair.loop.receiveBuffer, count: count)
      }
    }
    #expect(pair.isServerFlushed)
    #expect(received == message)
  }

  @Test("what does not fit into the caller's buffer waits, and the transport says so", arguments: [1, 100, 5000])
  func smallBuffer(_ size: Int) throws {
    let pair = try TLSPair(try TLSFixture.server(), try TLSFixture.client())
    _ = pair.handshake()
    let message = [UInt8](repeating: 9, count: 50_000)
    let sound = message.withUnsafeBufferPointer { pair.client.send($0, pair.loop.bufferPool) }
    #expect(sound)
    var received = 0
    pair.carry()
    while received < message.count {
      while pair.server.isReadable {
        let count = pair.server.receive(pair.loop.receiveBuffer, size)
        if count == Socket.wouldBlock { break }
        #expect(count > 0)
        guard count > 0 else { return }
        received += count
      }
      if !pair.carry() { break }
    }
    #expect(received == message.count)
  }

  @Test("bytes that come in the same segment as the end of the handshake are seen without another event")
  func earlyBytes() throws {
    let server = try TLSFixture.server { $0.parameters.minimum = .v13 }
    let pair = try TLSPair(server, try TLSFixture.client())
    _ = pair.handshakeClient()
    pair.carry()
    // Each in a turn of its own, which has time for it however busy the machine is.
    pair.loop.turn()
    _ = pair.handshakeServer()
    pair.carry()
    pair.loop.turn()
    #expect(pair.handshakeClient() == .done)
    #expect(pair.sendFromClient("early"))
    pair.carry()
    pair.loop.turn()
    #expect(pair.handshakeServer() == .done)
    let readable = pair.server.isReadable
    #expect(readable)
    let count = pair.server.receive(pair.loop.receiveBuffer, 100)
    #expect(count == 5)
  }

  @Test("close_notify is an end, its absence a truncation")
  func ends() throws {
    for inGoodOrder in [true, false] {
      let pair = try TLSPair(try TLSFixture.server(), try TLSFixture.client())
      _ = pair.handshake()
      #expect(pair.sendFromClient("last words"))
      if inGoodOrder { pair.client.shutdownWrite() }
      pair.carry()
      #expect(try pair.receiveAtServer() == Array("last words".utf8))
      if inGoodOrder {
        pair.server.note(.readable)
        let end = pair.server.receive(pair.loop.receiveBuffer, 100)
        #expect(end == 0)
        let closed = pair.server.peerClosed
        #expect(closed)
      } else {
        pair.cut()
        pair.server.note([.readable, .peerClosed])
        let end = pair.server.receive(pair.loop.receiveBuffer, 100)
        #expect(end == -104)
      }
    }
  }

  @Test("garbage in place of a hello is refused, and told")
  func garbage() throws {
    let loop = try EventLoop()
    let (near, far) = try TLSPair.sockets()
    var transport = Transport(descriptor: near, isWritable: true)
    transport.protect(with: try #require(TLSSession(server: try TLSFixture.server(), loop: loop)))
    #expect(Socket.send(far, Bytes("GET / HTTP/1.1\r\n\r\n")) > 0)
    transport.note(.readable)
    guard case .failed(let failure) = transport.handshake(loop, Nobody()) else {
      Issue.record("the handshake went on")
      return
    }
    #expect(failure.kind == .protocolError)
    #expect(failure.text.hasPrefix("TLS_error:|"), "\(failure.text)")
    #expect(failure.text.contains("HTTP_REQUEST"), "\(failure.text)")
    transport.close(loop)
    close(far)
  }

  @Test("altered ciphertext breaks the connection")
  func altered() throws {
    let pair = try TLSPair(try TLSFixture.server(), try TLSFixture.client())
    _ = pair.handshake()
    pair.inject(Array("\u{17}\u{3}\u{3}\0\u{20}".utf8) + [UInt8](repeating: 1, count: 32))
    pair.server.note(.readable)
    let result = pair.server.receive(pair.loop.receiveBuffer, 100)
    #expect(result == -71)
    // And stays broken.
    let again = pair.server.receive(pair.loop.receiveBuffer, 100)
    #expect(again == -71)
    let sent = pair.sendFromServer("x")
    #expect(!sent)
  }
}
