import Synchronization

/// One statistic of one lane. A lane has one writer, so that an update is a relaxed load and a relaxed store (two plain
/// moves) and never a locked instruction.
public typealias StatCell = Atomic<Int64>

extension UnsafeMutablePointer where Pointee == StatCell {
  /// Zeroed cells on their own cache lines. Free with `deallocate`: an atomic integer needs no destruction.
  static func makeCells(_ count: Int) -> UnsafeMutablePointer<StatCell> {
    let raw = UnsafeMutableRawPointer.allocate(byteCount: count * 8, alignment: 64)
    let cells = raw.bindMemory(to: StatCell.self, capacity: count)
    for index in 0..<count { (cells + index).initialize(to: StatCell(0)) }
    return cells
  }
}

/// The statistics of one scope. Every lane belongs to one thread, which alone writes it; anyone may read the totals.
///
/// The total of a scope may be read while its lanes are written: each statistic is exact up to the moment it was read,
/// two statistics are not read at the same moment. A gauge may be raised by one lane and lowered by another.
public final class StatBlock<Set: StatSet>: @unchecked Sendable {
  // SAFETY: the cells are atomics; their memory is allocated in `init` and freed in `deinit`. The lanes are handed out
  // as bare pointers and their users keep the block alive.
  private let cells: UnsafeMutablePointer<StatCell>
  /// What was counted before the last reset; made at the first reset.
  private let baseline = Atomic<UnsafeMutablePointer<StatCell>?>(nil)
  private let count: Int
  private let stride: Int
  public let lanes: Int

  /// - Parameter lanes: how many threads write; at least 1.
  public init(lanes: Int) {
    precondition(lanes > 0)
    count = Set.allCases.count
    for (position, stat) in Set.allCases.enumerated() {
      precondition(stat.rawValue == position, "the raw values of a StatSet count up from zero")
    }
    stride = (count + 7) / 8 * 8
    self.lanes = lanes
    cells = .makeCells(stride * lanes)
  }

  deinit {
    cells.deallocate()
    baseline.load(ordering: .acquiring)?.deallocate()
  }

  /// The handle that lane `index`'s thread writes with. Valid for as long as the block lives. `index` is taken modulo
  /// the number of lanes.
  public func lane(_ index: Int) -> StatLane<Set> {
    precondition(index >= 0)
    return StatLane(cells: cells + (index % lanes) * stride)
  }

  /// The sum over all lanes since the last reset.
  public func total(_ stat: Set) -> Int64 { total(at: stat.rawValue) }

  func total(at index: Int) -> Int64 {
    var sum: Int64 = 0
    for lane in 0..<lanes { sum &+= cells[lane * stride + index].load(ordering: .relaxed) }
    if let baseline = baseline.load(ordering: .acquiring) {
      sum &-= baseline[index].load(ordering: .relaxed)
    }
    return sum
  }

  /// Sets all counters to zero, as seen by `total`; gauges keep their value. Lanes go on undisturbed.
  public func resetCounters() {
    var baseline = baseline.load(ordering: .acquiring)
    if baseline == nil {
      let made = UnsafeMutablePointer<StatCell>.makeCells(count)
      let (exchanged, original) = self.baseline.compareExchange(
        expected: nil, desired: made, ordering: .acquiringAndReleasing)
      if !exchanged { made.deallocate() }
      baseline = exchanged ? made : original
    }
    guard let baseline else { return }
    for stat in Set.allCases where stat.definition.kind == .counter {
      let index = stat.rawValue
      baseline[index].add(total(at: index), ordering: .relaxed)
    }
  }
}

/// One thread's way to write a `StatBlock`: a bare pointer, free to copy. Confined to the lane's thread; valid for as
/// long as the block lives.
public struct StatLane<Set: StatSet> {
  @usableFromInline let cells: UnsafeMutablePointer<StatCell>

  @usableFromInline
  init(cells: UnsafeMutablePointer<StatCell>) { self.cells = cells }

  /// Adds `amount`.
  @inlinable @inline(__always)
  public func add(_ stat: Set, _ amount: Int64 = 1) {
    let cell = cells + stat.rawValue
    cell.pointee.store(cell.pointee.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
  }

  /// Takes `amount` away; for gauges.
  @inlinable @inline(__always)
  public func subtract(_ stat: Set, _ amount: Int64 = 1) { add(stat, 0 &- amount) }

  /// Makes this lane's share `value`; for gauges that only one lane writes.
  @inlinable @inline(__always)
  public func set(_ stat: Set, _ value: Int64) { cells[stat.rawValue].store(value, ordering: .relaxed) }

  /// This lane's share, resets ignored.
  @inlinable @inline(__always)
  public func value(_ stat: Set) -> Int64 { cells[stat.rawValue].load(ordering: .relaxed) }
}
