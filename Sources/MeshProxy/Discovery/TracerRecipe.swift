import MeshAPI
import MeshPrimitives

/// What a provider's tracer is made of. Lives while a configuration is compiled.
struct TracerRecipe {
  enum Kind {
    case zipkin(serviceName: String)
    case zipkinProtobuf(serviceName: String)
    case otlp
  }

  let kind: Kind
  let collector: SpanCollector
  let propagation: TraceFormats
  var sharesSpans = false
  var makesServerSpans = false
  var makes64BitIDs = false
  let sampler: TraceSampler?
  /// How many spans may wait for their export in each worker's share; nil: as many as there are bytes for.
  let waitingSpans: Int?

  func make(_ identities: Identities) -> Tracer {
    let name = collector.isOTLP ? "opentelemetry" : "zipkin"
    let rules = SpanFlushRules(
      minimumSpans: identities.runtime.value("tracing.\(name).min_flush_spans"),
      interval: identities.runtime.value("tracing.\(name).flush_interval_ms"))
    // The last lane is the main thread's.
    let workers = max(1, identities.store.lanes - 1)
    let outlet = SpanOutlet(
      collector, limits: .init(spans: waitingSpans.map { $0 * workers } ?? .max),
      stats: SpanExportStats(identities.store, isOTLP: collector.isOTLP), flushRules: rules,
      exporters: identities.spanExporters)
    let format: Tracer.Format =
      switch kind {
      case .otlp: .otlp
      case .zipkin(let serviceName):
        .zipkin(ZipkinSpanFormat(serviceName: serviceName, address: identities.hostAddress))
      case .zipkinProtobuf(let serviceName):
        .zipkinProtobuf(.init(serviceName: serviceName, address: identities.hostAddress))
      }
    return Tracer(
      format: format, propagation: propagation, prefersB3: !collector.isOTLP, sharesSpans: sharesSpans,
      makesServerSpans: makesServerSpans, makes64BitIDs: makes64BitIDs, sampler: sampler, flushRules: rules,
      recordsUnsampled: RuntimeFraction(identities.runtime.value("tracing.record_unsampled"), or: .none),
      receiver: outlet)
  }
}

/// What makes two providers the same.
struct TracerKey: Hashable {
  let type: String
  let config: [UInt8]
  /// The proxy itself: its cluster is the name of the service.
  let node: Node
}
