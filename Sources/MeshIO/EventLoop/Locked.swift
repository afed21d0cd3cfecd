import Glibc

/// A value behind a lock. A pthread mutex and not the standard library's `Mutex`, because the thread sanitizer sees what
/// the former does: with it, the few places where threads meet can be checked by a machine.
final class Locked<Value>: @unchecked Sendable {
  // SAFETY: `value` is reached only through `withLock`, and `body` cannot keep it. What goes in and out is `sending`.
  private var value: Value
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>

  init(_ value: sending Value) {
    self.value = value
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  /// Runs `body` with the value, alone. It must not block and not lock again.
  func withLock<R>(_ body: (inout sending Value) throws -> sending R) rethrows -> sending R {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&value)
  }
}
