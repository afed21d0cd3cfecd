import MeshPrimitives
import Testing

enum OtherStat: Int, StatSet {
  case live
  var definition: StatDefinition { .gauge("live") }
}

@Suite struct StatsStoreTests {
  static func cluster(_ name: String) -> PrometheusScope {
    PrometheusScope("envoy_cluster", labels: [("envoy_cluster_name", name)])
  }

  static func text(_ body: (inout [UInt8]) -> Void) -> String {
    var output: [UInt8] = []
    body(&output)
    return String(decoding: output, as: UTF8.self)
  }

  @Test func theSamePrefixGivesTheSameBlock() {
    let store = StatsStore(lanes: 2)
    let a = store.scope("cluster.a", prometheus: Self.cluster("a"), ThingStat.self)
    a.lane(0).add(.requests)
    #expect(store.scope("cluster.a", prometheus: Self.cluster("a"), ThingStat.self) === a)
    #expect(store.scope("cluster.b", prometheus: Self.cluster("b"), ThingStat.self) !== a)
  }

  @Test func statisticsAreShownForAsLongAsTheyAreHeld() {
    let store = StatsStore(lanes: 1)
    for name in ["a", "ab", "a.b"] {
      _ = store.scope("cluster.\(name)", prometheus: Self.cluster(name), ThingStat.self)
    }
    var leases = [store.lease("cluster.a")]
    leases.append(store.lease("cluster.a"))
    #expect(leases[0] === leases[1])
    store.scope("cluster.a", prometheus: Self.cluster("a"), ThingStat.self).lane(0).add(.requests)
    leases.removeLast()
    #expect(Self.text { store.renderText(into: &$0) }.contains("cluster.a.upstream_rq_total: 1"))
    leases.removeLast()
    let text = Self.text { store.renderText(into: &$0) }
    #expect(!text.contains("cluster.a.upstream_rq_total"))
    #expect(text.contains("cluster.ab.upstream_rq_total") && text.contains("cluster.a.b.upstream_rq_total"))
    #expect(store.scope("cluster.a", prometheus: Self.cluster("a"), ThingStat.self).total(.requests) == 0)
  }

  @Test func aLaneCanBeShownByItself() {
    let store = StatsStore(lanes: 2)
    let block = store.scope("listener.x", prometheus: Self.cluster("x"), ThingStat.self)
    for lane in 0..<2 {
      store.show(
        [.requests, .active], of: block, lane: lane, under: "listener.x.worker_\(lane)", prometheus: Self.cluster("x"))
    }
    block.lane(0).add(.requests, 3)
    block.lane(1).add(.requests, 4)
    block.lane(1).add(.active)
    func text() -> String { Self.text { store.renderText(into: &$0) } }
    #expect(text().contains("listener.x.worker_0.upstream_rq_total: 3\n"))
    #expect(text().contains("listener.x.worker_1.upstream_rq_total: 4\n"))
    #expect(text().contains("listener.x.upstream_rq_total: 7\n"))
    store.resetCounters()
    block.lane(1).add(.requests)
    #expect(text().contains("listener.x.worker_0.upstream_rq_total: 0\n"))
    #expect(text().contains("listener.x.worker_1.upstream_rq_total: 1\n"))
    #expect(text().contains("listener.x.worker_1.upstream_rq_active: 1\n"))
  }

  @Test func textIsSortedByFullName() {
    let store = StatsStore(lanes: 1)
    let a = store.scope("cluster.a", prometheus: Self.cluster("a"), ThingStat.self)
    _ = store.scope("cluster.a-b", prometheus: Self.cluster("a-b"), ThingStat.self)
    _ = store.scope("cluster.a.t", prometheus: Self.cluster("a.t"), ThingStat.self)
    _ = store.scope("server", prometheus: PrometheusScope("envoy_server"), OtherStat.self)
    a.lane(0).add(.requests, 12)
    a.lane(0).subtract(.active)
    let codes = store.responseCodes(
      "cluster.a", stem: "upstream_rq", prometheus: Self.cluster("a"), detail: .classesAndCodes)
    codes.lane(0).add(503)
    let text = Self.text { store.renderText(into: &$0) }
    #expect(
      text == """
        cluster.a-b.outlier_detection.ejections: 0
        cluster.a-b.upstream_rq_active: 0
        cluster.a-b.upstream_rq_total: 0
        cluster.a.outlier_detection.ejections: 0
        cluster.a.t.outlier_detection.ejections: 0
        cluster.a.t.upstream_rq_active: 0
        cluster.a.t.upstream_rq_total: 0
        cluster.a.upstream_rq_503: 1
        cluster.a.upstream_rq_5xx: 1
        cluster.a.upstream_rq_active: -1
        cluster.a.upstream_rq_total: 12
        server.live: 0

        """)
    let lines = text.split(separator: "\n").map { $0.prefix { $0 != ":" } }
    #expect(lines == lines.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
    let used = Self.text { store.renderText(into: &$0, options: StatsOptions(usedOnly: true)) }
    #expect(used.split(separator: "\n").count == 4)
  }

  @Test func filters() throws {
    let store = StatsStore(lanes: 1)
    for name in ["a", "b"] { _ = store.scope("cluster.\(name)", prometheus: Self.cluster(name), ThingStat.self) }
    let options = StatsOptions(filter: try RegularExpression("^cluster\\.b.*total$"))
    #expect(Self.text { store.renderText(into: &$0, options: options) } == "cluster.b.upstream_rq_total: 0\n")
    #expect(
      Self.text { store.renderPrometheus(into: &$0, options: options) }
        == "# TYPE envoy_cluster_upstream_rq_total counter\n"
        + "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"b\"} 0\n")
    #expect(
      Self.text { store.renderJSON(into: &$0, options: options) }
        == #"{"stats":[{"name":"cluster.b.upstream_rq_total","value":0},{"histograms":{"supported_quantiles":"#
        + #"[0,25,50,75,90,95,99,99.5,99.9,100],"computed_quantiles":[]}}]}"#)
  }

  @Test func prometheusTypesOnceAndLabelsEscaped() {
    let store = StatsStore(lanes: 1)
    let strange = "q\"b\\n\nend"
    let a = store.scope("cluster.a", prometheus: Self.cluster("a"), ThingStat.self)
    _ = store.scope("cluster.s", prometheus: Self.cluster(strange), ThingStat.self)
    _ = store.scope("server", prometheus: PrometheusScope("envoy_server"), OtherStat.self)
    a.lane(0).add(.requests, 3)
    let codes = store.responseCodes(
      "cluster.a", stem: "upstream_rq", prometheus: Self.cluster("a"), detail: .classesAndCodes)
    codes.lane(0).add(503)
    codes.lane(0).add(500)
    _ = store.responseCodes(
      "http.edge", stem: "downstream_rq",
      prometheus: PrometheusScope("envoy_http", labels: [("envoy_http_conn_manager_prefix", "edge")]),
      detail: .classes)
    let text = Self.text { store.renderPrometheus(into: &$0) }
    #expect(
      text == #"""
        # TYPE envoy_cluster_upstream_rq_total counter
        envoy_cluster_upstream_rq_total{envoy_cluster_name="a"} 3
        envoy_cluster_upstream_rq_total{envoy_cluster_name="q\"b\\n\nend"} 0
        # TYPE envoy_cluster_upstream_rq_active gauge
        envoy_cluster_upstream_rq_active{envoy_cluster_name="a"} 0
        envoy_cluster_upstream_rq_active{envoy_cluster_name="q\"b\\n\nend"} 0
        # TYPE envoy_cluster_outlier_detection_ejections counter
        envoy_cluster_outlier_detection_ejections{envoy_cluster_name="a"} 0
        envoy_cluster_outlier_detection_ejections{envoy_cluster_name="q\"b\\n\nend"} 0
        # HELP envoy_cluster_upstream_rq_xx Responses by class of status.
        # TYPE envoy_cluster_upstream_rq_xx counter
        envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="a"} 2
        # HELP envoy_cluster_upstream_rq Responses by status.
        # TYPE envoy_cluster_upstream_rq counter
        envoy_cluster_upstream_rq{envoy_response_code="500",envoy_cluster_name="a"} 1
        envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="a"} 1
        # HELP envoy_http_downstream_rq_xx Responses by class of status.
        # TYPE envoy_http_downstream_rq_xx counter
        envoy_http_downstream_rq_xx{envoy_response_code_class="1",envoy_http_conn_manager_prefix="edge"} 0
        envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="edge"} 0
        envoy_http_downstream_rq_xx{envoy_response_code_class="3",envoy_http_conn_manager_prefix="edge"} 0
        envoy_http_downstream_rq_xx{envoy_response_code_class="4",envoy_http_conn_manager_prefix="edge"} 0
        envoy_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="edge"} 0
        # TYPE envoy_server_live gauge
        envoy_server_live{} 0

        """#)
  }

  @Test func histograms() {
    let store = StatsStore(lanes: 2)
    let definition = HistogramDefinition(name: "upstream_rq_time")
    let time = store.histogram("cluster.a", definition, prometheus: Self.cluster("a"))
    #expect(store.histogram("cluster.a", definition, prometheus: Self.cluster("a")) === time)
    #expect(Self.text { store.renderText(into: &$0) } == "cluster.a.upstream_rq_time: No recorded values\n")
    time.lane(0).record(8)
    time.lane(1).record(2_000_000)
    let text = Self.text { store.renderText(into: &$0) }
    #expect(text.hasPrefix("cluster.a.upstream_rq_time: P0(nan,0.008) P25(nan,0.008) P50(nan,0.008) P75(nan,"))
    let json = Self.text { store.renderJSON(into: &$0) }
    #expect(json.contains(#"{"name":"cluster.a.upstream_rq_time","values":[{"interval":null,"cumulative":0.008},"#))
    let prometheus = Self.text { store.renderPrometheus(into: &$0) }
    #expect(prometheus.hasPrefix("# TYPE envoy_cluster_upstream_rq_time histogram\n"))
    #expect(prometheus.contains("_bucket{envoy_cluster_name=\"a\",le=\"0.5\"} 1\n"))
    #expect(prometheus.contains("_bucket{envoy_cluster_name=\"a\",le=\"1000\"} 1\n"))
    #expect(prometheus.contains("_bucket{envoy_cluster_name=\"a\",le=\"2500\"} 2\n"))
    #expect(prometheus.contains("_bucket{envoy_cluster_name=\"a\",le=\"3600000\"} 2\n"))
    #expect(prometheus.contains("_bucket{envoy_cluster_name=\"a\",le=\"+Inf\"} 2\n"))
    #expect(prometheus.contains("_sum{envoy_cluster_name=\"a\"} 2000.008\n"))
    #expect(prometheus.hasSuffix("_count{envoy_cluster_name=\"a\"} 2\n"))
    store.resetCounters()
    #expect(Self.text { store.renderText(into: &$0) } == "cluster.a.upstream_rq_time: No recorded values\n")
  }

  @Test(arguments: [StatsReport.Format.text, .json])
  func portionsGiveTheSameText(format: StatsReport.Format) {
    let store = StatsStore(lanes: 2)
    for number in 0..<50 {
      let prometheus = Self.cluster("c\(number)")
      _ = store.scope("cluster.c\(number)", prometheus: prometheus, ThingStat.self)
      _ = store.histogram("cluster.c\(number)", HistogramDefinition(name: "upstream_rq_time"), prometheus: prometheus)
    }
    var whole: [UInt8] = []
    var report = StatsReport(store, format)
    let moreAfterAll = report.write(into: &whole, softLimit: .max)
    #expect(!moreAfterAll)
    var parts: [UInt8] = []
    var portions = 0
    report = StatsReport(store, format)
    while report.write(into: &parts, softLimit: 500) { portions += 1 }
    #expect(parts == whole)
    #expect(portions > 10)
    let moreAfterEnd = report.write(into: &parts)
    #expect(!moreAfterEnd)
    #expect(parts == whole)
  }

  @Test func anEmptyStore() {
    let store = StatsStore(lanes: 1)
    #expect(Self.text { store.renderText(into: &$0) } == "")
    #expect(Self.text { store.renderPrometheus(into: &$0) } == "")
    #expect(Self.text { store.renderJSON(into: &$0) }.hasPrefix(#"{"stats":[{"histograms""#))
  }

  @Test func visitsInNameOrder() {
    let store = StatsStore(lanes: 1)
    for name in ["b", "a"] { _ = store.scope("cluster.\(name)", prometheus: Self.cluster(name), ThingStat.self) }
    var names: [String] = []
    store.visit { name, _, _ in names.append(name) }
    #expect(names == names.sorted() && names.count == 6)
  }
}
