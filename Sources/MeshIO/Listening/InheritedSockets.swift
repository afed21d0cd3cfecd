internal import CLinux
import MeshPrimitives

/// Listening sockets that this process was started with, by the protocol of sd_listen_fds(3): LISTEN_PID is this
/// process, LISTEN_FDS is the number of descriptors from 3 on, LISTEN_FDNAMES names them. Matched to addresses by what
/// they are bound to; an address that was not inherited is asked of another source.
public final class InheritedSockets: ListenSocketSource {
  private struct Inherited {
    var fd: Int32
    var address: SocketAddress
  }

  private var unclaimed: [Inherited] = []
  private let fallback: any ListenSocketSource

  /// Takes the descriptors over and removes the variables, so that children do not take them for theirs. On the main
  /// thread, before other threads run; once in a process.
  public convenience init(fallback: any ListenSocketSource = BoundSockets()) {
    let count = Self.count(
      pid: CurrentProcess.environment("LISTEN_PID"), descriptors: CurrentProcess.environment("LISTEN_FDS"))
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { CurrentProcess.unsetEnvironment(name) }
    self.init(descriptors: (0..<count).map { 3 + $0 }, fallback: fallback)
  }

  /// Takes over the listening stream sockets among `descriptors`; others are left alone.
  init(descriptors: [Int32], fallback: any ListenSocketSource) {
    self.fallback = fallback
    for fd in descriptors {
      _ = clinux_set_cloexec(fd, 1)
      guard clinux_is_listening(fd) == 1, let address = Socket.localAddress(fd) else { continue }
      _ = clinux_set_nonblocking(fd)
      if !address.isUnix { _ = clinux_set_option(fd, CLINUX_NODELAY, 1) }
      unclaimed.append(Inherited(fd: fd, address: address))
    }
  }

  deinit { for socket in unclaimed { _ = clinux_close(socket.fd) } }

  /// How many descriptors were passed; 0 if they are meant for another process or the values make no sense.
  static func count(pid: String?, descriptors: String?) -> Int32 {
    guard let pid = pid.flatMap({ Int32($0) }), pid == clinux_getpid() else { return 0 }
    guard let count = descriptors.flatMap({ Int32($0) }), count > 0, count <= 4096 else { return 0 }
    return count
  }

  /// What was inherited and not asked for yet.
  public var unclaimedAddresses: [SocketAddress] { unclaimed.map(\.address) }

  /// Closes what nobody has asked for: connections would wait in a queue that nobody empties. When the configuration
  /// has been applied.
  /// - Returns: the addresses, for the log.
  public func closeUnclaimed() -> [SocketAddress] {
    defer { unclaimed = [] }
    for socket in unclaimed { _ = clinux_close(socket.fd) }
    return unclaimed.map(\.address)
  }

  public func open(
    _ address: SocketAddress, workers: Int, options: ListenOptions
  ) throws(ListenError) -> OpenedSockets {
    let claimed = unclaimed.filter { Self.serves($0, address) }
    guard let actual = claimed.first?.address else {
      return try fallback.open(address, workers: workers, options: options)
    }
    unclaimed.removeAll { Self.serves($0, address) }
    var descriptors = claimed.map(\.fd)
    // Fewer sockets than workers: some share a queue. More: some workers serve several (all must be served).
    while descriptors.count < workers {
      let fd = clinux_duplicate(descriptors[descriptors.count % claimed.count])
      if fd < 0 {
        for fd in descriptors { _ = clinux_close(fd) }
        throw .failed(SystemError("dup", result: fd, address.description))
      }
      descriptors.append(fd)
    }
    let final = actual.isUnix ? address : actual
    let lock = (try? ListenLock.take(final)) ?? .foreign
    return OpenedSockets(address: final, descriptors: descriptors, isShared: true, lock: lock)
  }

  /// Whether an inherited socket is what the configuration means: the same address, or an IPv6 wildcard that takes IPv4
  /// too (what `ListenStream=8000` of systemd gives) for the IPv4 wildcard.
  private static func serves(_ socket: Inherited, _ address: SocketAddress) -> Bool {
    if socket.address == address { return true }
    guard !address.isUnix, address.ip.family == .v4, address.isUnspecified, socket.address.ip.family == .v6 else {
      return false
    }
    var only: Int32 = 1
    return socket.address.isUnspecified && socket.address.port == address.port
      && clinux_get_option(socket.fd, CLINUX_V6ONLY, &only) == 0 && only == 0
  }
}
