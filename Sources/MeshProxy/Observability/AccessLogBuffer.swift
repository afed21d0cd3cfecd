import MeshIO
import MeshPrimitives

/// The lines of one worker for one file, on their way: handed over when there are 64 KiB, or when the first of them has
/// waited for the file's flush interval. Confined to the worker.
public final class AccessLogBuffer: TimerTarget {
  /// From this size on a block is handed over.
  static let threshold = 64 * 1024

  public let file: AccessLogFile
  private var timer: Timer?
  private var output = SubstitutionOutput()
  private var lines = 0

  public init(file: AccessLogFile, loop: EventLoop) {
    self.file = file
    timer = Timer(loop, self)
  }

  deinit { flush() }

  /// Formats one line.
  @inline(__always)
  func write<Source: SubstitutionSource>(_ format: SubstitutionFormat, _ source: Source) {
    format.write(source, into: &output)
    endLine()
  }

  /// Appends a line, which ends with its own line feed.
  public func append(_ line: Bytes) {
    output.append(line)
    endLine()
  }

  @inline(__always)
  private func endLine() {
    lines &+= 1
    if output.count >= Self.threshold {
      handOver(byTimer: false)
    } else if lines == 1 {
      timer?.arm(after: file.flushInterval)
    }
  }

  /// Hands over what is there.
  public func flush() { if lines > 0 { handOver(byTimer: false) } }

  public func timerFired(_ tag: UInt8) { if lines > 0 { handOver(byTimer: true) } }

  @inline(never)
  private func handOver(byTimer: Bool) {
    // A format may be empty, and write nothing.
    if let chunk = output.takeChunk(lines: lines), let empty = file.handOver(chunk, byTimer: byTimer) {
      output.adopt(empty)
    }
    lines = 0
  }
}
