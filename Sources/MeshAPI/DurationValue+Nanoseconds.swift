import SwiftProtobuf

extension Google_Protobuf_Duration {
  /// The whole span in nanoseconds, at most `Int64.max` (292 years) and at least `Int64.min`. Never traps, whatever the
  /// fields hold.
  public var nanoseconds: Int64 {
    let (product, tooLong) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, overflow) = product.addingReportingOverflow(Int64(nanos))
    if tooLong || overflow { return seconds < 0 ? Int64.min : Int64.max }
    return sum
  }
}
