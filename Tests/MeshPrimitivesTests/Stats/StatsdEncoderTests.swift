import MeshPrimitives
import Testing

private enum ThingsStat: Int, StatSet {
  case requests, active

  var definition: StatDefinition {
    switch self {
    case .requests: .counter("upstream_rq_total", "Requests.")
    case .active: .gauge("upstream_rq_active", "Requests in flight.")
    }
  }
}

@Suite struct StatsdEncoderTests {
  private static func cluster(_ name: String) -> PrometheusScope {
    PrometheusScope("envoy_cluster", labels: [("envoy_cluster_name", name)])
  }

  private static func flush(_ encoder: inout StatsdEncoder, _ store: StatsStore) -> [String] {
    var lines: [String] = []
    encoder.begin(store)
    while encoder.next({ lines.append(String(decoding: $0, as: UTF8.self)) }) {}
    #expect(!encoder.isFlushing)
    return lines
  }

  @Test func countersSayWhatCameAndGaugesWhatIs() {
    let store = StatsStore(lanes: 1)
    let block = store.scope("cluster.a", prometheus: Self.cluster("a"), ThingsStat.self)
    var encoder = StatsdEncoder(prefix: "", hasTags: false)
    #expect(Self.flush(&encoder, store).isEmpty)
    block.lane(0).add(.requests, 3)
    block.lane(0).add(.active, 2)
    #expect(
      Self.flush(&encoder, store) == [
        "envoy.cluster.a.upstream_rq_total:3|c", "envoy.cluster.a.upstream_rq_active:2|g",
      ])
    block.lane(0).add(.requests, 4)
    block.lane(0).subtract(.active, 2)
    #expect(
      Self.flush(&encoder, store) == [
        "envoy.cluster.a.upstream_rq_total:4|c", "envoy.cluster.a.upstream_rq_active:0|g",
      ])
    #expect(Self.flush(&encoder, store).first == "envoy.cluster.a.upstream_rq_total:0|c")
    store.resetCounters()
    block.lane(0).add(.requests, 2)
    #expect(Self.flush(&encoder, store).first == "envoy.cluster.a.upstream_rq_total:2|c")
  }

  @Test func namesOfClustersAreTags() {
    let store = StatsStore(lanes: 1)
    store.scope("cluster.cluster.b", prometheus: Self.cluster("cluster.b"), ThingsStat.self).lane(0).add(.requests)
    let codes = store.responseCodes(
      "cluster.a.external", stem: "upstream_rq",
      prometheus: PrometheusScope("envoy_cluster_external", labels: [("envoy_cluster_name", "a")]),
      detail: .classesAndCodes)
    codes.lane(0).add(503)
    var encoder = StatsdEncoder(prefix: "p", hasTags: true)
    #expect(
      Self.flush(&encoder, store).sorted() == [
        "p.cluster.external.upstream_rq:1|c|#envoy.response_code:503,envoy.cluster_name:a",
        "p.cluster.external.upstream_rq_xx:1|c|#envoy.response_code_class:5,envoy.cluster_name:a",
        "p.cluster.upstream_rq_total:1|c|#envoy.cluster_name:cluster.b",
      ])
  }

  @Test func namesWithSeveralTags() {
    let store = StatsStore(lanes: 1)
    let labels = [("envoy_worker_id", "0"), ("envoy_listener_address", "127.0.0.1_80")]
    store.scope(
      "listener.127.0.0.1_80.worker_0", prometheus: PrometheusScope("envoy_listener_worker", labels: labels),
      ThingsStat.self
    ).lane(0).add(.active)
    // One whose name for Prometheus is not its own.
    store.scope("odd.name", prometheus: PrometheusScope("envoy_x", labels: [("envoy_y", "z")]), ThingsStat.self)
      .lane(0).add(.active)
    var encoder = StatsdEncoder(prefix: "", hasTags: true)
    #expect(
      Self.flush(&encoder, store).sorted() == [
        "envoy.listener.worker_upstream_rq_active:1|g|#envoy.worker_id:0,envoy.listener_address:127.0.0.1_80",
        "envoy.x.upstream_rq_active:1|g|#envoy.y:z",
      ])
  }

  @Test func labelledSeries() {
    let store = StatsStore(lanes: 1)
    var labels = LabelSet()
    labels.append("reporter", Array("source".utf8))
    labels.append("response_flags", Array("a,b|c".utf8))
    let family = store.labelled.counter(namespace: "istio", "requests_total", help: "Requests.")
    family.series(labels, overflow: LabelSet(), maximum: 10).counter?.lane(0).add(.count, 2)
    var tagged = StatsdEncoder(prefix: "", hasTags: true)
    #expect(
      Self.flush(&tagged, store)
        == ["envoy.istiocustom.istio_requests_total:2|c|#reporter:source,response_flags:a_b_c"])
    var plain = StatsdEncoder(prefix: "", hasTags: false)
    #expect(
      Self.flush(&plain, store)
        == ["envoy.istiocustom.istio_requests_total.reporter.source.response_flags.a,b_c:2|c"])
  }

  @Test func whatMeansSomethingInALineIsTakenOut() {
    let store = StatsStore(lanes: 1)
    let name = "a|b:c#d@e,f\ng"
    store.scope("cluster.\(name)", prometheus: Self.cluster(name), ThingsStat.self).lane(0).add(.requests)
    var plain = StatsdEncoder(prefix: "", hasTags: false)
    #expect(Self.flush(&plain, store) == ["envoy.cluster.a_b_c_d_e,f_g.upstream_rq_total:1|c"])
    var tagged = StatsdEncoder(prefix: "", hasTags: true)
    #expect(Self.flush(&tagged, store) == ["envoy.cluster.upstream_rq_total:1|c|#envoy.cluster_name:a_b:c_d_e_f_g"])
  }

  @Test func timersStandForManyValues() {
    let store = StatsStore(lanes: 2)
    let histogram = store.histogram(
      "cluster.a", HistogramDefinition(name: "upstream_rq_time"), prometheus: Self.cluster("a"))
    histogram.lane(0).record(12)
    for _ in 0..<40 { histogram.lane(1).record(14_000) }
    var encoder = StatsdEncoder(prefix: "", hasTags: false)
    #expect(
      Self.flush(&encoder, store) == [
        "envoy.cluster.a.upstream_rq_time:0.012|ms", "envoy.cluster.a.upstream_rq_time:14.08|ms|@0.025",
      ])
    #expect(Self.flush(&encoder, store).isEmpty)
    for _ in 0..<3 { histogram.lane(0).record(12) }
    #expect(Self.flush(&encoder, store) == ["envoy.cluster.a.upstream_rq_time:0.012|ms|@0.333333333333"])
    store.resetCounters()
    histogram.lane(0).record(12)
    #expect(Self.flush(&encoder, store) == ["envoy.cluster.a.upstream_rq_time:0.012|ms"])
  }

  @Test func timersAreBounded() {
    let store = StatsStore(lanes: 1)
    let histogram = store.histogram(
      "cluster.a", HistogramDefinition(name: "upstream_rq_time"), prometheus: Self.cluster("a"))
    var count = 0
    for power in 0..<36 {
      for step in 0..<16 {
        histogram.lane(0).record((UInt64(16 + step) << UInt64(power)) >> 4)
        count += 1
      }
    }
    var encoder = StatsdEncoder(prefix: "", hasTags: true)
    let lines = Self.flush(&encoder, store)
    #expect(lines.count <= StatsdEncoder.maximumTimerLines && lines.count > 8)
    // What the rates say together is what was recorded.
    let told = lines.reduce(0.0) { sum, line in
      let rate = line.split(separator: "|").first { $0.hasPrefix("@") }.flatMap { Double($0.dropFirst()) } ?? 1
      return sum + 1 / rate
    }
    #expect(abs(told - Double(count)) < 0.001)
  }

  @Test func aMatcherHoldsForSinks() {
    var rules = StatsRules()
    rules.shows = { $0.text.contains("active") }
    let store = StatsStore(lanes: 1, rules: rules)
    let block = store.scope("cluster.a", prometheus: Self.cluster("a"), ThingsStat.self)
    block.lane(0).add(.requests)
    block.lane(0).add(.active)
    var encoder = StatsdEncoder(prefix: "", hasTags: false)
    #expect(Self.flush(&encoder, store) == ["envoy.cluster.a.upstream_rq_active:1|g"])
  }
}
