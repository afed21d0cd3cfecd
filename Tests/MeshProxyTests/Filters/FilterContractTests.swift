import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

/// A filter that notes what it is shown and does what the test says.
final class ScriptedFilter: StreamFilter {
  /// The test's side of all filters made from one configuration. Used on one thread.
  final class Script: FilterConfiguration, @unchecked Sendable {
    // SAFETY: the fixture's worker and the test run on one thread.
    let name: String
    var onRequestHeaders: (ScriptedFilter, HeaderMap, Bool) -> FilterStatus = { _, _, _ in .proceed }
    var onRequestData: (ScriptedFilter, Bool) -> FilterDataStatus = { _, _ in .proceed }
    var onRequestTrailers: (ScriptedFilter) -> FilterStatus = { _ in .proceed }
    var onResponseHeaders: (ScriptedFilter, HeaderMap, Bool) -> FilterStatus = { _, _, _ in .proceed }
    var onResponseData: (ScriptedFilter, Bool) -> FilterDataStatus = { _, _ in .proceed }
    var journal: Journal
    var made: [ScriptedFilter] = []

    init(_ name: String, _ journal: Journal) {
      self.name = name
      self.journal = journal
    }

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      let filter = ScriptedFilter(self, callbacks)
      made.append(filter)
      return filter
    }
  }

  final class Journal { var lines: [String] = [] }

  let script: Script
  let callbacks: StreamFilterCallbacks

  init(_ script: Script, _ callbacks: StreamFilterCallbacks) {
    self.script = script
    self.callbacks = callbacks
  }

  private func note(_ line: String) { script.journal.lines.append("\(script.name) \(line)") }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    note("request headers\(endStream ? " end" : "")")
    return script.onRequestHeaders(self, headers, endStream)
  }
  func requestData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    note("request data \(bytes.text)\(endStream ? " end" : "")")
    return script.onRequestData(self, endStream)
  }
  func requestTrailers(_ trailers: HeaderMap) -> FilterStatus {
    note("request trailers")
    return script.onRequestTrailers(self)
  }
  func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    note("response headers \(status)\(endStream ? " end" : "")")
    return script.onResponseHeaders(self, headers, endStream)
  }
  func responseData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    note("response data \(bytes.text)\(endStream ? " end" : "")")
    return script.onResponseData(self, endStream)
  }
  func destroy() { note("destroyed") }
}

@Suite("The filter contract")
struct FilterContractTests {
  private let journal = ScriptedFilter.Journal()
  private let direct = #"[{match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: hi}}}]"#

  private func pair() -> (ScriptedFilter.Script, ScriptedFilter.Script) {
    (ScriptedFilter.Script("a", journal), ScriptedFilter.Script("b", journal))
  }

  @Test("filters see a request in order and its response in the reverse order")
  func order() throws {
    let (a, b) = pair()
    let fixture = try WorkerFixture(routes: direct, filters: [a, b])
    let response = fixture.open()
    #expect(response.status == 200)
    #expect(response.text == "hi")
    #expect(response.isEnded)
    #expect(
      journal.lines == [
        "a request headers end", "b request headers end", "b response headers 200", "a response headers 200",
        "b response data hi end", "a response data hi end", "a destroyed", "b destroyed",
      ])
  }

  @Test("headers that a filter stops go on when it resumes, and the body behind them")
  func stopAndResume() throws {
    let (a, b) = pair()
    a.onRequestHeaders = { _, _, _ in .stop }
    a.onRequestData = { _, _ in .stopAndBuffer }
    let fixture = try WorkerFixture(routes: direct, filters: [a, b])
    let response = fixture.open("POST", "/", endStream: false)
    response.data("one ", endStream: false)
    response.data("two", endStream: true)
    #expect(response.status == nil)
    journal.lines = []
    // A direct response answers as soon as the router sees the headers; what follows them is not wanted any more.
    a.made[0].callbacks.resumeRequest()
    #expect(journal.lines.first == "b request headers")
    #expect(response.status == 200)
  }

  @Test("a filter that returns proceed for the end of the body lets everything go at once")
  func proceedReleases() throws {
    let (a, b) = pair()
    a.onRequestHeaders = { _, _, _ in .stop }
    a.onRequestData = { _, end in end ? .proceed : .stopAndBuffer }
    b.onRequestHeaders = { _, _, _ in .stop }
    b.onRequestData = { _, end in end ? .stopAndBuffer : .stopAndBuffer }
    let fixture = try WorkerFixture(routes: direct, filters: [a, b])
    let response = fixture.open("POST", "/", endStream: false)
    response.data("x", endStream: false)
    #expect(journal.lines == ["a request headers", "a request data x"])
    response.data("y", endStream: true)
    #expect(journal.lines.suffix(3) == ["a request data y end", "b request headers", "b request data xy end"])
    #expect(response.status == nil)
    b.made[0].callbacks.resumeRequest()
    #expect(response.status == 200)
  }

  @Test("everything that waits behind stopAll comes to the filter itself first")
  func stopAll() throws {
    let (a, b) = pair()
    a.onRequestHeaders = { _, _, _ in .stopAll }
    b.onRequestHeaders = { _, _, _ in .stop }
    b.onRequestData = { _, _ in .stopAndBuffer }
    let fixture = try WorkerFixture(routes: direct, filters: [a, b])
    let response = fixture.open("POST", "/", endStream: false)
    response.data("body", endStream: false)
    response.stream?.receiveTrailers(fixture.trailers("t", "1"))
    #expect(journal.lines == ["a request headers"])
    a.made[0].callbacks.resumeRequest()
    #expect(
      Array(journal.lines.dropFirst().prefix(3)) == [
        "b request headers", "a request data body", "b request data body",
      ])
    #expect(journal.lines.contains("a request trailers"))
  }

  @Test("a sender is slowed down while more waits than the limit allows")
  func backPressure() throws {
    let (a, b) = pair()
    a.onRequestHeaders = { _, _, _ in .stopAll }
    let fixture = try WorkerFixture(routes: direct, filters: [a, b], bufferLimit: 10)
    let response = fixture.open("POST", "/", endStream: false)
    response.data("12345678", endStream: false)
    #expect(response.pauses == 0)
    response.data("12345678", endStream: false)
    #expect(response.pauses == 1)
    a.made[0].callbacks.resumeRequest()
    #expect(response.status == 200)
  }

  @Test("a body that a filter insists on keeping is answered by 413 when it is too large")
  func tooLarge() throws {
    let (a, b) = pair()
    a.onRequestHeaders = { _, _, _ in .stop }
    a.onRequestData = { _, _ in .stopAndBuffer }
    let fixture = try WorkerFixture(routes: direct, filters: [a, b], bufferLimit: 10)
    let response = fixture.open("POST", "/", endStream: false)
    response.data("12345678901", endStream: false)
    #expect(response.status == 413)
    #expect(response.text == "Payload Too Large")
    #expect(response.closes)
    #expect(fixture.count(.requestTooLarge) == 1)
    #expect(journal.lines.last == "b destroyed")
  }

  @Test("a filter's own answer meets the filters on the way back and ends the request")
  func localReply() throws {
    let (a, b) = pair()
    b.onRequestHeaders = { filter, _, _ in
      filter.callbacks.sendLocalReply(LocalReply(status: 401, text: "who?", details: .init("test_denied")))
      return .stop
    }
    let fixture = try WorkerFixture(routes: direct, filters: [a, b])
    let response = fixture.open()
    #expect(response.status == 401)
    #expect(response.text == "who?")
    #expect(response.headers["content-type"] == "text/plain")
    #expect(response.headers["server"] == "envoy")
    #expect(journal.lines.contains("a response headers 401"))
    #expect(fixture.count(.requestActive) == 0)
    // Nothing of it is alive: what a filter kept does nothing.
    journal.lines = []
    b.made[0].callbacks.resumeRequest()
    b.made[0].callbacks.sendLocalReply(.noRoute)
    #expect(journal.lines.isEmpty)
    #expect(response.status == 401)
  }

  @Test("a response that a filter stops goes on when it resumes")
  func responseStop() throws {
    let (a, b) = pair()
    b.onResponseHeaders = { _, _, _ in .stopAll }
    let fixture = try WorkerFixture(routes: direct, filters: [a, b])
    let response = fixture.open()
    #expect(response.status == nil)
    #expect(!journal.lines.contains("a response headers 200"))
    b.made[0].callbacks.resumeResponse()
    #expect(response.status == 200)
    #expect(response.text == "hi")
    #expect(response.isEnded)
  }

  @Test("the route is chosen again when a filter clears it")
  func clearRoute() throws {
    let (a, b) = pair()
    var before: String?
    a.onRequestHeaders = { filter, headers, _ in
      before = filter.callbacks.stream.route?.name
      Array("/two".utf8).withUnsafeBufferPointer { headers.set(.path, $0) }
      filter.callbacks.clearRouteCache()
      return .proceed
    }
    let fixture = try WorkerFixture(
      routes: """
        [{name: one, match: {path: /one}, direct_response: {status: 201}}, \
        {name: two, match: {path: /two}, direct_response: {status: 202}}]
        """, filters: [a, b])
    #expect(fixture.open("GET", "/one").status == 202)
    #expect(before == "one")
  }

  @Test("a client that goes away ends the filters, once")
  func clientGone() throws {
    let (a, b) = pair()
    a.onRequestHeaders = { _, _, _ in .stopAll }
    let fixture = try WorkerFixture(routes: direct, filters: [a, b])
    let response = fixture.open()
    response.stream?.requestReset(.connectionTermination)
    response.stream?.requestReset(.connectionTermination)
    #expect(journal.lines == ["a request headers end", "a destroyed", "b destroyed"])
    #expect(fixture.count(.requestReceivedReset) == 1)
    a.made[0].callbacks.resumeRequest()
    #expect(response.status == nil)
  }

  @Test("what one filter notes another can read")
  func metadata() throws {
    let (a, b) = pair()
    var seen: String?
    a.onRequestHeaders = { filter, _, _ in
      filter.callbacks.updateInfo { $0.metadata["a.user"] = "me" }
      return .proceed
    }
    b.onRequestHeaders = { filter, _, _ in
      seen = filter.callbacks.info.metadata["a.user"]
      return .proceed
    }
    _ = try WorkerFixture(routes: direct, filters: [a, b]).open()
    #expect(seen == "me")
  }

  @Test("a filter calls another cluster while its request waits")
  func sideCall() throws {
    let server = try ScriptedServer { connection, _ in
      _ = try connection.receive(through: "\r\n\r\n")
      try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-quota: 7\r\n\r\nok")
    }
    defer { server.stop() }
    let (a, b) = pair()
    var outcome: SideCall.Outcome?
    a.onRequestHeaders = { filter, _, _ in
      var request = SideCall.Request(host: "quota", timeout: .seconds(5))
      request.path = "/check"
      _ = filter.callbacks.call("side", request) { result in
        outcome = result
        filter.callbacks.resumeRequest()
      }
      return .stopAll
    }
    let fixture = try WorkerFixture(
      routes: direct, clusters: "[\(cluster("side", server.port))]", filters: [a, b])
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded })
    #expect(response.status == 200)
    guard case .response(let answer) = outcome else {
      Issue.record("the call failed: \(String(describing: outcome))")
      return
    }
    #expect(answer.status == 200)
    #expect(answer.body == Array("ok".utf8))
    #expect(answer.headers.contains { $0.name == "x-quota" && $0.value == "7" })
  }

  @Test("a side call that gets no answer fails within its time")
  func sideCallTimeout() throws {
    let server = try ScriptedServer { connection, _ in _ = try connection.receiveToEnd() }
    defer { server.stop() }
    let (a, b) = pair()
    var failure: String?
    a.onRequestHeaders = { filter, _, _ in
      let request = SideCall.Request(host: "quota", timeout: .milliseconds(30))
      _ = filter.callbacks.call("side", request) { result in
        if case .failure(let reason) = result { failure = reason }
        filter.callbacks.sendLocalReply(LocalReply(status: 503, details: .init("test_no_quota")))
      }
      return .stopAll
    }
    let fixture = try WorkerFixture(
      routes: direct, clusters: "[\(cluster("side", server.port))]", filters: [a, b])
    let response = fixture.open()
    #expect(fixture.turn { response.isEnded })
    #expect(response.status == 503)
    #expect(failure == "timeout")
  }
}

extension WorkerFixture {
  /// Turns the loop until `condition` holds.
  func turn(_ condition: () -> Bool) -> Bool { turn(until: condition) }
}

/// A cluster of one endpoint, as YAML of one line.
func cluster(_ name: String, _ port: UInt16, more: String = "") -> String {
  "{name: \(name), type: STATIC, \(more) load_assignment: {cluster_name: \(name), endpoints: [{lb_endpoints: "
    + "[{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: \(port)}}}}]}]}}"
}
