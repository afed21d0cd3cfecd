import Synchronization

/// The distribution of a value, in log-linear buckets (as HdrHistogram): 16 buckets for each power of two, so that a
/// quantile is off by at most 3.2 %. Values from 0 to 2³⁶−1 (in microseconds: 19 hours); larger ones count as the largest.
///
/// Each lane has one writer; anyone may take a snapshot. A lane's memory is allocated at its first record (about 400
/// bytes, and 128 more for each power of two that occurs).
public final class LatencyHistogram: Sendable {
  static let bucketPages = 33
  static let sumPage = 33
  let cells: SparseCells
  /// Made by the first exemplar.
  private let exemplarStore = AtomicLazyReference<ExemplarStore>()

  /// - Parameter lanes: how many threads write; at least 1.
  public init(lanes: Int) { cells = SparseCells(lanes: lanes, pages: Self.sumPage + 1) }

  /// The handle that lane `index`'s thread writes with. Valid for as long as the histogram lives.
  public func lane(_ index: Int) -> HistogramLane { HistogramLane(lane: cells.lane(index)) }

  /// What all lanes recorded since the last reset.
  public func snapshot() -> HistogramSnapshot {
    var buckets: [HistogramSnapshot.Bucket] = []
    var sum: Int64 = 0
    cells.forEachNonZero { index, total in
      if index >= Self.sumPage * 16 {
        sum = total
      } else if total > 0 {
        buckets.append(HistogramSnapshot.Bucket(index: index, count: UInt64(total)))
      }
    }
    return HistogramSnapshot(buckets: buckets, sum: UInt64(max(sum, 0)))
  }

  /// Keeps the request behind a value that was just recorded, in place of an earlier one of the same power of two. From the
  /// lane's own thread.
  @inline(never)
  public func note(_ exemplar: Exemplar, lane: Int) {
    let store = exemplarStore.load() ?? exemplarStore.storeIfNil(ExemplarStore(lanes: cells.lanes))
    store.note(exemplar, lane: lane)
  }

  /// The requests that are kept.
  public var exemplars: [Exemplar] { exemplarStore.load()?.all() ?? [] }

  /// Forgets everything recorded so far.
  public func reset() { cells.reset() }
}

/// One thread's way to record into a histogram. Confined to the lane's thread; valid for as long as the histogram lives.
public struct HistogramLane {
  @usableFromInline static let largest: UInt64 = (1 << 36) - 1
  @usableFromInline let lane: SparseLane

  @usableFromInline
  init(lane: SparseLane) { self.lane = lane }

  /// Records one value, in the histogram's unit (for latencies: microseconds).
  @inlinable @inline(__always)
  public func record(_ value: UInt64) {
    let clamped = value < Self.largest ? value : Self.largest
    // Below 16 every value has its own bucket (page 0); above, the leading bit chooses the page and the four bits
    // after it the bucket.
    let exponent = 63 &- (clamped | 8).leadingZeroBitCount
    let page = exponent &- 3
    let shift = page > 0 ? page &- 1 : 0
    lane.add(page: page, cell: Int(truncatingIfNeeded: clamped &>> UInt64(truncatingIfNeeded: shift)) & 15, 1)
    lane.add(page: 33, cell: 0, Int64(truncatingIfNeeded: clamped))
  }
}
