import MeshAPI
import SwiftProtobuf
import Testing

@testable import MeshConfig

/// What values must mean. Each rule, from both sides.
@Suite struct ValidationTests {
  @Test func required() {
    #expect(
      problems(SocketAddress.self, "{}") == [
        "x.yaml:1:1: address: is required",
        "x.yaml:1:1: port_value: is required (at most 65535)",
      ])
    #expect(
      problems(DirectResponseAction.self, "body: {inline_string: a}") == [
        "x.yaml:1:1: status: is required (200 to 599)"
      ])
    #expect(
      problems(WeightedCluster.self, "clusters:\n- {}\n") == [
        "x.yaml:2:3: clusters[0].weight: is required"
      ])
    #expect(
      problems(VirtualHost.self, "name: a\n") == [
        "x.yaml:1:1: domains: is required (a list of at least one item)"
      ])
    #expect(
      problems(FaultDelay.self, "percentage: {numerator: 1}\n") == [
        "x.yaml:1:1: needs one of fixed_delay, header_delay"
      ])
    #expect(
      problems(VirtualHost.self, "name: a\ndomains:\n") == [
        "x.yaml:2:9: domains: is required (a list of at least one item); here it is nothing"
      ])
    #expect(
      problems(HttpConnectionManager.self, "{}").map { $0.split(separator: " ")[1] } == [
        "stat_prefix:", "route_config:", "http_filters:",
      ])
    #expect(
      problems(Listener.self, "name: a\n").map { $0.split(separator: " ")[1] } == ["address:"])
    #expect(problems(FilterChain.self, "{}") == ["x.yaml:1:1: filters: is required (a list of at least one item)"])
    #expect(problems(LbEndpoint.self, "{}") == ["x.yaml:1:1: endpoint: is required"])
    #expect(problems(Endpoint.self, "{}") == ["x.yaml:1:1: address: is required"])
    #expect(
      problems(UpstreamHttpProtocolOptions.self, "explicit_http_config:\n  http_protocol_options:\n") == [
        "x.yaml:2:3: explicit_http_config: needs one of http_protocol_options, http2_protocol_options"
      ])
    #expect(problems(Bootstrap.self, "admin: {}\n").isEmpty)
  }

  @Test func everyFilterChainHasFilters() {
    let yaml = frontProxy.replacing(line: "filter_chains:", with: "filter_chains:\n- {filters: []}")
    #expect(
      problems(Bootstrap.self, yaml) == [
        "x.yaml:8:17: static_resources.listeners[0].filter_chains[0].filters:"
          + " is required (a list of at least one item); here it is an empty list"
      ])
  }

  @Test func ranges() {
    func manager(_ line: String) -> [String] {
      problems(
        HttpConnectionManager.self,
        """
        \(line)
        stat_prefix: a
        route_config: {}
        http_filters: [{name: r, typed_config: {"@type": envoy.extensions.filters.http.router.v3.Router}}]
        """)
    }
    for value in [1, 8192] { #expect(manager("max_request_headers_kb: \(value)").isEmpty) }
    for value in [0, 8193] {
      #expect(
        manager("max_request_headers_kb: \(value)") == [
          "x.yaml:1:25: max_request_headers_kb: must be 1 to 8192, not \(value)"
        ])
    }
    #expect(
      manager("server_name: \"a\\nb\"") == [
        "x.yaml:1:14: server_name: must not contain CR, LF or NUL, but is \"a\\nb\""
      ])
    for value in [200, 599] { #expect(problems(DirectResponseAction.self, "status: \(value)").isEmpty) }
    for value in [199, 600] {
      #expect(
        problems(DirectResponseAction.self, "status: \(value)") == [
          "x.yaml:1:9: status: must be 200 to 599, not \(value)"
        ])
    }
    #expect(problems(SocketAddress.self, "{address: a, port_value: 65535}").isEmpty)
    #expect(
      problems(SocketAddress.self, "{address: a, port_value: 65536}") == [
        "x.yaml:1:26: port_value: must be at most 65535, not 65536"
      ])
    #expect(
      problems(SocketAddress.self, "{address: '', port_value: 1}") == ["x.yaml:1:11: address: must not be empty"])
    #expect(
      problems(SocketAddress.self, "{address: a, port_value: 1, protocol: UDP}") == [
        "x.yaml:1:39: protocol: UDP is not supported yet (supported: TCP)"
      ])
    #expect(
      problems(Buffer.self, "max_request_bytes: 0") == ["x.yaml:1:20: max_request_bytes: must be at least 1, not 0"])
    #expect(
      problems(Cluster.self, "{name: a, dns_refresh_rate: 0.001s}") == [
        "x.yaml:1:29: dns_refresh_rate: must be more than 0.001s, not 0.001s"
      ])
    #expect(problems(Cluster.self, "{name: a, dns_refresh_rate: 0.001000001s}").isEmpty)
    #expect(
      problems(HttpProtocolOptions.self, "max_headers_count: 0") == [
        "x.yaml:1:20: max_headers_count: must be at least 1, not 0"
      ])
    #expect(
      problems(BufferPerRoute.self, "disabled: false") == [
        "x.yaml:1:11: disabled: must be true when it is given (leave it out otherwise)"
      ])
    let headers = Array(repeating: "{header: {key: a}}", count: 1001).joined(separator: ", ")
    #expect(
      problems(RouteConfiguration.self, "request_headers_to_add: [\(headers)]") == [
        "x.yaml:1:25: request_headers_to_add: has 1001 items (at most 1000 are allowed)"
      ])
  }

  @Test func headers() {
    func add(_ header: String) -> [String] { problems(HeaderValueOption.self, "header: {\(header)}") }
    #expect(add("key: x-a, value: b").isEmpty)
    #expect(add("key: x-a").isEmpty)
    #expect(add("value: b") == ["x.yaml:1:9: header.key: is required"])
    #expect(
      add("key: 'x a'") == [
        "x.yaml:1:15: header.key: must be a header name, not \"x a\" (letters, digits and !#$%&'*+-.^_`|~)"
      ])
    for name in ["Host", ":path"] {
      #expect(
        add("key: '\(name)'") == [
          "x.yaml:1:15: header.key: \"\(name)\" cannot be added or removed"
            + " (neither can host, nor any name that begins with a colon)"
        ])
    }
    for escape in ["\\n", "\\r", "\\0"] { #expect(add("key: a, value: \"x\(escape)y\"").count == 1) }
    let long = String(repeating: "x", count: 16385)
    #expect(
      add("key: a, value: \(long)") == ["x.yaml:1:25: header.value: must have at most 16384 bytes, not 16385"])
    #expect(
      problems(HeaderValueOption.self, "{header: {key: a}, append: true, append_action: ADD_IF_ABSENT}")
        == [
          "x.yaml:1:20: append: is deprecated (use append_action)",
          "x.yaml:1:28: append: must not be combined with append_action",
        ].filter { $0.contains("must") })
    #expect(
      problems(
        Route.self, "{match: {prefix: /}, direct_response: {status: 200}, response_headers_to_remove: [a, hoSt]}")
        == [
          "x.yaml:1:86: response_headers_to_remove[1]: \"hoSt\" cannot be added or removed"
            + " (neither can host, nor any name that begins with a colon)"
        ])
    #expect(problems(HeaderMatcher.self, "{name: ':path', present_match: true}").isEmpty)
    #expect(problems(HeaderMatcher.self, "{name: ':', present_match: true}").count == 1)
    #expect(problems(StringMatcher.self, "{exact: ''}").isEmpty)
    #expect(problems(StringMatcher.self, "{prefix: ''}") == ["x.yaml:1:10: prefix: must not be empty"])
  }

  @Test func paths() {
    for prefix in ["/a", "ab", "/a/b"] {
      #expect(problems(RouteMatch.self, "path_separated_prefix: \(prefix)").isEmpty)
    }
    for prefix in ["/", "/a/", "/a?b", "/a#"] {
      #expect(
        problems(RouteMatch.self, "path_separated_prefix: '\(prefix)'") == [
          "x.yaml:1:24: path_separated_prefix: must have at least two characters, no ? or #, and no / at the end,"
            + " but is \"\(prefix)\""
        ])
    }
    #expect(problems(RouteMatch.self, "prefix: ''").isEmpty)
    #expect(problems(RouteAction.self, "{cluster: a, prefix_rewrite: \"/\\r\\n\"}").count == 1)
  }

  @Test func domains() {
    func table(_ domains: String) -> [String] {
      problems(
        RouteConfiguration.self, "virtual_hosts: [{name: a, domains: [x.example]}, {name: a, domains: [\(domains)]}]")
    }
    #expect(table("'*', '*.x', 'x.*', y:80").isEmpty)
    #expect(
      table("X.Example") == [
        "x.yaml:1:70: virtual_hosts[1].domains[0]: \"X.Example\" is served by virtual_hosts[0].domains[0] already"
          + " (a domain may occur once in a route table)"
      ])
    #expect(
      table("y, 'a*b', ''") == [
        "x.yaml:1:73: virtual_hosts[1].domains[1]: \"a*b\" matches only a host of exactly this name:"
          + " * stands for something only at the beginning or at the end",
        "x.yaml:1:80: virtual_hosts[1].domains[2]: an empty domain never matches (\"*\" stands for all)",
      ])
  }

  @Test func weights() {
    func clusters(_ weights: String...) -> [String] {
      let items = weights.map { "{name: a, weight: \($0)}" }.joined(separator: ", ")
      return problems(WeightedCluster.self, "clusters: [\(items)]")
    }
    #expect(clusters("1", "0").isEmpty)
    #expect(clusters("4294967295").isEmpty)
    #expect(clusters("0", "0") == ["x.yaml:1:11: clusters: the weights must not all be 0"])
    #expect(
      clusters("4294967295", "1") == [
        "x.yaml:1:11: clusters: the sum of the weights must be at most 4294967295, not 4294967296"
      ])
  }

  @Test func routerIsLast() {
    func filters(_ types: String...) -> [String] {
      let items = types.enumerated().map { index, type in
        "  - {name: f\(index), typed_config: {\"@type\": envoy.extensions.filters.http.\(type)}}\n"
      }
      return problems(
        HttpConnectionManager.self, "stat_prefix: a\nroute_config: {}\nhttp_filters:\n" + items.joined())
    }
    let (router, buffer) = ("router.v3.Router", "buffer.v3.Buffer, max_request_bytes: 1")
    #expect(filters(router).isEmpty)
    #expect(filters(buffer, buffer, router).isEmpty)
    #expect(filters(router, router) == ["x.yaml:4:5: http_filters[0]: the router must be the last filter"])
    #expect(
      filters(router, buffer) == [
        "x.yaml:4:5: http_filters[0]: the router must be the last filter",
        "x.yaml:5:5: http_filters[1]: the last filter must be the router"
          + " (envoy.extensions.filters.http.router.v3.Router)",
      ])
  }

  @Test func addresses() {
    let hostInStatic = frontProxy.replacing(line: "type: STRICT_DNS", with: "type: STATIC")
    #expect(
      problems(Bootstrap.self, hostInStatic) == [
        "x.yaml:40:26: static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address"
          + ".socket_address.address: must be an IP address in a STATIC cluster, not \"service1\""
          + " (host names need type: STRICT_DNS)"
      ])
    for address in ["localhost", "127.1", "1.2.3.4.5", "::g", "[::1]"] {
      let yaml = frontProxy.replacing(line: "address: 0.0.0.0", with: "address: '\(address)'")
      #expect(
        problems(Bootstrap.self, yaml) == [
          "x.yaml:5:18: static_resources.listeners[0].address.socket_address.address:"
            + " must be an IP address to listen on, not \"\(address)\""
        ])
    }
    #expect(
      problems(Admin.self, "address: {socket_address: {address: localhost, port_value: 1}}") == [
        "x.yaml:1:37: address.socket_address.address: must be an IP address to listen on, not \"localhost\""
      ])
    for address in ["127.0.0.1", "::", "fe80::1"] {
      let yaml = frontProxy.replacing(line: "address: 0.0.0.0", with: "address: '\(address)'")
      #expect(problems(Bootstrap.self, yaml).isEmpty)
    }
  }

  @Test func names() {
    #expect(
      problems(Bootstrap.StaticResources.self, "clusters: [{name: a}, {name: b}, {name: a}]") == [
        "x.yaml:1:41: clusters[2].name: \"a\" is the name of clusters[0] already (names must be unique)"
      ])
    let options =
      "{\"@type\": envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: "
      + "{http_protocol_options: {}}}"
    #expect(
      problems(Cluster.self, "{name: a, typed_extension_protocol_options: {foo: \(options)}}") == [
        "x.yaml:1:51: typed_extension_protocol_options[\"foo\"]: there are no options of this name"
          + " (allowed: envoy.extensions.upstreams.http.v3.HttpProtocolOptions)"
      ])
    #expect(
      problems(Cluster.self, "{name: a, circuit_breakers: {thresholds: [{priority: HIGH}, {}, {priority: DEFAULT}]}}")
        == [
          "x.yaml:1:65: circuit_breakers.thresholds[2]: has no effect: thresholds[1] has the same priority"
        ])
  }

  @Test func nearestNames() {
    let names = ["connect_timeout", "name", "type", "load_assignment"]
    #expect(NearestName.of("connectTimeOut", in: names) == "connect_timeout")
    #expect(NearestName.of("nmae", in: names) == "name")
    #expect(NearestName.of("tyep", in: names) == "type")
    #expect(NearestName.of("loadassignmnt", in: names) == "load_assignment")
    #expect(NearestName.of("zzzz", in: names) == nil)
    #expect(NearestName.of("", in: names) == nil)
    #expect(NearestName.of("_", in: ["_", ""]) == nil)
    #expect(NearestName.of(String(repeating: "n", count: 100_000), in: names) == nil)
  }
}
