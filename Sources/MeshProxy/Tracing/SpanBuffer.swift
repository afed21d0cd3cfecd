import MeshIO
import MeshPrimitives

/// Finished spans on their way from a worker to whoever exports them: each in the collector's form, one behind the other
/// (OTLP: fields `spans` of `ScopeSpans`; Zipkin: objects with commas between them).
struct SpanBatch: Sendable {
  var bytes: [UInt8]
  /// How many spans.
  var count: Int
}

/// Takes batches from workers. From any thread; never blocks for long.
protocol SpanReceiver: AnyObject, Sendable {
  func take(_ batch: SpanBatch)
}

/// When a worker hands its spans over.
struct SpanFlushRules: Sendable {
  /// As soon as there are so many (`tracing.….min_flush_spans`, default 5), but for `patience`.
  let minimumSpans: RuntimeValue
  /// However few there are (`tracing.….flush_interval_ms`, default 5000).
  let interval: RuntimeValue

  static let defaultMinimum: UInt64 = 5
  static let defaultInterval: UInt64 = 5_000
  /// What a busy worker waits for more, so that it hands over few large batches instead of many small ones.
  static let patience = Nanoseconds.milliseconds(50)
  /// Enough for a batch, in bytes, however short the time.
  static let largestBatch = 128 * 1024
}

/// The spans that a worker has finished for one tracer. Confined to the worker.
final class SpanBuffer: TimerTarget {
  let tracer: Tracer
  let output = SpanOutput()
  private let loop: EventLoop
  private var count = 0
  private var timer: Timer?

  init(_ tracer: Tracer, loop: EventLoop) {
    self.tracer = tracer
    self.loop = loop
  }

  /// A span has been written to `output`.
  func spanWritten() {
    count += 1
    if output.count >= SpanFlushRules.largestBatch { return flush() }
    if count == 1 {
      let interval = tracer.flushRules.interval.integer(or: SpanFlushRules.defaultInterval)
      arm(.milliseconds(max(1, min(interval, 3_600_000))))
    }
    if count == max(1, tracer.flushRules.minimumSpans.integer(or: SpanFlushRules.defaultMinimum)) {
      arm(SpanFlushRules.patience)
    }
  }

  private func arm(_ span: Nanoseconds) {
    let timer = self.timer ?? Timer(loop, self)
    self.timer = timer
    timer.arm(after: span)
  }

  func timerFired(_ tag: UInt8) { flush() }

  /// Hands over what there is.
  func flush() {
    timer?.disarm()
    guard count > 0 else { return }
    tracer.receiver.take(SpanBatch(bytes: Array(output.bytes), count: count))
    output.removeAll()
    count = 0
  }
}
