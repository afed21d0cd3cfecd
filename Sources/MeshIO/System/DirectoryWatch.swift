internal import CLinux

/// Watches a directory for what is renamed into it (inotify), which is how files and symbolic links are replaced without
/// a moment in which they are half there: `ln -s v2 new && mv -Tf new current`. What is written in place is not seen.
/// Confined to its loop's thread.
public final class DirectoryWatch: IOHandler {
  public enum Event: Sendable, Equatable {
    /// An entry of this name was renamed into the directory.
    case moved(String)
    /// The kernel had to drop events: anything may have changed.
    case overflow
    /// The directory itself was removed or renamed; there will be no more events.
    case gone
  }

  public let path: String
  private let fd: Int32
  private unowned let loop: EventLoop
  private let handler: (Event) -> Void

  /// Calls `handler` on the loop's thread for each event, until `close`. The loop keeps this object until then.
  /// - Throws: if there is no such directory, or no inotify instance or watch is left.
  public init(_ path: String, loop: EventLoop, _ handler: @escaping (Event) -> Void) throws(SystemError) {
    self.path = path
    self.loop = loop
    self.handler = handler
    let fd = clinux_inotify()
    if fd < 0 { throw SystemError("inotify_init", result: fd) }
    self.fd = fd
    let watch = clinux_inotify_watch(fd, path)
    if watch < 0 { throw SystemError("watch", result: watch, path) }
    try loop.register(fd, self, interest: .levelRead)
  }

  deinit { _ = clinux_close(fd) }

  /// No more events come.
  public func close() { loop.deregister(fd) }

  public func ready(_ events: IOEvents) {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(CLINUX_INOTIFY_ROOM)) { buffer in
      guard let base = buffer.baseAddress else { return }
      // One read: the descriptor is level-triggered, and whoever renames all the time must not hold the loop.
      let count = Int(clinux_inotify_read(fd, base))
      guard count > 0 else { return }
      var found: [Event] = []
      var start = 0
      while start < count {
        let name = String(cString: base + start + 1)
        switch UInt8(bitPattern: base[start]) {
        case UInt8(ascii: "m"): found.append(.moved(name))
        case UInt8(ascii: "o"): found.append(.overflow)
        // The kernel says it twice: the directory is gone, and so is its watch.
        default: if found.last != .gone { found.append(.gone) }
        }
        while base[start] != 0 { start += 1 }
        start += 1
      }
      for event in found { handler(event) }
    }
  }
}
