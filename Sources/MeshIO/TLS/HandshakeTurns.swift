internal import CLinux

/// Who waits for its turn to shake hands.
public protocol HandshakeWaiter: AnyObject {
  /// It is its turn. Called on the loop's thread, perhaps when nothing is to be done any more.
  func continueHandshake()
}

/// Rations the time that an event loop spends on handshakes: an RSA signature takes as long as some fifty requests, and
/// a crowd of newcomers must not hold up those who are connected. In each turn of the loop handshakes go on until their
/// time is used up; the others wait in line, and connections that are established come in between. Confined to the
/// loop's thread.
final class HandshakeTurns {
  /// Nanoseconds of each turn; one handshake may exceed it.
  private static let budget: UInt64 = 2_000_000

  private unowned let loop: EventLoop
  private var waiting: [any HandshakeWaiter] = []
  /// The first of `waiting` that has not been called.
  private var head = 0
  private var used: UInt64 = 0
  private var turn: UInt64 = 0
  private var beganAt: UInt64 = 0
  private var isServingQueue = false

  init(_ loop: EventLoop) { self.loop = loop }

  /// Whether a handshake may go on now; otherwise `waiter` is called later. Whoever gets `true` owes an `end`.
  func begin(_ session: TLSSession, _ waiter: any HandshakeWaiter) -> Bool {
    if loop.waits != turn {
      turn = loop.waits
      used = 0
    }
    if isServingQueue { session.waitsForTurn = false }
    if session.waitsForTurn { return false }
    guard used < Self.budget, isServingQueue || head == waiting.count else {
      session.waitsForTurn = true
      waiting.append(waiter)
      if waiting.count - head == 1 { serveLater() }
      return false
    }
    beganAt = clinux_monotonic_ns()
    return true
  }

  func end() { used &+= clinux_monotonic_ns() &- beganAt }

  private func serveLater() { loop.defer { [self] in serve() } }

  private func serve() {
    isServingQueue = true
    while head < waiting.count, used < Self.budget || loop.waits != turn {
      let waiter = waiting[head]
      head += 1
      waiter.continueHandshake()
    }
    isServingQueue = false
    if head == waiting.count {
      waiting.removeAll(keepingCapacity: waiting.count < 1024)
      head = 0
    } else {
      if head > 1024 {
        waiting.removeFirst(head)
        head = 0
      }
      serveLater()
    }
  }
}
