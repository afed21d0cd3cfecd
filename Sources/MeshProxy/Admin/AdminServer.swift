import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// The admin interface (Envoy: `bootstrap.admin`): an HTTP/1.1 server on the main thread's loop. Bounded in everything:
/// connections, their idle times, request bodies; long answers are sent in portions. Confined to the loop's thread.
///
/// Everyone who can connect can stop the proxy. The only attack that is warded off here is the one that comes through a
/// browser on the same machine; see `AdminRequest.isCrossSite`.
public final class AdminServer: IOHandler, TimerTarget {
  /// How long accepting pauses for want of descriptors.
  private static let starvationPause = Nanoseconds.milliseconds(100)

  let loop: EventLoop
  let address: SocketAddress
  unowned let context: any AdminContext
  let headerMaps = HeaderMapPool(maximumFree: 8)
  /// Not changed once connections are accepted.
  var limits = AdminLimits()
  /// What browsers on other sites can cause at will.
  let log = RateLimitedLog(Log.admin, perSecond: 5)
  /// Where reports are written before they are sent; used within one callback only.
  var portion: [UInt8] = []
  /// Paths, query included, that may be asked for; empty: all.
  let allowedPaths: [TextPattern]
  /// Where each request leaves a line.
  let accessLogs: [(format: SubstitutionFormat, buffer: AccessLogBuffer)]
  private let descriptors: [Int32]
  private var connections: [AdminConnection] = []
  private var identifier: UInt64 = 0
  private var isAccepting = false
  private var pause: Timer?
  /// For connections when the workers have all other descriptors: then more than ever someone wants to know how the
  /// process is.
  private let reserve = ReserveDescriptors(4)

  /// - Parameters:
  ///   - context: not kept alive; must outlive this.
  ///   - descriptors: listening sockets, which stay the caller's.
  ///   - address: as the kernel bound them.
  init(
    loop: EventLoop, context: any AdminContext, descriptors: [Int32], address: SocketAddress,
    configuration: AdminConfiguration = .init()
  ) {
    self.loop = loop
    self.context = context
    self.descriptors = descriptors
    self.address = address
    allowedPaths = configuration.allowedPaths
    accessLogs = configuration.accessLogs.map { ($0.format, AccessLogBuffer(file: $0.file, loop: loop)) }
    pause = Timer(loop, self)
  }

  /// Connections open now.
  public var connectionCount: Int { connections.count }

  /// Begins to accept connections.
  public func startAccepting() {
    guard !isAccepting else { return }
    isAccepting = true
    watch()
  }

  /// Accepts no more and ends every connection.
  public func close() {
    if isAccepting { for descriptor in descriptors { loop.deregister(descriptor) } }
    isAccepting = false
    pause?.disarm()
    for connection in connections { connection.close() }
  }

  // MARK: Accepting

  public func ready(_ events: IOEvents) {
    for descriptor in descriptors {
      var budget = limits.connections
      while budget > 0, isAccepting {
        budget -= 1
        let accepted = Socket.accept(descriptor)
        if accepted.fd >= 0 {
          open(accepted)
        } else if accepted.fd == Int32(Socket.wouldBlock) {
          break
        } else {
          guard let reserved = acceptFromReserve(descriptor) else { return starve(accepted.fd) }
          open(reserved)
          // Whoever else waits is reported at once again.
          break
        }
      }
    }
  }

  private func acceptFromReserve(_ descriptor: Int32) -> Accepted? {
    while reserve.giveUp() {
      let accepted = Socket.accept(descriptor)
      if accepted.fd >= 0 { return accepted }
      // Whoever waited has gone.
      if accepted.fd == Int32(Socket.wouldBlock) { break }
    }
    reserve.restore()
    return nil
  }

  public func timerFired(_ tag: UInt8) {
    reserve.restore()
    if isAccepting { watch() }
  }

  private func watch() {
    for descriptor in descriptors {
      do { try loop.register(descriptor, self, interest: .levelRead) } catch {
        Log.admin.error("cannot accept connections: \(error)")
      }
    }
  }

  /// No descriptor or memory for another connection: wait a moment, or the loop would spin on the full queue.
  private func starve(_ error: Int32) {
    log.log(.warning, "accept: \(SystemError.text(-error))")
    for descriptor in descriptors { loop.deregister(descriptor) }
    pause?.arm(after: Self.starvationPause)
  }

  private func open(_ accepted: Accepted) {
    if connections.count >= limits.connections, !evict() {
      log.log(.warning, "refused a connection from \(accepted.peer): \(connections.count) are open")
      return Socket.close(accepted.fd)
    }
    identifier += 1
    let connection = AdminConnection(self)
    connection.listIndex = connections.count
    connections.append(connection)
    do { try connection.start(accepted, identifier: identifier) } catch {
      log.log(.warning, "connection from \(accepted.peer): \(error)")
      connection.close()
    }
  }

  /// Closes the connection on which nothing has moved for longest, idle ones first. False if all are at work.
  private func evict() -> Bool {
    let stale = connections.filter { loop.now >= $0.lastProgress + limits.evictionAge }
    let candidates = stale.filter(\.isIdle).isEmpty ? stale : stale.filter(\.isIdle)
    guard let oldest = candidates.min(by: { $0.lastProgress < $1.lastProgress }) else { return false }
    oldest.close()
    return true
  }

  /// The connection is gone. It is on the stack below us, so that it is kept a moment longer.
  func closed(_ connection: AdminConnection) {
    // At once: its descriptor was closed just now, and the workers want it too.
    reserve.restore()
    let last = connections.count - 1
    let index = connection.listIndex
    guard index <= last, connections[index] === connection else { return }
    if index < last {
      connections[index] = connections[last]
      connections[index].listIndex = index
    }
    connections.removeLast()
    loop.defer { withExtendedLifetime(connection) {} }
  }
}
