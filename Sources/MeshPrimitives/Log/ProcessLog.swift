import Glibc
import Synchronization

/// Where the process's own messages go: one line each, written with one `write(2)`, in Envoy's default form
/// `[2026-11-22 03:10:01.774][pid][level][component] message`.
///
/// Threads: any. A line that cannot be written (the reader is gone, a full pipe that does not block) is lost and counted.
public final class ProcessLog: Sendable {
  /// The longest message in bytes; the rest is left out and said to be. Keeps one hostile value from filling a disk.
  public static let maximumMessageLength = 8 * 1_024

  /// The log of this process, on standard error, at level `info`. It knows the components of `Log` from the start.
  public static let standard: ProcessLog = {
    let log = ProcessLog.onStandardError()
    for name in Log.wellKnown { _ = log.component(name) }
    return log
  }()

  private static func onStandardError() -> ProcessLog {
    ProcessLog(
      processID: getpid(),
      clock: {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
      },
      write: { line in
        var offset = 0
        while offset < line.count {
          let written = Glibc.write(STDERR_FILENO, line.baseAddress.map { $0 + offset }, line.count - offset)
          if written > 0 {
            offset += written
          } else if written == 0 || errno != EINTR {
            return false
          }
        }
        return true
      },
      isWritable: {
        var descriptor = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        return poll(&descriptor, 1, 0) > 0 && Int32(descriptor.revents) & POLLOUT != 0
      })
  }

  private struct Components {
    var logs: [String: Log] = [:]
    var defaultLevel: LogLevel
  }

  private let components: Mutex<Components>
  private let processID: Int32
  private let write: @Sendable (UnsafeRawBufferPointer) -> Bool
  private let isWritable: @Sendable () -> Bool
  private let lost = Atomic<Int>(0)
  /// Milliseconds since 1970-01-01T00:00:00Z.
  let clock: @Sendable () -> Int64

  /// - Parameters:
  ///   - processID: the number in the second field.
  ///   - level: the level of components until it is changed.
  ///   - clock: milliseconds since 1970-01-01T00:00:00Z.
  ///   - write: takes one line, line feed included; false if it is lost.
  ///   - isWritable: whether `write` would take a line of up to 4 KiB without waiting.
  public init(
    processID: Int32, level: LogLevel = .info, clock: @escaping @Sendable () -> Int64,
    write: @escaping @Sendable (UnsafeRawBufferPointer) -> Bool,
    isWritable: @escaping @Sendable () -> Bool = { true }
  ) {
    self.processID = processID
    self.clock = clock
    self.write = write
    self.isWritable = isWritable
    components = Mutex(Components(defaultLevel: level))
  }

  /// Lines that could not be written.
  public var lostLines: Int { lost.load(ordering: .relaxed) }

  /// The log of one component, made at the first call.
  /// - Parameter name: a lower-case word: `http`, `upstream`.
  public func component(_ name: String) -> Log {
    components.withLock { components in
      if let log = components.logs[name] { return log }
      let log = Log(component: name, level: components.defaultLevel, process: self)
      components.logs[name] = log
      return log
    }
  }

  /// Sets the level of all components, those made later included.
  public func setLevel(_ level: LogLevel) {
    components.withLock { components in
      components.defaultLevel = level
      for log in components.logs.values { log.level = level }
    }
  }

  /// Sets the level of one component.
  /// - Returns: false if there is none of this name.
  public func setLevel(_ level: LogLevel, component name: String) -> Bool {
    components.withLock { components in
      guard let log = components.logs[name] else { return false }
      log.level = level
      return true
    }
  }

  /// The components in the order of their names, with their levels.
  public func levels() -> [(component: String, level: LogLevel)] {
    components.withLock { $0.logs.values.map { ($0.component, $0.level) } }.sorted { $0.0 < $1.0 }
  }

  /// Writes one line.
  /// - Parameter waits: for a reader who is slow; otherwise the line is lost then.
  func emit(_ level: LogLevel, _ component: String, _ message: String, waits: Bool = true) {
    guard waits || isWritable() else {
      lost.add(1, ordering: .relaxed)
      return
    }
    var line: [UInt8] = []
    line.reserveCapacity(64 + message.utf8.count)
    line.append(0x5b)
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ISO8601.length) { stamp in
      guard let base = stamp.baseAddress else { return }
      ISO8601.write(unixMilliseconds: clock(), into: base, separator: 0x20)
      line.append(contentsOf: stamp.prefix(ISO8601.length - 1))  // without the "Z"
    }
    line.append("][")
    line.append(decimal: Int64(processID))
    line.append("][")
    line.append(level.name)
    line.append("][")
    line.append(contentsOf: component.utf8)
    line.append("] ")
    Self.appendEscaped(message, to: &line)
    line.append(0x0a)
    if !line.withUnsafeBytes(write) { lost.add(1, ordering: .relaxed) }
  }

  /// Appends `message` so that it stays one line and cannot command a terminal: C0 and C1 control characters and DEL
  /// become `\n`, `\t`, `\r` or `\xNN`. Backslashes stay as they are: the line is for people.
  static func appendEscaped(_ message: String, to line: inout [UInt8]) {
    let bytes = message.utf8
    var left = maximumMessageLength
    var previous: UInt8 = 0
    for byte in bytes {
      // A continuation byte is never where the message is cut.
      if left <= 0, byte & 0xc0 != 0x80 {
        line.append("… (")
        line.append(decimal: Int64(bytes.count))
        line.append(" bytes in all)")
        return
      }
      left -= 1
      switch byte {
      case 0x0a: line.append("\\n")
      case 0x0d: line.append("\\r")
      case 0x09: line.append("\\t")
      case 0..<0x20, 0x7f: appendHex(byte, to: &line)
      case 0x80..<0xa0 where previous == 0xc2:  // U+0080 … U+009F
        line.removeLast()
        appendHex(byte, to: &line)
      default: line.append(byte)
      }
      previous = byte
    }
  }

  private static func appendHex(_ byte: UInt8, to line: inout [UInt8]) {
    line.append("\\x")
    for nibble in [byte >> 4, byte & 15] { line.append(nibble < 10 ? 0x30 &+ nibble : 0x57 &+ nibble) }
  }
}
