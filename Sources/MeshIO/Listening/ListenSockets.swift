internal import CLinux
import MeshPrimitives

/// The process's listening sockets. They belong to the main thread and outlive the listeners that use them, so that a
/// configuration change neither closes a queue with connections in it nor leaves a moment without a listener. Workers
/// watch the descriptors but never close them.
///
/// Between our own workers an address is shared by SO_REUSEPORT; against other processes it is locked (`ListenLock`).
///
/// To stop listening without losing a connection:
/// - If a successor holds the same sockets (inherited or handed over), there is nothing to do but `release`: what waits
///   in the queue is the successor's.
/// - Otherwise `stopRouting`, let the workers accept until `wouldBlock`, then `release`. From `stopRouting` on, no
///   handshake begins, so the queue can be emptied: a client that comes later repeats its SYN (after a second) and is
///   then refused. Without it, connections that arrive between the last accept and the close are reset.
public final class ListenSockets {
  private struct Entry {
    /// What was asked for, unless its port was 0; and what it became.
    var requested: SocketAddress
    var address: SocketAddress
    var descriptors: [Int32]
    var users: Int
    var isShared: Bool
    var lock: ListenLockKeeper
    /// A Unix socket's file, as we made it.
    var file: FileState?
  }

  private let loop: EventLoop
  private let source: any ListenSocketSource
  private var entries: [Entry] = []

  /// - Parameter loop: the main thread's loop; it watches the locks.
  public init(_ loop: EventLoop, source: any ListenSocketSource = BoundSockets()) {
    self.loop = loop
    self.source = source
  }

  deinit { for entry in entries { close(entry) } }

  /// The addresses listened on, ports resolved.
  public var addresses: [SocketAddress] { entries.map(\.address) }

  /// The sockets of an address, opened if need be. Each call is matched by one `release`. Port 0 is always opened
  /// anew; the port chosen (`Socket.localAddress`) is the same for all workers and is what `release` takes.
  /// - Parameters:
  ///   - workers: at least 1; for an address that is open already, the number it was opened with.
  ///   - source: replaces the usual source for this address.
  /// - Returns: at least one descriptor for each worker; descriptor i belongs to worker i modulo `workers`.
  public func acquire(
    _ address: SocketAddress, workers: Int, options: ListenOptions = ListenOptions(),
    source: (any ListenSocketSource)? = nil
  ) throws(ListenError) -> [Int32] {
    if let index = index(of: address) {
      entries[index].users += 1
      return entries[index].descriptors
    }
    let opened = try (source ?? self.source).open(address, workers: max(1, workers), options: options)
    let keeper = ListenLockKeeper(loop, opened.address, opened.lock)
    entries.append(
      Entry(
        requested: address.isUnix || address.port != 0 ? address : opened.address, address: opened.address,
        descriptors: opened.descriptors, users: 1, isShared: opened.isShared, lock: keeper,
        file: opened.address.isPathName ? opened.address.unixPath.flatMap { FileState($0, followsLinks: false) } : nil))
    return opened.descriptors
  }

  /// Gives up one `acquire`; with the last, the sockets are closed. The workers must have deregistered them. Nothing
  /// happens if the address is not open.
  public func release(_ address: SocketAddress) {
    guard let index = index(of: address) else { return }
    entries[index].users -= 1
    if entries[index].users == 0 { close(entries.remove(at: index)) }
  }

  /// From now on no new handshake begins at this address; connections that are established, or about to be, can still
  /// be accepted. Cannot be undone. Has no effect on sockets that another process shares, nor on abstract Unix sockets.
  /// - Returns: whether it took effect.
  @discardableResult
  public func stopRouting(_ address: SocketAddress) -> Bool {
    guard let index = index(of: address), !entries[index].isShared else { return false }
    // Who does not find the name cannot connect; an abstract name goes with the socket only.
    if entries[index].address.isUnix { return Self.removeFile(entries[index]) }
    var stopped = true
    for fd in entries[index].descriptors { stopped = clinux_refuse_new_handshakes(fd) >= 0 && stopped }
    return stopped
  }

  /// Whether another process may hold the sockets of this address (inherited, or handed over).
  public func isShared(_ address: SocketAddress) -> Bool { index(of: address).map { entries[$0].isShared } ?? false }

  /// Whether this process holds the address's lock; false while a predecessor still has it.
  public func holdsLock(_ address: SocketAddress) -> Bool {
    index(of: address).map { entries[$0].lock.isHeld } ?? false
  }

  /// What a successor needs to go on with all of the sockets: they are to be its descriptors 3, 4, … in this order, with
  /// this environment and with LISTEN_PID set to its process id. From now on the sockets count as shared.
  public func exportForSuccessor() -> (descriptors: [Int32], environment: [String: String]) {
    var descriptors: [Int32] = []
    for index in entries.indices {
      entries[index].isShared = true
      descriptors += entries[index].descriptors
    }
    let names = Array(repeating: "listen", count: descriptors.count).joined(separator: ":")
    return (descriptors, ["LISTEN_FDS": "\(descriptors.count)", "LISTEN_FDNAMES": names])
  }

  /// Starts a successor that inherits all of the sockets.
  /// - Parameters:
  ///   - path: the program's file.
  ///   - arguments: without the program's name.
  /// - Returns: its process id. It has to be waited for (SIGCHLD) unless this process ends first.
  public func startSuccessor(_ path: String, _ arguments: [String]) throws(SystemError) -> Int32 {
    let handover = exportForSuccessor()
    let pid = "LISTEN_PID="
    var environment = CurrentProcess.environment.filter { !$0.hasPrefix("LISTEN_") }
    environment += handover.environment.map { "\($0.key)=\($0.value)" }
    // The child writes its process id into the last entry's room.
    environment.append(pid + String(repeating: " ", count: 11))
    let result = CStrings.with([path] + arguments) { argv in
      CStrings.with(environment) { envp in
        clinux_spawn(
          path, argv, envp, envp[environment.count - 1].map { $0 + pid.utf8.count }, handover.descriptors,
          Int32(handover.descriptors.count))
      }
    }
    if result < 0 { throw SystemError("start", result: result, path) }
    return result
  }

  private func index(of address: SocketAddress) -> Int? {
    entries.firstIndex { $0.address == address || $0.requested == address }
  }

  /// Removes a Unix socket's file, if it is still ours: someone may have put another socket into its place.
  @discardableResult
  private static func removeFile(_ entry: Entry) -> Bool {
    guard let path = entry.address.unixPath, let file = entry.file,
      let current = FileState(path, followsLinks: false), current.isSameFile(as: file)
    else { return false }
    return clinux_unlink(path) >= 0
  }

  private func close(_ entry: Entry) {
    for fd in entry.descriptors { _ = clinux_close(fd) }
    if !entry.isShared { Self.removeFile(entry) }
    // Last: whoever waits for the lock can then bind.
    entry.lock.release()
  }
}

/// Null-terminated arrays of C strings.
enum CStrings {
  static func with<R>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> R
  ) -> R {
    let copies = strings.map { string -> UnsafeMutablePointer<CChar> in
      let bytes = string.utf8CString
      let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
      for (index, byte) in bytes.enumerated() { (copy + index).initialize(to: byte) }
      return copy
    }
    defer { for copy in copies { copy.deallocate() } }
    var pointers: [UnsafeMutablePointer<CChar>?] = copies + [nil]
    return pointers.withUnsafeMutableBufferPointer { buffer in
      // An array with at least one element has an address.
      body(buffer.baseAddress.unsafelyUnwrapped)
    }
  }
}
