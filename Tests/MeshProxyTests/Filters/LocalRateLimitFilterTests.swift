import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Local rate limit filter")
struct LocalRateLimitFilterTests {
  private static let type = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
  private static let all = "{default_value: {numerator: 100}}"

  private func filter(_ fields: String) -> String {
    "- {name: limit, typed_config: {\"@type\": \(Self.type), stat_prefix: limit, filter_enabled: \(Self.all), "
      + "filter_enforced: \(Self.all), \(fields)}}"
  }

  private func fixture(
    _ fields: String, routes: String = "[{match: {prefix: /}, direct_response: {status: 200}}]"
  ) throws -> WorkerFixture {
    try WorkerFixture(routes: routes, httpFilters: filter(fields))
  }

  @Test("answers what is over the limit, with its status, text and flag")
  func refuses() throws {
    let fixture = try fixture("token_bucket: {max_tokens: 2, fill_interval: 3600s}")
    #expect(fixture.open().status == 200)
    #expect(fixture.open().status == 200)
    let response = fixture.open()
    #expect(response.status == 429)
    #expect(response.text == "local_rate_limited")
    #expect(response.isEnded)
  }

  @Test("at the front of the chain no filter is made; one that tells of its bucket serves one request after the other")
  func reuse() throws {
    let gate = try self.fixture("token_bucket: {max_tokens: 1, fill_interval: 3600s}")
    #expect(gate.open().status == 200 && gate.open().status == 429)
    #expect(gate.worker.idleLocalRateLimits.isEmpty)
    let fixture = try fixture(
      "token_bucket: {max_tokens: 1, fill_interval: 3600s}, enable_x_ratelimit_headers: DRAFT_VERSION_03")
    #expect(fixture.open().status == 200)
    #expect(fixture.worker.idleLocalRateLimits.count == 1)
    for _ in 0..<5 { #expect(fixture.open().status == 429) }
    #expect(fixture.worker.idleLocalRateLimits.count == 1)
  }

  @Test("a body that comes after the answer, and a client that leaves")
  func body() throws {
    let fixture = try fixture("token_bucket: {max_tokens: 1, fill_interval: 3600s}")
    #expect(fixture.open("POST", endStream: false).status == 200)
    let response = fixture.open("POST", endStream: false)
    #expect(response.status == 429)
    response.data("late", endStream: true)
    let other = fixture.open("POST", endStream: false)
    other.stream?.requestReset(.remoteReset)
    #expect(fixture.count(.requestActive) == 0)
  }

  @Test("each connection has its buckets, until it ends")
  func connections() throws {
    let fixture = try fixture(
      "token_bucket: {max_tokens: 1, fill_interval: 3600s}, local_rate_limit_per_downstream_connection: true")
    #expect(fixture.open().status == 200)
    #expect(fixture.open().status == 429)
    fixture.worker.forgetConnection(1)
    #expect(fixture.open().status == 200)
  }

  @Test("who makes values up cannot make more buckets than may be")
  func bound() throws {
    let fixture = try fixture(
      "token_bucket: {max_tokens: 1000, fill_interval: 3600s}, enable_x_ratelimit_headers: DRAFT_VERSION_03, "
        + "max_dynamic_descriptors: 3, descriptors: [{entries: [{key: user}], "
        + "token_bucket: {max_tokens: 1, fill_interval: 3600s}}], "
        + "rate_limits: [{actions: [{request_headers: {header_name: x-user, descriptor_key: user}}]}]")
    for number in 0..<100 { #expect(fixture.open("GET", "/", [("x-user", "\(number)")]).status == 200) }
    for number in 97..<100 { #expect(fixture.open("GET", "/", [("x-user", "\(number)")]).status == 429) }
    #expect(fixture.open("GET", "/", [("x-user", "0")]).status == 200)
    #expect(fixture.open().headers["x-ratelimit-limit"] == "1000")
  }

  @Test(
    "says what is wrong with its configuration",
    arguments: [
      ("token_bucket: {max_tokens: 1, fill_interval: 0.049s}", "token_bucket.fill_interval: must be at least 0.05s"),
      (
        "descriptors: [{entries: [{key: a}], token_bucket: {max_tokens: 1, fill_interval: 1s}}, "
          + "{entries: [{key: a}], token_bucket: {max_tokens: 2, fill_interval: 1s}}]",
        "descriptors[1].entries: is the same as in another descriptor"
      ),
      (
        "rate_limits: [{stage: 0, actions: [{remote_address: {}}]}]",
        "rate_limits[0].stage: means nothing here"
      ),
      (
        "rate_limits: [{disable_key: a, actions: [{remote_address: {}}]}]",
        "rate_limits[0].disable_key: means nothing here"
      ),
    ])
  func problems(_ fields: String, _ problem: String) {
    do {
      _ = try fixture(fields)
      Issue.record("no problem")
    } catch let error as FixtureError {
      #expect(error.problems.contains { $0.hasSuffix("typed_config.\(problem)") }, "\(error.problems)")
    } catch { Issue.record(error) }
  }

  @Test("hits of routes are refused, since they would not count")
  func hits() {
    #expect(throws: FixtureError.self) {
      try fixture(
        "token_bucket: {max_tokens: 1, fill_interval: 1s}",
        routes: "[{match: {prefix: /}, route: {cluster: c, rate_limits: "
          + "[{hits_addend: {number: 2}, actions: [{remote_address: {}}]}]}}]")
    }
  }
}
