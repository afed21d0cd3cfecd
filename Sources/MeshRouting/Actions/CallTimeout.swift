import MeshPrimitives

/// What becomes of the timeout that a call of gRPC brings along (`grpc-timeout`).
public struct CallTimeout: Sendable {
  /// What it takes the place of.
  public enum Kind: Sendable {
    /// `max_stream_duration`: it bounds the whole stream.
    case stream
    /// `timeout`: it bounds the response (`max_grpc_timeout`).
    case response
  }

  public let kind: Kind
  /// The most that it may say; zero: any time.
  public let maximum: Nanoseconds
  /// Subtracted from it, unless nothing would be left.
  public let offset: Nanoseconds

  /// What a call may take; nil: the call does not say, and has no other bound here.
  /// - Parameter asked: what the call says; nil: nothing.
  public func limit(_ asked: Nanoseconds?) -> Nanoseconds? {
    guard var limit = asked else { return kind == .response && maximum != .zero ? maximum : nil }
    if offset < limit { limit = Nanoseconds(rawValue: limit.rawValue - offset.rawValue) }
    return maximum == .zero ? limit : min(limit, maximum)
  }

  /// Reads a `grpc-timeout`: at most eight digits and a unit (`H`, `M`, `S`, `m`, `u`, `n`); nil if it is none. At least a
  /// millisecond, as in Envoy.
  public static func parse(_ value: Bytes) -> Nanoseconds? {
    guard value.count >= 2, value.count <= 9, let unit = value.last else { return nil }
    var number: UInt64 = 0
    for byte in value.slice(0, value.count - 1) {
      guard byte &- 0x30 < 10 else { return nil }
      number = number * 10 + UInt64(byte - 0x30)
    }
    let nanoseconds: UInt64
    switch unit {
    case UInt8(ascii: "H"): nanoseconds = 3_600_000_000_000
    case UInt8(ascii: "M"): nanoseconds = 60_000_000_000
    case UInt8(ascii: "S"): nanoseconds = 1_000_000_000
    case UInt8(ascii: "m"): nanoseconds = 1_000_000
    case UInt8(ascii: "u"): nanoseconds = 1_000
    case UInt8(ascii: "n"): nanoseconds = 1
    default: return nil
    }
    // 10^8 hours are 3.6 × 10^20 ns; a deadline is to fit, too.
    let (product, overflow) = number.multipliedReportingOverflow(by: nanoseconds)
    return Nanoseconds(rawValue: overflow ? .max / 4 : min(max(product, 1_000_000), .max / 4))
  }
}
