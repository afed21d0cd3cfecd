/// A length of time in whole nanoseconds: what deadlines are computed with on the request path, where `Duration`'s
/// 128-bit arithmetic would cost more than the comparison it serves. Configuration speaks `Duration`.
public struct Nanoseconds: Comparable, Hashable, Sendable {
  public var rawValue: UInt64

  @inlinable @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Negative durations become zero; durations over 292 years saturate.
  public init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    if seconds < 0 || attoseconds < 0 {
      rawValue = 0
    } else {
      let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
      rawValue = overflow ? UInt64.max / 4 : min(whole, UInt64.max / 4) + UInt64(attoseconds / 1_000_000_000)
    }
  }

  @inlinable @inline(__always)
  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  public static let zero = Nanoseconds(rawValue: 0)
  @inlinable public static func milliseconds(_ n: UInt64) -> Self { Self(rawValue: n * 1_000_000) }
  @inlinable public static func seconds(_ n: UInt64) -> Self { Self(rawValue: n * 1_000_000_000) }
  /// Whole milliseconds, rounded down.
  @inlinable public var wholeMilliseconds: UInt64 { rawValue / 1_000_000 }
}

/// A point on the machine's monotonic clock (CLOCK_MONOTONIC), in nanoseconds.
public struct MonotonicTime: Comparable, Hashable, Sendable {
  public var nanoseconds: UInt64

  @inlinable @inline(__always)
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// Later than any time that will be reached: a deadline that never passes.
  @inlinable @inline(__always)
  public static var never: Self { Self(nanoseconds: .max) }

  @inlinable @inline(__always)
  public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

  @inlinable @inline(__always)
  public static func + (time: Self, span: Nanoseconds) -> Self {
    let (sum, overflow) = time.nanoseconds.addingReportingOverflow(span.rawValue)
    return Self(nanoseconds: overflow ? .max : sum)
  }

  /// The time from `earlier` to this; zero if `earlier` is later.
  @inlinable @inline(__always)
  public func since(_ earlier: Self) -> Nanoseconds {
    Nanoseconds(rawValue: nanoseconds > earlier.nanoseconds ? nanoseconds &- earlier.nanoseconds : 0)
  }
}
