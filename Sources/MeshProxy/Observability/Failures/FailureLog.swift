import MeshPrimitives
import Synchronization

/// Failures that are alike: of a storm of them a few are written and the others counted.
struct FailureCause: Hashable, Sendable {
  private let word: StaticString
  private let reason: StaticString
  private let more: StaticString
  private let status: Int
  private let place: ObjectIdentifier?

  /// - Parameters:
  ///   - status: of the response; 0: none.
  ///   - place: the cluster, or where it happened if none was chosen.
  init(_ details: ResponseCodeDetails, status: Int, place: AnyObject?) {
    word = details.word
    reason = details.reason ?? ""
    more = details.more ?? ""
    self.status = status
    self.place = place.map { ObjectIdentifier($0) }
  }

  static func == (a: Self, b: Self) -> Bool {
    a.status == b.status && a.place == b.place && Bytes(a.word).equals(b.word) && Bytes(a.reason).equals(b.reason)
      && Bytes(a.more).equals(b.more)
  }

  func hash(into hasher: inout Hasher) {
    hasher.combine(bytes: UnsafeRawBufferPointer(Bytes(word)))
    hasher.combine(bytes: UnsafeRawBufferPointer(Bytes(reason)))
    hasher.combine(bytes: UnsafeRawBufferPointer(Bytes(more)))
    hasher.combine(status)
    hasher.combine(place)
  }
}

/// The lines about failed requests and TCP connections in the process log, component `traffic`. In each second three of a cause
/// are written and twenty of all causes together; how many more there were is said when the second is over. Warnings and what
/// matters less do not take each other's place. A line that the reader of standard error has no room for is lost: nobody waits.
///
/// Threads: any; shared by all workers, and asked only when something has failed.
final class FailureLog: Sendable {
  /// What is told of failures that were left out.
  private struct Sample: Sendable {
    let level: LogLevel
    let text: String
  }

  private typealias Throttle = LogThrottle<FailureCause, Sample>

  /// A line as a worker puts it together.
  struct Entry {
    let level: LogLevel
    let cause: FailureCause
    /// The phrase, and the fields that all failures of the cause have in common.
    let common: () -> FailureLine
    /// Adds what is this one's own.
    let own: (inout FailureLine) -> Void
  }

  static let standard = FailureLog(.traffic)

  private let log: Log
  private let warnings: Mutex<Throttle>
  private let others: Mutex<Throttle>

  /// - Parameters:
  ///   - perCause: how many lines of a cause are written in a second.
  ///   - total: how many lines in all, of warnings, and of what matters less.
  init(_ log: Log, perCause: Int = 3, total: Int = 20) {
    self.log = log
    let limits = Throttle.Limits(perCause: perCause, total: total)
    warnings = Mutex(Throttle(limits))
    others = Mutex(Throttle(limits))
  }

  /// Whether failures of a level are written at all.
  func isEnabled(_ level: LogLevel) -> Bool { log.isEnabled(level) }

  /// Writes a line, or counts it.
  func write(_ entry: Entry, _ worker: Worker) {
    guard log.isEnabled(entry.level) else { return }
    let now = worker.loop.now
    let sample = { Sample(level: entry.level, text: entry.common().text) }
    let verdict =
      entry.level >= .warning
      ? warnings.withLock { $0.admit(entry.cause, at: now, sample: sample) }
      : others.withLock { $0.admit(entry.cause, at: now, sample: sample) }
    switch verdict {
    case .write:
      var line = entry.common()
      entry.own(&line)
      log.offer(entry.level, line.text)
    case .leaveOut(let isFirst):
      guard isFirst else { return }
      worker.after(Throttle.span) { [self] in
        if entry.level >= .warning { tellWarnings() } else { tellOthers() }
      }
    }
  }

  /// Tells what was left out so far and has not been told of: at the end.
  func tellRemainder() {
    tellWarnings()
    tellOthers()
  }

  private func tellWarnings() { tell(warnings.withLock { $0.close() }, .warning) }

  private func tellOthers() { tell(others.withLock { $0.close() }, .info) }

  private func tell(_ remainder: Throttle.Remainder, _ level: LogLevel) {
    for (sample, count) in remainder.causes {
      log.offer(
        sample.level, "and \(count) more like this in the last second: \(sample.text) left_out=\(count)")
    }
    let count = remainder.others
    if count > 0 { log.offer(level, "and \(count) more of other causes in the last second | left_out=\(count)") }
  }
}
