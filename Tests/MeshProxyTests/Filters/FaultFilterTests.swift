import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("The fault filter")
struct FaultFilterTests {
  private func fixture(_ fault: String, routes: String? = nil) throws -> WorkerFixture {
    try WorkerFixture(
      routes: routes ?? #"[{match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: hi}}}]"#,
      httpFilters: """
        - {name: envoy.filters.http.fault, typed_config: \
        {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, \(fault)}}
        """)
  }

  private func count(_ fixture: WorkerFixture, _ stat: FaultStat) -> Int64 {
    fixture.store.scope("http.test.fault", prometheus: PrometheusScope("envoy_http_fault"), FaultStat.self).total(stat)
  }

  @Test("aborts with its status, its text and FI")
  func abort() throws {
    let fixture = try fixture("abort: {http_status: 418, percentage: {numerator: 100}}")
    let response = fixture.open()
    #expect(response.status == 418)
    #expect(response.text == "fault filter abort")
    #expect(count(fixture, .abortsInjected) == 1)
    #expect(count(fixture, .active) == 0)
  }

  @Test("no percentage is no fault")
  func noPercentage() throws {
    let fixture = try fixture("abort: {http_status: 418}")
    #expect(fixture.open().status == 200)
  }

  @Test("delays, then lets the request go on")
  func delay() throws {
    let fixture = try fixture("delay: {fixed_delay: 0.02s, percentage: {numerator: 100}}")
    let response = fixture.open()
    #expect(response.status == nil)
    #expect(count(fixture, .active) == 1)
    #expect(fixture.turn { response.isEnded })
    #expect(response.status == 200)
    #expect(count(fixture, .delaysInjected) == 1)
    #expect(count(fixture, .active) == 0)
  }

  @Test("delays first, aborts then")
  func both() throws {
    let fixture = try fixture(
      "delay: {fixed_delay: 0.02s, percentage: {numerator: 100}}, abort: {http_status: 503, percentage: {numerator: 100}}"
    )
    let response = fixture.open()
    #expect(response.status == nil)
    #expect(fixture.turn { response.isEnded })
    #expect(response.status == 503)
  }

  @Test("a client that leaves during the delay takes the fault with it")
  func cancelled() throws {
    let fixture = try fixture("delay: {fixed_delay: 3600s, percentage: {numerator: 100}}")
    let response = fixture.open()
    response.stream?.requestReset(.connectionTermination)
    #expect(count(fixture, .active) == 0)
  }

  @Test("at most max_active_faults at once")
  func maximum() throws {
    let fixture = try fixture("max_active_faults: 1, delay: {fixed_delay: 3600s, percentage: {numerator: 100}}")
    let first = fixture.open()
    #expect(first.status == nil)
    #expect(fixture.open().status == 200)
    #expect(count(fixture, .overflow) == 1)
    first.stream?.requestReset(.connectionTermination)
  }

  @Test("only requests with the headers it names")
  func headers() throws {
    let fixture = try fixture(
      "headers: [{name: x-test, string_match: {exact: yes}}], abort: {http_status: 503, percentage: {numerator: 100}}")
    #expect(fixture.open().status == 200)
    #expect(fixture.open("GET", "/", [("x-test", "yes")]).status == 503)
  }

  @Test("about as many as the percentage says")
  func percentage() throws {
    let fixture = try fixture("abort: {http_status: 503, percentage: {numerator: 25}}")
    let hits = (0..<4000).count { _ in fixture.open().status == 503 }
    #expect((850...1150).contains(hits))
  }

  @Test("a route's own fault replaces the listener's")
  func perRoute() throws {
    let fixture = try fixture(
      "abort: {http_status: 503, percentage: {numerator: 100}}",
      routes: """
        [{match: {prefix: /kind}, direct_response: {status: 200}, typed_per_filter_config: {envoy.filters.http.fault: \
        {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault}}}, \
        {match: {prefix: /}, direct_response: {status: 200}}]
        """)
    #expect(fixture.open("GET", "/kind").status == 200)
    #expect(fixture.open("GET", "/other").status == 503)
  }

  @Test("the runtime decides over shares, times, statuses and limits")
  func runtime() throws {
    let fixture = try fixture(
      "abort: {http_status: 503}, delay: {fixed_delay: 3600s}, max_active_faults: 1")
    #expect(fixture.open().status == 200)
    fixture.setRuntime(["fault.http.abort.abort_percent": "100"])
    #expect(fixture.open().status == 503)
    fixture.setRuntime(["fault.http.abort.abort_percent": "100", "fault.http.abort.http_status": "418"])
    #expect(fixture.open().status == 418)
    // No response can have such a status.
    fixture.setRuntime(["fault.http.abort.abort_percent": "100", "fault.http.abort.http_status": "99"])
    #expect(fixture.open().status == 503)
    fixture.setRuntime(["fault.http.abort.abort_percent": "100", "fault.http.max_active_faults": "0"])
    #expect(fixture.open().status == 200)
    #expect(count(fixture, .overflow) == 1)
    fixture.setRuntime([
      "fault.http.delay.fixed_delay_percent": "{numerator: 1000000, denominator: MILLION}",
      "fault.http.delay.fixed_duration_ms": "5",
    ])
    let response = fixture.open()
    #expect(response.status == nil)
    #expect(fixture.turn { response.isEnded })
    #expect(response.status == 200)
  }

  @Test("the runtime keys may have other names")
  func runtimeNames() throws {
    let fixture = try fixture(
      "abort: {http_status: 503}, abort_percent_runtime: a.percent, abort_http_status_runtime: a.status")
    fixture.setRuntime(["fault.http.abort.abort_percent": "100"])
    #expect(fixture.open().status == 200)
    fixture.setRuntime(["a.percent": "100", "a.status": "404"])
    #expect(fixture.open().status == 404)
  }

  @Test("a calling cluster can have runtime keys of its own")
  func downstreamCluster() throws {
    let fixture = try fixture("abort: {http_status: 503}")
    fixture.setRuntime([
      "fault.http.caller.abort.abort_percent": "100", "fault.http.caller.abort.http_status": "429",
    ])
    #expect(fixture.open().status == 200)
    #expect(fixture.open("GET", "/", [("x-envoy-downstream-service-cluster", "caller")]).status == 429)
    #expect(fixture.open("GET", "/", [("x-envoy-downstream-service-cluster", "other")]).status == 200)
  }

  @Test("a request may bring its fault, if the configuration lets it")
  func headerControlled() throws {
    let fixture = try fixture(
      """
      abort: {header_abort: {}, percentage: {numerator: 100}}, delay: {header_delay: {}, percentage: {numerator: 100}}
      """)
    #expect(fixture.open().status == 200)
    #expect(fixture.open("GET", "/", [("x-envoy-fault-abort-request", "418")]).status == 418)
    for nonsense in ["199", "600", "x", "", "99999999999999999999999", "-1"] {
      #expect(fixture.open("GET", "/", [("x-envoy-fault-abort-request", nonsense)]).status == 200)
    }
    let share = ("x-envoy-fault-abort-request-percentage", "0")
    #expect(fixture.open("GET", "/", [("x-envoy-fault-abort-request", "418"), share]).status == 200)
    let delayed = fixture.open("GET", "/", [("x-envoy-fault-delay-request", "10")])
    #expect(delayed.status == nil)
    #expect(fixture.turn { delayed.isEnded })
    #expect(count(fixture, .delaysInjected) == 1)
    let never = ("x-envoy-fault-delay-request-percentage", "0")
    #expect(fixture.open("GET", "/", [("x-envoy-fault-delay-request", "10"), never]).status == 200)
  }

  @Test("a request cannot ask for more faults than the configuration allows")
  func headerShare() throws {
    let fixture = try fixture("abort: {header_abort: {}, percentage: {numerator: 0}}")
    let headers = [("x-envoy-fault-abort-request", "418"), ("x-envoy-fault-abort-request-percentage", "100")]
    #expect(fixture.open("GET", "/", headers).status == 200)
  }

  @Test("only requests to a cluster, only requests of a node")
  func conditions() throws {
    let routes =
      #"[{match: {prefix: "/a"}, route: {cluster: a}}, {match: {prefix: "/"}, direct_response: {status: 200}}]"#
    let cluster = "[{name: a, type: STATIC, load_assignment: {cluster_name: a}}]"
    func open(_ fault: String, _ path: String, _ headers: [(String, String)] = []) throws -> Int? {
      try WorkerFixture(
        routes: routes, clusters: cluster,
        httpFilters: """
          - {name: envoy.filters.http.fault, typed_config: \
          {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, \(fault), \
          abort: {http_status: 418, percentage: {numerator: 100}}}}
          """
      ).open("GET", path, headers).status
    }
    #expect(try open("upstream_cluster: a", "/a") == 418)
    #expect(try open("upstream_cluster: a", "/b") == 200)
    #expect(try open("upstream_cluster: b", "/a") == 503)
    #expect(try open("downstream_nodes: [n, m]", "/b") == 200)
    #expect(try open("downstream_nodes: [n, m]", "/b", [("x-envoy-downstream-service-node", "m")]) == 418)
    #expect(try open("downstream_nodes: [n, m]", "/b", [("x-envoy-downstream-service-node", "mm")]) == 200)
  }
}

@Suite("The buffer filter")
struct BufferFilterTests {
  private func fixture(routes: String? = nil, _ script: ScriptedFilter.Script) throws -> WorkerFixture {
    let buffer = BufferFilter.Configuration(maximumRequest: 8)
    return try WorkerFixture(
      routes: routes ?? #"[{match: {prefix: "/"}, direct_response: {status: 200}}]"#, filters: [buffer, script])
  }

  @Test("the next filter sees a request when all of it is here, with its length")
  func whole() throws {
    let script = ScriptedFilter.Script("next", ScriptedFilter.Journal())
    var length: String?
    script.onRequestHeaders = { _, headers, _ in
      length = headers.value(.contentLength)?.text
      return .stop
    }
    script.onRequestData = { _, _ in .stopAndBuffer }
    let response = try fixture(script).open("POST", "/", endStream: false)
    response.data("12", endStream: false)
    response.data("345", endStream: false)
    #expect(script.journal.lines.isEmpty)
    response.data("678", endStream: true)
    #expect(script.journal.lines.prefix(2) == ["next request headers", "next request data 12345678 end"])
    #expect(length == "8")
  }

  @Test("one byte too many is answered by 413")
  func tooLarge() throws {
    for pieces in [["123456789"], ["12345678", "9"], ["1234", "56789"]] {
      let script = ScriptedFilter.Script("next", ScriptedFilter.Journal())
      let response = try fixture(script).open("POST", "/", endStream: false)
      for (index, piece) in pieces.enumerated() { response.data(piece, endStream: index == pieces.count - 1) }
      #expect(response.status == 413)
      #expect(!script.journal.lines.contains("next request headers"))
    }
  }

  @Test("a request without a body passes")
  func empty() throws {
    let script = ScriptedFilter.Script("next", ScriptedFilter.Journal())
    #expect(try fixture(script).open().status == 200)
  }

  @Test("a route may switch it off or give another size, under the filter's own name")
  func perRoute() throws {
    let type = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3"
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /off}, direct_response: {status: 200}, typed_per_filter_config: {mine: \
        {"@type": \(type).BufferPerRoute, disabled: true}}}, \
        {match: {prefix: /small}, direct_response: {status: 200}, typed_per_filter_config: {mine: \
        {"@type": \(type).BufferPerRoute, buffer: {max_request_bytes: 2}}}}]
        """,
      httpFilters: "- {name: mine, typed_config: {\"@type\": \(type).Buffer, max_request_bytes: 8}}")
    #expect(fixture.open("POST", "/off", endStream: false).status == 200)
    let small = fixture.open("POST", "/small", endStream: false)
    #expect(small.status == nil)
    small.data("123", endStream: true)
    #expect(small.status == 413)
  }
}
