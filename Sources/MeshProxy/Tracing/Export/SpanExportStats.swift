import MeshPrimitives

/// `tracing.zipkin.…` and `tracing.opentelemetry.…`: what has become of spans. Envoy's names as far as it has them.
enum SpanExportStat: Int, StatSet {
  case spansSent, spansDropped, spansWaiting
  case timerFlushed
  case reportsSent, reportsDropped, reportsFailed, reportsRetried, reportsSkippedNoCluster

  var definition: StatDefinition {
    switch self {
    case .spansSent: .counter("spans_sent", "Spans that were sent to a collector.")
    case .spansDropped:
      .counter("spans_dropped", "Spans that were lost: too many were waiting, or a collector did not take them.")
    case .spansWaiting: .gauge("spans_waiting", "Spans that wait to be sent.")
    case .timerFlushed:
      .counter("timer_flushed", "Times that spans were handed over because their time had come, and not their number.")
    case .reportsSent: .counter("reports_sent", "Reports that a collector has taken.")
    case .reportsDropped: .counter("reports_dropped", "Reports that a collector has not taken.")
    case .reportsFailed: .counter("reports_failed", "Reports that got no answer.")
    case .reportsRetried: .counter("reports_retried", "Reports that were sent once more.")
    case .reportsSkippedNoCluster:
      .counter(
        "reports_skipped_no_cluster", "Reports that were not sent because there is no cluster of the collector's name.")
    }
  }
}

/// `tracing.opentelemetry.…`: what only OTLP can tell.
enum OTLPExportStat: Int, StatSet {
  case spansRejected

  var definition: StatDefinition {
    .counter("spans_rejected", "Spans of which a collector said that it does not want them.")
  }
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
