import Testing

@testable import MeshPrimitives

@Suite("Labelled families")
struct LabelledFamilyTests {
  private let store = StatsStore(lanes: 2)

  private func labels(_ pairs: [(StaticString, String)]) -> LabelSet {
    var set = LabelSet()
    for (name, value) in pairs { set.append(name, Array(value.utf8)) }
    return set
  }

  private func overflow() -> LabelSet { labels([("overflow", "true")]) }

  private func prometheus() -> String {
    var out: [UInt8] = []
    store.renderPrometheus(into: &out)
    return String(decoding: out, as: UTF8.self)
  }

  private func text(_ options: StatsOptions = StatsOptions()) -> String {
    var out: [UInt8] = []
    store.renderText(into: &out, options: options)
    return String(decoding: out, as: UTF8.self)
  }

  @Test("A series is the same for the same labels, and shown with them")
  func series() throws {
    let family = store.labelled.counter(namespace: "mesh", "calls_total", help: "")
    #expect(store.labelled.counter(namespace: "mesh", "calls_total", help: "") === family)
    let a = family.series(labels([("from", "a"), ("to", "b")]), overflow: overflow(), maximum: 10)
    #expect(a.isNew && !a.isOverflow)
    let again = family.series(labels([("from", "a"), ("to", "b")]), overflow: overflow(), maximum: 10)
    #expect(!again.isNew)
    #expect(again.counter === a.counter)
    let other = family.series(labels([("from", "a"), ("to", "c")]), overflow: overflow(), maximum: 10)
    try #require(a.counter).lane(0).add(.count, 2)
    try #require(again.counter).lane(1).add(.count)
    try #require(other.counter).lane(1).add(.count, 5)
    #expect(
      prometheus() == """
        # TYPE mesh_calls_total counter
        mesh_calls_total{from="a",to="b"} 3
        mesh_calls_total{from="a",to="c"} 5

        """)
    #expect(text() == "meshcustom.mesh_calls_total.from.a.to.b: 3\nmeshcustom.mesh_calls_total.from.a.to.c: 5\n")
  }

  @Test("Histograms have Envoy's buckets, or those that the configuration says")
  func histograms() throws {
    var rules = StatsRules()
    rules.bounds = { $0.equals("meshcustom.mesh_size") ? [10, 100] : nil }
    let store = StatsStore(lanes: 1, rules: rules)
    let family = store.labelled.histogram(namespace: "mesh", "size", help: "", scale: 1)
    let series = family.series(labels([("a", "1")]), overflow: overflow(), maximum: 10)
    for size in [5, 50, 500] { try #require(series.histogram).lane(0).record(UInt64(size)) }
    var out: [UInt8] = []
    store.renderPrometheus(into: &out)
    #expect(
      String(decoding: out, as: UTF8.self) == """
        # TYPE mesh_size histogram
        mesh_size_bucket{a="1",le="10"} 1
        mesh_size_bucket{a="1",le="100"} 2
        mesh_size_bucket{a="1",le="+Inf"} 3
        mesh_size_sum{a="1"} 555
        mesh_size_count{a="1"} 3

        """)
    #expect(self.store.labelled.histogram(namespace: "mesh", "size", help: "", scale: 1).shownBounds.count == 19)
  }

  @Test("There are no more series than may be: the rest is counted in one")
  func bound() throws {
    let family = store.labelled.counter(namespace: "mesh", "calls_total", help: "")
    for number in 0..<100 {
      let series = family.series(labels([("n", "\(number)")]), overflow: overflow(), maximum: 7)
      #expect(series.isOverflow == (number >= 7))
      try #require(series.counter).lane(0).add(.count)
    }
    #expect(family.count == 7)
    // Those that are there go on being found.
    #expect(!family.series(labels([("n", "3")]), overflow: overflow(), maximum: 7).isOverflow)
    #expect(prometheus().contains("mesh_calls_total{overflow=\"true\"} 93\n"))
    #expect(prometheus().split(separator: "\n").count == 9)
  }

  @Test("Values from peers break nothing: quotes, line ends, what is no UTF-8, and length")
  func values() throws {
    var set = LabelSet()
    set.append("a", Array("x\"y\\z\nw,b=\"".utf8))
    set.append("b-c", [0x61, 0xff, 0x62])
    set.append("d", [UInt8](repeating: 0x78, count: 1000))
    let family = store.labelled.counter(namespace: "mesh", "calls_total", help: "")
    let series = family.series(set, overflow: overflow(), maximum: 1)
    try #require(series.counter).lane(0).add(.count)
    let long = String(repeating: "x", count: LabelSet.maximumValue)
    #expect(
      prometheus()
        == "# TYPE mesh_calls_total counter\n"
        + "mesh_calls_total{a=\"x\\\"y\\\\z\\nw,b=\\\"\",b_c=\"a\u{fffd}b\",d=\"\(long)\"} 1\n")
    #expect(text() == "meshcustom.mesh_calls_total.a.x\"y\\z w,b=\".b_c.a\u{fffd}b.d.\(long): 1\n")
    // Cut within a letter, it stays text.
    var cut = LabelSet()
    cut.append("a", Array(String(repeating: "é", count: 200).utf8) + [0x61])
    #expect(cut.text.withUnsafeBufferPointer { $0.isUTF8 })
    var odd = LabelSet()
    odd.append("a", Array(("a" + String(repeating: "é", count: 200)).utf8))
    #expect(odd.text.withUnsafeBufferPointer { $0.isUTF8 })
  }

  @Test("They stand in their place among the others, are filtered by their full names, and can be reset")
  func order() throws {
    let scope: StatBlock<SoleStat> = store.counter("a", "b", help: "", prometheus: PrometheusScope("envoy"))
    _ = store.counter("z", "y", help: "", prometheus: PrometheusScope("envoy"))
    let family = store.labelled.counter(namespace: "mesh", "calls_total", help: "")
    let series = family.series(labels([("n", "1")]), overflow: overflow(), maximum: 7)
    try #require(series.counter).lane(0).add(.count)
    scope.lane(0).add(.count)
    #expect(text() == "a.b: 1\nmeshcustom.mesh_calls_total.n.1: 1\nz.y: 0\n")
    let filter = try RegularExpression("n\\.1$")
    #expect(text(StatsOptions(filter: filter)) == "meshcustom.mesh_calls_total.n.1: 1\n")
    var visited: [String] = []
    store.visit { name, _, _ in visited.append(name) }
    #expect(visited == ["a.b", "meshcustom.mesh_calls_total.n.1", "z.y"])
    store.resetCounters()
    #expect(text() == "a.b: 0\nmeshcustom.mesh_calls_total.n.1: 0\nz.y: 0\n")
  }
}
