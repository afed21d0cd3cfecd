/// What a histogram held at one moment.
public struct HistogramSnapshot: Sendable {
  /// A bucket that holds something.
  struct Bucket: Sendable {
    let low: UInt64
    /// The first value after the bucket.
    let end: UInt64
    let count: UInt64

    init(low: UInt64, end: UInt64, count: UInt64) {
      self.low = low
      self.end = end
      self.count = count
    }

    init(index: Int, count: UInt64) {
      let page = index / 16
      let cell = UInt64(index % 16)
      if page == 0 {
        low = cell
        end = cell + 1
      } else {
        low = (16 + cell) << UInt64(page - 1)
        end = (17 + cell) << UInt64(page - 1)
      }
      self.count = count
    }
  }

  /// Envoy's default bounds for Prometheus, in milliseconds.
  public static let defaultBounds: [Double] = [
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
    3_600_000,
  ]

  let buckets: [Bucket]
  /// How many values were recorded.
  public let count: UInt64
  /// The sum of the values (each clamped to the histogram's range).
  public let sum: UInt64

  init(buckets: [Bucket], sum: UInt64) {
    self.buckets = buckets
    self.sum = sum
    count = buckets.reduce(0) { $0 &+ $1.count }
  }

  /// The value below or at which the share `q` (0 … 1) of the records lies, interpolated within its bucket; nil without
  /// records. Quantile 0 is the lower end of the first bucket, 1 the largest value of the last.
  public func quantile(_ q: Double) -> Double? {
    guard count > 0, let first = buckets.first, let last = buckets.last else { return nil }
    if !(q > 0) { return Double(first.low) }
    if q >= 1 { return Double(last.end - 1) }
    let rank = q * Double(count)
    var seen = 0.0
    for bucket in buckets {
      let inside = Double(bucket.count)
      if seen + inside >= rank {
        return Double(bucket.low) + (rank - seen) / inside * Double(bucket.end - 1 - bucket.low)
      }
      seen += inside
    }
    return Double(last.end - 1)
  }

  /// For each bound, how many records were less than or equal to it; a bucket that a bound cuts is split in proportion.
  /// - Parameter bounds: ascending, in the histogram's unit.
  public func cumulative(bucketsLE bounds: [Double]) -> [UInt64] {
    var result: [UInt64] = []
    result.reserveCapacity(bounds.count)
    var below: UInt64 = 0
    var next = 0
    for bound in bounds {
      while next < buckets.count, Double(buckets[next].end - 1) <= bound {
        below &+= buckets[next].count
        next += 1
      }
      var total = below
      if next < buckets.count, Double(buckets[next].low) <= bound {
        let bucket = buckets[next]
        // The integers low … ⌊bound⌋ of the bucket lie within the bound.
        let share = (bound.rounded(.down) - Double(bucket.low) + 1) / Double(bucket.end - bucket.low)
        total &+= min(bucket.count, UInt64(max(0, Double(bucket.count) * share)))
      }
      result.append(total)
    }
    return result
  }
}
