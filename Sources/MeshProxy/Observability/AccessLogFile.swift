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

  private struct Queue {
    var waiting: [AccessLogChunk] = []
    var free: [AccessLogChunk] = []
    /// Bytes in `waiting`, and in what the writer has taken and not yet written.
    var pending = 0
    /// The writer knows that there is something to write.
    var isScheduled = false
    /// Lines dropped since the file could last be written.
    var dropped = 0
  }

  /// The writer's side; only its thread takes this lock, and holds it while it writes.
  private struct Output {
    let file: AppendFile
    /// Taken from the queue and not yet written; the first of them up to `offset`.
    var taken: [AccessLogChunk] = []
    var index = 0
    var offset = 0
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
      for chunk in queue.waiting { chunk.free() }
      for chunk in queue.free { chunk.free() }
    }
    output.withLock { output in
      for chunk in output.taken[output.index...] { chunk.free() }
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
      queue.waiting.append(chunk)
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

  // MARK: The writer's side

  /// Writes what waits. On the writer's thread.
  /// - Returns: false if not all of it could be written; the writer then comes again.
  func drain() -> Bool { output.withLock { drain(&$0) } }

  private func drain(_ output: inout Output) -> Bool {
    while true {
      if output.index == output.taken.count {
        output.taken.removeAll(keepingCapacity: true)
        output.index = 0
        queue.withLock { queue in
          swap(&queue.waiting, &output.taken)
          if output.taken.isEmpty { queue.isScheduled = false }
        }
        if output.taken.isEmpty { return true }
      }
      let chunk = output.taken[output.index]
      let rest = Bytes(start: chunk.base, count: chunk.count).slice(output.offset, chunk.count - output.offset)
      let written = min(output.file.write(rest), rest.count)
      output.offset += written
      guard written == rest.count else {
        stats.record { lane in
          lane.add(.writeFailed)
          lane.subtract(.writeTotalBuffered, Int64(written))
        }
        queue.withLock { $0.pending -= written }
        stall(&output)
        return false
      }
      output.index += 1
      output.offset = 0
      recycle(chunk, written: written)
      if output.isStalled { recover(&output) }
    }
  }

  private func recycle(_ chunk: AccessLogChunk, written: Int) {
    var empty = chunk
    empty.count = 0
    empty.lines = 0
    let isKept = queue.withLock { queue in
      queue.pending -= written
      // A block that one long line has made large is given back.
      guard queue.free.count < Self.maximumFree, chunk.capacity <= 2 * SubstitutionOutput.blockSize else {
        return false
      }
      queue.free.append(empty)
      return true
    }
    if !isKept { chunk.free() }
    stats.record { lane in
      lane.add(.writeCompleted)
      lane.subtract(.writeTotalBuffered, Int64(written))
    }
  }

  private func stall(_ output: inout Output) {
    guard !output.isStalled else { return }
    output.isStalled = true
    Log.io.warning(
      "access log \(path) cannot be written (the disk is full, or the reader is slow or gone); trying again, and "
        + "keeping at most \(Self.maximumPending >> 20) MiB meanwhile")
  }

  private func recover(_ output: inout Output) {
    output.isStalled = false
    let dropped = queue.withLock { queue in
      defer { queue.dropped = 0 }
      return queue.dropped
    }
    Log.io.info("access log \(path) is written again; \(dropped) lines were lost")
  }

  /// Opens the path again, after what has been handed over so far is in the old file. If that fails the old file stays
  /// in use. On the writer's thread.
  /// - Returns: false if there is still something to be written.
  func reopenNow() -> Bool {
    output.withLock { output in
      _ = drain(&output)
      do { try output.file.reopen() } catch {
        stats.record { $0.add(.reopenFailed) }
        Log.io.error("access log: \(error); the old file stays in use")
      }
      return drain(&output)
    }
  }

  /// Opens the path again, so that the file can be rotated: lines handed over before are in the old file, later ones in
  /// the new. Returns at once.
  public func reopen() { writer.reopen(self) }
}
