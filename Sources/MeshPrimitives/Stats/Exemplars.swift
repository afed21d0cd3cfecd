import Synchronization

/// One request that a histogram has counted, and the trace that shows it.
public struct Exemplar: Sendable, Equatable {
  /// The halves of the trace id; not both 0.
  public var traceIDHigh: UInt64
  public var traceIDLow: UInt64
  /// The span of this proxy; 0: none.
  public var spanID: UInt64
  /// What was recorded, in the histogram's unit.
  public var value: UInt64
  /// When, in nanoseconds since 1970.
  public var time: UInt64

  public init(traceIDHigh: UInt64, traceIDLow: UInt64, spanID: UInt64, value: UInt64, time: UInt64) {
    self.traceIDHigh = traceIDHigh
    self.traceIDLow = traceIDLow
    self.spanID = spanID
    self.value = value
    self.time = time
  }
}

/// The last exemplar of each power of two, by lane: some are at hand for every range of values, and memory is bounded: about
/// 300 bytes for each lane with exemplars, and 48 for each power of two that occurs there.
///
/// Each lane has one writer; anyone may read. A reader that meets a writer at work leaves that exemplar out.
final class ExemplarStore: @unchecked Sendable {
  // SAFETY: everything reachable is an atomic; what is published (with release order) is never freed before `deinit`.

  /// Six words, guarded by the first: odd while they are being written.
  private typealias Word = Atomic<UInt64>
  private typealias Slot = Atomic<UnsafeMutablePointer<Word>?>
  private typealias Table = Atomic<UnsafeMutablePointer<Slot>?>
  private static let words = 6
  private static let powers = 37

  private let tables: UnsafeMutablePointer<Table>
  private let lanes: Int

  init(lanes: Int) {
    self.lanes = max(lanes, 1)
    tables = .allocate(capacity: self.lanes)
    for lane in 0..<self.lanes { (tables + lane).initialize(to: Table(nil)) }
  }

  deinit {
    for lane in 0..<lanes {
      guard let slots = tables[lane].load(ordering: .acquiring) else { continue }
      for power in 0..<Self.powers { slots[power].load(ordering: .acquiring)?.deallocate() }
      slots.deallocate()
    }
    tables.deallocate()
  }

  /// Notes an exemplar; from the lane's own thread.
  func note(_ exemplar: Exemplar, lane: Int) {
    let table = tables + lane % lanes
    let slots = table.pointee.load(ordering: .relaxed) ?? Self.makeSlots()
    let slot = slots + min(64 - exemplar.value.leadingZeroBitCount, Self.powers - 1)
    let words = slot.pointee.load(ordering: .relaxed) ?? Self.makeWords()
    let version = words[0].load(ordering: .relaxed) | 1
    words[0].store(version, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    words[1].store(exemplar.traceIDHigh, ordering: .relaxed)
    words[2].store(exemplar.traceIDLow, ordering: .relaxed)
    words[3].store(exemplar.spanID, ordering: .relaxed)
    words[4].store(exemplar.value, ordering: .relaxed)
    words[5].store(exemplar.time, ordering: .relaxed)
    words[0].store(version &+ 1, ordering: .releasing)
    slot.pointee.store(words, ordering: .releasing)
    table.pointee.store(slots, ordering: .releasing)
  }

  private static func makeSlots() -> UnsafeMutablePointer<Slot> {
    let slots = UnsafeMutablePointer<Slot>.allocate(capacity: powers)
    for power in 0..<powers { (slots + power).initialize(to: Slot(nil)) }
    return slots
  }

  private static func makeWords() -> UnsafeMutablePointer<Word> {
    let made = UnsafeMutablePointer<Word>.allocate(capacity: words)
    for index in 0..<words { (made + index).initialize(to: Word(0)) }
    return made
  }

  /// All exemplars, of all lanes.
  func all() -> [Exemplar] {
    var result: [Exemplar] = []
    for lane in 0..<lanes {
      guard let slots = tables[lane].load(ordering: .acquiring) else { continue }
      for power in 0..<Self.powers {
        guard let words = slots[power].load(ordering: .acquiring) else { continue }
        let version = words[0].load(ordering: .acquiring)
        guard version & 1 == 0 else { continue }
        let exemplar = Exemplar(
          traceIDHigh: words[1].load(ordering: .relaxed), traceIDLow: words[2].load(ordering: .relaxed),
          spanID: words[3].load(ordering: .relaxed), value: words[4].load(ordering: .relaxed),
          time: words[5].load(ordering: .relaxed))
        atomicMemoryFence(ordering: .acquiring)
        if words[0].load(ordering: .relaxed) == version { result.append(exemplar) }
      }
    }
    return result
  }
}

extension [Exemplar] {
  /// The newest whose value is above `low` and at most `high`.
  func newest(above low: Double, upTo high: Double) -> Exemplar? {
    self.lazy.filter { Double($0.value) > low && Double($0.value) <= high }.max { $0.time < $1.time }
  }
}
