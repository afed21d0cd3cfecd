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

/// A field of a message, as far as the tests look.
private struct Field {
  var number: Int
  var varint: UInt64 = 0
  var double = 0.0
  var bytes: [UInt8] = []

  var fields: [Field] { Field.all(bytes) }
  var text: String { String(decoding: bytes, as: UTF8.self) }

  /// Reads a message; traps on one that is none, which fails the test.
  static func all(_ bytes: [UInt8]) -> [Field] {
    var result: [Field] = []
    var index = 0
    func varint() -> UInt64 {
      var value: UInt64 = 0
      var shift: UInt64 = 0
      while true {
        value |= UInt64(bytes[index] & 0x7f) << shift
        index += 1
        if bytes[index - 1] < 0x80 { return value }
        shift += 7
      }
    }
    while index < bytes.count {
      let key = varint()
      var field = Field(number: Int(key >> 3))
      switch key & 7 {
      case 0: field.varint = varint()
      case 1:
        var bits: UInt64 = 0
        for place in 0..<8 { bits |= UInt64(bytes[index + place]) << UInt64(8 * place) }
        index += 8
        field.double = Double(bitPattern: bits)
      default:
        let count = Int(varint())
        field.bytes = Array(bytes[index..<index + count])
        index += count
      }
      result.append(field)
    }
    return result
  }
}

extension [Field] {
  fileprivate subscript(field number: Int) -> [Field] { filter { $0.number == number } }
}

@Suite struct MetricStreamEncoderTests {
  private static func cluster(_ name: String) -> PrometheusScope {
    PrometheusScope("envoy_cluster", labels: [("envoy_cluster_name", name)])
  }

  /// `name{label=value,…} value [start]` of every series; histograms show their count.
  private static func flush(_ encoder: inout MetricStreamEncoder, _ store: StatsStore, at time: UInt64 = 5_000_000)
    -> [[String]]
  {
    var messages: [[String]] = []
    encoder.begin(store, at: time)
    while true {
      switch encoder.next() {
      case .end: return messages
      case .nothing: continue
      case .message(let bytes): messages.append(Field.all(bytes)[field: 2].flatMap { series($0.fields, time) })
      }
    }
  }

  private static func series(_ family: [Field], _ time: UInt64) -> [String] {
    family[field: 4].map { metric in
      let labels = metric.fields[field: 1].map { "\($0.fields[field: 1][0].text)=\($0.fields[field: 2][0].text)" }
      #expect(metric.fields[field: 6].first?.varint == time / 1_000_000)
      var line = family[field: 1][0].text + (labels.isEmpty ? "" : "{\(labels.joined(separator: ","))}")
      let body = metric.fields.first { [2, 3, 4, 7].contains($0.number) }
      let fields = body?.fields ?? []
      switch body?.number {
      case 2: line += " gauge \(fields[field: 1][0].double)"
      case 3: line += " counter \(fields[field: 1][0].double)"
      case 4: line += " summary \(fields[field: 1][0].varint)"
      default: line += " histogram \(fields[field: 1][0].varint)"
      }
      let start = fields.first { $0.number == [3: 3, 4: 4, 7: 15][body?.number ?? 0] && $0.fields.count == 2 }
      if let start { line += " since \(start.fields[field: 1][0].varint)" }
      return line
    }
  }

  @Test func onlyChangesAreToldAndTheStartOnce() {
    let store = StatsStore(lanes: 1, at: 77_000_000_000)
    let block = store.scope("cluster.a", prometheus: Self.cluster("a"), ThingsStat.self)
    _ = store.scope("cluster.b", prometheus: Self.cluster("b"), ThingsStat.self)
    block.lane(0).add(.requests, 3)
    block.lane(0).add(.active)
    var encoder = MetricStreamEncoder(.init())
    #expect(
      Self.flush(&encoder, store)
        == [["cluster.a.upstream_rq_total counter 3.0 since 77", "cluster.a.upstream_rq_active gauge 1.0"]])
    #expect(Self.flush(&encoder, store).isEmpty)
    block.lane(0).add(.requests, 2)
    block.lane(0).subtract(.active)
    #expect(
      Self.flush(&encoder, store)
        == [["cluster.a.upstream_rq_total counter 5.0", "cluster.a.upstream_rq_active gauge 0.0"]])
    #expect(encoder.seriesTold == 4)
  }

  @Test func aNewReceiverIsToldEverything() {
    let store = StatsStore(lanes: 1, at: 77_000_000_000)
    let block = store.scope("cluster.a", prometheus: Self.cluster("a"), ThingsStat.self)
    block.lane(0).add(.requests, 3)
    var encoder = MetricStreamEncoder(.init())
    let first = Self.flush(&encoder, store)
    #expect(first == [["cluster.a.upstream_rq_total counter 3.0 since 77"]])
    encoder.forget()
    #expect(Self.flush(&encoder, store) == first)
    // In the middle of a flush, too.
    encoder.begin(store, at: 1_000_000)
    encoder.forget()
    #expect(!encoder.isFlushing)
    #expect(Self.flush(&encoder, store) == first)
  }

  @Test func aResetIsANewStart() {
    let store = StatsStore(lanes: 1, at: 77_000_000_000)
    let block = store.scope("cluster.a", prometheus: Self.cluster("a"), ThingsStat.self)
    block.lane(0).add(.requests, 3)
    var encoder = MetricStreamEncoder(.init())
    _ = Self.flush(&encoder, store)
    store.resetCounters(at: 99_000_000_000)
    block.lane(0).add(.requests, 5)
    #expect(Self.flush(&encoder, store) == [["cluster.a.upstream_rq_total counter 5.0 since 99"]])
  }

  @Test func deltasAreToldOnce() {
    var options = MetricStreamEncoder.Options()
    options.countersAreDeltas = true
    let store = StatsStore(lanes: 1, at: 77_000_000_000)
    let block = store.scope("cluster.a", prometheus: Self.cluster("a"), ThingsStat.self)
    block.lane(0).add(.requests, 3)
    var encoder = MetricStreamEncoder(options)
    #expect(Self.flush(&encoder, store) == [["cluster.a.upstream_rq_total counter 3.0"]])
    encoder.forget()
    #expect(Self.flush(&encoder, store).isEmpty)
    block.lane(0).add(.requests, 4)
    #expect(Self.flush(&encoder, store) == [["cluster.a.upstream_rq_total counter 4.0"]])
  }

  @Test func familiesHaveLabels() {
    var options = MetricStreamEncoder.Options()
    options.hasLabels = true
    let store = StatsStore(lanes: 1)
    for name in ["a", "b"] {
      store.scope("cluster.\(name)", prometheus: Self.cluster(name), ThingsStat.self).lane(0).add(.requests)
    }
    store.responseCodes("cluster.a", stem: "upstream_rq", prometheus: Self.cluster("a"), detail: .classesAndCodes)
      .lane(0).add(404)
    var encoder = MetricStreamEncoder(options)
    encoder.begin(store, at: 0)
    guard case .message(let bytes) = encoder.next() else { return #expect(Bool(false)) }
    let families = Field.all(bytes)[field: 2]
    #expect(
      families.map { $0.fields[field: 1][0].text } == [
        "cluster.upstream_rq_total", "cluster.upstream_rq_xx", "cluster.upstream_rq",
      ])
    #expect(families[0].fields[field: 4].count == 2)
    #expect(
      Self.series(families[2].fields, 0)
        == ["cluster.upstream_rq{envoy.response_code=404,envoy.cluster_name=a} counter 1.0"])
  }

  @Test func labelledSeries() {
    var options = MetricStreamEncoder.Options()
    options.hasLabels = true
    options.hasSummaries = false
    let store = StatsStore(lanes: 1, at: 77_000_000_000)
    var labels = LabelSet()
    labels.append("source", Array("a\"b\\c".utf8))
    let requests = store.labelled.counter(namespace: "istio", "requests_total", help: "Requests.")
    let times = store.labelled.histogram(
      namespace: "istio", "request_duration_milliseconds", help: "Times.", scale: 1_000)
    requests.series(labels, overflow: LabelSet(), maximum: 10).counter?.lane(0).add(.count, 2)
    times.series(labels, overflow: LabelSet(), maximum: 10).histogram?.lane(0).record(5)
    var encoder = MetricStreamEncoder(options)
    #expect(
      Self.flush(&encoder, store).joined().sorted() == [
        "istiocustom.istio_request_duration_milliseconds{source=a\"b\\c} histogram 1 since 77",
        "istiocustom.istio_requests_total{source=a\"b\\c} counter 2.0 since 77",
      ])
  }

  @Test func histogramsAsBoth() {
    let store = StatsStore(lanes: 1, at: 77_000_000_000)
    let histogram = store.histogram(
      "cluster.a", HistogramDefinition(name: "upstream_rq_time"), prometheus: Self.cluster("a"))
    var encoder = MetricStreamEncoder(.init())
    #expect(Self.flush(&encoder, store).isEmpty)
    histogram.lane(0).record(1_000)
    #expect(
      Self.flush(&encoder, store)
        == [["cluster.a.upstream_rq_time summary 1 since 77", "cluster.a.upstream_rq_time histogram 1 since 77"]])
    #expect(Self.flush(&encoder, store).isEmpty)
    histogram.lane(0).record(3_000)
    #expect(
      Self.flush(&encoder, store)
        == [["cluster.a.upstream_rq_time summary 2", "cluster.a.upstream_rq_time histogram 2"]])
    var options = MetricStreamEncoder.Options()
    options.hasSummaries = false
    var other = MetricStreamEncoder(options)
    #expect(Self.flush(&other, store) == [["cluster.a.upstream_rq_time histogram 2 since 77"]])
  }

  @Test func whatIsGoneIsTold() {
    let store = StatsStore(lanes: 1)
    var lease: StatsLease? = store.lease("cluster.a")
    store.scope("cluster.a", prometheus: Self.cluster("a"), ThingsStat.self).lane(0).add(.active)
    var encoder = MetricStreamEncoder(.init())
    _ = Self.flush(&encoder, store)
    withExtendedLifetime(lease) {}
    lease = nil
    #expect(Self.flush(&encoder, store) == [["cluster.a.upstream_rq_active gauge snan(0x2)"]])
    #expect(Self.flush(&encoder, store).isEmpty)
  }

  /// One that comes later, or comes again, does not count since the beginning.
  @Test func whatComesLaterBeginsLater() {
    let store = StatsStore(lanes: 1, at: 77_000_000_000)
    func add() -> StatsLease {
      let lease = store.lease("cluster.a")
      store.scope("cluster.a", prometheus: Self.cluster("a"), ThingsStat.self).lane(0).add(.requests)
      return lease
    }
    var lease: StatsLease? = add()
    var encoder = MetricStreamEncoder(.init())
    #expect(Self.flush(&encoder, store, at: 80_000_000_000) == [["cluster.a.upstream_rq_total counter 1.0 since 77"]])
    withExtendedLifetime(lease) {}
    lease = nil
    #expect(Self.flush(&encoder, store, at: 90_000_000_000) == [["cluster.a.upstream_rq_total counter snan(0x2)"]])
    lease = add()
    let again = [["cluster.a.upstream_rq_total counter 1.0 since 90"]]
    #expect(Self.flush(&encoder, store, at: 95_000_000_000) == again)
    // A new receiver hears the same.
    encoder.forget()
    #expect(Self.flush(&encoder, store, at: 99_000_000_000) == again)
    withExtendedLifetime(lease) {}
  }

  @Test func messagesAreBounded() {
    var options = MetricStreamEncoder.Options()
    options.maximumSeries = 7
    let store = StatsStore(lanes: 1)
    for name in 0..<20 {
      store.scope("cluster.\(name)", prometheus: Self.cluster("\(name)"), ThingsStat.self).lane(0).add(.requests)
    }
    var encoder = MetricStreamEncoder(options)
    let messages = Self.flush(&encoder, store)
    #expect(messages.map(\.count) == [7, 7, 6])
    #expect(Set(messages.joined()).count == 20)
    // By size.
    var unbounded = MetricStreamEncoder(.init())
    let large = String(repeating: "x", count: 100_000)
    for name in 0..<30 {
      store.scope("cluster.\(large)\(name)", prometheus: Self.cluster("\(large)\(name)"), ThingsStat.self).lane(0)
        .add(.requests)
    }
    unbounded.begin(store, at: 0)
    var sizes: [Int] = []
    while true {
      switch unbounded.next() {
      case .end:
        #expect(sizes.count > 2 && sizes.allSatisfy { $0 < 1_400_000 })
        return
      case .nothing: continue
      case .message(let bytes): sizes.append(bytes.count)
      }
    }
  }

  @Test func theFirstMessageSaysWho() {
    #expect(MetricStreamEncoder.identifier(node: [1, 2, 3]) == [0x0a, 5, 0x0a, 3, 1, 2, 3])
  }
}
