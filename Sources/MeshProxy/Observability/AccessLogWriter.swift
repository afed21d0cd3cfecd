import MeshIO
import MeshPrimitives
import Synchronization

/// The one thread (`log-writer`) that writes all access log files. Started with the first file, or if that fails when
/// there is something to write. Threads: any.
final class AccessLogWriter: Sendable {
  private struct Running {
    var thread: LoopThread?
    var isStopped = false
  }

  private let running = Mutex(Running())
  private let mailbox = Mailbox<AccessLogWriterLoop>()
  private let failed = Atomic(false)

  /// The thread could not set itself up; the next call of `schedule` starts another one. What was posted is kept for it.
  var hasFailed: Bool { failed.load(ordering: .acquiring) }

  /// Starts the thread, which needs descriptors: when there is something to write there may be none left.
  func prepare() { _ = post { _ in } }

  /// Has `file` drained soon.
  /// - Returns: false if there is no thread to do it.
  func schedule(_ file: AccessLogFile) -> Bool { post { $0.write(file) } }

  /// Calls `done` on the writer's thread once everything handed over before is written.
  /// - Returns: false if there is no thread to do it; `done` is then not called.
  func whenWritten(_ done: @escaping @Sendable () -> Void) -> Bool {
    post { $0.whenWritten(done) }
  }

  /// Whether anything was ever handed over.
  var isStarted: Bool { running.withLock { $0.thread != nil } }

  /// Ends the thread after what has been posted so far, without waiting for files that cannot be written, and waits for
  /// its end.
  func stop() {
    let thread = running.withLock { running -> LoopThread? in
      guard !running.isStopped else { return nil }
      running.isStopped = true
      mailbox.post { $0.loop.stop() }
      return running.thread
    }
    thread?.join()
  }

  private func post(_ body: @escaping @Sendable (AccessLogWriterLoop) -> Void) -> Bool {
    running.withLock { running in
      guard !running.isStopped else { return false }
      if hasFailed {
        running.thread?.join()
        running.thread = nil
        failed.store(false, ordering: .releasing)
      }
      mailbox.post(body)
      if running.thread == nil { start(&running) }
      return running.thread != nil
    }
  }

  private func start(_ running: inout Running) {
    do {
      running.thread = try LoopThread.start(name: "log-writer") { [weak self, mailbox] in
        do {
          let loop = try AccessLogWriterLoop()
          try mailbox.attach(to: loop.loop, owner: loop)
          loop.loop.run()
          mailbox.detach(from: loop.loop)
        } catch {
          Log.io.error("the access logs' thread: \(error)")
          self?.failed.store(true, ordering: .releasing)
        }
      }
    } catch {
      Log.io.error("the access logs' thread: \(error)")
    }
  }
}

/// What the writer's thread owns.
final class AccessLogWriterLoop: TimerTarget {
  private static let firstRetry = Nanoseconds.milliseconds(2)
  private static let longestRetry = Nanoseconds.seconds(1)

  let loop: EventLoop
  /// Files of which not everything could be written.
  private var stalled: [AccessLogFile] = []
  private var waiting: [@Sendable () -> Void] = []
  private var retry: Timer?
  private var pause = AccessLogWriterLoop.firstRetry

  init() throws(SystemError) {
    loop = try EventLoop()
    retry = Timer(loop, self)
  }

  func write(_ file: AccessLogFile) {
    guard file.drain() else { return stall(file) }
    if !stalled.isEmpty {
      stalled.removeAll { $0 === file }
      settle()
    }
  }

  func whenWritten(_ done: @escaping @Sendable () -> Void) {
    waiting.append(done)
    settle()
  }

  private func stall(_ file: AccessLogFile) {
    if !stalled.contains(where: { $0 === file }) { stalled.append(file) }
    if retry?.isArmed != true {
      pause = Self.firstRetry
      retry?.arm(after: pause)
    }
  }

  func timerFired(_ tag: UInt8) {
    let before = stalled.reduce(0) { $0 &+ $1.bytesWritten }
    let tried = stalled
    stalled.removeAll { $0.drain() }
    // A reader that takes something, however slowly, is not made to wait longer and longer.
    let progress = tried.reduce(0) { $0 &+ $1.bytesWritten } != before
    pause = progress ? Self.firstRetry : min(Nanoseconds(rawValue: pause.rawValue * 2), Self.longestRetry)
    if !stalled.isEmpty { retry?.arm(after: pause) }
    settle()
  }

  private func settle() {
    guard stalled.isEmpty, !waiting.isEmpty else { return }
    let done = waiting
    waiting = []
    for body in done { body() }
  }
}
