import Glibc
import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@Suite("Transport", .timeLimit(.minutes(1)))
struct TransportTests {
  private static func pair() throws -> (near: Int32, far: Int32) {
    var ends: [Int32] = [-1, -1]
    #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &ends) == 0)
    return (ends[0], ends[1])
  }

  // The macros cannot look into a value that is not copyable: each answer is taken first.

  @Test("a read that would block is not an error, and says that nothing waits")
  func receiveWouldBlock() throws {
    let loop = try EventLoop()
    let (near, far) = try Self.pair()
    var transport = Transport(descriptor: near, isWritable: true)
    transport.note(.readable)
    let nothing = transport.receive(loop.receiveBuffer, 100)
    let afterNothing = transport.isReadable
    #expect(nothing == Socket.wouldBlock)
    #expect(!afterNothing)
    // As many bytes as EAGAIN's number.
    #expect(Socket.send(far, Bytes("eleven char")) == 11)
    transport.note(.readable)
    let eleven = transport.receive(loop.receiveBuffer, 11)
    let afterFull = transport.isReadable
    #expect(eleven == 11)
    #expect(afterFull, "the buffer was full: there may be more")
    transport.close(loop)
    let open = transport.isOpen
    #expect(!open)
    close(far)
  }

  @Test("a socket that takes nothing keeps the bytes, in order, and is not broken")
  func sendWouldBlock() throws {
    let loop = try EventLoop()
    let (near, far) = try Self.pair()
    // Fill the socket without the transport's knowledge, so that its first send meets EAGAIN.
    let junk = [UInt8](repeating: 0, count: 4096)
    var filled = 0
    while true {
      let count = junk.withUnsafeBufferPointer { Socket.send(near, $0) }
      if count <= 0 { break }
      filled += count
    }
    var transport = Transport(descriptor: near, isWritable: true)
    let first = transport.send(Bytes("one "), loop.bufferPool)
    let writable = transport.isWritable
    #expect(first)
    #expect(!writable)
    let second = transport.send(Bytes("two"), loop.bufferPool)
    #expect(second)
    transport.note(.writable)
    let refused = transport.flush(loop.bufferPool)
    let waiting = transport.output.count
    #expect(refused)
    #expect(waiting == 7)
    while filled > 0 {
      let count = Socket.receive(far, loop.receiveBuffer, min(filled, EventLoop.receiveBufferSize))
      #expect(count > 0)
      filled -= max(1, count)
    }
    transport.note(.writable)
    let flushed = transport.flush(loop.bufferPool)
    let left = transport.output.count
    #expect(flushed)
    #expect(left == 0)
    #expect(Socket.receive(far, loop.receiveBuffer, 100) == 7)
    #expect(Bytes(start: loop.receiveBuffer, count: 7).text == "one two")
    close(far)
    let broken = transport.send(Bytes("x"), loop.bufferPool)
    #expect(!broken)
    transport.close(loop)
  }
}
