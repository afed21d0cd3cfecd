import MeshPrimitives

/// How a transport with TLS moves bytes: one system call for as many records as there are, each way.
extension Transport {
  // What the kernel would say of ends that it does not know of.
  private static var protocolError: Int { -71 }
  private static var reset: Int { -104 }
  /// The most that is sealed before it is sent: four records.
  private static var sealSize: Int { 64 * 1024 }
  /// A record with all that may belong to it (RFC 5246 §6.2.3).
  private static var recordSize: Int { 16 * 1024 + 2048 + 5 }
  /// Receives that may bring nothing but the protocol's own messages; more is an attack.
  private static var emptyReceives: Int { 16 }

  /// `receive` with TLS. A connection that ends without close_notify gives `-ECONNRESET`: what came may have been cut off.
  @inline(never)
  mutating func receive(_ session: TLSSession, _ buffer: UnsafeMutablePointer<UInt8>, _ capacity: Int) -> Int {
    let wire = session.wire
    var isFromQueue = offerRest(session)
    var total = 0
    var receives = 0
    // Everything that the kernel has was taken, as far as a short read tells.
    var isDrained = false
    var end: Int?
    while total < capacity, end == nil {
      if session.hasReadable {
        switch session.read(buffer + total, capacity - total) {
        case .progress(let count):
          total += count
          continue
        case .needsInput: break
        case .ended: end = 0
        case .broken: end = Self.protocolError
        }
      }
      // One receive for what the caller gets now; what else the kernel has is for its next call.
      if total > 0 || isDrained || end != nil { break }
      if receives == Self.emptyReceives {
        end = Self.protocolError
        break
      }
      receives += 1
      if isFromQueue { session.input.clear(session.pool) }
      isFromQueue = false
      let room = min(TLSWire.scratchSize, max(capacity, Self.recordSize))
      let count = Socket.receive(descriptor, wire.pointee.scratch, room)
      if count > 0 {
        wire.pointee.offer(Bytes(start: wire.pointee.scratch, count: count))
        isDrained = count < room && !peerClosed
      } else if count == Socket.wouldBlock {
        isDrained = true
      } else {
        end = count == 0 ? Self.reset : count
      }
    }
    keepRest(session, isFromQueue)
    if wire.pointee.outputCount > 0 { _ = sendSealed(session) }
    if end == 0 { peerClosed = true }
    // An end behind the bytes is told by the next call, which meets it again.
    if total > 0 {
      if total < capacity, end == nil, isDrained { isReadable = false }
      return total
    }
    if let end { return end }
    isReadable = false
    return Socket.wouldBlock
  }

  /// `send` with TLS.
  @inline(never)
  mutating func send(_ session: TLSSession, _ bytes: Bytes, _ pool: BufferPool) -> Bool {
    guard isOpen else { return false }
    guard flush(session, pool) else { return false }
    var offset = 0
    if isFlushed, session.isEstablished {
      while isWritable, offset < bytes.count {
        let run = bytes.slice(offset, min(bytes.count - offset, Self.sealSize))
        guard session.seal(run), sendSealed(session) else { return false }
        offset += run.count
      }
    }
    output.append(bytes.slice(offset, bytes.count - offset), pool)
    return true
  }

  /// `flush` with TLS: what was sealed before goes first, then the output, sealed.
  @inline(never)
  mutating func flush(_ session: TLSSession, _ pool: BufferPool) -> Bool {
    guard isWritable else { return true }
    if !session.output.isEmpty {
      let waiting = session.output.bytes
      let result = Socket.send(descriptor, waiting)
      if result < 0 && result != Socket.wouldBlock { return false }
      if result < waiting.count { isWritable = false }
      if result > 0 { session.output.drop(result, pool) }
    }
    while isWritable, !output.isEmpty, session.isEstablished {
      let run = output.bytes.slice(0, min(output.count, Self.sealSize))
      guard session.seal(run) else { return false }
      output.drop(run.count, pool)
      guard sendSealed(session) else { return false }
    }
    return true
  }

  /// Goes on with the handshake, as far as it goes without waiting: at most one of our flights, so at most one operation
  /// with our private key. When it has failed, the peer has been told why (if it can be), and the transport is to be
  /// closed. `done` at once for plaintext.
  ///
  /// When it is done, `isReadable` says whether what the peer has sent behind it is to be looked at already.
  /// - Parameter waiter: called when it is its turn, if others have used up the time that the loop has for handshakes
  ///   (`HandshakeTurns`); until then this says that it would block.
  public mutating func handshake(_ loop: EventLoop, _ waiter: any HandshakeWaiter) -> TLSHandshakeProgress {
    guard let session = tls, !session.isEstablished else { return .done }
    let turns = loop.handshakeTurns
    guard turns.begin(session, waiter) else { return .wouldBlock }
    defer { turns.end() }
    let wire = session.wire
    var isFromQueue = offerRest(session)
    // Nothing can be said before the client's hello is here.
    var wantsInput = session.context.isServer && !isFromQueue
    for _ in 0..<Self.emptyReceives {
      if wantsInput {
        guard isReadable else { return .wouldBlock }
        let count = Socket.receive(descriptor, wire.pointee.scratch, TLSWire.scratchSize)
        if count == Socket.wouldBlock {
          isReadable = false
          return .wouldBlock
        }
        guard count > 0 else { return .failed(TLSFailure(.closed)) }
        // A short read says that there is no more.
        if count < TLSWire.scratchSize, !peerClosed { isReadable = false }
        wire.pointee.offer(Bytes(start: wire.pointee.scratch, count: count))
      }
      let outcome = session.step()
      if wire.pointee.outputCount > 0, !sendSealed(session), outcome != .broken {
        return .failed(TLSFailure(.closed))
      }
      switch outcome {
      case .progress:
        keepRest(session, isFromQueue)
        // What came behind the handshake in the same segment has no event of its own.
        if !session.input.isEmpty { isReadable = true }
        return .done
      case .needsInput:
        if isFromQueue { session.input.clear(session.pool) }
        isFromQueue = false
        wantsInput = true
      case .ended, .broken:
        // Closing while bytes wait would be a reset, which can overtake the alert.
        _ = Socket.receive(descriptor, wire.pointee.scratch, TLSWire.scratchSize)
        return .failed(outcome == .ended ? TLSFailure(.closed) : session.failure())
      }
    }
    return .failed(TLSFailure(.protocolError))
  }

  /// Tells the peer that nothing more comes, if that is so: not after half a message, and not to a peer that does not read.
  @inline(never)
  mutating func sayGoodbye(_ session: TLSSession) {
    guard isFlushed, isWritable else { return }
    session.sayGoodbye()
    if session.wire.pointee.outputCount > 0 { _ = sendSealed(session) }
  }

  // MARK: The wire

  /// Sends what the session has just sealed; what the kernel refuses waits. False if the connection is broken, or if the
  /// peer makes us answer and does not read the answers.
  private mutating func sendSealed(_ session: TLSSession) -> Bool {
    let bytes = session.wire.pointee.takeOutput()
    guard isWritable, session.output.isEmpty else {
      guard session.output.count < Self.sealSize else { return false }
      session.output.append(bytes, session.pool)
      return true
    }
    let result = Socket.send(descriptor, bytes)
    if result < 0 && result != Socket.wouldBlock { return false }
    let taken = max(result, 0)
    if taken < bytes.count {
      isWritable = false
      session.output.append(bytes.slice(taken, bytes.count - taken), session.pool)
    }
    return true
  }

  /// Lets the session read what it left the last time. - Returns: whether there is any.
  private func offerRest(_ session: TLSSession) -> Bool {
    session.wire.pointee.offer(session.input.bytes)
    return !session.input.isEmpty
  }

  /// Keeps what the session has not read: the wire is for the next one.
  private func keepRest(_ session: TLSSession, _ isFromQueue: Bool) {
    let rest = session.wire.pointee.takeInput()
    if isFromQueue {
      session.input.drop(session.input.count - rest.count, session.pool)
    } else {
      session.input.append(rest, session.pool)
    }
  }
}
