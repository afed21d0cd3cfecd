import MeshPrimitives
import Testing

@testable import MeshProxy

/// A queue that expectations can change.
private final class Queue {
  private var queue: ExportQueue

  init(_ rules: ExportQueue.Rules = .init()) { queue = ExportQueue(rules) }

  var isIdle: Bool { queue.isIdle }
  var isEmpty: Bool { queue.isEmpty }
  var isResting: Bool { queue.isResting }
  var inFlight: Int { queue.inFlight }
  var failures: Int { queue.failures }
  var spansToRepeat: Int { queue.spansToRepeat }
  var wakeUp: MonotonicTime? { queue.wakeUp }
  func add(_ batch: SpanBatch) { queue.add(batch) }
  func next(_ now: MonotonicTime) -> ExportQueue.Export? { queue.next(now) }
  func hurry() { queue.hurry() }

  func ended(
    _ export: ExportQueue.Export, _ answer: ExportAnswer, _ now: MonotonicTime, dice: UInt64
  ) -> ExportQueue.Verdict { queue.ended(export, answer, now, dice: dice) }
}

@Suite("What waits for its export, and when it is sent")
struct ExportQueueTests {
  private let now = MonotonicTime(nanoseconds: 1_000_000_000_000)

  private func batch(_ count: Int = 1, bytes: Int = 10) -> SpanBatch {
    SpanBatch(bytes: Array(repeating: 0, count: bytes), count: count)
  }

  @Test("nothing waits, nothing is sent")
  func empty() {
    let queue = Queue()
    #expect(queue.isIdle)
    #expect(queue.next(now) == nil)
    #expect(queue.wakeUp == nil)
  }

  @Test("one export takes all that waits, up to its size")
  func sizes() throws {
    var rules = ExportQueue.Rules()
    rules.spansPerExport = 10
    rules.bytesPerExport = 100
    let queue = Queue(rules)
    for count in [4, 4, 3, 1] { queue.add(batch(count)) }
    let first = try #require(queue.next(now))
    #expect(first.batches.map(\.count) == [4, 4])
    #expect(first.count == 8 && first.size == 20)
    #expect(queue.next(now)?.batches.map(\.count) == [3, 1])
    #expect(queue.next(now) == nil && queue.isEmpty && !queue.isIdle)
    // A single batch goes, however large.
    queue.add(batch(1, bytes: 1000))
    queue.add(batch(500, bytes: 1))
    #expect(queue.next(now)?.size == 1000)
    #expect(queue.next(now)?.count == 500)
  }

  @Test("only so many are under way; what comes meanwhile goes together")
  func concurrency() throws {
    let queue = Queue()
    var open: [ExportQueue.Export] = []
    for _ in 0..<10 {
      queue.add(batch())
      if let export = queue.next(now) { open.append(export) }
    }
    #expect(open.count == 4)
    #expect(queue.inFlight == 4 && !queue.isEmpty)
    #expect(queue.ended(open[0], .taken(), now, dice: 0) == .done)
    let rest = try #require(queue.next(now))
    #expect(rest.count == 6)
    for export in open[1...] + [rest] { _ = queue.ended(export, .taken(), now, dice: 0) }
    #expect(queue.isIdle)
  }

  @Test("a collector that is silent is asked by one export at a time, ever more rarely, and a bounded number of times")
  func silence() throws {
    let queue = Queue()
    var now = now
    for _ in 0..<3 { queue.add(batch()) }
    var export = try #require(queue.next(now))
    var pauses: [UInt64] = []
    var sent = 1
    while true {
      let verdict = queue.ended(export, .none("gone", mayRepeat: true), now, dice: 0)
      #expect(queue.isResting)
      guard verdict == .again else {
        #expect(verdict == .lost)
        break
      }
      queue.add(batch())
      #expect(queue.next(now) == nil)
      let wake = try #require(queue.wakeUp)
      pauses.append(wake.since(now).wholeMilliseconds)
      #expect(queue.next(MonotonicTime(nanoseconds: wake.nanoseconds - 1)) == nil)
      now = wake
      export = try #require(queue.next(now))
      #expect(export.attempts == sent)
      #expect(queue.next(now) == nil, "one at a time")
      #expect(queue.wakeUp == nil)
      sent += 1
    }
    #expect(sent == 5)
    #expect(pauses == [1000, 2000, 4000, 8000])
    // Back again: all that waited goes at once.
    now = try #require(queue.wakeUp)
    let rest = try #require(queue.next(now))
    #expect(rest.count == 4)
    #expect(queue.ended(rest, .taken(), now, dice: 0) == .done)
    #expect(queue.failures == 0 && queue.isIdle)
  }

  @Test("pauses end at half a minute, and dice take off up to a half of them")
  func pauses() throws {
    for dice in [UInt64(0), .max] {
      let queue = Queue()
      var now = now
      var pause: UInt64 = 0
      for _ in 0..<40 {
        queue.add(batch())
        let export = try #require(queue.next(now))
        #expect(queue.ended(export, .none("gone", mayRepeat: false), now, dice: dice) == .lost)
        queue.add(batch())
        let wake = try #require(queue.wakeUp)
        pause = wake.since(now).wholeMilliseconds
        now = wake
      }
      #expect(pause == (dice == 0 ? 30_000 : 15_000))
    }
  }

  @Test("a collector says when it wants them again, within reason")
  func wishes() throws {
    for (wish, pause) in [(UInt64(0), UInt64(0)), (3, 3), (86_400, 60)] {
      let queue = Queue()
      queue.add(batch())
      let export = try #require(queue.next(now))
      #expect(queue.ended(export, .later("HTTP 429", after: .seconds(wish)), now, dice: 0) == .again)
      #expect(queue.wakeUp == now + .seconds(pause))
      #expect(queue.spansToRepeat == 1)
      #expect(!queue.isResting, "it is there")
    }
  }

  @Test("what a collector does not want is not sent again, and the next goes at once")
  func refusals() throws {
    let queue = Queue()
    queue.add(batch())
    let export = try #require(queue.next(now))
    #expect(queue.ended(export, .refused("HTTP 400"), now, dice: 0) == .lost)
    queue.add(batch())
    #expect(queue.next(now) != nil)
    #expect(queue.ended(export, .noCluster, now, dice: 0) == .lost)
  }

  @Test("those that wait to be sent again count among those under way, so that memory is bounded")
  func bounds() throws {
    let queue = Queue()
    var open: [ExportQueue.Export] = []
    for _ in 0..<4 {
      queue.add(batch())
      open.append(try #require(queue.next(now)))
    }
    for export in open { _ = queue.ended(export, .later("", after: nil), now, dice: 0) }
    #expect(queue.spansToRepeat == 4)
    queue.add(batch())
    let later = now + .seconds(100)
    let again = try #require(queue.next(later))
    #expect(again.attempts == 1)
    _ = queue.ended(again, .taken(), later, dice: 0)
    var order: [Int] = []
    while let export = queue.next(later) { order.append(export.attempts) }
    #expect(order == [1, 1, 1, 0])
  }

  @Test("near the end nobody waits")
  func hurry() throws {
    let queue = Queue()
    queue.add(batch())
    let export = try #require(queue.next(now))
    _ = queue.ended(export, .none("gone", mayRepeat: true), now, dice: 0)
    #expect(queue.isResting && queue.next(now) == nil)
    queue.hurry()
    #expect(!queue.isResting)
    let again = try #require(queue.next(now))
    _ = queue.ended(again, .none("gone", mayRepeat: true), now, dice: 0)
    #expect(queue.isResting)
  }
}
