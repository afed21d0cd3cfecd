internal import CLinux
import MeshPrimitives

/// How other threads reach what an event loop owns: they post a piece of work, and the loop's thread runs it with the
/// owner. In order per poster; wake-ups are coalesced; posts before `attach` are kept. `detach` before letting go of it.
public final class Mailbox<Owner: AnyObject>: Sendable {
  private struct State {
    var waiting: [@Sendable (Owner) -> Void] = []
    var eventfd: Int32 = -1
    var closed = false
  }

  private let state = Locked(State())

  public init() {}

  deinit {
    let fd = state.withLock { $0.eventfd }
    if fd >= 0 { _ = clinux_close(fd) }
  }

  /// Hands over `body`, to be run on the loop's thread. From any thread; never blocks for long. After `detach`,
  /// `body` is dropped.
  public func post(_ body: @escaping @Sendable (Owner) -> Void) {
    state.withLock { state in
      if state.closed { return }
      state.waiting.append(body)
      // The receiver takes everything at once, so only the first of a batch has to wake it.
      if state.waiting.count == 1, state.eventfd >= 0 { _ = clinux_eventfd_signal(state.eventfd) }
    }
  }

  /// Starts delivering on `loop`, to `owner`, which is not kept alive and must live until `detach` or the loop's end.
  /// On the loop's thread; once.
  public func attach(to loop: EventLoop, owner: Owner) throws(SystemError) {
    let fd = clinux_eventfd()
    if fd < 0 { throw SystemError("eventfd", result: fd) }
    do {
      // One event for each signal, without reading the counter: it cannot overflow in the life of the universe.
      try loop.register(fd, MailboxReceiver(self, owner), interest: .edgeRead)
    } catch {
      _ = clinux_close(fd)
      throw error
    }
    state.withLock { state in
      precondition(state.eventfd < 0, "a mailbox is attached once")
      state.eventfd = fd
      if !state.waiting.isEmpty { _ = clinux_eventfd_signal(fd) }
    }
  }

  /// Stops delivering; what waits and what is posted later is dropped. On the loop's thread.
  public func detach(from loop: EventLoop) {
    let fd = state.withLock { state in
      defer {
        state.eventfd = -1
        state.closed = true
        state.waiting = []
      }
      return state.eventfd
    }
    if fd >= 0 { loop.close(fd) }
  }

  fileprivate var isClosed: Bool { state.withLock { $0.closed } }

  fileprivate func take(_ room: inout [@Sendable (Owner) -> Void]) {
    state.withLock { swap(&$0.waiting, &room) }
  }
}

private final class MailboxReceiver<Owner: AnyObject>: IOHandler {
  // The loop keeps the receiver, so neither the mailbox nor the owner may be kept by it.
  private weak let mailbox: Mailbox<Owner>?
  // Not weak: a weak reference would make every retain of the owner, a worker say, take the slow path for good.
  private unowned(unsafe) let owner: Owner
  private var room: [@Sendable (Owner) -> Void] = []

  init(_ mailbox: Mailbox<Owner>, _ owner: Owner) {
    self.mailbox = mailbox
    self.owner = owner
  }

  func ready(_ events: IOEvents) {
    guard let mailbox else { return }
    mailbox.take(&room)
    for body in room {
      // One of them may detach, and the owner may be gone then.
      if mailbox.isClosed { break }
      body(owner)
    }
    room.removeAll(keepingCapacity: true)
  }
}
