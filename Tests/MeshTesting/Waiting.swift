import Glibc

/// A time by which something must have happened.
public struct Deadline: Sendable {
  private let end: ContinuousClock.Instant

  /// - Parameter span: generous: a deadline is there to end a hanging test, not to measure.
  public init(_ span: Duration = .seconds(10)) { end = .now + span }

  public var hasPassed: Bool { ContinuousClock.now >= end }

  /// What is left, for poll(2); at least 0.
  public var milliseconds: Int32 {
    let (seconds, attoseconds) = (end - .now).components
    if seconds < 0 || attoseconds < 0 { return 0 }
    return Int32(min(seconds, 3600) * 1000 + attoseconds / 1_000_000_000_000_000 + 1)
  }
}

/// Asks for `condition` again and again until it holds. For what cannot be waited for by an event; what can (output, a
/// process's end, bytes on a connection) has its own wait.
public func eventually(
  _ what: String, within deadline: Deadline = Deadline(), every interval: Duration = .milliseconds(2),
  _ condition: () async throws -> Bool
) async throws {
  while try await !condition() {
    if deadline.hasPassed { throw TestFailure("still not so: \(what)") }
    try await Task.sleep(for: interval)
  }
}

/// Runs blocking code on a thread of its own, so that it does not hold one of the few threads that tests share. It stays
/// part of the task: what it expects in vain is this test's failure.
public func blocking<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
  try await withTaskExecutorPreference(ThreadForEachJob()) { try body() }
}

/// The same for code that also awaits: each part of it between two awaits has a thread.
public func blockingParts<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
  try await withTaskExecutorPreference(ThreadForEachJob()) { try await body() }
}

private final class ThreadForEachJob: TaskExecutor {
  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    startThread { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}

private final class ThreadBody: Sendable {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Starts a detached thread.
public func startThread(_ body: @escaping @Sendable () -> Void) {
  var attributes = pthread_attr_t()
  pthread_attr_init(&attributes)
  pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
  defer { pthread_attr_destroy(&attributes) }
  var thread = pthread_t()
  let start = Unmanaged.passRetained(ThreadBody(body))
  let result = pthread_create(
    &thread, &attributes,
    { argument in
      guard let argument else { return nil }
      Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().body()
      return nil
    }, start.toOpaque())
  precondition(result == 0, "no more threads")
}
