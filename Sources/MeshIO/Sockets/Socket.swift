internal import CLinux
import MeshPrimitives

/// The result of an accept: a connection, or an error number.
public struct Accepted {
  /// The connection, non-blocking and close-on-exec; or `-errno` (`Socket.wouldBlock` when the queue is empty).
  public let fd: Int32
  /// Who connected; unspecified when `fd` is negative.
  public let peer: SocketAddress
}

/// What may be set on a socket before it connects.
public struct SocketOptions: Hashable, Sendable {
  /// TCP keep-alive; nil leaves it off.
  public var keepAlive: KeepAlive?
  /// SO_SNDBUF and SO_RCVBUF in bytes; nil leaves the kernel's own sizing.
  public var sendBuffer: Int32?
  public var receiveBuffer: Int32?
  /// The address to bind need not exist on this machine (IP_FREEBIND).
  public var freeBind: Bool
  /// Further options, each set in its state; those of a listening socket are not.
  public var raw: [RawSocketOption]

  public init(
    keepAlive: KeepAlive? = nil, sendBuffer: Int32? = nil, receiveBuffer: Int32? = nil, freeBind: Bool = false,
    raw: [RawSocketOption] = []
  ) {
    self.keepAlive = keepAlive
    self.sendBuffer = sendBuffer
    self.receiveBuffer = receiveBuffer
    self.freeBind = freeBind
    self.raw = raw
  }
}

/// TCP keep-alive (Envoy: `core.v3.TcpKeepalive`); nil leaves the kernel's default.
public struct KeepAlive: Hashable, Sendable {
  /// Unanswered probes before the connection is dropped.
  public var probes: Int32?
  /// Idle seconds before the first probe.
  public var idleSeconds: Int32?
  /// Seconds between probes.
  public var intervalSeconds: Int32?

  public init(probes: Int32? = nil, idleSeconds: Int32? = nil, intervalSeconds: Int32? = nil) {
    self.probes = probes
    self.idleSeconds = idleSeconds
    self.intervalSeconds = intervalSeconds
  }
}

/// System calls on sockets. All sockets are non-blocking and close-on-exec. Calls on the request path return a count or
/// `-errno`; would-block is a value.
public enum Socket {
  /// What a call returns when it would have to wait: `-EAGAIN`, so negative already; compare results with it as it is.
  @inlinable public static var wouldBlock: Int { -11 }
  /// `-ECONNREFUSED`: of a datagram socket, that nobody took an earlier datagram.
  public static var connectionRefused: Int { -111 }
  /// `-EINTR`.
  @inlinable public static var interrupted: Int { -4 }

  // MARK: Making

  /// Begins a connection; the socket becomes writable when it is established or has failed (`connectError`). TCP_NODELAY
  /// is set.
  /// - Parameter bindTo: the source address; its port is chosen by the kernel if 0, at connect (not exhausting ports).
  /// - Returns: the descriptor, or what failed at once (a refused connection on loopback fails at once).
  public static func connect(
    to address: SocketAddress, bindTo source: SocketAddress? = nil, options: SocketOptions = SocketOptions()
  ) -> Result<Int32, SystemError> {
    let fd = clinux_socket(family(of: address), 0)
    if fd < 0 { return .failure(SystemError("socket", result: fd, address.description)) }
    var failed = "setsockopt"
    var result: Int32 = 0
    if !address.isUnix { result = clinux_set_option(fd, CLINUX_NODELAY, 1) }
    if result >= 0 { result = apply(options, to: fd, isUnix: address.isUnix) }
    if result >= 0, let source, !address.isUnix {
      failed = "bind \(source) to connect"
      if source.port == 0 { _ = clinux_set_option(fd, CLINUX_BIND_NO_PORT, 1) }
      result = bind(fd, source)
    }
    if result >= 0, !options.raw.isEmpty {
      failed = "setsockopt"
      result = RawSocketOption.apply(options.raw, .bound, to: fd)
    }
    if result >= 0 {
      failed = "connect"
      result = withCAddress(address) { clinux_connect(fd, $0, $1) }
      if result >= 0 || result == -115 { return .success(fd) }
    }
    _ = clinux_close(fd)
    return .failure(SystemError(failed, result: result, address.description))
  }

  /// A datagram socket (UDP or Unix) that sends to one address, and hears from it what goes wrong.
  public static func datagram(to address: SocketAddress) -> Result<Int32, SystemError> {
    let fd = clinux_socket(family(of: address), 1)
    if fd < 0 { return .failure(SystemError("socket", result: fd, address.description)) }
    let result = withCAddress(address) { clinux_connect(fd, $0, $1) }
    if result >= 0 { return .success(fd) }
    _ = clinux_close(fd)
    return .failure(SystemError("connect", result: result, address.description))
  }

  /// Takes the next connection from a listening socket's queue. TCP_NODELAY and keep-alive are inherited from the
  /// listening socket. Errors of the connection itself (accept(2): ECONNABORTED and the network's) are skipped, so that
  /// a caller stops at `wouldBlock` or a lack of resources (EMFILE, ENFILE, ENOBUFS, ENOMEM). With the latter the
  /// connection stays in the queue and a level-triggered listener is reported at once again: deregister it for a while.
  public static func accept(_ listener: Int32) -> Accepted {
    var peer = clinux_address()
    while true {
      let fd = clinux_accept(listener, &peer)
      if fd >= 0 { return Accepted(fd: fd, peer: address(from: peer, path: nil)) }
      switch -fd {
      // EINTR, EPERM (a firewall), EPROTO, ENOPROTOOPT, ENETDOWN, ENETUNREACH, ENONET, ECONNABORTED, EHOSTDOWN,
      // EHOSTUNREACH
      case 4, 1, 71, 92, 100, 101, 64, 103, 112, 113: continue
      default: return Accepted(fd: fd, peer: SocketAddress(IPAddress(v4: 0), port: 0))
      }
    }
  }

  // MARK: The request path

  /// Reads up to `count` bytes. 0: the peer has ended its side. Negative: `-errno`.
  @inline(__always)
  public static func receive(_ fd: Int32, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
    Int(clinux_receive(fd, bytes, count))
  }

  /// Like `receive`, leaving the bytes where they are.
  public static func peek(_ fd: Int32, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
    Int(clinux_peek(fd, bytes, count))
  }

  /// Writes what the socket takes. Negative: `-errno`. Never raises SIGPIPE.
  @inline(__always)
  public static func send(_ fd: Int32, _ bytes: Bytes) -> Int {
    guard let base = bytes.baseAddress else { return 0 }
    return Int(clinux_send(fd, base, bytes.count))
  }

  /// Writes two runs of bytes as one. Negative: `-errno`.
  public static func sendv(_ fd: Int32, _ first: Bytes, _ second: Bytes) -> Int {
    Int(clinux_send2(fd, first.baseAddress, first.count, second.baseAddress, second.count))
  }

  // MARK: Ending

  /// Sends FIN; the other direction stays open.
  public static func shutdownWrite(_ fd: Int32) { _ = clinux_shutdown_write(fd) }

  /// Closes a descriptor that is not registered with a loop (`EventLoop.close` does both).
  public static func close(_ fd: Int32) { _ = clinux_close(fd) }

  /// Makes the coming close send RST instead of FIN.
  public static func setLinger0(_ fd: Int32) { _ = clinux_linger_zero(fd) }

  // MARK: Asking

  /// The error that waits on a socket (SO_ERROR), as a positive error number; 0 when there is none. Clears it.
  public static func connectError(_ fd: Int32) -> Int32 { clinux_socket_error(fd) }

  /// The address the socket is bound to.
  public static func localAddress(_ fd: Int32) -> SocketAddress? { named(fd, clinux_local_address) }

  /// Where a connection was made to before this machine's packet filter redirected it (SO_ORIGINAL_DST); nil if it did
  /// not.
  public static func originalDestination(_ fd: Int32) -> SocketAddress? {
    named(fd) { fd, address, _ in clinux_original_destination(fd, address) }
  }

  /// The address of the other end; nil when there is none.
  public static func peerAddress(_ fd: Int32) -> SocketAddress? { named(fd, clinux_peer_address) }

  /// TCP's estimate of the round trip to the other end; nil when there is none.
  public static func roundTripTime(_ fd: Int32) -> Nanoseconds? {
    let microseconds = clinux_round_trip_us(fd)
    return microseconds < 0 ? nil : Nanoseconds(rawValue: UInt64(microseconds) * 1_000)
  }

  /// The process at the other end of a Unix socket, as it was when it connected.
  public static func peerProcess(_ fd: Int32) -> Int32? {
    let pid = clinux_peer_pid(fd)
    return pid > 0 ? pid : nil
  }

  /// Turns keep-alive on.
  public static func setKeepAlive(_ fd: Int32, _ keepAlive: KeepAlive) {
    _ = clinux_set_option(fd, CLINUX_KEEPALIVE, 1)
    if let probes = keepAlive.probes { _ = clinux_set_option(fd, CLINUX_KEEPALIVE_COUNT, probes) }
    if let idle = keepAlive.idleSeconds { _ = clinux_set_option(fd, CLINUX_KEEPALIVE_IDLE, idle) }
    if let interval = keepAlive.intervalSeconds { _ = clinux_set_option(fd, CLINUX_KEEPALIVE_INTERVAL, interval) }
  }

  // MARK: Within the room

  static func family(of address: SocketAddress) -> Int32 {
    if address.isUnix { return CLINUX_FAMILY_UNIX }
    return address.ip.family == .v4 ? CLINUX_FAMILY_V4 : CLINUX_FAMILY_V6
  }

  static func bind(_ fd: Int32, _ address: SocketAddress) -> Int32 {
    withCAddress(address) { clinux_bind(fd, $0, $1) }
  }

  private static func apply(_ options: SocketOptions, to fd: Int32, isUnix: Bool) -> Int32 {
    if let keepAlive = options.keepAlive, !isUnix { setKeepAlive(fd, keepAlive) }
    if options.freeBind, !isUnix {
      let result = clinux_set_option(fd, CLINUX_FREEBIND, 1)
      if result < 0 { return result }
    }
    if let size = options.sendBuffer {
      let result = clinux_set_option(fd, CLINUX_SEND_BUFFER, size)
      if result < 0 { return result }
    }
    if let size = options.receiveBuffer {
      let result = clinux_set_option(fd, CLINUX_RECEIVE_BUFFER, size)
      if result < 0 { return result }
    }
    return options.raw.isEmpty ? 0 : RawSocketOption.apply(options.raw, .beforeBind, to: fd)
  }

  static func withCAddress<R>(
    _ address: SocketAddress, _ body: (UnsafePointer<clinux_address>, UnsafePointer<UInt8>?) -> R
  ) -> R {
    var raw = clinux_address()
    guard let path = address.unixPath else {
      raw.family = UInt8(family(of: address))
      raw.port = address.port
      raw.scope = address.ip.scope
      raw.high = address.ip.high
      raw.low = address.ip.low
      return body(&raw, nil)
    }
    var bytes = Array(path.utf8)
    if bytes.first == UInt8(ascii: "@") { bytes[0] = 0 }
    raw.family = UInt8(CLINUX_FAMILY_UNIX)
    raw.path_length = UInt8(bytes.count)
    return bytes.withUnsafeBufferPointer { body(&raw, $0.baseAddress) }
  }

  @inline(__always)
  private static func address(from raw: clinux_address, path: UnsafePointer<UInt8>?) -> SocketAddress {
    if raw.family == CLINUX_FAMILY_V4 {
      return SocketAddress(IPAddress(v4: UInt32(truncatingIfNeeded: raw.low)), port: raw.port)
    }
    if raw.family == CLINUX_FAMILY_V6 {
      return SocketAddress(IPAddress(v6: raw.high, raw.low, scope: raw.scope), port: raw.port)
    }
    return unixAddress(raw, path)
  }

  @inline(never)
  private static func unixAddress(_ raw: clinux_address, _ path: UnsafePointer<UInt8>?) -> SocketAddress {
    guard let path, raw.path_length > 0 else { return .unnamedUnix }
    var bytes = Array(Bytes(start: path, count: Int(raw.path_length)))
    if bytes[0] == 0 { bytes[0] = UInt8(ascii: "@") }
    return SocketAddress(unixPath: String(decoding: bytes, as: UTF8.self)) ?? .unnamedUnix
  }

  private static func named(
    _ fd: Int32, _ call: (Int32, UnsafeMutablePointer<clinux_address>, UnsafeMutablePointer<UInt8>?) -> Int32
  ) -> SocketAddress? {
    var raw = clinux_address()
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Int(CLINUX_PATH_MAX)) { path in
      guard call(fd, &raw, path.baseAddress) >= 0, raw.family != CLINUX_FAMILY_NONE else { return nil }
      return address(from: raw, path: path.baseAddress.map { UnsafePointer($0) })
    }
  }
}
