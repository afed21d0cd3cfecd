import MeshPrimitives
import Testing

private enum RequestStat: Int, StatSet {
  case requests, overflow, active, total

  var definition: StatDefinition {
    switch self {
    case .requests: .counter("downstream_rq_total", "Requests.")
    case .overflow: .counter("rq_overflow", "Requests refused.")
    case .active: .gauge("rq_active", "Requests in flight.")
    case .total: .counter("upstream_rq_total", "Requests sent on.")
    }
  }
}

@Suite struct MetricsReportTests {
  private static let scope = PrometheusScope("envoy_http", labels: [("envoy_http_conn_manager_prefix", "in")])

  private static func store() -> (StatsStore, StatBlock<RequestStat>, LatencyHistogram) {
    let store = StatsStore(lanes: 2)
    let block = store.scope("http.in", prometheus: scope, RequestStat.self)
    block.lane(0).add(.requests, 3)
    block.lane(1).add(.active, 2)
    let codes = store.responseCodes("http.in", stem: "upstream_rq", prometheus: scope, detail: .classesAndCodes)
    codes.lane(1).add(200)
    let time = store.histogram(
      "http.in", HistogramDefinition(name: "downstream_rq_time", help: "Times, in milliseconds."), prometheus: scope)
    time.lane(0).record(700)
    return (store, block, time)
  }

  private static func text(
    _ store: StatsStore, _ exposition: MetricsReport.Exposition, _ histograms: MetricsReport.Histograms = .buckets,
    softLimit: Int = .max
  ) -> String {
    var report = MetricsReport(store, exposition, histograms: histograms)
    var output: [UInt8] = []
    while report.write(into: &output, softLimit: softLimit) {}
    return String(decoding: output, as: UTF8.self)
  }

  @Test func everyFamilySaysWhatItIs() {
    let text = Self.text(Self.store().0, .text)
    #expect(
      text.contains(
        """
        # HELP envoy_http_downstream_rq_total Requests.
        # TYPE envoy_http_downstream_rq_total counter
        envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="in"} 3

        """))
    #expect(text.contains("# HELP envoy_http_downstream_rq_time Times, in milliseconds.\n"))
    #expect(
      text.contains(
        "# HELP envoy_http_upstream_rq Responses by status.\n# TYPE envoy_http_upstream_rq counter\n"
          + "envoy_http_upstream_rq{envoy_response_code=\"200\",envoy_http_conn_manager_prefix=\"in\"} 1\n"))
    #expect(!text.contains("EOF"))
  }

  @Test func openMetricsKeepsNames() {
    let text = Self.text(Self.store().0, .openMetrics)
    #expect(
      text.contains(
        """
        # HELP envoy_http_downstream_rq Requests.
        # TYPE envoy_http_downstream_rq counter
        envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="in"} 3

        """))
    // Not a counter's name there.
    #expect(text.contains("# TYPE envoy_http_rq_overflow unknown\nenvoy_http_rq_overflow{"))
    // Without its end it would be the name of responses by status.
    #expect(text.contains("# TYPE envoy_http_upstream_rq_total unknown\nenvoy_http_upstream_rq_total{"))
    #expect(text.contains("# TYPE envoy_http_upstream_rq unknown\n"))
    #expect(text.contains("le=\"1.0\"} 1\n"))
    #expect(text.contains("le=\"0.5\"} 0\n"))
    #expect(text.hasSuffix("\n# EOF\n"))
  }

  @Test func unitsAreNamed() {
    let store = StatsStore(lanes: 1)
    _ = store.counter("a", "tx_bytes_total", help: "Bytes.", prometheus: PrometheusScope("envoy_a"))
    _ = store.histogram("a", HistogramDefinition(name: "length_ms"), prometheus: PrometheusScope("envoy_a"))
    let text = Self.text(store, .openMetrics)
    #expect(
      text.contains("# TYPE envoy_a_tx_bytes counter\n# UNIT envoy_a_tx_bytes bytes\nenvoy_a_tx_bytes_total{} 0\n"))
    #expect(text.contains("# UNIT envoy_a_length_ms ms\n"))
  }

  @Test func exemplarsStandBehindTheirBucketAndTheirCounter() {
    let (store, _, time) = Self.store()
    func note(_ value: UInt64, _ id: UInt64, at time: UInt64, lane: Int) -> Exemplar {
      Exemplar(traceIDHigh: 0x0123_4567_89ab_cdef, traceIDLow: id, spanID: 7, value: value, time: time)
    }
    time.note(note(700, 0xa, at: 1_700_000_000_123_456_789, lane: 0), lane: 0)
    time.note(note(900, 0xb, at: 1_700_000_001_000_000_000, lane: 1), lane: 1)
    time.note(note(4_000_000_000, 0xc, at: 1_600_000_000_000_000_000, lane: 1), lane: 1)
    let text = Self.text(store, .openMetrics)
    let newest =
      "# {trace_id=\"0123456789abcdef000000000000000b\",span_id=\"0000000000000007\"} "
    #expect(text.contains("le=\"1.0\"} 1 \(newest)0.9 1700000001.000\n"))
    #expect(text.contains("le=\"0.5\"} 0\n"))
    #expect(text.contains("le=\"5.0\"} 1\n"))
    #expect(text.contains("le=\"+Inf\"} 1 # {trace_id=\"0123456789abcdef000000000000000c\""))
    #expect(text.contains("downstream_rq_total{envoy_http_conn_manager_prefix=\"in\"} 3 \(newest)1 1700000001.000\n"))
    #expect(!Self.text(store, .text).contains("trace_id"))
    store.resetCounters(at: 1_700_000_000_500_000_000)
    let later = Self.text(store, .openMetrics)
    #expect(later.contains("000000000000000b") && !later.contains("000000000000000c"))
  }

  @Test func exemplarsAreReplacedByPowerOfTwo() {
    let histogram = LatencyHistogram(lanes: 1)
    #expect(histogram.exemplars.isEmpty)
    for value in [0, 1, 5, 6, 7, 8, UInt64.max] {
      histogram.note(Exemplar(traceIDHigh: 0, traceIDLow: 1, spanID: 0, value: value, time: value), lane: 0)
    }
    #expect(histogram.exemplars.map(\.value) == [0, 1, 7, 8, UInt64.max])
  }

  @Test func histogramsByQuantiles() {
    let (store, _, _) = Self.store()
    let text = Self.text(store, .text, .quantiles)
    #expect(text.contains("# TYPE envoy_http_downstream_rq_time summary\n"))
    #expect(text.contains("envoy_http_downstream_rq_time{envoy_http_conn_manager_prefix=\"in\",quantile=\"0.5\"} 0."))
    #expect(text.contains("envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix=\"in\"} 1\n"))
    store.resetCounters()
    #expect(Self.text(store, .openMetrics, .quantiles).contains("quantile=\"0.0\"} NaN\n"))
  }

  @Test func portionsMakeTheSameWhole() {
    let store = StatsStore(lanes: 1)
    for name in 0..<50 {
      _ = store.scope(
        "http.\(name)", prometheus: PrometheusScope("envoy_http", labels: [("envoy_name", "\(name)")]), RequestStat.self
      )
    }
    for exposition in [MetricsReport.Exposition.text, .openMetrics, .protobuf] {
      #expect(Self.text(store, exposition, softLimit: 1) == Self.text(store, exposition))
    }
  }

  /// Two kinds of things that call a metric alike: one family, and no row of one is looked for in the other.
  @Test func familiesAreOfOneName() {
    let store = StatsStore(lanes: 1)
    _ = store.scope("http.in", prometheus: Self.scope, RequestStat.self)
    let other = PrometheusScope("envoy_http", labels: [("envoy_caller", "a")])
    store.counter("http.in.a", "downstream_rq_total", help: "By caller.", prometheus: other).lane(0).add(.count)
    let text = Self.text(store, .text)
    #expect(
      text.contains(
        """
        # TYPE envoy_http_downstream_rq_total counter
        envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="in"} 0
        envoy_http_downstream_rq_total{envoy_caller="a"} 1

        """))
    #expect(text.components(of: "# TYPE envoy_http_downstream_rq_total") == 1)
  }

  @Test func aFilterCanBeInverted() throws {
    var options = StatsOptions(filter: try RegularExpression("rq_"))
    options.isInverted = true
    var output: [UInt8] = []
    let store = Self.store().0
    _ = store.counter("a", "cx", help: "", prometheus: PrometheusScope("envoy_a"))
    store.renderPrometheus(into: &output, options: options)
    #expect(String(decoding: output, as: UTF8.self) == "# TYPE envoy_a_cx counter\nenvoy_a_cx{} 0\n")
  }
}

extension String {
  fileprivate func components(of part: String) -> Int { ranges(of: part).count }
}
