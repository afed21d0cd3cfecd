import MeshAPI
import MeshPrimitives
import MeshRouting
import Testing

@Suite struct RouteProblemTests {
  static func problems(_ configuration: RouteConfiguration, path: String = "") -> [String] {
    let (table, problems) = RouteTable.build(configuration, path: path)
    #expect((table == nil) == !problems.isEmpty)
    return problems.map(\.description)
  }

  static func problems(_ configure: (inout Route) -> Void) -> [String] {
    var route = route("r") { $0.prefix = "/" }
    configure(&route)
    return problems(configuration([route]))
  }

  @Test func domains() {
    let problems = Self.problems(
      configuration([
        virtualHost("a", ["*", "a.com", "*.b.com", "c.*"], []),
        virtualHost("b", ["*", "A.com", "*.B.com", "C.*", "x.*.y", "**", "", "a b"], []),
        virtualHost("a", [], []),
        virtualHost("", ["d"], []),
      ]), path: "route_config")
    #expect(
      problems == [
        "route_config.virtual_hosts[2].name: another virtual host of this route configuration is named 'a' too",
        "route_config.virtual_hosts[3].name: is required",
        "route_config.virtual_hosts[1].domains[0]: only one domain '*' is permitted; it belongs to virtual_hosts[0] ('a') already",
        "route_config.virtual_hosts[1].domains[1]: the domain 'A.com' occurs twice; it belongs to virtual_hosts[0] ('a') already",
        "route_config.virtual_hosts[1].domains[2]: the domain '*.B.com' occurs twice; it belongs to virtual_hosts[0] ('a') already",
        "route_config.virtual_hosts[1].domains[3]: the domain 'C.*' occurs twice; it belongs to virtual_hosts[0] ('a') already",
        "route_config.virtual_hosts[1].domains[4]: 'x.*.y': '*' is allowed once, at the beginning or at the end",
        "route_config.virtual_hosts[1].domains[5]: '**': '*' is allowed once, at the beginning or at the end",
        "route_config.virtual_hosts[1].domains[6]: must not be empty",
        "route_config.virtual_hosts[1].domains[7]: 'a b' holds a space or a control character",
        "route_config.virtual_hosts[2].domains: at least one domain is required",
      ])
  }

  @Test func paths() {
    #expect(
      Self.problems { $0.match = RouteMatch() } == [
        "virtual_hosts[0].routes[0].match: one of prefix, path, safe_regex, path_separated_prefix and connect_matcher is "
          + "required"
      ])
    for text in ["", "/", "a/b", "/a/", "/a?b", "/a#b"] {
      #expect(
        Self.problems { $0.match.pathSeparatedPrefix = text } == [
          "virtual_hosts[0].routes[0].match.path_separated_prefix: '\(text)' must begin with '/', must not end with it, "
            + "and has no '?' or '#'"
        ])
    }
  }

  @Test func actions() {
    let path = "virtual_hosts[0].routes[0]"
    #expect(
      Self.problems { $0.action = nil } == [
        "\(path): one of route, redirect, direct_response and non_forwarding_action is required"
      ])
    #expect(
      Self.problems { $0.route = RouteAction() } == [
        "\(path).route: one of cluster, cluster_header and weighted_clusters is required"
      ])
    #expect(Self.problems { $0.route.cluster = "" } == ["\(path).route.cluster: must not be empty"])
    #expect(
      Self.problems { $0.route.weightedClusters = WeightedCluster() } == [
        "\(path).route.weighted_clusters.clusters: at least one cluster is required"
      ])
    #expect(
      Self.problems { $0.route.weightedClusters.clusters = [.with { $0.name = "a" }, .init()] } == [
        "\(path).route.weighted_clusters.clusters[1]: one of name and cluster_header is required",
        "\(path).route.weighted_clusters: the sum of the weights is 0; it must be 1 to 4294967295",
      ])
    let heavy = WeightedCluster.ClusterWeight.with {
      $0.name = "a"
      $0.weight.value = .max
    }
    #expect(
      Self.problems { $0.route.weightedClusters.clusters = [heavy, heavy] } == [
        "\(path).route.weighted_clusters: the sum of the weights is 8589934590; it must be 1 to 4294967295"
      ])
    #expect(
      Self.problems {
        $0.route.timeout.seconds = -1
        $0.route.idleTimeout.nanos = -1
      } == ["\(path).route.timeout: must not be negative", "\(path).route.idle_timeout: must not be negative"])
    #expect(
      Self.problems { $0.route.prefixRewrite = "x" } == ["\(path).route.prefix_rewrite: 'x' must begin with '/'"])
    for text in ["/a b", "/a\r\nx: y", "/\0", "/é", "/#"] {
      #expect(Self.problems { $0.route.prefixRewrite = text }.count == 1)
    }
    for status in [0, 199, 600] as [UInt32] {
      #expect(
        Self.problems { $0.directResponse.status = status } == [
          "\(path).direct_response.status: \(status) is not in 200 to 599"
        ])
    }
    #expect(
      Self.problems {
        $0.directResponse.status = 200
        $0.directResponse.body.inlineString = String(repeating: "x", count: 4_097)
      } == [
        "\(path).direct_response.body: has 4097 bytes; at most 4096 are allowed (max_direct_response_body_size_bytes)"
      ])
    #expect(
      Self.problems {
        $0.directResponse.status = 200
        $0.directResponse.body.filename = "/x"
      } == ["\(path).direct_response.body.filename: cannot be read here; use inline_string"])
  }

  @Test func dataIsLoadedByTheCaller() throws {
    var route = route("r") { $0.prefix = "/" }
    route.directResponse.status = 200
    route.directResponse.body.filename = "/x"
    let built = RouteTable.build(
      configuration([route]), load: { source in .success(Array("from \(source.filename)".utf8)) })
    #expect(built.table?.match(TestRequest(), random: 0)?.direct?.body == Array("from /x".utf8))
    let failed = RouteTable.build(
      configuration([route]), load: { _ in .failure(RouteProblem(path: "", message: "no such file")) })
    #expect(failed.problems.map(\.description) == ["virtual_hosts[0].routes[0].direct_response.body: no such file"])
  }

  @Test func headerNames() {
    let path = "virtual_hosts[0].routes[0]"
    for name in [":path", ":x", "host", "Host"] {
      #expect(
        Self.problems { $0.requestHeadersToAdd = [option(name, "v")] } == [
          "\(path).request_headers_to_add[0].header.key: '\(name)': names that begin with ':' and 'host' cannot be "
            + "added or removed"
        ])
      #expect(Self.problems { $0.requestHeadersToRemove = [name] }.count == 1)
      #expect(Self.problems { $0.responseHeadersToAdd = [option(name, "v")] }.count == 1)
      #expect(Self.problems { $0.responseHeadersToRemove = [name] }.count == 1)
    }
    for name in [
      "connection", "Keep-Alive", "proxy-connection", "te", "trailer", "Transfer-Encoding", "upgrade",
      "http2-settings", "content-length",
    ] {
      #expect(
        Self.problems { $0.responseHeadersToRemove = ["ok", name] } == [
          "\(path).response_headers_to_remove[1]: '\(name)' belongs to the connection or to the framing and cannot be "
            + "added or removed"
        ])
    }
    for name in ["a b", "a:", "é", "a\n"] {
      #expect(
        Self.problems { $0.requestHeadersToAdd = [option(name, "v")] } == [
          "\(path).request_headers_to_add[0].header.key: '\(name)' is not a header name (RFC 9110 §5.6.2)"
        ])
    }
    #expect(
      Self.problems { $0.requestHeadersToRemove = [""] } == ["\(path).request_headers_to_remove[0]: is required"])
  }

  @Test func headerValues() {
    let path = "virtual_hosts[0].routes[0].request_headers_to_add[0].header.value"
    func problems(_ value: String) -> [String] { Self.problems { $0.requestHeadersToAdd = [option("x", value)] } }
    #expect(
      problems("a %REQ(x-b3-traceid)% b") == [
        "\(path): 'a %REQ(x-b3-traceid)% b': operators are not available here ('%%' is a percent sign)"
      ])
    for value in ["50%", "%%%", "%"] {
      #expect(problems(value) == ["\(path): '\(value)': operators are not available here ('%%' is a percent sign)"])
    }
    for value in ["a\r\nb: c", "\0", "\u{7f}", "a\u{1b}b"] {
      #expect(problems(value) == ["\(path): holds a control character"])
    }
    #expect(problems(String(repeating: "x", count: 16_385)).count == 1)
    #expect(problems("tab\tand é").isEmpty)
    #expect(
      Self.problems { route in route.requestHeadersToAdd = (0..<65).map { option("x\($0)", "v") } } == [
        "virtual_hosts[0].routes[0].request_headers_to_add: has 65 elements; at most 64 are supported"
      ])
    var both = option("x", "v", .addIfAbsent)
    both.append.value = true
    #expect(
      Self.problems { $0.requestHeadersToAdd = [both] } == [
        "virtual_hosts[0].routes[0].request_headers_to_add[0].append: must not be combined with append_action"
      ])
  }

  @Test func problemsOfEveryLevelHaveTheirPath() {
    let bad = option("", "v")
    var route = route("r") { $0.prefix = "/" }
    route.route.weightedClusters.clusters = [
      .with {
        $0.name = "a"
        $0.weight.value = 1
        $0.responseHeadersToAdd = [bad]
      }
    ]
    var host = virtualHost("v", ["*"], [route])
    host.requestHeadersToRemove = ["host"]
    var config = configuration([host])
    config.responseHeadersToAdd = [bad]
    let paths = RouteTable.build(config, path: "rc").problems.map(\.path)
    #expect(
      paths == [
        "rc.response_headers_to_add[0].header.key", "rc.virtual_hosts[0].request_headers_to_remove[0]",
        "rc.virtual_hosts[0].routes[0].route.weighted_clusters.clusters[0].response_headers_to_add[0].header.key",
      ])
  }

  @Test func headerConditions() {
    let path = "virtual_hosts[0].routes[0].match.headers[0]"
    func problems(_ configure: (inout HeaderMatcher) -> Void) -> [String] {
      var matcher = HeaderMatcher()
      matcher.name = "h"
      configure(&matcher)
      return Self.problems { $0.match.headers = [matcher] }
    }
    #expect(problems { $0.name = "" } == ["\(path).name: is required"])
    #expect(problems { $0.name = ":status" } == ["\(path).name: ':status' is not a pseudo header of requests"])
    #expect(problems { $0.name = "a b" } == ["\(path).name: 'a b' is not a header name (RFC 9110 §5.6.2)"])
    #expect(
      problems { $0.stringMatch = StringMatcher() } == [
        "\(path).string_match: one of exact, prefix, suffix, safe_regex and contains is required"
      ])
    #expect(problems { $0.stringMatch.prefix = "" } == ["\(path).string_match.prefix: must not be empty"])
    #expect(problems { $0.stringMatch.suffix = "" } == ["\(path).string_match.suffix: must not be empty"])
    #expect(problems { $0.stringMatch.contains = "" } == ["\(path).string_match.contains: must not be empty"])
    #expect(problems { $0.headerMatchSpecifier = .prefixMatch("") } == ["\(path).prefix_match: must not be empty"])
    #expect(problems { $0.stringMatch.exact = "" }.isEmpty)
  }
}
