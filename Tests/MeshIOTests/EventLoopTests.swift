import Glibc
import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

/// Calls a closure for each event.
final class ClosureHandler: IOHandler, TimerTarget, Flushable {
  var onReady: (IOEvents) -> Void = { _ in }
  var onTimer: (UInt8) -> Void = { _ in }
  var onFlush: () -> Void = {}
  func ready(_ events: IOEvents) { onReady(events) }
  func timerFired(_ tag: UInt8) { onTimer(tag) }
  func flush() { onFlush() }
}

@Suite("EventLoop", .timeLimit(.minutes(1)))
struct EventLoopTests {
  private static func pipePair() -> (read: Int32, write: Int32) {
    var ends: [Int32] = [-1, -1]
    #expect(pipe(&ends) == 0)
    return (ends[0], ends[1])
  }

  private static func writeByte(_ fd: Int32) {
    var byte: UInt8 = 1
    #expect(write(fd, &byte, 1) == 1)
  }

  @Test("an event for a descriptor that was closed and reused in the same batch is dropped and counted")
  func staleEvents() throws {
    let loop = try EventLoop()
    let first = Self.pipePair()
    let second = Self.pipePair()
    var calls: [String] = []
    let victim = ClosureHandler()
    victim.onReady = { _ in calls.append("victim") }
    let successor = ClosureHandler()
    successor.onReady = { _ in calls.append("successor") }
    let killer = ClosureHandler()
    let fresh = Self.pipePair()
    killer.onReady = { _ in
      calls.append("killer")
      loop.deregister(first.read)
      loop.deregister(second.read)
      // Close and reuse in one step: another test running meanwhile might take the number.
      #expect(dup2(fresh.read, second.read) == second.read)
      #expect(throws: Never.self) { try loop.register(second.read, successor, interest: .levelRead) }
    }
    try loop.register(first.read, killer, interest: .levelRead)
    try loop.register(second.read, victim, interest: .levelRead)
    Self.writeByte(first.write)
    Self.writeByte(second.write)
    loop.turn()
    #expect(calls == ["killer"])
    #expect(loop.staleEvents == 1)
    Self.writeByte(fresh.write)
    loop.turn()
    #expect(calls == ["killer", "successor"])
    loop.close(second.read)
    for fd in [fresh.read, fresh.write, first.read, first.write, second.write] { close(fd) }
    #expect(loop.registrations == 0)
  }

  @Test("flushes run after each callback, deferred work after the batch, timers between them")
  func order() throws {
    let loop = try EventLoop()
    let pipes = [Self.pipePair(), Self.pipePair()]
    var log: [String] = []
    let output = ClosureHandler()
    output.onFlush = { log.append("flush") }
    let handler = ClosureHandler()
    let timer = Timer(loop, handler, tag: 9)
    defer { withExtendedLifetime((handler, timer)) {} }
    handler.onTimer = { tag in
      log.append("timer \(tag)")
      loop.flushLater(output)
    }
    handler.onReady = { _ in
      log.append("ready")
      loop.flushLater(output)
      if log.count == 1 { loop.defer { log.append("deferred") } }
    }
    for pipe in pipes {
      try loop.register(pipe.read, handler, interest: .edgeRead)
      Self.writeByte(pipe.write)
    }
    timer.arm(at: loop.now)
    let due = loop.now + .milliseconds(3)
    while ProcessClock.monotonic() < due {}
    loop.turn()
    #expect(log == ["ready", "flush", "ready", "flush", "timer 9", "flush", "deferred"])
    for pipe in pipes {
      loop.close(pipe.read)
      close(pipe.write)
    }
  }

  @Test("what waits for the batch is flushed once, after all its events; what it asks for itself, after the next")
  func batchFlushes() throws {
    let loop = try EventLoop()
    let pipes = [Self.pipePair(), Self.pipePair()]
    var log: [String] = []
    let output = ClosureHandler()
    var isScheduled = false
    func schedule() {
      if !isScheduled { loop.flushAfterBatch(output) }
      isScheduled = true
    }
    output.onFlush = {
      isScheduled = false
      log.append("flush")
      if log.count < 4 { schedule() }
    }
    let handler = ClosureHandler()
    handler.onReady = { _ in
      log.append("ready")
      schedule()
    }
    for pipe in pipes {
      try loop.register(pipe.read, handler, interest: .edgeRead)
      Self.writeByte(pipe.write)
    }
    loop.turn()
    #expect(log == ["ready", "ready", "flush"])
    // Without waiting, though nothing is ready.
    loop.turn(upTo: .seconds(60))
    #expect(log == ["ready", "ready", "flush", "flush"])
    for pipe in pipes {
      loop.close(pipe.read)
      close(pipe.write)
    }
  }

  @Test("many flushes, and flushes that ask for flushes, run once each and in order")
  func manyFlushes() throws {
    let loop = try EventLoop()
    let pipe = Self.pipePair()
    let handler = ClosureHandler()
    var log: [Int] = []
    weak var last: ClosureHandler?
    handler.onReady = { _ in
      for number in 0..<1000 {
        let output = ClosureHandler()
        output.onFlush = {
          log.append(number)
          let next = ClosureHandler()
          next.onFlush = { log.append(1000 + number) }
          loop.flushLater(next)
          last = next
        }
        loop.flushLater(output)
      }
    }
    try loop.register(pipe.read, handler, interest: .edgeRead)
    Self.writeByte(pipe.write)
    loop.turn()
    #expect(log == Array(0..<2000))
    #expect(last == nil, "a flush that has run is kept")
    loop.close(pipe.read)
    close(pipe.write)
  }

  @Test("a loop that is stopped before it runs does not run, once")
  func stoppedBefore() throws {
    let loop = try EventLoop()
    loop.stop()
    loop.run()
    var ran = false
    loop.defer {
      ran = true
      loop.stop()
    }
    loop.run()
    #expect(ran)
  }

  @Test("a timer wakes an idle loop after its deadline and not before")
  func timerWakes() throws {
    let loop = try EventLoop()
    let target = ClosureHandler()
    let timer = Timer(loop, target)
    defer { withExtendedLifetime((target, timer)) {} }
    let start = ProcessClock.monotonic()
    target.onTimer = { _ in loop.stop() }
    timer.arm(at: start + .milliseconds(20))
    #expect(timer.isArmed)
    loop.run()
    #expect(!timer.isArmed)
    #expect(ProcessClock.monotonic().since(start) >= .milliseconds(20))
    #expect(loop.waits < 6, "an idle loop sleeps")
  }

  @Test("a timer that dies while armed leaves the wheel")
  func timerDies() throws {
    let loop = try EventLoop()
    let target = ClosureHandler()
    target.onTimer = { _ in Issue.record("fired after its end") }
    var timer: Timer? = Timer(loop, target)
    timer?.arm(after: .milliseconds(1))
    timer = nil
    let guardTimer = Timer(loop, target, tag: 1)
    defer { withExtendedLifetime((target, guardTimer)) {} }
    target.onTimer = { _ in loop.stop() }
    guardTimer.arm(after: .milliseconds(5))
    loop.run()
  }

  @Test("an owner may let go of itself in its own callback")
  func suicide() throws {
    final class Owner: TimerTarget, IOHandler, Flushable {
      static func make(_ loop: EventLoop, _ fd: Int32) throws -> Owner { try Owner(loop, fd) }
      let loop: EventLoop
      let fd: Int32
      var timer: Timer?
      var payload = Array(repeating: 7, count: 100)
      var drop: () -> Void = {}
      init(_ loop: EventLoop, _ fd: Int32) throws {
        self.loop = loop
        self.fd = fd
        timer = Timer(loop, self)
        try loop.register(fd, self, interest: .edgeRead)
      }
      func end() {
        loop.close(fd)
        drop()
        // Still here, though nobody else holds it.
        #expect(payload.reduce(0, +) == 700)
        #expect(timer?.isArmed == false)
      }
      func timerFired(_ tag: UInt8) { end() }
      func ready(_ events: IOEvents) { end() }
      func flush() {}
    }
    let loop = try EventLoop()
    for byTimer in [true, false] {
      let pipe = Self.pipePair()
      var owner: Owner? = try Owner.make(loop, pipe.read)
      weak let observer = owner
      owner?.drop = { owner = nil }
      if byTimer { owner?.timer?.arm(after: .milliseconds(1)) } else { Self.writeByte(pipe.write) }
      let deadline = Deadline()
      while observer != nil, !deadline.hasPassed { loop.turn(upTo: .milliseconds(10)) }
      #expect(observer == nil)
      close(pipe.write)
    }
    #expect(loop.registrations == 0)
  }

  @Test("posts from many threads arrive once each, in the order of their poster")
  func mailbox() throws {
    final class Receiver {
      var seen: [[Int]] = Array(repeating: [], count: 4)
      var total = 0
      let loop: EventLoop
      init(_ loop: EventLoop) { self.loop = loop }
    }
    let mailbox = Mailbox<Receiver>()
    mailbox.post { $0.total += 1 }  // before attach
    let perThread = 2000
    let consumer = try LoopThread.start(name: "consumer") {
      guard let loop = try? EventLoop() else {
        Issue.record("no loop")
        return
      }
      let receiver = Receiver(loop)
      #expect(throws: Never.self) { try mailbox.attach(to: loop, owner: receiver) }
      withExtendedLifetime(receiver) { loop.run() }
      #expect(receiver.total == 4 * perThread + 2)
      for poster in receiver.seen { #expect(poster == Array(0..<perThread)) }
      #expect(loop.waits <= UInt64(4 * perThread + 4))
      mailbox.detach(from: loop)
    }
    let posters = try (0..<4).map { poster in
      try LoopThread.start(name: "poster \(poster)") {
        for i in 0..<perThread {
          mailbox.post {
            $0.seen[poster].append(i)
            $0.total += 1
          }
        }
      }
    }
    for poster in posters { poster.join() }
    mailbox.post {
      $0.total += 1
      $0.loop.stop()
    }
    consumer.join()
    mailbox.post { _ in Issue.record("delivered after detach") }
  }

  @Test("a mailbox that is detached by one of its messages delivers no other")
  func mailboxDetached() throws {
    let loop = try EventLoop()
    let mailbox = Mailbox<ClosureHandler>()
    let owner = ClosureHandler()
    try mailbox.attach(to: loop, owner: owner)
    var delivered = 0
    owner.onFlush = {
      delivered += 1
      mailbox.detach(from: loop)
    }
    mailbox.post { $0.flush() }
    mailbox.post { $0.flush() }
    loop.turn()
    mailbox.post { $0.flush() }
    loop.turn()
    #expect(delivered == 1)
    #expect(loop.registrations == 0)
  }

  @Test("the wall clock agrees with the system's")
  func wallClock() throws {
    let loop = try EventLoop()
    let difference = Int64(bitPattern: ProcessClock.wall() &- loop.wallClock)
    #expect(abs(difference) < 1_000_000_000)
  }
}
