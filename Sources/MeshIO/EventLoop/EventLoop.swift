internal import CLinux
import MeshPrimitives

/// One thread's epoll, its timers and its scratch memory. Everything registered here is called on the thread that calls
/// `run()`, and nothing of it may be touched from another thread; others reach it through a `Mailbox`.
///
/// After each handler's callback, the outputs that asked for it (`flushLater`) are flushed; after each batch of events
/// the timers fire, then what was deferred runs, then what waits for the whole batch is flushed (`flushAfterBatch`).
public final class EventLoop {
  /// The size of `receiveBuffer`, in bytes.
  public static let receiveBufferSize = 64 * 1024
  private static let batchSize: Int32 = 256

  /// The time after the last wait. Use this, not a clock, wherever a millisecond does not matter.
  public private(set) var now: MonotonicTime
  /// Blocks for input and output that has to wait.
  public let bufferPool: BufferPool
  /// Scratch memory for one receive; contents belong to the handler that runs.
  public let receiveBuffer: UnsafeMutablePointer<UInt8>
  /// Events dropped because their descriptor was closed (and perhaps reused) earlier in the same batch.
  public private(set) var staleEvents: UInt64 = 0
  /// The number of waits so far (each is a system call), for statistics.
  public private(set) var waits: UInt64 = 0

  var wheel: TimerWheel
  private let epoll: Int32
  private let events: UnsafeMutablePointer<clinux_event>
  private var slots: UnsafeMutablePointer<Slot>
  private var slotCount: Int
  private var registered = 0
  private var stopping = false
  private var deferred: [() -> Void] = []
  private var running: [() -> Void] = []
  private var flushes: UnsafeMutablePointer<any Flushable>
  /// The flushes that wait are `flushes[flushHead..<flushCount]`.
  private var flushHead = 0
  private var flushCount = 0
  private var flushCapacity = 64
  /// Those that wait for the end of the batch.
  private var batchFlushes: [any Flushable] = []
  private var runningFlushes: [any Flushable] = []
  private var wire: UnsafeMutablePointer<TLSWire>?
  /// Who may shake hands now.
  private(set) lazy var handshakeTurns = HandshakeTurns(self)
  private var wallOffset: UInt64 = 0
  private var wallOffsetUntil = MonotonicTime(nanoseconds: 0)

  /// What is known of one descriptor; the index in `slots` is the descriptor.
  private struct Slot {
    var handler: (any IOHandler)?
    var generation: UInt32 = 0
  }

  public init() throws(SystemError) {
    let fd = clinux_epoll_create()
    if fd < 0 { throw SystemError("epoll_create1", result: fd) }
    epoll = fd
    events = .allocate(capacity: Int(Self.batchSize))
    events.initialize(repeating: clinux_event(), count: Int(Self.batchSize))
    receiveBuffer = .allocate(capacity: Self.receiveBufferSize)
    bufferPool = BufferPool()
    flushes = .allocate(capacity: flushCapacity)
    slotCount = 256
    slots = .allocate(capacity: slotCount)
    slots.initialize(repeating: Slot(), count: slotCount)
    let start = MonotonicTime(nanoseconds: clinux_monotonic_ns())
    now = start
    wheel = TimerWheel(now: start)
  }

  deinit {
    _ = clinux_close(epoll)
    (flushes + flushHead).deinitialize(count: flushCount - flushHead)
    flushes.deallocate()
    slots.deinitialize(count: slotCount)
    slots.deallocate()
    events.deallocate()
    receiveBuffer.deallocate()
    if let wire { TLSWire.free(wire) }
  }

  /// Where the TLS sessions of this loop read and write; made for the first of them.
  var tlsWire: UnsafeMutablePointer<TLSWire> {
    if let wire { return wire }
    let made = TLSWire.make()
    wire = made
    return made
  }

  /// Nanoseconds since 1970 (UTC) at `now`. Follows a step of the system's clock within 100 ms.
  @inline(__always)
  public var wallClock: UInt64 {
    if now >= wallOffsetUntil { readWallClock() }
    return now.nanoseconds &+ wallOffset
  }

  @inline(never)
  private func readWallClock() {
    wallOffset = clinux_wall_ns() &- clinux_monotonic_ns()
    wallOffsetUntil = now + .milliseconds(100)
  }

  /// The number of descriptors registered.
  public var registrations: Int { registered }

  // MARK: Descriptors

  /// Watches a descriptor. The loop keeps the handler alive until `deregister` or `close`.
  public func register(
    _ fd: Int32, _ handler: any IOHandler, interest: IOInterest = .connection
  ) throws(SystemError) {
    guard fd >= 0 else { throw SystemError("epoll_ctl", errno: 9) }
    let index = Int(fd)
    if index >= slotCount { growSlots(index) }
    let generation = slots[index].generation &+ 1
    let result = clinux_epoll_add(epoll, fd, interest.mask, generation)
    if result < 0 { throw SystemError("epoll_ctl", result: result, "add descriptor \(fd)") }
    if slots[index].handler == nil { registered += 1 }
    slots[index].generation = generation
    slots[index].handler = handler
  }

  /// From now on events of a connected socket go to `handler`: registers the descriptor if it is not, and otherwise takes
  /// it over from whoever had it. What the kernel has reported already is not reported again.
  public func take(over fd: Int32, _ handler: any IOHandler) throws(SystemError) {
    guard let index = known(fd) else { return try register(fd, handler) }
    slots[index].handler = handler
  }

  /// Changes what a registered descriptor is watched for. An edge-triggered descriptor that is ready is reported again.
  public func modify(_ fd: Int32, interest: IOInterest) throws(SystemError) {
    guard let index = known(fd) else { throw SystemError("epoll_ctl", errno: 2, "modify descriptor \(fd)") }
    let result = clinux_epoll_modify(epoll, fd, interest.mask, slots[index].generation)
    if result < 0 { throw SystemError("epoll_ctl", result: result, "modify descriptor \(fd)") }
  }

  /// Stops watching a descriptor and lets go of its handler; the descriptor stays open. Events that are already in this
  /// batch are dropped. Nothing happens if it is not registered.
  public func deregister(_ fd: Int32) {
    guard let index = known(fd) else { return }
    _ = clinux_epoll_delete(epoll, fd)
    forget(index)
  }

  /// Stops watching a descriptor and closes it. One system call less than `deregister` and a close; only for a
  /// descriptor that was not duplicated (closing the last one takes it out of the epoll set).
  public func close(_ fd: Int32) {
    if let index = known(fd) { forget(index) }
    _ = clinux_close(fd)
  }

  private func known(_ fd: Int32) -> Int? {
    fd >= 0 && Int(fd) < slotCount && slots[Int(fd)].handler != nil ? Int(fd) : nil
  }

  private func forget(_ index: Int) {
    slots[index].generation &+= 1
    slots[index].handler = nil
    registered -= 1
  }

  @inline(never)
  private func growSlots(_ index: Int) {
    let newCount = max(index + 1, slotCount * 2)
    let grown = UnsafeMutablePointer<Slot>.allocate(capacity: newCount)
    grown.moveInitialize(from: slots, count: slotCount)
    (grown + slotCount).initialize(repeating: Slot(), count: newCount - slotCount)
    slots.deallocate()
    slots = grown
    slotCount = newCount
  }

  // MARK: Running

  /// Handles events until `stop()`; not at all if that was called before. The calling thread becomes the loop's thread.
  public func run() {
    updateNow()
    while !stopping { runOnce(timeout: waitTime()) }
    stopping = false
  }

  /// Handles what is ready, waiting at most `limit` for it; for tests and for start-up before `run()`.
  public func turn(upTo limit: Nanoseconds = .zero) {
    updateNow()
    // What was asked for between two turns.
    if flushCount != 0 { runFlushes() }
    let wait = waitTime()
    let limit = Self.roundedUp(limit)
    runOnce(timeout: wait < 0 ? limit : min(wait, limit))
  }

  /// Makes `run()` return after the current batch, or at once when it is called next. On the loop's thread.
  public func stop() { stopping = true }

  /// Runs `body` after the current batch of events and timers, before the next wait.
  public func `defer`(_ body: @escaping () -> Void) { deferred.append(body) }

  /// Calls `flushable.flush()` as soon as the handler, timer or message that runs now returns. Once for each call: the
  /// caller remembers whether it has asked already.
  public func flushLater(_ flushable: any Flushable) {
    if flushCount == flushCapacity { growFlushes() }
    (flushes + flushCount).initialize(to: flushable)
    flushCount &+= 1
  }

  /// Calls `flushable.flush()` when all events of this batch have been handled: for a connection that many others write
  /// to, so that what comes of one batch leaves in one system call. Once for each call, as `flushLater`.
  public func flushAfterBatch(_ flushable: any Flushable) { batchFlushes.append(flushable) }

  /// Reads the clock, where a handler has worked for long.
  public func updateNow() { now = MonotonicTime(nanoseconds: clinux_monotonic_ns()) }

  private func runOnce(timeout: Int32) {
    waits &+= 1
    let count = clinux_epoll_wait(epoll, events, Self.batchSize, timeout)
    updateNow()
    var i = 0
    while i < Int(count) {
      dispatch(events[i])
      i &+= 1
    }
    fireTimers()
    if !deferred.isEmpty { runDeferred() }
    if !batchFlushes.isEmpty { runBatchFlushes() }
  }

  @inline(__always)
  private func dispatch(_ event: clinux_event) {
    // A descriptor that the kernel reports was registered, so its slot exists.
    let slot = slots + Int(event.fd)
    guard slot.pointee.generation == event.generation, let handler = slot.pointee.handler else {
      staleEvents &+= 1
      return
    }
    handler.ready(IOEvents(rawValue: event.events))
    if flushCount != 0 { runFlushes() }
  }

  private func fireTimers() {
    wheel.advance(to: now)
    while let entry = wheel.popExpired() {
      unsafeDowncast(entry, to: Timer.self).fire()
      if flushCount != 0 { runFlushes() }
    }
  }

  private func runFlushes() {
    // A flush can ask for others, so the list can grow (and move) while it is walked.
    while flushHead < flushCount {
      let flushable = (flushes + flushHead).move()
      flushHead &+= 1
      flushable.flush()
    }
    flushHead = 0
    flushCount = 0
  }

  @inline(never)
  private func runBatchFlushes() {
    // What is asked for meanwhile is done after the next batch, so that two who wake each other cannot hold the loop.
    swap(&batchFlushes, &runningFlushes)
    for flushable in runningFlushes {
      flushable.flush()
      if flushCount != 0 { runFlushes() }
    }
    runningFlushes.removeAll(keepingCapacity: true)
  }

  @inline(never)
  private func growFlushes() {
    let grown = UnsafeMutablePointer<any Flushable>.allocate(capacity: flushCapacity * 2)
    (grown + flushHead).moveInitialize(from: flushes + flushHead, count: flushCount - flushHead)
    flushes.deallocate()
    flushes = grown
    flushCapacity *= 2
  }

  @inline(never)
  private func runDeferred() {
    // What is deferred meanwhile runs after the next batch, so that a body that defers itself cannot hold the loop.
    swap(&deferred, &running)
    for body in running {
      body()
      if flushCount != 0 { runFlushes() }
    }
    running.removeAll(keepingCapacity: true)
  }

  /// Milliseconds until there is something to do without an event; -1 for ever.
  private func waitTime() -> Int32 {
    if !deferred.isEmpty || !batchFlushes.isEmpty { return 0 }
    guard let next = wheel.nextWakeup else { return -1 }
    return Self.roundedUp(next.since(now))
  }

  private static func roundedUp(_ span: Nanoseconds) -> Int32 {
    Int32(truncatingIfNeeded: min(span.rawValue / 1_000_000 + (span.rawValue % 1_000_000 == 0 ? 0 : 1), 3_600_000))
  }
}
