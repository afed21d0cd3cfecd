internal import CLinux
import MeshPrimitives

/// The clocks of this machine. On a loop's thread prefer `EventLoop.now` and `EventLoop.wallClock`.
public enum ProcessClock {
  /// CLOCK_MONOTONIC.
  public static func monotonic() -> MonotonicTime { MonotonicTime(nanoseconds: clinux_monotonic_ns()) }

  /// Nanoseconds since 1970 (UTC).
  public static func wall() -> UInt64 { clinux_wall_ns() }
}
