internal import CLinux
import Glibc

/// A signal that the process reacts to.
public enum ProcessSignal: Int32, Sendable, CaseIterable {
  case hangup = 1
  case interrupt = 2
  case user1 = 10
  case user2 = 12
  case terminate = 15
  case child = 17

  public var name: String {
    switch self {
    case .hangup: "SIGHUP"
    case .interrupt: "SIGINT"
    case .user1: "SIGUSR1"
    case .user2: "SIGUSR2"
    case .terminate: "SIGTERM"
    case .child: "SIGCHLD"
    }
  }
}

/// Signals as events on a loop (signalfd), so that they are handled like everything else and not in a signal handler.
///
/// Create it on the main thread before any other thread starts: it blocks its signals there, and threads inherit that.
public final class SignalSource: IOHandler {
  private let signals: [Int32]
  private let fd: Int32
  private var loop: EventLoop?
  private var handler: ((ProcessSignal, _ sender: Int32) -> Void)?

  public init(_ signals: [ProcessSignal]) throws(SystemError) {
    self.signals = signals.map(\.rawValue)
    let blocked = clinux_signal_mask(self.signals, Int32(signals.count), 1)
    if blocked < 0 { throw SystemError("pthread_sigmask", result: blocked) }
    fd = clinux_signalfd(self.signals, Int32(signals.count))
    if fd < 0 { throw SystemError("signalfd", result: fd) }
  }

  deinit { _ = clinux_close(fd) }

  /// Calls `handler` on the loop's thread for each signal, with the sender's process id. A signal that was sent since
  /// `init` is delivered. The loop keeps this object until `detach`.
  public func attach(
    to loop: EventLoop, _ handler: @escaping (ProcessSignal, _ sender: Int32) -> Void
  ) throws(SystemError) {
    try loop.register(fd, self, interest: .levelRead)
    self.loop = loop
    self.handler = handler
  }

  /// Stops delivering; the signals stay blocked.
  public func detach() {
    loop?.deregister(fd)
    loop = nil
    handler = nil
  }

  public func ready(_ events: IOEvents) {
    var sender: Int32 = 0
    while true {
      let number = clinux_signalfd_read(fd, &sender)
      if number <= 0 { return }
      if let signal = ProcessSignal(rawValue: number) { handler?(signal, sender) }
    }
  }
}
