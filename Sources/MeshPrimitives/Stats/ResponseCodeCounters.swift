/// How many responses had which status code: Envoy's `…rq_200` and `…rq_2xx`.
///
/// Each lane has one writer; anyone may read the totals.
public final class ResponseCodeCounters: Sendable {
  let cells: SparseCells

  /// - Parameter lanes: how many threads write; at least 1.
  public init(lanes: Int) {
    // Pages of 16 codes: 100 lies in page 6, 599 in page 37.
    cells = SparseCells(lanes: lanes, pages: 38)
  }

  /// The handle that lane `index`'s thread writes with. Valid for as long as the counters live.
  public func lane(_ index: Int) -> ResponseCodeLane { ResponseCodeLane(lane: cells.lane(index)) }

  /// Responses with exactly this code since the last reset.
  public func total(code: Int) -> Int64 {
    var result: Int64 = 0
    forEachCode { if $0 == code { result = $1 } }
    return result
  }

  /// Responses by class since the last reset: element 0 is 1xx, element 4 is 5xx.
  public var classTotals: [Int64] {
    var totals = [Int64](repeating: 0, count: 5)
    forEachCode { totals[$0 / 100 - 1] &+= $1 }
    return totals
  }

  /// All responses since the last reset.
  public var total: Int64 {
    var result: Int64 = 0
    forEachCode { result &+= $1 }
    return result
  }

  /// Calls `body` for every code that was counted since the last reset, in ascending order.
  public func forEachCode(_ body: (_ code: Int, _ total: Int64) -> Void) { cells.forEachNonZero(body) }

  /// Sets all totals to zero.
  public func resetCounters() { cells.reset() }
}

/// One thread's way to count response codes. Confined to the lane's thread; valid for as long as the counters live.
public struct ResponseCodeLane {
  @usableFromInline let lane: SparseLane

  @usableFromInline
  init(lane: SparseLane) { self.lane = lane }

  /// Counts one response. A code outside of 100 … 599 is not counted.
  @inlinable @inline(__always)
  public func add(_ code: Int) {
    guard code >= 100, code <= 599 else { return }
    lane.add(page: code >> 4, cell: code & 15, 1)
  }
}
