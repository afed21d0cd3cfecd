import MeshPrimitives

/// Istio's standard metrics.
enum IstioMetric: Int, CaseIterable, Sendable {
  case requests, requestDuration, requestBytes, responseBytes
  case requestMessages, responseMessages
  case sentBytes, receivedBytes, connectionsOpened, connectionsClosed

  /// Without the `istio_` that all of them begin with.
  var name: StaticString {
    switch self {
    case .requests: "requests_total"
    case .requestDuration: "request_duration_milliseconds"
    case .requestBytes: "request_bytes"
    case .responseBytes: "response_bytes"
    case .requestMessages: "request_messages_total"
    case .responseMessages: "response_messages_total"
    case .sentBytes: "tcp_sent_bytes_total"
    case .receivedBytes: "tcp_received_bytes_total"
    case .connectionsOpened: "tcp_connections_opened_total"
    case .connectionsClosed: "tcp_connections_closed_total"
    }
  }

  fileprivate var help: StaticString {
    switch self {
    case .requests: "Requests."
    case .requestDuration: "Time from a request's head to the end of its response."
    case .requestBytes: "Size of requests, heads included."
    case .responseBytes: "Size of responses, heads included."
    case .requestMessages: "Messages of gRPC from clients."
    case .responseMessages: "Messages of gRPC to clients."
    case .sentBytes: "Bytes of TCP connections to clients."
    case .receivedBytes: "Bytes of TCP connections from clients."
    case .connectionsOpened: "TCP connections that have begun."
    case .connectionsClosed: "TCP connections that have ended."
    }
  }

  /// What recorded values are divided by when they are shown; nil: it is a counter.
  fileprivate var scale: UInt64? {
    switch self {
    case .requestDuration: 1_000
    case .requestBytes, .responseBytes: 1
    default: nil
    }
  }
}

/// `istio_stats.…`: what reporting itself is like.
public enum IstioStat: Int, StatSet {
  case series, overflow, evicted, metadataRefused

  public var definition: StatDefinition {
    switch self {
    case .series: .gauge("series", "Series of all of Istio's metrics.")
    case .overflow: .counter("series_overflow_total", "Combinations of labels that found no room.")
    case .evicted: .counter("series_evicted_total", "Series that were removed because nothing was counted in them.")
    case .metadataRefused:
      .counter("peer_metadata_refused_total", "Peers whose metadata was too long or could not be decoded.")
    }
  }
}

/// Where Istio's metrics are counted. The same for all that report; any thread.
final class IstioMetrics: Sendable {
  /// By `IstioMetric.rawValue`.
  private let families: [LabelledFamily]
  let stats: StatBlock<IstioStat>
  private let store: StatsStore
  /// Series of one metric; more labels than that are counted together.
  private let maximum: RuntimeValue
  private let log = RateLimitedLog(Log.filter, perSecond: 1)

  static let defaultMaximum: UInt64 = 10_000
  /// The setting that replaces it.
  static let maximumKey = "istio_stats.max_series_per_metric"
  /// What the series that stands in for others is known by, as in OpenTelemetry.
  static let overflowLabel: StaticString = "otel_metric_overflow"

  static func stats(_ store: StatsStore) -> StatBlock<IstioStat> {
    store.scope("istio_stats", prometheus: PrometheusScope("envoy_istio_stats"))
  }

  /// Whoever reads statistics has asked for requests that show what they were made of.
  var keepsExemplars: Bool { store.keepsExemplars }

  init(_ store: StatsStore, _ runtime: Runtime) {
    self.store = store
    families = IstioMetric.allCases.map { metric in
      guard let scale = metric.scale else {
        return store.labelled.counter(namespace: "istio", metric.name, help: metric.help)
      }
      return store.labelled.histogram(namespace: "istio", metric.name, help: metric.help, scale: scale)
    }
    stats = Self.stats(store)
    maximum = runtime.value(Self.maximumKey)
  }

  /// The series of `labels`, made at the first call. Takes a lock: keep it.
  /// - Parameter reporter: goes on telling one side from the other where there is no room for labels.
  func series(
    _ metric: IstioMetric, _ labels: LabelSet, reporter: StaticString, lane: Int
  ) -> LabelledFamily.Series {
    let limit = Int(clamping: maximum.integer(or: Self.defaultMaximum))
    let series = families[metric.rawValue].series(labels, overflow: Self.overflow(reporter), maximum: limit)
    if series.isNew { stats.lane(lane).add(.series) }
    if series.isOverflow {
      stats.lane(lane).add(.overflow)
      log.warning(
        "istio_\(metric.name) has \(limit) series: what has other labels is counted in one more "
          + "(\(Self.overflowLabel)=\"true\")")
    }
    return series
  }

  private static func overflow(_ reporter: StaticString) -> LabelSet {
    var labels = LabelSet()
    labels.append("reporter", reporter)
    labels.append(overflowLabel, "true")
    return labels
  }
}
