import Glibc

/// One end of a TCP (or Unix) connection that says and hears exactly what a test wants: no buffering, no retries. Calls
/// block, at most until their deadline. Used by one thread at a time.
public final class RawConnection: @unchecked Sendable {
  // SAFETY: the descriptor and the buffer are used by one thread at a time, by contract.
  private var fd: Int32
  /// Received and not yet taken.
  public private(set) var received: [UInt8] = []
  /// Whether the peer has ended its side.
  public private(set) var peerHasEnded = false
  /// The error that ended receiving (ECONNRESET, …), if one did.
  public private(set) var receiveError: Int32?

  /// Takes over a connected socket.
  public init(taking fd: Int32) {
    self.fd = fd
    var one: Int32 = 1
    setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
  }

  /// Connects to a port of a loopback address.
  public convenience init(port: UInt16, host: String = "127.0.0.1", within deadline: Deadline = Deadline()) throws {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { throw TestFailure("socket: \(errno)") }
    self.init(taking: fd)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { throw TestFailure("no address: \(host)") }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    if result < 0 {
      guard errno == EINPROGRESS else { throw TestFailure("connect to \(host):\(port): errno \(errno)") }
      try wait(POLLOUT, deadline, "connect to \(host):\(port)")
      var error: Int32 = 0
      var length = socklen_t(MemoryLayout<Int32>.size)
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length)
      guard error == 0 else { throw TestFailure("connect to \(host):\(port): errno \(error)") }
    }
  }

  deinit { close() }

  /// The local port.
  public var localPort: UInt16 { port(ofSocket: fd) }

  /// The other end's address and port, as a number each; 0 for what is not IPv4.
  public var peer: (address: UInt32, port: UInt16) {
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(fd, $0, &length) }
    }
    guard address.sin_family == sa_family_t(AF_INET) else { return (0, 0) }
    return (UInt32(bigEndian: address.sin_addr.s_addr), UInt16(bigEndian: address.sin_port))
  }

  public func send(_ text: String, within deadline: Deadline = Deadline()) throws {
    try send(Array(text.utf8), within: deadline)
  }

  /// Sends everything.
  public func send(_ bytes: [UInt8], within deadline: Deadline = Deadline()) throws {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(fd, $0.baseAddress.map { $0 + done }, bytes.count - done, Int32(MSG_NOSIGNAL))
      }
      if count > 0 {
        done += count
      } else if errno == EAGAIN {
        try wait(POLLOUT, deadline, "send after \(done) of \(bytes.count) bytes")
      } else if errno != EINTR {
        throw TestFailure("send after \(done) of \(bytes.count) bytes: errno \(errno)")
      }
    }
  }

  /// Receives until `enough` is content with all that has been received, and takes that many bytes.
  /// - Parameter enough: how many bytes to take, or nil for more.
  @discardableResult
  public func receive(
    _ what: String = "enough", within deadline: Deadline = Deadline(), until enough: ([UInt8]) -> Int?
  ) throws -> [UInt8] {
    while true {
      if let count = enough(received) {
        let taken = Array(received.prefix(count))
        received.removeFirst(min(count, received.count))
        return taken
      }
      if try !receiveMore(within: deadline, what) {
        throw TestFailure("the peer ended (\(receiveError ?? 0)) before \(what); received: \(printable(received))")
      }
    }
  }

  /// Receives what comes next; nothing at the end.
  public func receiveSome(within deadline: Deadline = Deadline()) throws -> [UInt8] {
    if received.isEmpty { _ = try receiveMore(within: deadline, "something") }
    let taken = received
    received = []
    return taken
  }

  /// The same connection for another thread, so that one can send while the other receives.
  public func duplicate() throws -> RawConnection {
    let copy = dup(fd)
    guard copy >= 0 else { throw TestFailure("dup: \(errno)") }
    return RawConnection(taking: copy)
  }

  /// Receives `count` bytes.
  @discardableResult
  public func receive(count: Int, within deadline: Deadline = Deadline()) throws -> [UInt8] {
    try receive("\(count) bytes", within: deadline) { $0.count >= count ? count : nil }
  }

  /// Receives `count` bytes and forgets them.
  /// - Parameter piece: how many to receive at a time.
  public func discard(count: Int, piece: Int = 65536, within deadline: Deadline = Deadline()) throws {
    let taken = min(count, received.count)
    received.removeFirst(taken)
    var rest = count - taken
    var chunk = [UInt8](repeating: 0, count: piece)
    while rest > 0 {
      let result = recv(fd, &chunk, min(rest, piece), 0)
      if result > 0 {
        rest -= result
      } else if result < 0, errno == EAGAIN {
        try wait(POLLIN, deadline, "\(rest) more bytes of \(count)")
      } else if result == 0 || errno != EINTR {
        throw TestFailure("the peer ended (\(result == 0 ? 0 : errno)) before \(rest) more bytes of \(count)")
      }
    }
  }

  /// Receives up to and including `text`.
  @discardableResult
  public func receive(through text: String, within deadline: Deadline = Deadline()) throws -> String {
    let pattern = Array(text.utf8)
    let bytes = try receive("\(printable(pattern))", within: deadline) { bytes in
      firstRange(of: pattern, in: bytes).map { $0 + pattern.count }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Receives until the peer ends its side or resets (see `receiveError`).
  @discardableResult
  public func receiveToEnd(within deadline: Deadline = Deadline()) throws -> [UInt8] {
    while try receiveMore(within: deadline, "the end") {}
    let taken = received
    received = []
    return taken
  }

  /// The first of these that bytes, the end or an error arrive for.
  public static func firstToHear(
    _ connections: [RawConnection], within deadline: Deadline = Deadline()
  ) throws -> RawConnection {
    if let connection = connections.first(where: { !$0.received.isEmpty || $0.peerHasEnded }) { return connection }
    var entries = connections.map { pollfd(fd: $0.fd, events: Int16(POLLIN), revents: 0) }
    guard poll(&entries, nfds_t(entries.count), deadline.milliseconds) > 0,
      let index = entries.firstIndex(where: { $0.revents != 0 })
    else { throw TestFailure("deadline passed waiting for any of \(connections.count) connections") }
    return connections[index]
  }

  /// Whether bytes, the end or an error arrive within `span`. For proving that nothing comes.
  public func hasSomething(within span: Duration) -> Bool {
    if !received.isEmpty || peerHasEnded { return true }
    var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, Deadline(span).milliseconds) > 0
  }

  /// Ends the writing side (FIN); receiving goes on.
  public func halfClose() { shutdown(fd, Int32(SHUT_WR)) }

  /// Closes with RST.
  public func reset() {
    var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
    close()
  }

  public func close() {
    if fd >= 0 { Glibc.close(fd) }
    fd = -1
  }

  /// Shrinks the kernel's buffers, so that a slow reader is felt soon.
  public func shrinkBuffers(to bytes: Int32) {
    var size = bytes
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
  }

  /// False at the end.
  private func receiveMore(within deadline: Deadline, _ what: String) throws -> Bool {
    if peerHasEnded { return false }
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = recv(fd, &chunk, chunk.count, 0)
      if count > 0 {
        received += chunk[..<count]
        return true
      }
      if count == 0 || errno != EAGAIN && errno != EINTR {
        if count < 0 { receiveError = errno }
        peerHasEnded = true
        return false
      }
      if errno == EAGAIN { try wait(POLLIN, deadline, "\(what); received: \(printable(received))") }
    }
  }

  private func wait(_ events: Int32, _ deadline: Deadline, _ what: String) throws {
    var entry = pollfd(fd: fd, events: Int16(events), revents: 0)
    while true {
      let count = poll(&entry, 1, deadline.milliseconds)
      if count > 0 { return }
      if count < 0, errno == EINTR { continue }
      throw TestFailure("deadline passed waiting for \(what)")
    }
  }
}

extension RawConnection {
  /// Connects to a Unix socket. - Parameter path: see `ScriptedServer.init(unixPath:)`.
  public convenience init(unixPath path: String) throws {
    let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard withUnixAddress(path, { connect(fd, $0, $1) }) == 0 else {
      let reason = errno
      Glibc.close(fd)
      throw TestFailure("cannot connect to \(path): errno \(reason)")
    }
    self.init(taking: fd)
  }
}

/// A Unix socket's name as the kernel takes it; `@` stands for the abstract namespace.
func withUnixAddress<R>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  var bytes = Array(path.utf8)
  if bytes.first == UInt8(ascii: "@") { bytes[0] = 0 }
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes.prefix($0.count)) }
  let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
  return withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
  }
}

/// The port a socket is bound to.
func port(ofSocket fd: Int32) -> UInt16 {
  var address = sockaddr_in()
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  _ = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(fd, $0, &length) }
  }
  return UInt16(bigEndian: address.sin_port)
}

/// The offset of the first occurrence.
public func firstRange(of pattern: [UInt8], in bytes: [UInt8]) -> Int? {
  guard !pattern.isEmpty, bytes.count >= pattern.count else { return nil }
  return (0...(bytes.count - pattern.count)).first { bytes[$0] == pattern[0] && bytes[$0...].starts(with: pattern) }
}

/// Text for failure messages; control characters are escaped and the middle of long runs is left out.
public func printable(_ bytes: [UInt8]) -> String {
  let shown =
    bytes.count > 2000 ? Array(bytes[..<1000]) + Array("…".utf8) + Array(bytes[(bytes.count - 900)...]) : bytes
  return String(decoding: shown, as: UTF8.self).debugDescription
}
