import MeshPrimitives

/// `tracing.zipkin.…` and `tracing.opentelemetry.…`: what has become of spans. Envoy's names as far as it has them.
enum SpanExportStat: Int, StatSet {
  case spansSent, spansDropped, spansWaiting
  case timerFlushed
  case reportsSent, reportsDropped, reportsFailed, reportsRetried, reportsSkippedNoCluster

  var definition: StatDefinition {
    switch self {
    case .spansSent: .counter("spans_sent")
    case .spansDropped: .counter("spans_dropped")
    case .spansWaiting: .gauge("spans_waiting")
    case .timerFlushed: .counter("timer_flushed")
    case .reportsSent: .counter("reports_sent")
    case .reportsDropped: .counter("reports_dropped")
    case .reportsFailed: .counter("reports_failed")
    case .reportsRetried: .counter("reports_retried")
    case .reportsSkippedNoCluster: .counter("reports_skipped_no_cluster")
    }
  }
}

/// `tracing.opentelemetry.…`: what only OTLP can tell.
enum OTLPExportStat: Int, StatSet {
  case spansRejected

  var definition: StatDefinition { .counter("spans_rejected") }
}

/// The statistics of all providers of one kind.
final class SpanExportStats: Sendable {
  let block: StatBlock<SpanExportStat>
  /// nil unless the provider speaks OTLP.
  let otlp: StatBlock<OTLPExportStat>?

  init(_ store: StatsStore, isOTLP: Bool) {
    let kind = isOTLP ? "opentelemetry" : "zipkin"
    let prometheus = PrometheusScope("envoy_tracing_\(kind)")
    block = store.scope("tracing.\(kind)", prometheus: prometheus)
    otlp = isOTLP ? store.scope("tracing.\(kind)", prometheus: prometheus) : nil
  }
}
