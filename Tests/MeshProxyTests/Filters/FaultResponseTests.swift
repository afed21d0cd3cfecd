import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("The fault filter and responses")
struct FaultResponseTests {
  private func fixture(_ fault: String, routes: String? = nil, manager: String = "") throws -> WorkerFixture {
    try WorkerFixture(
      routes: routes ?? #"[{match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: hi}}}]"#,
      manager: manager,
      httpFilters: """
        - {name: envoy.filters.http.fault, typed_config: \
        {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, \(fault)}}
        """)
  }

  private func count(_ fixture: WorkerFixture, _ stat: FaultStat) -> Int64 {
    fixture.store.scope("http.test.fault", prometheus: PrometheusScope("envoy_http_fault"), FaultStat.self).total(stat)
  }

  @Test("a response goes as fast as it may")
  func slowResponse() throws {
    let body = String(repeating: "x", count: 300)
    let fixture = try fixture(
      "response_rate_limit: {fixed_limit: {limit_kbps: 1}, percentage: {numerator: 100}}",
      routes: "[{match: {prefix: \"/\"}, direct_response: {status: 200, body: {inline_string: \(body)}}}]")
    let response = fixture.open()
    #expect(response.status == 200)
    #expect(response.body.count == 51)
    #expect(!response.isEnded)
    #expect(count(fixture, .responsesSlowed) == 1)
    #expect(count(fixture, .active) == 1)
    #expect(fixture.turn { response.isEnded })
    #expect(response.text == body)
    #expect(count(fixture, .active) == 0)
  }

  @Test("a response that moves slowly is not idle")
  func slowIsNotIdle() throws {
    let body = String(repeating: "x", count: 400)
    let fixture = try fixture(
      "response_rate_limit: {fixed_limit: {limit_kbps: 1}, percentage: {numerator: 100}}",
      routes: "[{match: {prefix: \"/\"}, direct_response: {status: 200, body: {inline_string: \(body)}}}]",
      manager: "stream_idle_timeout: 0.15s")
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded || response.isReset })
    #expect(response.text == body)
  }

  @Test("a client that leaves a slow response takes it with it")
  func slowResponseLeft() throws {
    let fixture = try fixture(
      "response_rate_limit: {fixed_limit: {limit_kbps: 1}, percentage: {numerator: 100}}",
      routes:
        "[{match: {prefix: \"/\"}, direct_response: {status: 200, body: {inline_string: \(String(repeating: "x", count: 300))}}}]"
    )
    let response = fixture.open()
    response.stream?.requestReset(.connectionTermination)
    #expect(count(fixture, .active) == 0)
    for _ in 0..<3 { fixture.worker.loop.turn(upTo: .milliseconds(60)) }
    #expect(response.body.count == 51)
  }

  @Test("at most a second's worth is saved up")
  func pace() {
    var pace = ResponsePace(kibibytes: 10, now: MonotonicTime(nanoseconds: 0))
    #expect(pace.take(10_000, now: MonotonicTime(nanoseconds: 0)) == 512)
    #expect(pace.take(10_000, now: MonotonicTime(nanoseconds: 50_000_000)) == 512)
    #expect(pace.take(100, now: MonotonicTime(nanoseconds: 100_000_000)) == 100)
    #expect(pace.take(1_000_000, now: MonotonicTime(nanoseconds: 3_600_000_000_000)) == 10_240)
    #expect(pace.take(1_000_000, now: MonotonicTime(nanoseconds: 3_600_000_000_000)) == 0)
    var endless = ResponsePace(kibibytes: .max, now: MonotonicTime(nanoseconds: 0))
    #expect(endless.take(1 << 40, now: MonotonicTime(nanoseconds: 1_000_000_000)) == 1 << 40)
  }

  @Test("a caller is counted by its name, as long as there are few")
  func callers() throws {
    let fixture = try fixture("abort: {http_status: 503, percentage: {numerator: 100}}")
    for caller in ["shop", "shop", "", "no spaces", String(repeating: "x", count: 200)] {
      fixture.open("GET", "/", [("x-envoy-downstream-service-cluster", caller)])
    }
    for number in 0..<200 { fixture.open("GET", "/", [("x-envoy-downstream-service-cluster", "many\(number)")]) }
    var report = StatsReport(fixture.store, .text)
    var bytes: [UInt8] = []
    while report.write(into: &bytes) {}
    let text = String(decoding: bytes, as: UTF8.self)
    #expect(text.contains("http.test.fault.shop.aborts_injected: 2\n"))
    #expect(!text.contains("no spaces"))
    #expect(text.split(separator: "\n").filter { $0.hasPrefix("http.test.fault.many") }.count == 99)
  }

  @Test("a status of gRPC is told in headers to a call, and nobody else")
  func grpcStatus() throws {
    let fixture = try fixture("abort: {grpc_status: 14, percentage: {numerator: 100}}")
    let call = fixture.open("POST", "/a.B/C", [("content-type", "application/grpc")])
    #expect(call.status == 200)
    #expect(call.headers["grpc-status"] == "14")
    let other = fixture.open()
    #expect(other.status == 200)
    #expect(other.headers["grpc-status"] == nil)
    #expect(other.text == "fault filter abort")
  }
}
