internal import CLinux
import MeshPrimitives

/// Binds in another network namespace: a thread enters it, opens the sockets and ends. The sockets stay in that
/// namespace, whichever thread uses them. Needs CAP_SYS_ADMIN.
public final class NamespaceSockets: ListenSocketSource {
  private let path: String

  private final class Answer: Sendable {
    let value = Locked<Result<OpenedSockets, ListenError>?>(nil)
  }

  /// - Parameter path: the namespace, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
  public init(_ path: String) { self.path = path }

  public func open(
    _ address: SocketAddress, workers: Int, options: ListenOptions
  ) throws(ListenError) -> OpenedSockets {
    let answer = Answer()
    let path = self.path
    do {
      let thread = try LoopThread.start(name: "namespace") {
        let result = Result { () throws(ListenError) in
          try Self.enter(path)
          return try BoundSockets().open(address, workers: workers, options: options)
        }
        answer.value.withLock { $0 = result }
      }
      thread.join()
    } catch {
      throw .failed(error)
    }
    guard let result = answer.value.withLock({ $0 }) else { throw .failed(SystemError("setns", errno: 22, path)) }
    return try result.get()
  }

  /// Moves the calling thread, which must end soon, into the namespace.
  private static func enter(_ path: String) throws(ListenError) {
    let fd = clinux_open(path, CLINUX_OPEN_READ)
    if fd < 0 { throw .failed(SystemError("open", result: fd, path)) }
    defer { _ = clinux_close(fd) }
    let result = clinux_enter_network_namespace(fd)
    if result < 0 { throw .failed(SystemError("setns", result: result, path)) }
  }
}
