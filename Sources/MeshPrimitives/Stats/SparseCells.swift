import Synchronization

/// A lane of `SparseCells`: pointers to pages that exist once something in them was counted.
@usableFromInline typealias StatPage = Atomic<UnsafeMutablePointer<StatCell>?>

/// Per-lane counters over a wide index range of which few are ever used (status codes, histogram buckets). A lane costs
/// 8 bytes until its first count, then a table of pages and 128 bytes for each page of 16 counters that is used.
///
/// Each lane has one writer; anyone may read the totals.
@usableFromInline
final class SparseCells: @unchecked Sendable {
  // SAFETY: everything reachable is an atomic; a page is published with release order and never freed before `deinit`.
  @usableFromInline static let cellsPerPage = 16
  private let slots: UnsafeMutablePointer<Atomic<UnsafeMutablePointer<StatPage>?>>
  private let baseline = Mutex<[Int: Int64]>([:])
  let lanes: Int
  let pages: Int

  init(lanes: Int, pages: Int) {
    precondition(lanes > 0)
    self.lanes = lanes
    self.pages = pages
    slots = .allocate(capacity: lanes)
    for lane in 0..<lanes { (slots + lane).initialize(to: Atomic(nil)) }
  }

  deinit {
    for lane in 0..<lanes {
      guard let table = slots[lane].load(ordering: .acquiring) else { continue }
      for page in 0..<pages { table[page].load(ordering: .acquiring)?.deallocate() }
      table.deallocate()
    }
    slots.deallocate()
  }

  func lane(_ index: Int) -> SparseLane {
    precondition(index >= 0)
    return SparseLane(slot: slots + index % lanes, pages: pages)
  }

  /// Calls `body` with the index and total of every counter that is not zero, in ascending order.
  func forEachNonZero(_ body: (_ index: Int, _ total: Int64) -> Void) {
    let baseline = baseline.withLock { $0 }
    for page in 0..<pages {
      for cell in 0..<Self.cellsPerPage {
        let index = page * Self.cellsPerPage + cell
        var total = -(baseline[index] ?? 0)
        var present = false
        for lane in 0..<lanes {
          guard
            let cells = slots[lane].load(ordering: .acquiring)?[page].load(ordering: .acquiring)
          else { continue }
          present = true
          total &+= cells[cell].load(ordering: .relaxed)
        }
        guard present else { break }
        if total != 0 { body(index, total) }
      }
    }
  }

  /// Sets all totals to zero; lanes go on undisturbed.
  func reset() {
    var current: [(Int, Int64)] = []
    forEachNonZero { current.append(($0, $1)) }
    baseline.withLock { for (index, total) in current { $0[index, default: 0] &+= total } }
  }
}

/// One thread's way to write `SparseCells`. Confined to that thread; valid for as long as the cells live.
@usableFromInline
struct SparseLane {
  @usableFromInline let slot: UnsafeMutablePointer<Atomic<UnsafeMutablePointer<StatPage>?>>
  @usableFromInline let pages: Int

  @usableFromInline
  init(slot: UnsafeMutablePointer<Atomic<UnsafeMutablePointer<StatPage>?>>, pages: Int) {
    self.slot = slot
    self.pages = pages
  }

  /// Adds `amount` to the counter at `page * 16 + cell`; both within the declared range.
  @inlinable @inline(__always)
  func add(page: Int, cell: Int, _ amount: Int64) {
    if let cells = slot.pointee.load(ordering: .relaxed)?[page].load(ordering: .relaxed) {
      let counter = cells + cell
      counter.pointee.store(counter.pointee.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    } else {
      addToNewPage(page: page, cell: cell, amount)
    }
  }

  @usableFromInline @inline(never)
  func addToNewPage(page: Int, cell: Int, _ amount: Int64) {
    var table = slot.pointee.load(ordering: .relaxed)
    if table == nil {
      let made = UnsafeMutablePointer<StatPage>.allocate(capacity: pages)
      for index in 0..<pages { (made + index).initialize(to: StatPage(nil)) }
      slot.pointee.store(made, ordering: .releasing)
      table = made
    }
    guard let table else { return }
    let cells = UnsafeMutablePointer<StatCell>.makeCells(SparseCells.cellsPerPage)
    cells[cell].store(amount, ordering: .relaxed)
    table[page].store(cells, ordering: .releasing)
  }
}
