import MeshPrimitives
import Testing

enum ThingStat: Int, StatSet {
  case requests, active, errors

  var definition: StatDefinition {
    switch self {
    case .requests: .counter("upstream_rq_total")
    case .active: .gauge("upstream_rq_active")
    case .errors: .counter("outlier_detection.ejections")
    }
  }
}

@Suite struct StatBlockTests {
  @Test func lanesAreSummed() {
    let block = StatBlock<ThingStat>(lanes: 3)
    for index in 0..<3 { block.lane(index).add(.requests, Int64(index) + 1) }
    #expect(block.total(.requests) == 6)
    #expect(block.total(.errors) == 0)
    #expect(block.lane(1).value(.requests) == 2)
  }

  @Test func aGaugeMayBeRaisedInOneLaneAndLoweredInAnother() {
    let block = StatBlock<ThingStat>(lanes: 2)
    block.lane(0).add(.active)
    block.lane(1).subtract(.active)
    block.lane(1).add(.active, 5)
    #expect(block.total(.active) == 5)
    block.lane(0).set(.active, 10)
    #expect(block.total(.active) == 14)
  }

  @Test func resetTakesCountersToZeroAndLeavesGauges() {
    let block = StatBlock<ThingStat>(lanes: 2)
    block.lane(0).add(.requests, 5)
    block.lane(1).add(.active, 3)
    block.resetCounters()
    #expect(block.total(.requests) == 0)
    #expect(block.total(.active) == 3)
    block.lane(1).add(.requests, 2)
    #expect(block.total(.requests) == 2)
    block.resetCounters()
    #expect(block.total(.requests) == 0)
  }

  @Test func lanesAreWrittenFromTheirOwnThreads() async {
    let block = StatBlock<ThingStat>(lanes: 4)
    await withTaskGroup(of: Void.self) { group in
      for index in 0..<4 {
        group.addTask {
          let lane = block.lane(index)
          for _ in 0..<50_000 { lane.add(.requests) }
        }
      }
      var last: Int64 = 0
      for _ in 0..<100 {
        let now = block.total(.requests)
        #expect(now >= last)
        last = now
      }
    }
    #expect(block.total(.requests) == 200_000)
  }

  @Test func responseCodes() {
    let codes = ResponseCodeCounters(lanes: 2)
    codes.lane(0).add(200)
    codes.lane(1).add(200)
    codes.lane(1).add(503)
    codes.lane(0).add(100)
    codes.lane(0).add(599)
    for outside in [0, 99, 600, -1, Int.max, Int.min] { codes.lane(0).add(outside) }
    #expect(codes.total(code: 200) == 2)
    #expect(codes.total(code: 503) == 1)
    #expect(codes.total(code: 404) == 0)
    #expect(codes.classTotals == [1, 2, 0, 0, 2])
    var seen: [Int] = []
    codes.forEachCode { code, _ in seen.append(code) }
    #expect(seen == [100, 200, 503, 599])
    codes.resetCounters()
    #expect(codes.classTotals == [0, 0, 0, 0, 0])
    codes.lane(0).add(204)
    #expect(codes.classTotals == [0, 1, 0, 0, 0])
  }
}
