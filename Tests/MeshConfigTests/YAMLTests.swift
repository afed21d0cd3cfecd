import MeshAPI
import Testing

@testable import MeshConfig

/// The text itself: syntax, anchors, bounds.
@Suite struct YAMLTests {
  @Test func syntax() {
    #expect(
      problems(Node.self, "id: a\n\tcluster: b\n") == [
        "x.yaml:2:1: is not valid YAML: a tab cannot be used here (use spaces)"
      ])
    #expect(
      problems(Node.self, "id: [a, b\ncluster: c\n") == [
        "x.yaml:2:8: is not valid YAML: did not find expected ',' or ']'"
          + " (while parsing a flow sequence that begins on line 1)"
      ])
    #expect(
      problems(Node.self, "id: a: b\n") == [
        "x.yaml:1:6: is not valid YAML: mapping values are not allowed in this context"
      ])
    #expect(
      problems(Node.self, "id: \"a\n") == [
        "x.yaml:2:1: is not valid YAML: found unexpected end of stream"
          + " (while scanning a quoted scalar that begins on line 1)"
      ])
    #expect(
      problems(Node.self, "id: a\n---\nid: b\n") == [
        "x.yaml:2:1: a second document begins here (a configuration is one document)"
      ])
    #expect(
      problems(Node.self, "id: @a\n") == [
        "x.yaml:1:5: is not valid YAML: found character that cannot start any token"
          + " (while scanning for the next token that begins on line 1)"
      ])
  }

  @Test func invalidText() {
    func problem(_ bytes: [UInt8]) -> String? {
      do {
        _ = try ConfigurationReader.read(Node.self, bytes: bytes, file: "x.yaml")
        return nil
      } catch { return error.description }
    }
    #expect(
      problem(Array("id: a\ncluster: é".utf8) + [0xff, 0x41])
        == "x.yaml:2:11: is not valid text: invalid leading UTF-8 octet")
    #expect(
      problem(Array("id: a".utf8) + [0]) == "x.yaml:1:6: is not valid text: control characters are not allowed")
    #expect(problem([0xff, 0xfe, 0x41, 0x00]) == "x.yaml:1:1: is not valid text: invalid leading UTF-8 octet")
    // A byte order mark is no mistake.
    #expect(problem([0xef, 0xbb, 0xbf] + Array("id: a".utf8)) == nil)
  }

  @Test func lineEndsAndColumns() {
    #expect(problems(Node.self, "id: a\r\nx: b\r\n")[0].hasPrefix("x.yaml:2:1: x: "))
    // Columns count characters, not bytes.
    #expect(problems(Node.self, "{id: \"ééé\", x: b}")[0].hasPrefix("x.yaml:1:13: x: "))
  }

  @Test func anchorsAndAliases() throws {
    let yaml = """
      name: a
      connect_timeout: &t 3s
      dns_refresh_rate: *t
      load_assignment:
        cluster_name: a
        endpoints:
        - lb_endpoints:
          - &e {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}
          - *e
      """
    let cluster = try load(Cluster.self, yaml)
    #expect(cluster.dnsRefreshRate.seconds == 3)
    #expect(cluster.loadAssignment.endpoints[0].lbEndpoints.count == 2)
    #expect(
      problems(Cluster.self, "name: *nope\n") == ["x.yaml:1:7: the alias *nope has no anchor &nope before it"])
    // An anchor is not complete inside what it names.
    #expect(
      problems(Node.self, "metadata: &m {a: *m}\n") == ["x.yaml:1:18: the alias *m has no anchor &m before it"])
  }

  @Test func mergeKeys() throws {
    let yaml = """
      name: v
      domains: ["*"]
      routes:
      - &base
        name: first
        match: {prefix: /a}
        route: {cluster: a}
      - <<: *base
        name: second
      - <<: [{match: {prefix: /b}}, *base]
      """
    let host = try load(VirtualHost.self, yaml)
    #expect(host.routes.map(\.name) == ["first", "second", "first"])
    #expect(host.routes.map(\.match.prefix) == ["/a", "/a", "/b"])
    #expect(
      problems(Node.self, "<<: a\n") == ["x.yaml:1:5: \"<<\" must name a mapping, or a list of mappings"])
    // In quotes it is a name as any other.
    #expect(problems(Node.self, "\"<<\": {}\n")[0].hasPrefix("x.yaml:1:1: [\"<<\"]: there is no such field"))
  }

  @Test func ignoredKeysHoldAnchors() throws {
    let node = try load(Node.self, "!ignore x: &a {region: r}\n!ignore y: [1]\nid: i\nlocality: *a\n")
    #expect(node.locality.region == "r")
    #expect(try load(Node.self, "!ignore x: 1\n").id.isEmpty)
  }

  @Test func tags() throws {
    #expect(try load(Node.self, "id: !!str 5").id == "5")
    #expect(try load(Node.self, "id: !!str").id.isEmpty)
    #expect(try load(Node.self, "id: !!str null").id == "null")
  }

  /// Each line stands for nine of the line before; all of them for 10^9.
  @Test func aliasesAreBounded() {
    var yaml = "metadata:\n  a0: &a0 x\n"
    for level in 1..<10 {
      yaml += "  a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ",") + "]\n"
    }
    let found = problems(Node.self, yaml)
    #expect(found.count == 1)
    #expect(found[0].hasSuffix("aliases stand for too many values (at most 200000 in all)"))
    #expect(found[0].hasPrefix("x.yaml:8:"))
  }

  @Test func nestingIsBounded() {
    func nested(_ depth: Int) -> String {
      "metadata: {a: " + String(repeating: "[", count: depth) + String(repeating: "]", count: depth) + "}"
    }
    #expect(problems(Node.self, nested(62)).isEmpty)
    #expect(problems(Node.self, nested(63))[0].hasSuffix("is nested too deeply (at most 64 levels)"))
    #expect(problems(Node.self, nested(100_000)).count == 1)
    // Through aliases.
    var yaml = "metadata:\n  a0: &a0 []\n"
    for level in 1..<80 { yaml += "  a\(level): &a\(level) [*a\(level - 1)]\n" }
    #expect(problems(Node.self, yaml)[0].hasSuffix("is nested too deeply (at most 64 levels)"))
  }

  /// Python's and others' JSON writes characters beyond U+FFFF so.
  @Test func surrogatePairs() throws {
    #expect(try load(Node.self, "{\"id\": \"a\\ud83d\\uDE00b\\ud83d\\ude01\"}").id == "a😀b😁")
    #expect(try load(Node.self, "{\"id\": \"\\\\ud83d\\\\ude00\"}").id == "\\ud83d\\ude00")
    #expect(problems(Node.self, "{\"id\": \"\\ud83d\"}")[0].contains("invalid Unicode character escape code"))
    #expect(problems(Node.self, "{\"id\": \"\\ud83d\\u0041\"}").count == 1)
    // In YAML a backslash outside of double quotes is a backslash.
    #expect(try load(Node.self, "id: \\ud83d\\ude00").id == "\\ud83d\\ude00")
    for end in ["\\", "\\u", "\\ud83d\\", "\\ud83d\\ude0"] {
      #expect(problems(Node.self, "{\"id\": \"\(end)").count == 1)
    }
  }

  @Test func blockScalars() throws {
    #expect(try load(Node.self, "id: |\n  a\n  b\n").id == "a\nb\n")
    #expect(try load(Node.self, "id: >-\n  a\n  b\n").id == "a b")
    #expect(try load(Node.self, "id: >-\n  null\n").id == "null")
  }
}
