import MeshAPI
import MeshTesting
import Testing

@testable import MeshConfig

/// The bootstrap from a file, from text, and from both.
@Suite struct MergeTests {
  private func problems(path: String?, yaml: String?) -> [String] {
    do {
      return try ConfigurationReader.readBootstrap(path: path, yaml: yaml).warnings.map(\.description)
    } catch {
      return error.problems.map(\.description)
    }
  }

  @Test func textIsMergedOverTheFile() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("envoy.yaml", "node: {id: file, cluster: c}\n" + frontProxy)
    let yaml = """
      node: {id: text}
      admin: {address: {socket_address: {port_value: 9901}}}
      static_resources:
        clusters: [{name: second}]
      """
    let loaded = try ConfigurationReader.readBootstrap(path: path, yaml: yaml)
    let bootstrap = loaded.bootstrap
    #expect(bootstrap.node.id == "text")
    #expect(bootstrap.node.cluster == "c")
    #expect(bootstrap.admin.address.socketAddress.address == "0.0.0.0")
    #expect(bootstrap.admin.address.socketAddress.portValue == 9901)
    #expect(bootstrap.staticResources.clusters.map(\.name) == ["service1", "second"])
    #expect(bootstrap.staticResources.listeners.count == 1)

    // Problems are placed in the text that decides.
    #expect(loaded.problem(at: "node.id", "m").description == "--config-yaml:1:12: node.id: m")
    #expect(loaded.problem(at: "node.cluster", "m").description == "\(path):1:27: node.cluster: m")
    #expect(
      loaded.problem(at: "static_resources.clusters[0].name", "m").description
        == "\(path):31:11: static_resources.clusters[0].name: m")
    #expect(
      loaded.problem(at: "static_resources.clusters[1].name", "m").description
        == "--config-yaml:4:21: static_resources.clusters[1].name: m")
    #expect(
      loaded.problem(at: "static_resources.clusters[1].type", "m").description
        == "--config-yaml:4:14: static_resources.clusters[1].type: m")
    #expect(
      loaded.problem(at: "static_resources.clusters[0].connect_timeout", "m").description
        == "\(path):31:5: static_resources.clusters[0].connect_timeout: m")
  }

  @Test func whatIsMissingInTheFileMayComeFromTheText() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("envoy.yaml", "admin: {address: {socket_address: {address: 127.0.0.1}}}")
    #expect(
      problems(path: path, yaml: nil) == [
        "\(path):1:35: admin.address.socket_address.port_value: is required (at most 65535)"
      ])
    #expect(problems(path: path, yaml: "admin: {address: {socket_address: {port_value: 1}}}").isEmpty)
    #expect(problems(path: path, yaml: "") == problems(path: path, yaml: nil))
  }

  @Test func problemsOfBothInOrder() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("envoy.yaml", "static_resources:\n  clusters:\n  - name: ''\n  - nam: x\n")
    #expect(
      problems(path: path, yaml: "static_resources: {clusters: [{name: a}, {name: a, type: EDS}], x: 1}") == [
        "\(path):3:11: static_resources.clusters[0].name: is required; here it is \"\"",
        "\(path):4:5: static_resources.clusters[1].nam: there is no such field in Cluster (did you mean \"name\"?)",
        "--config-yaml:1:49: static_resources.clusters[3].name: \"a\" is the name of clusters[2] already"
          + " (names must be unique)",
        "--config-yaml:1:58: static_resources.clusters[3].type: EDS is not supported yet"
          + " (supported: STATIC, STRICT_DNS, LOGICAL_DNS, ORIGINAL_DST)",
        "--config-yaml:1:65: static_resources.x: there is no such field in Bootstrap.StaticResources"
          + " (allowed: listeners, clusters, secrets)",
      ])
  }

  @Test func syntaxOfBoth() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("envoy.yaml", "a: b: c\n")
    #expect(
      problems(path: path, yaml: "{") == [
        "\(path):1:5: is not valid YAML: mapping values are not allowed in this context",
        "--config-yaml:2:1: is not valid YAML: did not find expected node content"
          + " (while parsing a flow node that begins on line 2)",
      ])
  }

  @Test func fileThatCannotBeRead() throws {
    let directory = try TemporaryDirectory()
    #expect(
      problems(path: directory.file("none"), yaml: nil) == [
        "\(directory.file("none")): cannot be read: No such file or directory"
      ])
    #expect(problems(path: directory.path, yaml: nil) == ["\(directory.path): cannot be read: Is a directory"])
    #expect(problems(path: nil, yaml: nil) == ["there is no configuration (give --config-path or --config-yaml)"])
    #expect(problems(path: "a\0b", yaml: nil) == ["a\0b: cannot be read: its name contains NUL"])
  }

  @Test func positionsOfAnyPath() throws {
    let loaded = try ConfigurationReader.read(Bootstrap.self, bytes: Array(frontProxy.utf8), file: "x.yaml")
    func place(_ path: String) -> SourcePosition? { loaded.problem(at: path, "").position }
    let route = "\(managerPath).route_config.virtual_hosts[0].routes[0]"
    #expect(place("\(route).route.cluster") == SourcePosition(line: 24, column: 28))
    #expect(place("\(managerPath).route_config.name") == SourcePosition(line: 15, column: 19))
    #expect(place("\(route).route.timeout") == SourcePosition(line: 24, column: 19))
    #expect(place("\(route).typed_per_filter_config[\"x\"].disabled") == SourcePosition(line: 21, column: 17))
    #expect(place("") == SourcePosition(line: 1, column: 1))
    #expect(place("[[]].nonsense") == SourcePosition(line: 1, column: 1))
    #expect(loaded.problem(at: "admin", "m", severity: .warning).severity == .warning)
  }

  @Test func paths() {
    for text in ["", "a", "a.b[0].c", "a[\"x.y\"].b", "a[\"q\\\"\\\\\"][3]", "a.@type", "[\"a b\"]"] {
      #expect(ConfigurationPath(parsing: text).description == text)
    }
    #expect(ConfigurationPath(parsing: "a[\"x.y\"][2].b").steps == [.field("a"), .key("x.y"), .index(2), .field("b")])
    for text in ["a[", "a[\"", "a[\"\\", "a[x]", "a[-1]", "a[99999999999999999999]", "a[\"b\"c"] {
      #expect(ConfigurationPath(parsing: text).steps == [.field("a")], "\(text)")
    }
  }
}
