import Synchronization

/// A log for what a peer can cause at will: at most so many messages a second, the others are counted, and the first
/// message of a later second says how many there were.
///
/// Threads: any; all share one allowance.
public final class RateLimitedLog: Sendable {
  private struct State {
    var second: Int64 = .min
    var written = 0
    var leftOut = 0
  }

  private let log: Log
  private let perSecond: Int
  private let state = Mutex(State())

  /// - Parameter perSecond: how many messages a second are written; at least 1.
  public init(_ log: Log, perSecond: Int) {
    self.log = log
    self.perSecond = max(perSecond, 1)
  }

  /// Writes `message` if `level` is enabled and this second's allowance is not used up.
  public func log(_ level: LogLevel, _ message: @autoclosure () -> String) {
    guard log.isEnabled(level) else { return }
    let second = log.process.clock() / 1_000
    let leftOut: Int? = state.withLock { state in
      var before = 0
      if state.second != second {
        before = state.leftOut
        state = State(second: second)
      }
      guard state.written < perSecond else {
        state.leftOut += 1
        return nil
      }
      state.written += 1
      return before
    }
    guard let leftOut else { return }
    log.process.emit(
      level, log.component, leftOut == 0 ? message() : "\(message()) (\(leftOut) messages like this were left out)")
  }

  public func debug(_ message: @autoclosure () -> String) { log(.debug, message()) }
  public func info(_ message: @autoclosure () -> String) { log(.info, message()) }
  public func warning(_ message: @autoclosure () -> String) { log(.warning, message()) }
  public func error(_ message: @autoclosure () -> String) { log(.error, message()) }

  /// Messages left out that no later message has told of yet.
  public var leftOut: Int { state.withLock { $0.leftOut } }
}
