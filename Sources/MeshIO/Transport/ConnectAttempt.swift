import MeshPrimitives

/// Why no connection came about.
public struct ConnectFailure: Sendable {
  public enum Kind: UInt8, Sendable {
    /// The other end did not want, or was not there.
    case remote
    /// This machine could not even try.
    case local
    /// The time was up.
    case timeout
  }

  public let kind: Kind
  /// The kernel's reason; 0 if it had none.
  public let errno: Int32
  /// Why the handshake failed, if it came to that.
  public let tls: TLSFailure?

  public init(_ kind: Kind, errno: Int32 = 0, tls: TLSFailure? = nil) {
    self.kind = kind
    self.errno = errno
    self.tls = tls
  }
}

/// Who wants a connection. Called on the loop's thread, once, with one of these.
public protocol ConnectAttemptOwner: AnyObject {
  /// The connection is established. The transport's events go to the attempt until someone takes them over
  /// (`EventLoop.take(over:)`), which has to be now.
  func connectSucceeded(_ attempt: ConnectAttempt, _ transport: consuming Transport)
  func connectFailed(_ attempt: ConnectAttempt, _ failure: ConnectFailure)
}

/// One attempt to connect to an address, from the system call until there is a transport that a codec can use. Bounded in
/// time. Kept alive by the loop. Confined to the loop's thread.
public final class ConnectAttempt: IOHandler, TimerTarget, HandshakeWaiter {
  /// The TLS that a connection is to have.
  public struct TLS {
    public var context: TLSContext
    public var target: TLSClientTarget

    public init(_ context: TLSContext, _ target: TLSClientTarget) {
      self.context = context
      self.target = target
    }
  }

  public let loop: EventLoop
  /// The other end.
  public let address: SocketAddress
  /// When `connect` was called.
  public let openedAt: MonotonicTime
  /// Where the owner keeps this attempt in its list.
  public var listIndex = 0
  private var transport: Transport
  private let timer: Timer
  private let timeout: Nanoseconds
  private let preamble: [UInt8]
  private let tls: TLS?
  /// The socket is connected; a handshake may be under way.
  private var isConnected = false
  /// Let go of when the attempt is over.
  private var owner: (any ConnectAttemptOwner)?

  /// - Parameters:
  ///   - descriptor: a connecting non-blocking socket (`Socket.connect`); this owns it from now on.
  ///   - address: what it connects to.
  ///   - timeout: from now to an established connection, handshake included (`connect_timeout`).
  ///   - preamble: what goes before everything else, also before the handshake (a PROXY protocol header); small.
  ///   - tls: nil for plaintext.
  public init(
    loop: EventLoop, descriptor: Int32, address: SocketAddress, timeout: Nanoseconds, preamble: [UInt8] = [],
    tls: TLS? = nil, owner: any ConnectAttemptOwner
  ) {
    self.loop = loop
    self.address = address
    self.timeout = timeout
    self.preamble = preamble
    self.tls = tls
    self.owner = owner
    transport = Transport(descriptor: descriptor, isWritable: false)
    timer = Timer(loop)
    openedAt = loop.now
  }

  /// Waits for the connection. Call once, after the owner has stored this. If it throws, nothing is called.
  public func start() throws(SystemError) {
    timer.aim(at: self)
    do { try loop.register(transport.descriptor, self) } catch {
      cancel()
      throw error
    }
    timer.arm(at: openedAt + timeout)
  }

  /// Gives up; the owner is not called.
  public func cancel() {
    owner = nil
    timer.disarm()
    transport.close(loop)
  }

  public func ready(_ events: IOEvents) {
    guard owner != nil else { return }
    guard !isConnected else {
      transport.note(events)
      return continueHandshake()
    }
    if !events.isDisjoint(with: [.error, .hangup]) {
      return fail(ConnectFailure(.remote, errno: Socket.connectError(transport.descriptor)))
    }
    guard events.contains(.writable) else { return }
    transport.note(events)
    isConnected = true
    if !preamble.isEmpty {
      // The kernel takes this much from a new connection, unless it takes nothing at all.
      let sent = preamble.withUnsafeBufferPointer { Socket.send(transport.descriptor, $0) }
      guard sent == preamble.count else { return fail(ConnectFailure(sent == Socket.wouldBlock ? .local : .remote)) }
    }
    guard let tls else { return succeed() }
    guard let session = TLSSession(client: tls.context, target: tls.target, loop: loop) else {
      return fail(ConnectFailure(.local))
    }
    transport.protect(with: session)
    continueHandshake()
  }

  public func continueHandshake() {
    guard owner != nil else { return }
    switch transport.handshake(loop, self) {
    case .done: succeed()
    case .wouldBlock: break
    case .failed(let failure): fail(ConnectFailure(.remote, tls: failure))
    }
  }

  public func timerFired(_ tag: UInt8) { fail(ConnectFailure(.timeout)) }

  private func succeed() {
    guard let owner else { return }
    self.owner = nil
    timer.disarm()
    var established = Transport(descriptor: -1, isWritable: false)
    swap(&established, &transport)
    owner.connectSucceeded(self, established)
  }

  private func fail(_ failure: ConnectFailure) {
    guard let owner else { return }
    cancel()
    owner.connectFailed(self, failure)
  }
}
