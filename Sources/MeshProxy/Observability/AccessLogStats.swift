import MeshPrimitives
import Synchronization

/// `filesystem.…`: how the access logs' files are written, all files together. All but the last are Envoy's.
public enum FileSystemStat: Int, StatSet {
  /// Lines handed over to be written.
  case writeBuffered
  /// Blocks of lines written.
  case writeCompleted
  /// Writes that failed or wrote less than was asked for. What is left is tried again.
  case writeFailed
  /// Blocks handed over because the flush interval had passed.
  case flushedByTimer
  case reopenFailed
  /// Bytes handed over and not yet written.
  case writeTotalBuffered
  /// Lines lost because too much was waiting to be written.
  case writeDropped

  public var definition: StatDefinition {
    switch self {
    case .writeBuffered: .counter("write_buffered", "Lines handed over to be written.")
    case .writeCompleted: .counter("write_completed", "Blocks of lines written.")
    case .writeFailed:
      .counter("write_failed", "Writes that failed or wrote less than asked for; what is left is tried again.")
    case .flushedByTimer: .counter("flushed_by_timer", "Blocks handed over because the flush interval had passed.")
    case .reopenFailed: .counter("reopen_failed", "Files that could not be opened again; the old one stays in use.")
    case .writeTotalBuffered: .gauge("write_total_buffered", "Bytes that wait to be written.")
    case .writeDropped: .counter("write_dropped", "Lines lost because more than 16 MiB were waiting. Not Envoy's.")
    }
  }
}

/// The statistics of all access log files. Counted per block, not per line, by whichever thread has one: under a lock,
/// so that the statistics' single lane still has one writer at a time.
final class AccessLogStats: Sendable {
  let block: StatBlock<FileSystemStat>
  private let lock = Mutex(())

  /// - Parameter store: where the statistics are shown; nil keeps them to oneself.
  init(store: StatsStore?) {
    block = store?.scope("filesystem", prometheus: PrometheusScope("envoy_filesystem")) ?? StatBlock(lanes: 1)
  }

  /// Calls `body` with the lane to count in.
  func record(_ body: (StatLane<FileSystemStat>) -> Void) { lock.withLock { _ in body(block.lane(0)) } }
}
