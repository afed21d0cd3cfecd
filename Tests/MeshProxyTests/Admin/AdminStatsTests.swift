import MeshPrimitives
import MeshTesting
import SwiftProtobuf
import Testing

@testable import MeshProxy

@Suite("Admin /stats and /clusters")
struct AdminStatsTests {
  private static let prepare: @Sendable (FakeAdminContext) throws -> Void = { context in
    let a = context.addCluster("a")
    a.identity.stats.lane(0).add(.connectionTotal, 3)
    a.identity.stats.lane(0).add(.connectionActive, 2)
    a.identity.requestTime.lane(0).record(5_000)
    context.addCluster("b")
  }

  private static func rendered(
    _ admin: RunningAdmin, _ format: @escaping @Sendable (StatsStore, inout [UInt8]) -> Void
  ) throws -> String {
    try admin.onLoop { host in
      var output: [UInt8] = []
      format(host.context.stats, &output)
      return String(decoding: output, as: UTF8.self)
    }
  }

  @Test("the formats are those of the store")
  func formats() async throws {
    try await withAdmin(Self.prepare) { admin in
      let text = try Self.rendered(admin) { $0.renderText(into: &$1) }
      #expect(text.contains("cluster.a.upstream_cx_total: 3\n"))
      for target in ["/stats", "/stats?format=text", "/stats?format=", "/stats?type=All", "/stats?hidden=show"] {
        try #expect(admin.get(target).text == text, "\(target)")
      }
      let json = try Self.rendered(admin) { $0.renderJSON(into: &$1) }
      let response = try admin.get("/stats?format=json")
      #expect(response.text == json)
      #expect(response.value("content-type") == "application/json")
      _ = try Google_Protobuf_Value(jsonString: response.text)
      let prometheus = try Self.rendered(admin) { $0.renderPrometheus(into: &$1) }
      try #expect(admin.get("/stats/prometheus").text == prometheus)
      try #expect(admin.get("/stats?format=prometheus").text == prometheus)
      #expect(prometheus.contains("envoy_cluster_upstream_cx_total{envoy_cluster_name=\"a\"} 3\n"))
    }
  }

  @Test("filter and usedonly choose")
  func filters() async throws {
    try await withAdmin(Self.prepare) { admin in
      try #expect(
        admin.get("/stats?filter=upstream_cx_total").text
          == "cluster.a.upstream_cx_total: 3\ncluster.b.upstream_cx_total: 0\n")
      try #expect(
        admin.get("/stats?filter=%5Ecluster%5C.b%5C.upstream_cx_(total|active)$").text
          == "cluster.b.upstream_cx_active: 0\ncluster.b.upstream_cx_total: 0\n")
      try #expect(admin.get("/stats?filter=b%5C.upstream_cx_total$").text == "cluster.b.upstream_cx_total: 0\n")
      let others = try admin.get("/stats?filter=%5Ecluster%5C.[ab]%5C.upstream_cx_active&invert_filter").text
      #expect(others.contains("upstream_cx_total") && !others.contains("upstream_cx_active"))
      let used = try admin.get("/stats?usedonly").text
      #expect(used.hasPrefix("cluster.a.upstream_cx_active: 2\ncluster.a.upstream_cx_total: 3\n"))
      #expect(used.contains("cluster.a.upstream_rq_time: P0("))
      #expect(!used.contains("cluster.b"))
      try #expect(
        admin.get("/stats/prometheus?usedonly&filter=cx_total").text == """
          # HELP envoy_cluster_upstream_cx_total Connections begun.
          # TYPE envoy_cluster_upstream_cx_total counter
          envoy_cluster_upstream_cx_total{envoy_cluster_name="a"} 3

          """)
    }
  }

  @Test("type chooses the kind, in every format")
  func types() async throws {
    try await withAdmin(Self.prepare) { admin in
      try #expect(admin.get("/stats?usedonly&type=Counters").text == "cluster.a.upstream_cx_total: 3\n")
      try #expect(admin.get("/stats?usedonly&type=Gauges").text == "cluster.a.upstream_cx_active: 2\n")
      let histograms = try admin.get("/stats?usedonly&type=Histograms").text
      #expect(histograms.hasPrefix("cluster.a.upstream_rq_time: "))
      #expect(histograms.split(separator: "\n").count == 1)
      try #expect(admin.get("/stats?type=TextReadouts").text == "")
      let json = try admin.get("/stats?usedonly&type=Counters&format=json").text
      #expect(json.hasPrefix("{\"stats\":[{\"name\":\"cluster.a.upstream_cx_total\",\"value\":3}"))
      #expect(!json.contains("active"))
      let prometheus = try admin.get("/stats?usedonly&type=Gauges&format=prometheus").text
      #expect(prometheus.contains("upstream_cx_active") && !prometheus.contains("upstream_cx_total"))
      #expect(!prometheus.contains("_bucket"))
    }
  }

  @Test(
    "what is not understood is refused by name",
    arguments: [
      ("/stats?filter=(", "Invalid re2 regex: missing ): ("),
      ("/stats/prometheus?filter=*", "Invalid re2 regex: no argument for repetition operator: *"),
      ("/stats?format=active-html", "usage: /stats?format=(html|json|prometheus|openmetrics|text)\n"),
      ("/stats?type=foo", "invalid &type= param"),
      ("/stats/prometheus?format=json", "usage: /stats/prometheus?format=(text|openmetrics|protobuf)"),
      ("/stats/prometheus?histogram_buckets=prometheusnative", "unsupported prometheusnative histogram type"),
      ("/stats?histogram_buckets=x", "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|none|summary)"),
      ("/stats/prometheus?histogram_buckets=disjoint", "unsupported prometheus histogram bucket mode"),
      ("/clusters?filter=(", "Invalid re2 regex: "), ("/clusters?format=xml", "usage: /clusters?format=(json|text)"),
    ])
  func refused(target: String, text: String) async throws {
    try await withAdmin { admin in
      let response = try admin.get(target)
      #expect(response.status == 400)
      #expect(response.text.hasPrefix(text))
    }
  }

  @Test("histograms are shown as quantiles, by bounds, or by their own buckets")
  func histograms() async throws {
    try await withAdmin { context in
      let time = context.addCluster("a").identity.requestTime.lane(0)
      for _ in 0..<3 { time.record(700) }
      time.record(40_000)
    } serving: { admin in
      func text(_ query: String) throws -> String {
        try admin.get("/stats?filter=a%5C.upstream_rq_time$&\(query)").text
      }
      try #expect(text("histogram_buckets=summary") == text(""))
      try #expect(text("histogram_buckets=none") == text(""))
      try #expect(
        text("histogram_buckets=cumulative").hasPrefix(
          "cluster.a.upstream_rq_time: B0.5(0,0) B1(0,3) B5(0,3) B10(0,3) B25(0,3) B50(0,4) B100(0,4) "))
      try #expect(
        text("histogram_buckets=disjoint").hasPrefix(
          "cluster.a.upstream_rq_time: B0.5(0,0) B1(0,3) B5(0,0) B10(0,0) B25(0,0) B50(0,1) B100(0,0) "))
      let detailed = try text("histogram_buckets=detailed")
      #expect(detailed.hasPrefix("cluster.a.upstream_rq_time:\n  totals=0.672,0.032:3, "), "\(detailed)")
      #expect(detailed.contains("\n  intervals=\n  summary=P0(nan,"))
      for style in ["summary", "cumulative", "disjoint", "detailed"] {
        let json = try Google_Protobuf_Value(jsonString: text("format=json&histogram_buckets=\(style)"))
        let last = json.structValue.fields["stats"]?.listValue.values.last?.structValue.fields["histograms"]
        let histogram =
          last?.listValue.values.first ?? last?.structValue.fields["details"]?.listValue.values.first
          ?? last?.structValue.fields["computed_quantiles"]?.listValue.values.first
        #expect(histogram?.structValue.fields["name"]?.stringValue == "cluster.a.upstream_rq_time", "\(style)")
      }
    }
  }

  @Test("statistics can be a page, and what names say is not taken for markup")
  func page() async throws {
    try await withAdmin { context in
      context.addCluster("<script>&")
    } serving: { admin in
      let response = try admin.get("/stats?format=html")
      #expect(response.value("content-type") == "text/html; charset=UTF-8")
      #expect(response.text.hasPrefix("<!DOCTYPE html>"))
      #expect(response.text.contains("\ncluster.&lt;script&gt;&amp;.upstream_cx_total: 0\n"))
      #expect(response.text.hasSuffix("</pre>\n</body>\n</html>\n"))
    }
  }

  private static let withEndpoints: @Sendable (FakeAdminContext) throws -> Void = { context in
    var limits = CircuitBreaker.Limits()
    limits.connections = 77
    let first = FakeAdminContext.endpoint(
      "127.0.0.1:19904", hostname: "hosty", weight: 3,
      locality: .init(region: "eu", zone: "eu-1", subZone: "rack"))
    let second = FakeAdminContext.endpoint("[::1]:19904", health: .unhealthy)
    first.endpoint.stats.lane(0).add(.connectionTotal, 12)
    first.endpoint.stats.lane(0).add(.connectionActive, 2)
    context.addCluster("service1", limits: limits, endpoints: [first, second])
    context.addCluster("empty")
  }

  @Test("/clusters says what Envoy says of what there is")
  func clusters() async throws {
    try await withAdmin(Self.withEndpoints) { admin in
      let expected = """
        service1::observability_name::service1
        service1::default_priority::max_connections::77
        service1::default_priority::max_pending_requests::1024
        service1::default_priority::max_requests::1024
        service1::default_priority::max_retries::3
        service1::high_priority::max_connections::1024
        service1::high_priority::max_pending_requests::1024
        service1::high_priority::max_requests::1024
        service1::high_priority::max_retries::3
        service1::added_via_api::false
        service1::127.0.0.1:19904::cx_active::2
        service1::127.0.0.1:19904::cx_connect_fail::0
        service1::127.0.0.1:19904::cx_total::12
        service1::127.0.0.1:19904::rq_active::0
        service1::127.0.0.1:19904::rq_error::0
        service1::127.0.0.1:19904::rq_pending_active::0
        service1::127.0.0.1:19904::rq_success::0
        service1::127.0.0.1:19904::rq_timeout::0
        service1::127.0.0.1:19904::rq_total::0
        service1::127.0.0.1:19904::hostname::hosty
        service1::127.0.0.1:19904::health_flags::healthy
        service1::127.0.0.1:19904::weight::3
        service1::127.0.0.1:19904::region::eu
        service1::127.0.0.1:19904::zone::eu-1
        service1::127.0.0.1:19904::sub_zone::rack
        service1::127.0.0.1:19904::canary::false
        service1::127.0.0.1:19904::priority::0
        service1::127.0.0.1:19904::success_rate::-1
        service1::127.0.0.1:19904::local_origin_success_rate::-1
        service1::[::1]:19904::cx_active::0
        service1::[::1]:19904::cx_connect_fail::0
        service1::[::1]:19904::cx_total::0
        service1::[::1]:19904::rq_active::0
        service1::[::1]:19904::rq_error::0
        service1::[::1]:19904::rq_pending_active::0
        service1::[::1]:19904::rq_success::0
        service1::[::1]:19904::rq_timeout::0
        service1::[::1]:19904::rq_total::0
        service1::[::1]:19904::hostname::
        service1::[::1]:19904::health_flags::/failed_eds_health
        service1::[::1]:19904::weight::1
        service1::[::1]:19904::region::
        service1::[::1]:19904::zone::
        service1::[::1]:19904::sub_zone::
        service1::[::1]:19904::canary::false
        service1::[::1]:19904::priority::0
        service1::[::1]:19904::success_rate::-1
        service1::[::1]:19904::local_origin_success_rate::-1

        """
      let empty = """
        empty::observability_name::empty
        empty::default_priority::max_connections::1024
        empty::default_priority::max_pending_requests::1024
        empty::default_priority::max_requests::1024
        empty::default_priority::max_retries::3
        empty::high_priority::max_connections::1024
        empty::high_priority::max_pending_requests::1024
        empty::high_priority::max_requests::1024
        empty::high_priority::max_retries::3
        empty::added_via_api::false

        """
      try #expect(admin.get("/clusters").text == expected + empty)
      try #expect(admin.get("/clusters?filter=^em").text == empty)
    }
  }

  @Test("/clusters as JSON")
  func clustersJSON() async throws {
    try await withAdmin(Self.withEndpoints) { admin in
      let text = try admin.get("/clusters?format=json").text
      #expect(text.hasPrefix("{\n \"cluster_statuses\": [\n  {\n   \"name\": \"service1\",\n   \"host_statuses\": [\n"))
      #expect(
        text.contains(
          """
               "stats": [
                {
                 "name": "cx_connect_fail"
                },
                {
                 "name": "cx_total",
                 "value": "12"
                },

          """))
      let statuses = try Google_Protobuf_Value(jsonString: text).structValue.fields["cluster_statuses"]?.listValue
      let first = try #require(statuses?.values.first?.structValue.fields)
      let hosts = try #require(first["host_statuses"]?.listValue.values)
      #expect(hosts.count == 2)
      let host = hosts[1].structValue.fields
      #expect(
        host["address"]?.structValue.fields["socket_address"]?.structValue.fields["address"]?.stringValue == "::1")
      #expect(host["health_status"]?.structValue.fields["eds_health_status"]?.stringValue == "UNHEALTHY")
      #expect(host["locality"]?.structValue.fields.isEmpty == true)
      #expect(host["hostname"] == nil)
      let limits = first["circuit_breakers"]?.structValue.fields["thresholds"]?.listValue.values.first
      #expect(limits?.structValue.fields["max_connections"]?.numberValue == 77)
      #expect(first["observability_name"]?.stringValue == "service1")
      #expect(statuses?.values.last?.structValue.fields["host_statuses"] == nil)
    }
  }
}
