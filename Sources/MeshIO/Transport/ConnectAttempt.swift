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

  public init(_ kind: Kind, errno: Int32 = 0) {
    self.kind = kind
    self.errno = errno
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
public final class ConnectAttempt: IOHandler, TimerTarget {
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
  /// Let go of when the attempt is over.
  private var owner: (any ConnectAttemptOwner)?

  /// - Parameters:
  ///   - descriptor: a connecting non-blocking socket (`Socket.connect`); this owns it from now on.
  ///   - address: what it connects to.
  ///   - timeout: from now to an established connection (`connect_timeout`).
  public init(
    loop: EventLoop, descriptor: Int32, address: SocketAddress, timeout: Nanoseconds, owner: any ConnectAttemptOwner
  ) {
    self.loop = loop
    self.address = address
    self.timeout = timeout
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
    if !events.isDisjoint(with: [.error, .hangup]) {
      return fail(ConnectFailure(.remote, errno: Socket.connectError(transport.descriptor)))
    }
    guard events.contains(.writable) else { return }
    transport.note(events)
    succeed()
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
