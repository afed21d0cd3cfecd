import MeshIO
import MeshPrimitives
import Synchronization

/// A block of whole lines on its way from a worker to a file, or an empty one on its way back. Whoever holds it owns its
/// memory.
// SAFETY: a chunk is handed over, never shared: a worker fills it, then the writer's thread alone reads it.
struct AccessLogChunk: @unchecked Sendable {
  let base: UnsafeMutablePointer<UInt8>
  let capacity: Int
  /// Bytes of lines.
  var count: Int
  var lines: Int

  func free() { base.deallocate() }
}

/// A file that access logs are appended to, `/dev/stdout` and `/dev/stderr` included. One per path in the process:
/// workers hand it blocks of lines, one thread for all files writes them, so that a slow disk holds up no request.
///
/// Bounded: what cannot be written (the disk is full, a pipe's reader is slow) waits and is tried again; beyond
/// `maximumPending` bytes further blocks are dropped and counted. Threads: any.
public final class AccessLogFile: Sendable {
  /// The most bytes that wait to be written.
  static let maximumPending = 16 << 20
  /// Empty blocks kept for reuse.
  private static let maximumFree = 4

  public let path: String
  /// How long lines may stay in a worker's buffer.
  public let flushInterval: Nanoseconds
  let stats: AccessLogStats
  private let writer: AccessLogWriter

  private enum Item {
    case lines(AccessLogChunk)
    /// What follows goes to the path's file anew.
    case reopening
  }

  private struct Queue {
    var waiting: [Item] = []
    var free: [AccessLogChunk] = []
    /// Bytes in `waiting`, and in what the writer has taken but not written yet.
    var pending = 0
    /// The writer knows that there is something to write.
    var isScheduled = false
    /// Lines dropped that the log has not told of.
    var dropped = 0
  }

  /// The writer's side; only its thread takes this lock, and holds it while it writes.
  private struct Output {
    let file: AppendFile
    /// Taken from the queue; what is before `index` is done, and of what is there `offset` bytes.
    var taken: [Item] = []
    var index = 0
    var offset = 0
    var bytesWritten = 0
    var isStalled = false
  }

  private let queue = Mutex(Queue())
  private let output: Mutex<Output>

  init(
    _ path: String, _ file: sending AppendFile, flushInterval: Nanoseconds, stats: AccessLogStats,
    writer: AccessLogWriter
  ) {
    self.path = path
    self.flushInterval = flushInterval
    self.stats = stats
    self.writer = writer
    output = Mutex(Output(file: file))
  }

  deinit {
    queue.withLock { queue in
      for case .lines(let chunk) in queue.waiting { chunk.free() }
      for chunk in queue.free { chunk.free() }
    }
    output.withLock { output in
      for case .lines(let chunk) in output.taken[output.index...] { chunk.free() }
    }
  }

  // MARK: The workers' side

  /// Takes a block of lines to be written.
  /// - Returns: an empty block to go on with, if there is one.
  func handOver(_ chunk: AccessLogChunk, byTimer: Bool) -> AccessLogChunk? {
    enum Fate { case queued, firstInQueue, dropped }
    var fate = Fate.queued
    let empty = queue.withLock { queue -> AccessLogChunk? in
      if queue.pending + chunk.count > Self.maximumPending, queue.pending > 0 {
        fate = .dropped
        queue.dropped += chunk.lines
        return chunk
      }
      queue.waiting.append(.lines(chunk))
      queue.pending += chunk.count
      if !queue.isScheduled {
        queue.isScheduled = true
        fate = .firstInQueue
      }
      return queue.free.popLast()
    }
    stats.record { lane in
      if byTimer { lane.add(.flushedByTimer) }
      if fate == .dropped { return lane.add(.writeDropped, Int64(chunk.lines)) }
      lane.add(.writeBuffered, Int64(chunk.lines))
      lane.add(.writeTotalBuffered, Int64(chunk.count))
    }
    if fate == .firstInQueue || writer.hasFailed, !writer.schedule(self) {
      // The next block tries again.
      queue.withLock { $0.isScheduled = false }
    }
    return empty
  }

  /// Opens the path again, so that the file can be rotated: lines handed over before are in the old file, later ones in
  /// the new; a file that cannot be opened stays the old one. Returns at once.
  public func reopen() {
    queue.withLock { queue in
      if case .reopening? = queue.waiting.last {} else { queue.waiting.append(.reopening) }
      queue.isScheduled = true
    }
    if !writer.schedule(self) { queue.withLock { $0.isScheduled = false } }
  }

  // MARK: The writer's side

  /// Writes what waits. On the writer's thread.
  /// - Returns: false if not all of it could be written; the writer then comes again.
  func drain() -> Bool { output.withLock { drain(&$0) } }

  /// Bytes that the file has taken so far.
  var bytesWritten: Int { output.withLock { $0.bytesWritten } }

  private func drain(_ output: inout Output) -> Bool {
    while refill(&output) {
      guard case .lines(let chunk) = output.taken[output.index] else {
        output.index += 1
        reopen(&output)
        continue
      }
      let rest = Bytes(start: chunk.base, count: chunk.count).slice(output.offset, chunk.count - output.offset)
      let written = min(output.file.write(rest), rest.count)
      output.offset += written
      output.bytesWritten &+= written
      if written == rest.count {
        output.index += 1
        output.offset = 0
        recycle(chunk, written: written)
        output.isStalled = false
        continue
      }
      stats.record { lane in
        lane.add(.writeFailed)
        lane.subtract(.writeTotalBuffered, Int64(written))
      }
      queue.withLock { $0.pending -= written }
      // Perhaps the file was moved because it cannot be written.
      if forgetReopening(&output) {
        reopen(&output)
      } else {
        stall(&output)
        return false
      }
    }
    return true
  }

  /// Whether there is something to do at `index`, taken from the queue if need be.
  private func refill(_ output: inout Output) -> Bool {
    if output.index < output.taken.count { return true }
    output.taken.removeAll(keepingCapacity: true)
    output.index = 0
    queue.withLock { queue in
      swap(&queue.waiting, &output.taken)
      if output.taken.isEmpty { queue.isScheduled = false }
    }
    return !output.taken.isEmpty
  }

  private func reopen(_ output: inout Output) {
    do { try output.file.reopen() } catch {
      stats.record { $0.add(.reopenFailed) }
      Self.log.error("access log: \(error); the old file stays in use")
    }
  }

  /// Whether the file was to be reopened after lines that are still here. It no longer is.
  private func forgetReopening(_ output: inout Output) -> Bool {
    func isReopening(_ item: Item) -> Bool { if case .reopening = item { true } else { false } }
    output.taken.removeSubrange(..<output.index)
    output.index = 0
    let before = output.taken.count
    output.taken.removeAll(where: isReopening)
    let later = queue.withLock { queue in
      let before = queue.waiting.count
      queue.waiting.removeAll(where: isReopening)
      return before - queue.waiting.count
    }
    return before - output.taken.count + later > 0
  }

  private func recycle(_ chunk: AccessLogChunk, written: Int) {
    var empty = chunk
    empty.count = 0
    empty.lines = 0
    let (isKept, dropped) = queue.withLock { queue in
      queue.pending -= written
      defer { queue.dropped = 0 }
      // A block that one long line has made large is given back.
      let isKept = queue.free.count < Self.maximumFree && chunk.capacity <= 2 * SubstitutionOutput.blockSize
      if isKept { queue.free.append(empty) }
      return (isKept, queue.dropped)
    }
    if !isKept { chunk.free() }
    stats.record { lane in
      lane.add(.writeCompleted)
      lane.subtract(.writeTotalBuffered, Int64(written))
    }
    if dropped > 0 { Self.log.warning("access log \(path) is written too slowly: \(dropped) lines were dropped") }
  }

  private func stall(_ output: inout Output) {
    guard !output.isStalled else { return }
    output.isStalled = true
    Self.log.warning(
      "access log \(path) cannot be written (the disk is full, or the reader is slow or gone); trying again, and "
        + "keeping at most \(Self.maximumPending >> 20) MiB meanwhile")
  }

  /// Only the writer's thread speaks: a worker must not wait for the process log, which may be as slow.
  private static let log = RateLimitedLog(Log.io, perSecond: 2)
}
