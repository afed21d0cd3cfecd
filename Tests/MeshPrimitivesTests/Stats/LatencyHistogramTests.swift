import MeshPrimitives
import Testing

@Suite struct LatencyHistogramTests {
  @Test func emptyHistogram() {
    let snapshot = LatencyHistogram(lanes: 1).snapshot()
    #expect(snapshot.count == 0)
    #expect(snapshot.quantile(0.5) == nil)
    #expect(snapshot.cumulative(bucketsLE: [1, 2]) == [0, 0])
  }

  /// A single value comes back from the histogram to within 3.2 %, over the whole range.
  @Test func relativeError() {
    var random = Random(seed: 3)
    for _ in 0..<2_000 {
      let value = random.next() >> (28 + random.below(36))
      let histogram = LatencyHistogram(lanes: 1)
      histogram.lane(0).record(value)
      let found = histogram.snapshot().quantile(0.5)!
      #expect(abs(found - Double(value)) <= Double(value) * 0.032, "\(value) became \(found)")
      #expect(histogram.snapshot().sum == value)
    }
  }

  @Test func everySmallValueIsExact() {
    for value in UInt64(0)..<32 {
      let histogram = LatencyHistogram(lanes: 1)
      histogram.lane(0).record(value)
      #expect(histogram.snapshot().quantile(0.5) == Double(value))
    }
  }

  @Test func hugeValuesCountAsTheLargest() {
    let histogram = LatencyHistogram(lanes: 1)
    histogram.lane(0).record(.max)
    histogram.lane(0).record(1 << 40)
    #expect(histogram.snapshot().count == 2)
    #expect(histogram.snapshot().sum == 2 * ((1 << 36) - 1))
    #expect(histogram.snapshot().quantile(1)! == Double((1 << 36) - 1))
  }

  @Test func quantilesOfAnEvenDistribution() {
    let histogram = LatencyHistogram(lanes: 4)
    for value in UInt64(1)...10_000 { histogram.lane(Int(value % 4)).record(value) }
    let snapshot = histogram.snapshot()
    #expect(snapshot.count == 10_000)
    #expect(snapshot.sum == 50_005_000)
    for (q, expected) in [(0.25, 2_500.0), (0.5, 5_000), (0.9, 9_000), (0.99, 9_900)] {
      #expect(abs(snapshot.quantile(q)! - expected) < expected * 0.032)
    }
    #expect(snapshot.quantile(0) == 1)
    #expect(snapshot.quantile(.nan) == 1)
    let bounds = HistogramSnapshot.defaultBounds.map { $0 * 1_000 }
    let cumulative = snapshot.cumulative(bucketsLE: bounds)
    #expect(cumulative == cumulative.sorted())
    #expect(cumulative[0] >= 490 && cumulative[0] <= 510)
    #expect(cumulative[1] >= 980 && cumulative[1] <= 1_020)
    #expect(cumulative[3] >= 9_850)
    #expect(cumulative[4] == 10_000)
    #expect(bounds.count == 19)
  }

  @Test func resetForgets() {
    let histogram = LatencyHistogram(lanes: 1)
    histogram.lane(0).record(5)
    histogram.reset()
    #expect(histogram.snapshot().count == 0)
    histogram.lane(0).record(7)
    #expect(histogram.snapshot().count == 1)
    #expect(histogram.snapshot().sum == 7)
  }
}
