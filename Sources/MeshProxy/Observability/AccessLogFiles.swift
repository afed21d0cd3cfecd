import MeshIO
import MeshPrimitives
import Synchronization

/// The access log files of the process, one per path, and the thread that writes them. Belongs to the main thread's
/// `Proxy`; may be asked from any thread.
public final class AccessLogFiles: Sendable {
  /// Envoy's is ten seconds (`--file-flush-interval-msec`): too long for someone who watches.
  public static let defaultFlushInterval = Nanoseconds.seconds(1)

  /// Knows a file while somebody uses it.
  private struct Entry {
    weak let file: AccessLogFile?
  }

  private let files = Mutex<[String: Entry]>([:])
  private let flushInterval: Nanoseconds
  private let opensFiles: Bool
  private let writer = AccessLogWriter()
  private let stats: AccessLogStats

  /// - Parameters:
  ///   - flushInterval: how long a line may wait in a worker's buffer before it is written.
  ///   - opensFiles: false writes to no file and makes none, but says which could not be written: for checking a
  ///     configuration.
  ///   - store: where the `filesystem.` statistics are shown.
  public init(
    flushInterval: Nanoseconds = AccessLogFiles.defaultFlushInterval, opensFiles: Bool = true,
    stats store: StatsStore? = nil
  ) {
    self.flushInterval = flushInterval
    self.opensFiles = opensFiles
    stats = AccessLogStats(store: store)
  }

  deinit {
    // A thread that is stuck in a write is left to the end of the process.
    if flushAndWait(upTo: .milliseconds(200)) { writer.stop() }
  }

  /// What all files together have done.
  public var statistics: StatBlock<FileSystemStat> { stats.block }

  /// The file at `path`, opened for appending (and made, with mode 0644) unless it is in use already. `/dev/stdout` and
  /// `/dev/stderr` are the process's own.
  /// - Throws: why the file cannot be written; for a configuration, an error.
  public func file(_ path: String) throws(SystemError) -> AccessLogFile {
    do {
      return try files.withLock { files -> AccessLogFile in
        if let known = files[path]?.file { return known }
        let output: AppendFile
        switch path {
        case "/dev/stdout": output = .standardOutput()
        case "/dev/stderr": output = .standardError()
        default:
          guard !path.isEmpty, !path.utf8.contains(0) else { throw SystemError("open", errno: 22, path) }
          if !opensFiles { try AppendFile.check(path) }
          output = try AppendFile(opensFiles ? path : "/dev/null")
        }
        let file = AccessLogFile(path, output, flushInterval: flushInterval, stats: stats, writer: writer)
        files = files.filter { $0.value.file != nil }
        files[path] = Entry(file: file)
        if opensFiles { writer.prepare() }
        return file
      }
    } catch let error as SystemError {
      throw error
    } catch {
      throw SystemError("open", errno: 22, path)
    }
  }

  /// Opens every file again (SIGUSR1, `POST /reopen_logs`), so that they can be rotated. Returns at once. Lines that were
  /// handed over before are in the old file, later ones in the new; a file that cannot be opened stays the old one.
  public func reopenAll() {
    let inUse = files.withLock { $0.values.compactMap(\.file) }
    for file in inUse { file.reopen() }
  }

  /// Waits until everything handed over so far is written. Blocks: for the end of the process, after the workers have
  /// flushed their buffers.
  /// - Returns: false if that took longer than `limit`, because a file cannot be written.
  @discardableResult
  public func flushAndWait(upTo limit: Nanoseconds = .seconds(2)) -> Bool {
    guard writer.isStarted else { return true }
    final class Waiting { var isOver = false }
    let waiting = Waiting()
    let mailbox = Mailbox<Waiting>()
    do {
      let loop = try EventLoop()
      try mailbox.attach(to: loop, owner: waiting)
      guard writer.whenWritten({ mailbox.post { $0.isOver = true } }) else { return false }
      loop.updateNow()
      let deadline = loop.now + limit
      while !waiting.isOver, loop.now < deadline { loop.turn(upTo: deadline.since(loop.now)) }
      mailbox.detach(from: loop)
    } catch {
      Log.io.error("access logs: \(error)")
    }
    return waiting.isOver
  }
}
