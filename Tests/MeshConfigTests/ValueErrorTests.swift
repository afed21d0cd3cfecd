import MeshAPI
import Testing

@testable import MeshConfig

/// Wrong values: kinds, spellings, ranges of types.
@Suite struct ValueErrorTests {
  @Test(arguments: [
    ("1000", "not 1000 without a unit (write 1000s for seconds, 1s for milliseconds)"),
    ("5", "not 5 without a unit (write 5s for seconds, 0.005s for milliseconds)"),
    ("250ms", "not \"250ms\" (write 0.25s)"),
    ("100us", "not \"100us\" (write 0.0001s)"),
    ("5m", "not \"5m\" (write 300s)"),
    ("1.5h", "not \"1.5h\" (write 5400s)"),
    ("soon", "not \"soon\""),
    ("1 s", "not \"1 s\""),
    (".5s", "not \".5s\""),
    ("1.s", "not \"1.s\""),
    ("0.1234567890s", "not \"0.1234567890s\""),
    ("s", "not \"s\""),
    ("--1s", "not \"--1s\""),
    ("+1s", "not \"+1s\""),
    ("[1s]", "not a list"),
    ("99999999999999999999h", "not \"99999999999999999999h\""),
    ("99999999999999999999", "not \"99999999999999999999\""),
  ])
  func duration(text: String, problem: String) {
    #expect(
      problems(RouteAction.self, "cluster: a\ntimeout: \(text)\n") == [
        "x.yaml:2:10: timeout: must be a duration: seconds with an s at the end, such as 0.25s; \(problem)"
      ])
  }

  @Test func durationOutOfRange() {
    #expect(
      problems(RouteAction.self, "cluster: a\ntimeout: -1s\n") == [
        "x.yaml:2:10: timeout: must not be negative, but is \"-1s\""
      ])
    #expect(
      problems(RouteAction.self, "cluster: a\ntimeout: -0.5s\n") == [
        "x.yaml:2:10: timeout: must not be negative, but is \"-0.5s\""
      ])
    for text in ["9223372036s", "99999999999999999999s"] {
      #expect(
        problems(RouteAction.self, "cluster: a\ntimeout: \(text)\n") == [
          "x.yaml:2:10: timeout: must be at most 9223372035s, not \"\(text)\""
        ])
    }
  }

  @Test(arguments: ["yes", "no", "on", "off", "y", "n", "True", "FALSE", "1", "0", "\"\""])
  func bool(text: String) {
    let shown = text == "\"\"" ? "" : text
    #expect(
      problems(Router.self, "suppress_envoy_headers: \(text)\n") == [
        "x.yaml:1:25: suppress_envoy_headers: must be true or false, not \"\(shown)\""
      ])
  }

  @Test(arguments: [
    ("abc", "must be a whole number, not \"abc\""),
    ("1.5", "must be a whole number, not \"1.5\""),
    ("0xg", "must be a whole number, not \"0xg\""),
    ("1_000", "must be a whole number, not \"1_000\""),
    ("010", "must be a whole number in decimal without a leading 0, not 010"),
    ("-1", "must be 0 to 4294967295, not -1"),
    ("4294967296", "must be 0 to 4294967295, not 4294967296"),
    ("1e30", "must be 0 to 4294967295, not 1e30"),
    ("99999999999999999999999", "must be 0 to 4294967295, not 99999999999999999999999"),
    ("1e999", "must be a whole number, not \"1e999\""),
    ("{}", "must be a whole number, not an empty mapping"),
    ("true", "must be a whole number, not \"true\""),
    ("\"\"", "must be a whole number, not \"\""),
  ])
  func integer(text: String, problem: String) {
    #expect(
      problems(Listener.self, listener("tcp_backlog_size: \(text)")) == ["x.yaml:1:19: tcp_backlog_size: \(problem)"])
  }

  /// A listener without problems whose first line is `line`.
  private func listener(_ line: String) -> String {
    let yaml = frontProxy.split(separator: "\n").dropFirst(2).prefix(26)
    return line + "\n" + yaml.map { $0.dropFirst(4) }.joined(separator: "\n")
  }

  @Test func enumeration() {
    #expect(
      problems(Cluster.self, "name: a\ndns_lookup_family: v4_only\n") == [
        "x.yaml:2:20: dns_lookup_family: must be one of AUTO, V4_ONLY, V6_ONLY, V4_PREFERRED, ALL, not \"v4_only\""
          + " (did you mean V4_ONLY?)"
      ])
    #expect(
      problems(Cluster.self, "name: a\ndns_lookup_family: 9\n") == [
        "x.yaml:2:20: dns_lookup_family: must be one of AUTO, V4_ONLY, V6_ONLY, V4_PREFERRED, ALL, not \"9\""
      ])
    #expect(
      problems(Cluster.self, "name: a\ntype: EDS\n") == [
        "x.yaml:2:7: type: EDS is not supported yet (supported: STATIC, STRICT_DNS, LOGICAL_DNS, ORIGINAL_DST)"
      ])
    #expect(
      problems(Cluster.self, "name: a\ntype: 3\n") == [
        "x.yaml:2:7: type: EDS is not supported yet (supported: STATIC, STRICT_DNS, LOGICAL_DNS, ORIGINAL_DST)"
      ])
  }

  @Test func hexadecimal() throws {
    #expect(try load(SocketAddress.self, "address: a\nport_value: 0x1F90\n").portValue == 8080)
    for text in ["0x", "0x+1", "0x-1", "0xg", "0X10", "-0x1", "0x0000000000000000a", "0x1.0"] {
      #expect(
        problems(SocketAddress.self, "address: a\nport_value: \(text)\n") == [
          "x.yaml:2:13: port_value: must be a whole number, not \"\(text)\""
        ])
    }
  }

  @Test func kinds() {
    #expect(problems(Cluster.self, "name: [a]\n") == ["x.yaml:1:7: name: must be text, not a list"])
    #expect(problems(Cluster.self, "- name: a\n") == ["x.yaml:1:1: must be a mapping of fields, not a list"])
    #expect(problems(Cluster.self, "just text\n") == ["x.yaml:1:1: must be a mapping of fields, not \"just text\""])
    #expect(problems(Cluster.self, "") == ["x.yaml:1:1: is empty"])
    #expect(problems(Cluster.self, "# only a comment\n") == ["x.yaml:1:1: is empty"])
    #expect(
      problems(Cluster.self, "name: a\nload_assignment: b\n") == [
        "x.yaml:2:18: load_assignment: must be a mapping of fields, not \"b\""
      ])
    #expect(
      problems(Cluster.self, "name: a\nload_assignment:\n  cluster_name: a\n  endpoints: {lb_endpoints: []}\n") == [
        "x.yaml:4:14: load_assignment.endpoints: must be a list, not a mapping (write each item after \"- \")"
      ])
    #expect(
      problems(Cluster.self, "name: a\ntyped_extension_protocol_options: [a]\n") == [
        "x.yaml:2:35: typed_extension_protocol_options: must be a mapping from names to values, not a list"
      ])
    #expect(problems(Node.self, "metadata: 5\n") == ["x.yaml:1:11: metadata: must be a mapping, not \"5\""])
    #expect(problems(Node.self, "[1, 2]: 5\n") == ["x.yaml:1:1: a field name must be text, not a list"])
    #expect(
      problems(RouteConfiguration.self, "request_headers_to_remove: [a, , b]\n")[0].hasPrefix("x.yaml:1:32: is not"))
    #expect(
      problems(RouteConfiguration.self, "request_headers_to_remove: [a, ~, b c]\n") == [
        "x.yaml:1:32: request_headers_to_remove[1]: an item of a list must not be empty",
        "x.yaml:1:35: request_headers_to_remove[2]: must be a header name, not \"b c\""
          + " (letters, digits and !#$%&'*+-.^_`|~)",
      ])
  }

  @Test func mapKeys() {
    let options = "{\"@type\": envoy.extensions.filters.http.buffer.v3.BufferPerRoute, disabled: true}"
    let yaml = """
      match: {prefix: /}
      direct_response: {status: 200}
      typed_per_filter_config:
        a: \(options)
        b:
        a: \(options)
        [c]: \(options)

      """
    #expect(
      problems(Route.self, yaml) == [
        "x.yaml:5:5: typed_per_filter_config[\"b\"]: must have a value",
        "x.yaml:6:3: typed_per_filter_config[\"a\"]: is given twice (first on line 4)",
        "x.yaml:7:3: typed_per_filter_config[\"\"]: a key must be text, not a list",
      ])
  }

  @Test func structure() {
    #expect(
      problems(Node.self, "metadata:\n  a: {b: 1, b: 2}\n") == ["x.yaml:2:13: metadata[\"a\"][\"b\"]: is given twice"])
  }

  /// Everything wrong is found in one run, in the order of the text, and nothing is said twice.
  @Test func allAtOnce() {
    let yaml =
      frontProxy
      .replacing(line: "port_value: 8000", with: "port_value: 80000")
      .replacing(line: "codec_type: AUTO", with: "codec_type: HTTP3\nmax_request_headers_kb: 0")
      .replacing(line: "prefix: \"/service/1\"", with: "prefx: \"/service/1\"")
      .replacing(line: "type: STRICT_DNS", with: "type: STRICT_DSN\nconnect_timeout: 0s")
      .replacing(line: "- name: service1", with: "- nme: service1")
    #expect(
      problems(Bootstrap.self, yaml) == [
        "x.yaml:6:21: static_resources.listeners[0].address.socket_address.port_value: must be at most 65535, not 80000",
        "x.yaml:12:23: \(managerPath).codec_type: HTTP3 is not supported yet (supported: AUTO, HTTP1, HTTP2)",
        "x.yaml:13:35: \(managerPath).max_request_headers_kb: must be 1 to 8192, not 0",
        "x.yaml:23:19: \(managerPath).route_config.virtual_hosts[0].routes[0].match.prefx:"
          + " there is no such field in RouteMatch (did you mean \"prefix\"?)",
        "x.yaml:31:5: static_resources.clusters[0].nme: there is no such field in Cluster (did you mean \"name\"?)",
        "x.yaml:32:11: static_resources.clusters[0].type: must be one of STATIC, STRICT_DNS, LOGICAL_DNS, ORIGINAL_DST,"
          + " not \"STRICT_DSN\" (did you mean STRICT_DNS?)",
        "x.yaml:33:22: static_resources.clusters[0].connect_timeout: must be more than 0s, not 0s",
      ])
  }

  @Test func listIsBounded() {
    var yaml = "static_resources:\n  clusters:\n"
    for _ in 0..<250 { yaml += "  - {name: a, connect_timeout: 5}\n" }
    let found = problems(Bootstrap.self, yaml)
    #expect(found.count == ConfigurationReader.problemLimit + 1)
    #expect(found.last == "x.yaml: … and at least 150 more")
  }

  @Test func warningsDoNotHideErrors() {
    var yaml = "name: a\nheaders:\n"
    for _ in 0..<150 { yaml += "- {name: a, exact_match: b}\n" }
    yaml = "prefix: /\n" + yaml.dropFirst(8)
    let warnings = problems(RouteMatch.self, yaml)
    #expect(warnings.count == ConfigurationReader.problemLimit)
    #expect(problems(RouteMatch.self, yaml + "case_sensitive: 5\n").count == 1)
  }
}
