import MeshHTTP
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

/// What routes make of requests and responses, through a whole stream. The expectations are what Envoy 1.40 does.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct RouteActionTests {
  static func add(_ name: String, _ value: String, _ action: String = "APPEND_IF_EXISTS_OR_ADD") -> String {
    "{header: {key: \(name), value: \"\(value)\"}, append_action: \(action)}"
  }

  // MARK: Answers of the proxy

  @Test func redirects() throws {
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /old}, redirect: {https_redirect: true, prefix_rewrite: /new, response_code: FOUND}, \
        response_headers_to_add: [\(Self.add("x-why", "moved"))]}]
        """, host: "response_headers_to_add: [\(Self.add("x-host", "all"))]")
    let response = fixture.get("/old/x?q=1", [("host", "shop.example:80")])
    #expect(response.status == 302)
    #expect(response.headers["location"] == "https://shop.example/new/x?q=1")
    #expect(response.headers["x-why"] == "moved" && response.headers["x-host"] == "all")
    #expect(response.headers["content-type"] == nil && response.body.isEmpty)
    #expect(fixture.count(.routerDirectResponse) == 1)
  }

  /// A path cannot end the header it goes into.
  @Test func redirectsStayOneLine() throws {
    let fixture = try WorkerFixture(routes: "[{match: {prefix: /}, redirect: {path_rewrite: \"/%REQ(x-to)%\"}}]")
    let response = fixture.get("/", [("x-to", "a b\u{e9}")])
    #expect(response.headers["location"]?.contains("\n") == false)
    #expect(response.headers.count { $0.key == "location" } == 1)
  }

  @Test func directResponsesHaveTheRoutesHeaders() throws {
    let fixture = try WorkerFixture(
      routes: """
        [{match: {path: /page}, direct_response: {status: 200, body: {inline_string: "<p>"}}, \
        response_headers_to_add: [\(Self.add("content-type", "text/html"))]}, \
        {match: {path: /plain}, direct_response: {status: 404, body: {inline_string: "x"}}}]
        """)
    #expect(fixture.get("/page").headers["content-type"] == "text/html")
    #expect(fixture.get("/plain").headers["content-type"] == "text/plain")
  }

  /// Every answer, once there is a route: here no endpoint, no cluster, a filter's refusal.
  @Test func failuresHaveTheRoutesHeaders() throws {
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /e}, route: {cluster: e}, response_headers_to_add: [\(Self.add("x-r", "e"))]}, \
        {match: {prefix: /f}, route: {cluster: e}, response_headers_to_add: [\(Self.add("x-r", "f"))]}, \
        {match: {prefix: /n}, non_forwarding_action: {}, response_headers_to_add: [\(Self.add("x-r", "n"))]}]
        """, host: "include_attempt_count_in_response: true",
      clusters: "[{name: e, type: STATIC, load_assignment: {cluster_name: e}}]",
      httpFilters: """
        - {name: fault, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, \
        abort: {http_status: 418, percentage: {numerator: 100}}, headers: [{name: x-fault, present_match: true}]}}
        """)
    let empty = fixture.get("/e")
    #expect(empty.status == 503 && empty.text == "no healthy upstream" && empty.headers["x-r"] == "e")
    #expect(empty.headers["x-envoy-attempt-count"] == "1")
    let fault = fixture.get("/f", [("x-fault", "1")])
    #expect(fault.status == 418 && fault.headers["x-r"] == "f")
    #expect(fault.headers["x-envoy-attempt-count"] == nil)
    let nobody = fixture.get("/n")
    #expect(nobody.status == 503 && nobody.body.isEmpty && nobody.headers["x-r"] == "n")
    #expect(fixture.get("/other").status == 404)
    #expect(fixture.get("/other").headers["x-r"] == nil)
  }

  @Test func requestsThatMustComeOverTLS() throws {
    let fixture = try WorkerFixture(
      routes: "[{match: {prefix: /}, direct_response: {status: 200}}]", host: "require_tls: ALL")
    let plain = fixture.get("/a?b=1")
    #expect(plain.status == 301 && plain.headers["location"] == "https://test/a?b=1")
    #expect(fixture.get("/a", [("x-forwarded-proto", "https")]).status == 200)
  }

  // MARK: Clusters

  @Test func clusterHeader() throws {
    let upstream = try Upstream()
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /404}, route: {cluster_header: x-c, cluster_not_found_response_code: NOT_FOUND}}, \
        {match: {prefix: /500}, route: {cluster_header: x-c, cluster_not_found_response_code: INTERNAL_SERVER_ERROR}}, \
        {match: {prefix: /}, route: {cluster_header: x-c}}]
        """, clusters: "[\(upstream.cluster("here"))]")
    #expect(fixture.get("/", [("x-c", "here")]).status == 200)
    #expect(fixture.get("/", [("x-c", "here"), ("x-c", "nowhere")]).status == 200)
    for headers in [[], [("x-c", "")], [("x-c", "nowhere")], [("x-c", "\u{e9}")]] {
      #expect(fixture.get("/", headers).status == 503)
      #expect(fixture.get("/404", headers).status == 404)
      #expect(fixture.get("/500", headers).status == 500)
    }
    #expect(fixture.count(.routerNoCluster) == 12)
  }

  // MARK: Requests

  @Test func pathsAndHosts() throws {
    let upstream = try Upstream()
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /regex}, route: {cluster: c, regex_rewrite: \
        {pattern: {regex: "^/regex/(.*)$"}, substitution: "/\\\\1/new"}, host_rewrite_literal: new.host}}, \
        {match: {prefix: /relative}, route: {cluster: c, regex_rewrite: \
        {pattern: {regex: "^/relative/"}, substitution: ""}}}, \
        {match: {prefix: /header}, route: {cluster: c, host_rewrite_header: x-host, append_x_forwarded_host: true}}, \
        {match: {prefix: /path}, route: {cluster: c, host_rewrite_path_regex: \
        {pattern: {regex: "^/path/(.*)$"}, substitution: "\\\\1.host"}}}, \
        {match: {prefix: /auto}, route: {cluster: c, auto_host_rewrite: true, append_x_forwarded_host: true}}, \
        {match: {prefix: /weighted}, route: {host_rewrite_literal: route.host, weighted_clusters: \
        {clusters: [{name: c, weight: 1, host_rewrite_literal: cluster.host}]}}}, \
        {match: {prefix: /cluster}, route: {weighted_clusters: \
        {clusters: [{name: c, weight: 1, host_rewrite_literal: cluster.host}]}}}]
        """, clusters: "[\(upstream.cluster(hostname: "endpoint.host"))]")
    func request(_ path: String, _ headers: [(String, String)] = []) throws -> RawRequest {
      #expect(fixture.get(path, headers).status == 200)
      return try #require(upstream.last)
    }
    let regex = try request("/regex/a/b?q=/regex/", [("x-envoy-original-path", "/forged")])
    #expect(regex.target == "/a/b/new?q=/regex/" && regex.value("x-envoy-original-path") == "/regex/a/b?q=/regex/")
    #expect(regex.value("host") == "new.host" && regex.value("x-envoy-original-host") == "test")
    #expect(regex.value("x-forwarded-host") == nil)
    #expect(try request("/relative/x").target == "/x")

    let header = try request(
      "/header", [("x-host", "from.header:8080"), ("x-forwarded-host", "a"), ("x-forwarded-host", "b")])
    #expect(header.value("host") == "from.header:8080" && header.values("x-forwarded-host") == ["a,b,test"])
    // The last one is not repeated, another one is.
    #expect(
      try request("/header", [("x-host", "h"), ("x-forwarded-host", "a, test")]).values("x-forwarded-host") == [
        "a, test"
      ])
    #expect(
      try request("/header", [("x-host", "h"), ("x-forwarded-host", "test,a")]).values("x-forwarded-host") == [
        "test,a,test"
      ])
    // What is no host does not become one.
    for value in ["", "a b", "a/b", "user@host", "h:99999", "[::1"] {
      let unchanged = try request("/header", [("x-host", value)])
      #expect(unchanged.value("host") == "test" && unchanged.value("x-envoy-original-host") == nil, "\(value)")
      #expect(unchanged.values("x-forwarded-host").isEmpty)
    }
    #expect(try request("/path/shop?q").value("host") == "shop.host")
    #expect(try request("/path/a/b").value("host") == "test")
    #expect(try request("/pathless").value("host") == "test")

    let auto = try request("/auto")
    #expect(auto.value("host") == "endpoint.host" && auto.value("x-envoy-original-host") == "test")
    #expect(auto.value("x-forwarded-host") == "test")
    let weighted = try request("/weighted")
    #expect(weighted.value("host") == "route.host" && weighted.value("x-envoy-original-host") == "cluster.host")
    let cluster = try request("/cluster")
    #expect(cluster.value("host") == "cluster.host" && cluster.value("x-envoy-original-host") == nil)
  }

  // MARK: Values with operators

  /// Values see path and host as they came, and what their level has removed is gone.
  @Test func formatsInRequests() throws {
    let upstream = try Upstream()
    let fixture = try WorkerFixture(
      routes: """
        [{name: r, match: {prefix: /}, metadata: {filter_metadata: {team: {name: shop, size: 3}}}, \
        request_headers_to_remove: [x-gone], request_headers_to_add: [\
        \(Self.add("x-path", "%REQ(:path)%")), \(Self.add("x-host", "%REQ(:authority)%")), \
        \(Self.add("x-gone-copy", "%REQ(x-gone)%")), \(Self.add("x-none", "%REQ(x-none)%")), \
        \(Self.add("x-mixed", "a%REQ(x-none)%b%%")), \(Self.add("x-cluster", "%UPSTREAM_CLUSTER%")), \
        \(Self.add("x-endpoint", "%UPSTREAM_HOST%")), \(Self.add("x-timeout", "%REQ(x-envoy-expected-rq-timeout-ms)%")), \
        \(Self.add("x-quotes", "%REQ(x-q)%")), \(Self.add("x-team", "%METADATA(ROUTE:team:name)%/%METADATA(VIRTUAL_HOST:v)%")), \
        \(Self.add("x-name", "%ROUTE_NAME%"))], \
        route: {cluster: c, prefix_rewrite: /new/, host_rewrite_literal: new.host}}]
        """, host: "metadata: {filter_metadata: {v: {w: true}}}", clusters: "[\(upstream.cluster())]")
    #expect(fixture.get("/old?q", [("x-gone", "1"), ("x-q", "say \"hi\" \\ there")]).status == 200)
    let request = try #require(upstream.last)
    #expect(request.target == "/new/old?q" && request.value("host") == "new.host")
    let expected = [
      "x-path": "/old?q", "x-host": "test", "x-mixed": "ab%", "x-cluster": "c", "x-timeout": "15000",
      "x-quotes": "say \"hi\" \\ there", "x-team": "shop/{\"w\":true}", "x-name": "r",
    ]
    for (name, value) in expected { #expect(request.values(name) == [value], "\(name)") }
    for name in ["x-gone", "x-gone-copy", "x-none", "x-endpoint"] { #expect(request.values(name).isEmpty, "\(name)") }
  }

  @Test func formatsInResponses() throws {
    let upstream = try Upstream(headers: [("x-up", "one"), ("x-up", "two")])
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /}, route: {cluster: c}, response_headers_to_add: [\
        \(Self.add("x-r", "%RESP(x-up)%")), \(Self.add("x-code", "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS%")), \
        \(Self.add("x-q", "%REQ(x-h)%")), \(Self.add("x-none", "%RESP(x-none)%"))]}]
        """, clusters: "[\(upstream.cluster())]")
    let response = fixture.get("/", [("x-h", "from the request")])
    #expect(response.headers["x-r"] == "one" && response.headers["x-code"] == "200 via_upstream")
    #expect(response.headers["x-q"] == "from the request" && response.headers["x-none"] == nil)
  }

  /// In answers of the proxy the status is not known yet, as in Envoy.
  @Test func formatsInAnswersOfTheProxy() throws {
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /}, route: {cluster: e}, response_headers_to_add: [\
        \(Self.add("x-why", "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%"))]}]
        """, clusters: "[{name: e, type: STATIC, load_assignment: {cluster_name: e}}]")
    #expect(fixture.get("/").headers["x-why"] == "0 no_healthy_upstream UH")
  }

  @Test func formattedPathsAndHosts() throws {
    let upstream = try Upstream()
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /both}, route: {cluster: c, path_rewrite: "/f/%REQ(x-a)%", host_rewrite: "%REQ(x-a)%.host"}}, \
        {match: {prefix: /go}, redirect: {path_rewrite: "/y%REQ(x-n)%%REQ(:path)%"}}, \
        {match: {prefix: /none}, route: {cluster: c, path_rewrite: "%REQ(x-none)%"}}]
        """, clusters: "[\(upstream.cluster())]")
    #expect(fixture.get("/both?q=1", [("x-a", "AA")]).status == 200)
    #expect(upstream.last?.target == "/f/AA?q=1" && upstream.last?.value("host") == "AA.host")
    #expect(fixture.get("/both", [("x-a", "a b\tc")]).status == 200)
    #expect(upstream.last?.target == "/f/a%20b%09c" && upstream.last?.value("host") == "test")
    #expect(fixture.get("/none?q").status == 200)
    #expect(upstream.last?.target == "/none?q" && upstream.last?.value("x-envoy-original-path") == nil)
    #expect(fixture.get("/go?d=1").headers["location"] == "http://test/y/go?d=1")
  }

  @Test func formattedBodies() throws {
    let fixture = try WorkerFixture(
      routes: """
        [{match: {path: /text}, direct_response: {status: 200, body: {inline_string: B}, body_format: {\
        text_format_source: {inline_string: "%LOCAL_REPLY_BODY% %REQ(:path)% %RESPONSE_CODE%"}, content_type: text/html}}}, \
        {match: {path: /json}, direct_response: {status: 200, body: {inline_string: B}, \
        body_format: {json_format: {b: "%LOCAL_REPLY_BODY%"}}}}]
        """)
    let text = fixture.get("/text")
    #expect(text.text == "B /text 0" && text.headers["content-type"] == "text/html")
    #expect(text.headers["content-length"] == "9")
    let json = fixture.get("/json")
    #expect(json.text == "{\"b\":\"B\"}\n" && json.headers["content-type"] == "application/json")
  }

  @Test func formatsThatAreWrong() {
    let problems = RouteFilterTests.problems {
      try WorkerFixture(
        routes: """
          [{match: {prefix: /}, request_headers_to_add: [\(Self.add("x", "%NOPE%"))], direct_response: {status: 200, \
          body_format: {text_format_source: {inline_string: "%NOPE%"}}}}]
          """)
    }
    #expect(problems.count == 1)
    #expect(
      problems.first?.hasPrefix(
        "route_config.virtual_hosts[0].routes[0].request_headers_to_add[0].header.value: at byte 0: ") == true)
  }

  @Test func attemptCounts() throws {
    let upstream = try Upstream(headers: [("x-envoy-attempt-count", "9")])
    let fixture = try WorkerFixture(
      routes: "[{match: {prefix: /}, route: {cluster: c}}]",
      host: "include_request_attempt_count: true, include_attempt_count_in_response: true",
      clusters: "[\(upstream.cluster())]")
    let response = fixture.get("/", [("x-envoy-attempt-count", "5")])
    #expect(upstream.last?.values("x-envoy-attempt-count") == ["1"])
    #expect(response.headers["x-envoy-attempt-count"] == "1")
  }

  @Test func internalOnlyHeaders() throws {
    let upstream = try Upstream()
    let fixture = try WorkerFixture(
      routes: """
        [{match: {prefix: /, headers: [{name: x-secret, present_match: true}]}, direct_response: {status: 418}}, \
        {match: {prefix: /}, route: {cluster: c}}]
        """, table: "internal_only_headers: [x-secret]", clusters: "[\(upstream.cluster())]")
    #expect(fixture.get("/", [("x-secret", "1"), ("x-other", "1")]).status == 200)
    #expect(upstream.last?.value("x-secret") == nil && upstream.last?.value("x-other") == "1")
  }

  /// Shares and weights are decided once for a request.
  @Test func aRouteThatIsChosenAgainIsTheSame() throws {
    let clearing = ClearingFilter.Configuration()
    let fixture = try WorkerFixture(
      routes: """
        [{name: half, match: {prefix: /, runtime_fraction: {default_value: {numerator: 50}}}, direct_response: {status: 201}}, \
        {name: rest, match: {prefix: /}, direct_response: {status: 202}}]
        """, filters: [clearing])
    var statuses: Set<Int> = []
    for _ in 0..<40 {
      clearing.seen.change { $0.removeAll() }
      statuses.insert(fixture.get().status ?? 0)
      #expect(Set(clearing.seen.read { $0 }).count == 1)
    }
    #expect(statuses == [201, 202])
  }
}

/// Has the route chosen again and again.
private final class ClearingFilter: StreamFilter {
  struct Configuration: FilterConfiguration {
    let seen = Monitor<[String]>([])
    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      ClearingFilter(callbacks, seen)
    }
  }

  private let callbacks: StreamFilterCallbacks
  private let seen: Monitor<[String]>

  init(_ callbacks: StreamFilterCallbacks, _ seen: Monitor<[String]>) {
    self.callbacks = callbacks
    self.seen = seen
  }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    for _ in 0..<10 {
      callbacks.clearRouteCache()
      if let name = callbacks.stream.route?.name { seen.change { $0.append(name) } }
    }
    callbacks.clearRouteCache()
    return .proceed
  }
}
