import MeshIO
import MeshPrimitives
import Synchronization

/// The way of finished spans from all workers to the exporter on the main thread. Bounded: what finds it full is dropped
/// and counted, whatever the main thread or a collector is doing. Any thread.
final class SpanOutlet: SpanReceiver {
  /// What may wait; what is under way is bounded by `ExportQueue.Rules`.
  struct Limits: Sendable, Equatable {
    var spans: Int
    var bytes = 8 << 20
  }

  let collector: SpanCollector
  let stats: SpanExportStats
  let flushRules: SpanFlushRules
  let limits: Limits
  private let exporters: Mailbox<SpanExporters>
  private let spans = Atomic<Int>(0)
  private let bytes = Atomic<Int>(0)
  private let dropped = Atomic<Int>(0)

  init(
    _ collector: SpanCollector, limits: Limits, stats: SpanExportStats, flushRules: SpanFlushRules,
    exporters: Mailbox<SpanExporters>
  ) {
    self.collector = collector
    self.limits = limits
    self.stats = stats
    self.flushRules = flushRules
    self.exporters = exporters
  }

  func take(_ batch: SpanBatch) {
    let spans = self.spans.wrappingAdd(batch.count, ordering: .relaxed).newValue
    let bytes = self.bytes.wrappingAdd(batch.bytes.count, ordering: .relaxed).newValue
    // An empty way takes any batch.
    guard spans <= limits.spans && bytes <= limits.bytes || spans == batch.count else {
      left(batch)
      // One word about all that is lost until the main thread has heard of it.
      if dropped.wrappingAdd(batch.count, ordering: .relaxed).oldValue == 0 {
        exporters.post { $0.exporter(of: self).countDropped() }
      }
      return
    }
    exporters.post { $0.exporter(of: self).take(batch) }
  }

  /// A batch waits no longer.
  func left(_ batch: SpanBatch) {
    spans.wrappingSubtract(batch.count, ordering: .relaxed)
    bytes.wrappingSubtract(batch.bytes.count, ordering: .relaxed)
  }

  /// How many spans were dropped since the last call.
  func takeDropped() -> Int { dropped.exchange(0, ordering: .relaxed) }

  /// How many spans wait, those included that the main thread has not heard of.
  var waiting: Int { spans.load(ordering: .relaxed) }
}
