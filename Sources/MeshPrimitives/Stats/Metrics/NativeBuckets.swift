/// A histogram in Prometheus' exponential buckets.
struct NativeBuckets {
  /// 2³ buckets for each power of two: bucket i holds values above 2^((i-1)/8), up to 2^(i/8).
  static let schema = 3
  /// 2^(k/8), k from 1 to 8.
  private static let steps: [Double] = [
    1.0905077326652577, 1.1892071150027210, 1.2968395546510096, 1.4142135623730951, 1.5422108254079408,
    1.6817928305074290, 1.8340080864093424, 2,
  ]

  struct Span: Equatable {
    /// From the end of the span before; of the first one, its first bucket's number.
    var offset: Int
    var length: Int
  }

  private(set) var spans: [Span] = []
  /// Of all buckets of the spans.
  private(set) var counts: [Int64] = []
  private(set) var zeroCount: UInt64 = 0
  /// Values up to this one are in the bucket of zero.
  let zeroThreshold: Double

  init(_ histogram: ShownHistogram) {
    let scale = Double(histogram.scale)
    zeroThreshold = 0.5 / scale
    var last: Int?
    for bucket in histogram.snapshot.buckets {
      // Whole numbers are recorded: a bucket of one value lies at that value.
      let middle = (Double(bucket.low) + Double(bucket.end - 1)) / 2 / scale
      guard middle > zeroThreshold else {
        zeroCount &+= bucket.count
        continue
      }
      let index = Self.index(of: middle)
      if let last, index == last, !counts.isEmpty {
        counts[counts.count - 1] &+= Int64(clamping: bucket.count)
        continue
      }
      if let last, index == last + 1, !spans.isEmpty {
        spans[spans.count - 1].length += 1
      } else {
        spans.append(Span(offset: last.map { index - $0 - 1 } ?? index, length: 1))
      }
      counts.append(Int64(clamping: bucket.count))
      last = index
    }
  }

  /// The number of the bucket that holds a value above 0.
  static func index(of value: Double) -> Int {
    guard value.isNormal else { return 0 }
    let exponent = Int(value.exponent)
    let fraction = value.significand
    if fraction == 1 { return exponent * 8 }
    let step = steps.firstIndex { fraction <= $0 } ?? 7
    return exponent * 8 + step + 1
  }
}
