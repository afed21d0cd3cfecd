import MeshPrimitives

/// One connected stream socket: its descriptor, what the kernel last said of it, and the bytes it has not taken yet.
/// Plaintext, or with a `TLSSession` through which everything goes. Reads and writes are optimistic: the kernel is asked
/// first, and only its refusal makes us wait for the next edge (epoll is registered once, edge-triggered, for the
/// connection's life).
///
/// Confined to its event loop's thread.
public struct Transport: ~Copyable {
  /// -1 once closed.
  public private(set) var descriptor: Int32
  /// TLS on this connection; nil for plaintext.
  public private(set) var tls: TLSSession?
  /// Bytes accepted for sending that the kernel has not taken; with TLS, that have not been sealed.
  public var output = ByteQueue()
  /// There may be something to read: with the kernel or, with TLS, here.
  public internal(set) var isReadable: Bool
  /// The kernel may take bytes.
  public internal(set) var isWritable: Bool
  /// The peer will send no more (FIN or close_notify seen), or the connection broke.
  public internal(set) var peerClosed = false

  /// - Parameter descriptor: a connected or connecting non-blocking socket; this owns it from now on.
  public init(descriptor: Int32, isWritable: Bool) {
    self.descriptor = descriptor
    self.isWritable = isWritable
    isReadable = false
  }

  /// From now on everything goes through `session`; next is `handshake`. Before the first byte is sent.
  /// - Parameter initial: what has been read from the socket already.
  public mutating func protect(with session: TLSSession, initial: consuming ByteQueue = ByteQueue()) {
    session.input = initial
    tls = session
    // The client's hello is often here already, before any event has said so.
    if session.context.isServer { isReadable = true }
  }

  /// The kernel has everything that was to be sent.
  @inline(__always)
  public var isFlushed: Bool { output.isEmpty && (tls == nil || tls?.output.isEmpty == true) }

  /// This end's address; nil if it has none. A system call.
  public var localAddress: SocketAddress? { Socket.localAddress(descriptor) }

  public var isOpen: Bool {
    @inline(__always) get { descriptor >= 0 }
  }

  /// Takes note of what epoll reported.
  @inline(__always)
  public mutating func note(_ events: IOEvents) {
    if !events.isDisjoint(with: [.readable, .peerClosed, .hangup, .error]) { isReadable = true }
    if !events.isDisjoint(with: [.peerClosed, .hangup, .error]) { peerClosed = true }
    if events.contains(.writable) { isWritable = true }
  }

  /// Reads once. Returns the bytes read, 0 at the end of the stream, or a negative errno; `-EAGAIN` clears `isReadable`.
  /// A short read means that the kernel's buffer is empty, which saves the read that would only say so.
  @inline(__always)
  public mutating func receive(_ buffer: UnsafeMutablePointer<UInt8>, _ capacity: Int) -> Int {
    if let tls { return receive(tls, buffer, capacity) }
    let result = Socket.receive(descriptor, buffer, capacity)
    if result > 0 {
      if result < capacity && !peerClosed { isReadable = false }
    } else if result == Socket.wouldBlock {
      isReadable = false
    }
    return result
  }

  /// Sends what waits and then `bytes`, without copying them unless the kernel refuses a part. False if the connection
  /// is broken.
  public mutating func send(_ bytes: Bytes, _ pool: BufferPool) -> Bool {
    if let tls { return send(tls, bytes, pool) }
    guard isWritable, isOpen else {
      output.append(bytes, pool)
      return isOpen
    }
    let waiting = output.count
    let wanted = waiting + bytes.count
    let result =
      waiting == 0
      ? Socket.send(descriptor, bytes) : Socket.sendv(descriptor, output.bytes, bytes)
    if result < 0 && result != Socket.wouldBlock { return false }
    let taken = max(result, 0)
    if taken < wanted { isWritable = false }
    if taken >= waiting {
      if waiting > 0 { output.drop(waiting, pool) }
      output.append(bytes.slice(taken - waiting, wanted - taken), pool)
    } else {
      output.drop(taken, pool)
      output.append(bytes, pool)
    }
    return true
  }

  /// Sends what waits. False if the connection is broken.
  @inline(__always)
  public mutating func flush(_ pool: BufferPool) -> Bool {
    if let tls { return flush(tls, pool) }
    guard isWritable, !output.isEmpty else { return true }
    let bytes = output.bytes
    let result = Socket.send(descriptor, bytes)
    if result == bytes.count {
      output.clear(pool)
      return true
    }
    isWritable = false
    if result > 0 { output.drop(result, pool) }
    return result >= 0 || result == Socket.wouldBlock
  }

  /// Ends the sending direction (FIN, with TLS after close_notify); reading goes on. For when everything is flushed.
  public mutating func shutdownWrite() {
    guard isOpen else { return }
    if let tls { sayGoodbye(tls) }
    Socket.shutdownWrite(descriptor)
  }

  /// Drops what waits and closes. `reset` sends RST instead of FIN, so that the peer cannot take a truncated message
  /// for a complete one.
  public mutating func close(_ loop: EventLoop, reset: Bool = false) {
    guard isOpen else { return }
    if let tls {
      if !reset { sayGoodbye(tls) }
      tls.input.clear(loop.bufferPool)
      tls.output.clear(loop.bufferPool)
      self.tls = nil
    }
    if reset { Socket.setLinger0(descriptor) }
    loop.close(descriptor)
    descriptor = -1
    output.clear(loop.bufferPool)
    isReadable = false
    isWritable = false
  }
}
