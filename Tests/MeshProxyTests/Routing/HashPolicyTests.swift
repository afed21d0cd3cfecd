import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Hashes of requests")
struct HashPolicyTests {
  /// Sixteen endpoints that nobody serves; which one is chosen is what counts.
  private func fixture(_ policy: String, lb: String = "RING_HASH") throws -> WorkerFixture {
    let endpoints = (1...16).map {
      "{endpoint: {address: {socket_address: {address: 127.0.0.\($0), port_value: 1}}}}"
    }
    return try WorkerFixture(
      routes: "[{match: {prefix: /}, route: {cluster: c, hash_policy: \(policy)}}]",
      clusters: "[{name: c, lb_policy: \(lb), load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: "
        + "[\(endpoints.joined(separator: ", "))]}]}}]")
  }

  /// The hash of a request; nil if it has none.
  private func hash(_ policy: String, _ path: String = "/", _ headers: [(String, String)] = []) throws -> UInt64? {
    let fixture = try fixture(policy)
    let map = fixture.worker.headerMaps.take()
    Array(path.utf8).withUnsafeBufferPointer { map.set(.path, $0) }
    for (name, value) in headers { Array(value.utf8).withUnsafeBufferPointer { map.add(HeaderName(name), $0) } }
    guard case .forward(let action)? = fixture.manager.routes.table.entries.first?.action,
      let policies = action.hashPolicies
    else { throw TestFailure("there is no hash policy") }
    return policies.hash(
      RoutingView(map),
      address: { out in
        "10.0.0.9".utf8.enumerated().forEach { out[$0.offset] = $0.element }
        return 8
      }, make: { _ in Array("made".utf8) })
  }

  private func xxHash(_ text: String, seed: UInt64 = 0) -> UInt64 {
    Array(text.utf8).withUnsafeBufferPointer { XXHash64.hash($0, seed: seed) }
  }

  private static let user = "{header: {header_name: x-user}}"

  @Test("a header's value; of several lines all, in any order")
  func header() throws {
    #expect(try hash("[\(Self.user)]") == nil)
    #expect(try hash("[\(Self.user)]", "/", [("x-user", "foo")]) == 0x33bf_00a8_59c4_ba3f)
    #expect(try hash("[\(Self.user)]", "/", [("x-user", "")]) == xxHash(""))
    let two = try hash("[\(Self.user)]", "/", [("x-user", "b"), ("x-user", "a")])
    #expect(two == xxHash("b", seed: xxHash("a")))
    #expect(try hash("[\(Self.user)]", "/", [("x-user", "a"), ("x-user", "b")]) == two)
    let rewritten = #"[{header: {header_name: x-user, regex_rewrite: {pattern: {regex: "-.*"}, substitution: ""}}}]"#
    #expect(try hash(rewritten, "/", [("x-user", "foo-17")]) == xxHash("foo"))
  }

  @Test("a cookie, without its quotes; one that is made if it is missing and has a time to live")
  func cookie() throws {
    let policy = "[{cookie: {name: c}}]"
    #expect(try hash(policy, "/", [("cookie", "a=1; c=\"foo\"; c=x")]) == xxHash("foo"))
    #expect(try hash(policy, "/", [("cookie", "a=1"), ("cookie", "c=foo")]) == xxHash("foo"))
    #expect(try hash(policy, "/", [("cookie", "cc=foo")]) == nil)
    #expect(try hash(policy, "/", [("cookie", "c=")]) == nil)
    #expect(try hash("[{cookie: {name: c, ttl: 0s}}]") == xxHash("made"))
  }

  @Test("a parameter of the query as it stands there; the client's address")
  func others() throws {
    let query = "[{query_parameter: {name: q}}]"
    #expect(try hash(query, "/?a=1&q=foo%20&q=2") == xxHash("foo%20"))
    #expect(try hash(query, "/?q=") == xxHash(""))
    #expect(try hash(query, "/?aq=1") == nil)
    #expect(try hash("[{connection_properties: {source_ip: true}}]") == xxHash("10.0.0.9"))
    #expect(try hash("[{connection_properties: {}}]") == nil)
  }

  @Test("several policies are combined, unless one that is terminal has found something")
  func combined() throws {
    let headers = [("x-user", "foo")]
    let first = xxHash("foo")
    let query = "{query_parameter: {name: q}}"
    #expect(try hash("[\(Self.user), \(Self.user)]", "/", headers) == ((first << 1 | first >> 63) ^ first))
    #expect(try hash("[\(Self.user), \(query)]", "/?q=x", headers) == ((first << 1 | first >> 63) ^ xxHash("x")))
    let terminal = "[{header: {header_name: x-user}, terminal: true}, \(query)]"
    #expect(try hash(terminal, "/?q=x", headers) == first)
    #expect(try hash(terminal, "/?q=x") == xxHash("x"))
  }

  @Test("a cookie is made once for a client's connection, with its attributes, where it is needed")
  func setCookie() throws {
    let upstream = try Upstream()
    func response(_ lb: String, _ headers: [(String, String)] = []) throws -> [String: String] {
      let fixture = try WorkerFixture(
        routes: """
          [{match: {prefix: /}, route: {cluster: c, hash_policy: [{cookie: {name: sticky, ttl: 60s, path: /x, \
          attributes: [{name: SameSite, value: Lax}, {name: Secure}]}}]}}]
          """, clusters: "[\(upstream.cluster().replacing("type: STATIC", with: "type: STATIC, lb_policy: \(lb)"))]")
      return fixture.get("/", headers).headers
    }
    let made = try #require(try response("MAGLEV")["set-cookie"])
    #expect(made.hasPrefix("sticky=\""))
    #expect(made.hasSuffix("\"; Max-Age=60; Path=/x; SameSite=Lax; Secure; HttpOnly"))
    #expect(try response("RING_HASH")["set-cookie"] == made)
    #expect(try response("RING_HASH", [("cookie", "sticky=1")])["set-cookie"] == nil)
    #expect(try response("ROUND_ROBIN")["set-cookie"] == nil)
  }

  @Test("mistakes")
  func mistakes() {
    func problem(_ policy: String) -> String {
      do {
        _ = try fixture("[\(policy)]")
        return ""
      } catch let error as FixtureError {
        return error.problems.joined(separator: "; ")
      } catch { return "\(error)" }
    }
    #expect(problem("{terminal: true}").contains("needs one of"))
    #expect(problem("{cookie: {name: \"a b\"}}").contains("is not the name of a cookie"))
    #expect(problem("{cookie: {name: a, ttl: 1s, path: \"/;x\"}}").contains("RFC 6265"))
    #expect(problem("{header: {header_name: \"x y\"}}").contains("header name"))
    #expect(problem("{filter_state: {key: a}}").contains("Envoy has this field, but it is not supported yet"))
  }
}
