internal import CLinux
import Glibc

/// A named thread that runs one closure. Signals that a `SignalSource` of the starting thread blocks stay blocked in it.
public final class LoopThread: Sendable {
  private let handle: pthread_t

  private init(_ handle: pthread_t) { self.handle = handle }

  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void
    init(_ name: String, _ body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// Starts a thread. Someone must `join` it.
  /// - Parameter name: shown by `ps -T` and debuggers; cut after 15 bytes.
  public static func start(name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) -> LoopThread {
    let start = Unmanaged.passRetained(Start(name, body))
    var handle = pthread_t()
    let result = pthread_create(
      &handle, nil,
      { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        clinux_name_thread(start.name)
        start.body()
        return nil
      }, start.toOpaque())
    if result != 0 {
      start.release()
      throw SystemError("pthread_create", errno: result, name)
    }
    return LoopThread(handle)
  }

  /// Waits for the closure to return. Once, from another thread.
  public func join() { pthread_join(handle, nil) }
}
