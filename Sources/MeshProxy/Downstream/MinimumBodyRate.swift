import MeshPrimitives

/// The slowest that a client may send the body of a request: runtime keys `martlet.http.min_request_body_rate` (bytes per
/// second; 0, the default, is no bound) and `martlet.http.min_request_body_window_ms` (10,000 by default). Envoy has no
/// such bound: one byte now and then keeps its `stream_idle_timeout` away. Any thread.
struct MinimumBodyRate: Sendable {
  private let bytesPerSecond: RuntimeValue
  private let milliseconds: RuntimeValue

  init(_ runtime: Runtime) {
    bytesPerSecond = runtime.value("martlet.http.min_request_body_rate")
    milliseconds = runtime.value("martlet.http.min_request_body_window_ms")
  }

  /// How long the bytes are counted before they are judged; nil if there is no bound. 100 ms to an hour.
  var window: Nanoseconds? {
    guard bytesPerSecond.integer(or: 0) > 0 else { return nil }
    return .milliseconds(min(max(milliseconds.integer(or: 10_000), 100), 3_600_000))
  }

  /// Whether so many bytes in a time were too few.
  func isBelow(_ bytes: UInt64, in time: Nanoseconds) -> Bool {
    Double(bytes) < Double(bytesPerSecond.integer(or: 0)) * (Double(time.rawValue) / 1e9)
  }
}
