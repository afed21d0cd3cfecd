internal import CLinux
import MeshPrimitives

/// How a listening socket is set up.
public struct ListenOptions: Equatable, Sendable {
  /// Length of the accept queue; nil for the system's maximum (`net.core.somaxconn`). Envoy: `tcp_backlog_size`.
  public var backlog: Int32?
  /// An IPv6 wildcard takes IPv4 connections too. Envoy: `ipv4_compat`.
  public var acceptsV4: Bool
  /// The address need not exist on this machine yet. Envoy: `freebind`.
  public var freeBind: Bool
  /// IP_TRANSPARENT; needs CAP_NET_ADMIN. Envoy: `transparent`.
  public var transparent: Bool
  /// Inherited by accepted connections.
  public var keepAlive: KeepAlive?
  /// All workers accept from one queue, instead of a socket each by SO_REUSEPORT. Envoy: `enable_reuse_port: false`.
  public var sharesQueue: Bool
  /// Connections with data in their first packet that the kernel holds (TCP_FASTOPEN); nil leaves it off. Envoy:
  /// `tcp_fast_open_queue_length`.
  public var fastOpenQueue: Int32?
  /// Permissions of a Unix socket's file; nil for what the umask leaves. Envoy: `Pipe.mode`.
  public var mode: UInt32?
  /// Further options. Envoy: `socket_options`.
  public var raw: [RawSocketOption]

  public init(
    backlog: Int32? = nil, acceptsV4: Bool = false, freeBind: Bool = false, transparent: Bool = false,
    keepAlive: KeepAlive? = nil, sharesQueue: Bool = false, fastOpenQueue: Int32? = nil, mode: UInt32? = nil,
    raw: [RawSocketOption] = []
  ) {
    self.backlog = backlog
    self.acceptsV4 = acceptsV4
    self.freeBind = freeBind
    self.transparent = transparent
    self.keepAlive = keepAlive
    self.sharesQueue = sharesQueue
    self.fastOpenQueue = fastOpenQueue
    self.mode = mode
    self.raw = raw
  }
}

/// Listening sockets of one address, as a source hands them over. The receiver closes the descriptors.
public struct OpenedSockets: Sendable {
  /// With the port that the kernel chose, where 0 was asked for.
  public var address: SocketAddress
  /// One for each worker at least; descriptor i belongs to worker i modulo the number of workers.
  public var descriptors: [Int32]
  /// Another process may hold the same sockets: they must not be changed, and connections that wait in them are not
  /// lost when ours are closed.
  public var isShared: Bool
  var lock: ListenLock.Outcome
}

/// Where listening sockets come from. On the main thread.
public protocol ListenSocketSource: AnyObject {
  /// - Parameter workers: at least 1.
  func open(_ address: SocketAddress, workers: Int, options: ListenOptions) throws(ListenError) -> OpenedSockets
}

/// The usual source: binds the address here.
///
/// The first socket is bound without SO_REUSEPORT, which fails if anyone at all listens there, with or without
/// SO_REUSEPORT; only then is the address opened to our other workers' sockets. The lock keeps processes of ours out
/// that come later.
public final class BoundSockets: ListenSocketSource {
  public init() {}

  public func open(
    _ address: SocketAddress, workers: Int, options: ListenOptions
  ) throws(ListenError) -> OpenedSockets {
    var lock: ListenLock.Outcome?
    if address.isUnix || address.port != 0 { lock = try Self.lock(address) }
    var opened: [Int32] = []
    do throws(ListenError) {
      if address.isUnix { try Self.removeStale(address) }
      try Self.add(&opened, address, workers, options)
      guard let first = opened.first, let actual = Socket.localAddress(first) else {
        throw ListenError.failed(SystemError("getsockname", errno: 22, address.description))
      }
      let final = address.isUnix ? address : actual
      if lock == nil { lock = try Self.lock(final) }
      return OpenedSockets(address: final, descriptors: opened, isShared: false, lock: lock ?? .foreign)
    } catch {
      // What was bound before something else failed.
      if address.isPathName, let first = opened.first, Socket.localAddress(first) == address,
        let path = address.unixPath
      {
        _ = clinux_unlink(path)
      }
      for fd in opened { _ = clinux_close(fd) }
      if case .taken(let fd)? = lock { _ = clinux_close(fd) }
      throw error
    }
  }

  private static func lock(_ address: SocketAddress) throws(ListenError) -> ListenLock.Outcome {
    let outcome: ListenLock.Outcome
    do { outcome = try ListenLock.take(address) } catch { throw .failed(error) }
    guard case .held(let holder, let connection) = outcome else { return outcome }
    _ = clinux_close(connection)
    throw .inUse(address, by: holder)
  }

  private static func add(
    _ opened: inout [Int32], _ address: SocketAddress, _ workers: Int, _ options: ListenOptions
  ) throws(ListenError) {
    var address = address
    while opened.count < workers {
      if address.isUnix || options.sharesQueue, let first = opened.first {
        // Unix sockets have no SO_REUSEPORT: all workers accept from one queue.
        let fd = clinux_duplicate(first)
        if fd < 0 { throw .failed(SystemError("dup", result: fd, address.description)) }
        opened.append(fd)
        continue
      }
      let fd = clinux_socket(Socket.family(of: address), 0)
      if fd < 0 { throw .failed(SystemError("socket", result: fd, address.description)) }
      opened.append(fd)
      let isFirst = opened.count == 1
      if !address.isUnix { try prepare(fd, address, options, shared: !isFirst) }
      try apply(.beforeBind, options, fd, address)
      // Before there is a file, so that it never lets anyone in whom the mode keeps out.
      let mode = address.isPathName ? options.mode : nil
      if let mode { _ = clinux_change_descriptor_mode(fd, mode) }
      let bound = Socket.bind(fd, address)
      if bound < 0 { throw refusal("bind", bound, address) }
      if let mode, let path = address.unixPath {
        // What the umask took away.
        let changed = clinux_change_mode(path, mode)
        if changed < 0 { throw .failed(SystemError("chmod", result: changed, path)) }
      }
      if isFirst, workers > 1, !address.isUnix, !options.sharesQueue { try set(fd, CLINUX_REUSEPORT, 1, address) }
      try apply(.bound, options, fd, address)
      let listening = clinux_listen(fd, options.backlog ?? 65535)
      if listening < 0 { throw refusal("listen", listening, address) }
      if let queue = options.fastOpenQueue, !address.isUnix { try set(fd, CLINUX_FASTOPEN, queue, address) }
      try apply(.listening, options, fd, address)
      if isFirst, !address.isUnix, let actual = Socket.localAddress(fd) { address = actual }
    }
  }

  private static func prepare(
    _ fd: Int32, _ address: SocketAddress, _ options: ListenOptions, shared: Bool
  ) throws(ListenError) {
    try set(fd, CLINUX_REUSEADDR, 1, address)
    if shared { try set(fd, CLINUX_REUSEPORT, 1, address) }
    // Accepted connections inherit it: one call here instead of one for each connection.
    try set(fd, CLINUX_NODELAY, 1, address)
    if address.ip.family == .v6 { try set(fd, CLINUX_V6ONLY, options.acceptsV4 ? 0 : 1, address) }
    if options.freeBind { try set(fd, CLINUX_FREEBIND, 1, address) }
    if options.transparent { try set(fd, CLINUX_TRANSPARENT, 1, address) }
    if let keepAlive = options.keepAlive { Socket.setKeepAlive(fd, keepAlive) }
  }

  private static func apply(
    _ state: RawSocketOption.State, _ options: ListenOptions, _ fd: Int32, _ address: SocketAddress
  ) throws(ListenError) {
    let result = RawSocketOption.apply(options.raw, state, to: fd)
    if result < 0 { throw .failed(SystemError("setsockopt", result: result, address.description)) }
  }

  private static func set(
    _ fd: Int32, _ option: Int32, _ value: Int32, _ address: SocketAddress
  ) throws(ListenError) {
    let result = clinux_set_option(fd, option, value)
    if result < 0 { throw .failed(SystemError("setsockopt", result: result, address.description)) }
  }

  private static func refusal(_ function: String, _ result: Int32, _ address: SocketAddress) -> ListenError {
    if result == -98 { return .inUse(address, by: ListenLock.overlapping(address)) }
    return .failed(SystemError(function, result: result, address.description))
  }

  /// A path name outlives the process that bound it. One that nobody listens on is removed.
  private static func removeStale(_ address: SocketAddress) throws(ListenError) {
    guard address.isPathName, let path = address.unixPath else { return }
    switch Socket.connect(to: address) {
    case .success(let fd):
      _ = clinux_close(fd)
      throw .inUse(address, by: nil)
    case .failure(let error):
      // ECONNREFUSED: a socket without a listener, or a file that is no socket. Whatever is no stale socket is left to
      // bind(2), which says what it is.
      if error.errno == 111, FileState(path, followsLinks: false)?.isSocket == true { _ = clinux_unlink(path) }
    }
  }
}
