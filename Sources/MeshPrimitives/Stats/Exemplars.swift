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

/// The last exemplar of each power of two, by lane: some are at hand for every range of values, and memory is bounded (48
/// bytes for each lane and power of two that occurs; nothing before the first).
///
/// Each lane has one writer; anyone may read. A reader that meets a writer at work leaves that exemplar out.
final class ExemplarStore: @unchecked Sendable {
  // SAFETY: everything reachable is an atomic; a cell is published with release order and never freed before `deinit`.

  /// Six words, guarded by the first: odd while they are being written.
  private typealias Word = Atomic<UInt64>
  private typealias Slot = Atomic<UnsafeMutablePointer<Word>?>
  private static let words = 6
  private static let powers = 37

  private let slots: UnsafeMutablePointer<Slot>
  private let count: Int
  let lanes: Int

  init(lanes: Int) {
    self.lanes = max(lanes, 1)
    count = self.lanes * Self.powers
    slots = .allocate(capacity: count)
    for index in 0..<count { (slots + index).initialize(to: Slot(nil)) }
  }

  deinit {
    for index in 0..<count { slots[index].load(ordering: .acquiring)?.deallocate() }
    slots.deallocate()
  }

  /// Notes an exemplar; from the lane's own thread.
  func note(_ exemplar: Exemplar, lane: Int) {
    let power = min(64 - exemplar.value.leadingZeroBitCount, Self.powers - 1)
    let slot = slots + (lane % lanes * Self.powers + power)
    let cell: UnsafeMutablePointer<Word>
    if let known = slot.pointee.load(ordering: .relaxed) {
      cell = known
    } else {
      cell = .allocate(capacity: Self.words)
      for index in 0..<Self.words { (cell + index).initialize(to: Word(0)) }
    }
    let version = cell[0].load(ordering: .relaxed)
    cell[0].store(version | 1, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    cell[1].store(exemplar.traceIDHigh, ordering: .relaxed)
    cell[2].store(exemplar.traceIDLow, ordering: .relaxed)
    cell[3].store(exemplar.spanID, ordering: .relaxed)
    cell[4].store(exemplar.value, ordering: .relaxed)
    cell[5].store(exemplar.time, ordering: .relaxed)
    cell[0].store((version | 1) &+ 1, ordering: .releasing)
    slot.pointee.store(cell, ordering: .releasing)
  }

  /// All exemplars, of all lanes.
  func all() -> [Exemplar] {
    var result: [Exemplar] = []
    for index in 0..<count {
      guard let cell = slots[index].load(ordering: .acquiring) else { continue }
      let version = cell[0].load(ordering: .acquiring)
      guard version & 1 == 0 else { continue }
      let exemplar = Exemplar(
        traceIDHigh: cell[1].load(ordering: .relaxed), traceIDLow: cell[2].load(ordering: .relaxed),
        spanID: cell[3].load(ordering: .relaxed), value: cell[4].load(ordering: .relaxed),
        time: cell[5].load(ordering: .relaxed))
      atomicMemoryFence(ordering: .acquiring)
      if cell[0].load(ordering: .relaxed) == version { result.append(exemplar) }
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
