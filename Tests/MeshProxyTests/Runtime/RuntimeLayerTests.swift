import MeshConfig
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Layers of the runtime")
struct RuntimeLayerTests {
  private func compile(_ layers: String) throws -> (layers: [RuntimeLayerConfiguration], problems: [String]) {
    let bootstrap = try ConfigurationReader.readBootstrap(path: nil, yaml: "layered_runtime: {layers: \(layers)}")
      .bootstrap
    var problems: [String] = []
    let layers = RuntimeLayerConfiguration.compile(bootstrap.layeredRuntime) { problems.append("\($0): \($1)") }
    return (layers, problems)
  }

  @Test("nested keys are joined with dots; fractions and scalars are values")
  func fixed() throws {
    let (layers, problems) = try compile(
      """
      [{name: s, static_layer: {a: {b: 5, c: {d: true}}, f: {numerator: 3, denominator: MILLION}, g: {numerator: 4},
        t: hello, n: 1.5, x.y: "7", m: -3}}]
      """)
    #expect(problems == [])
    guard case .fixed(let entries)? = layers.first?.source else {
      Issue.record("no static layer")
      return
    }
    #expect(
      entries.mapValues(\.text) == [
        "a.b": "5", "a.c.d": "true", "f": #"{"numerator":3,"denominator":"MILLION"}"#,
        "g": #"{"numerator":4,"denominator":"HUNDRED"}"#, "t": "hello", "n": "1.5", "x.y": "7", "m": "-3",
      ])
    #expect(entries["f"]?.fraction == Fraction(3, of: .million))
    #expect(entries["x.y"]?.integer == 7)
  }

  @Test("what makes no sense is refused with its place")
  func problems() throws {
    try #expect(
      compile("[{name: a, admin_layer: {}}, {name: a, admin_layer: {}}]").problems == [
        #"layers[1].name: "a" is the name of layers[0] already (names must be unique)"#,
        "layers[1].admin_layer: layers[0] is an admin layer already (there may be at most one)",
      ])
    try #expect(
      compile("[{name: a, static_layer: {k: [1]}}]").problems == [
        #"layers[0].static_layer["k"]: must be a number, a boolean, text, a fraction or a mapping of such values"#
      ])
    try #expect(
      compile("[{name: a, static_layer: {k: {numerator: 1, other: 2}}}]").problems.first?.hasPrefix(
        #"layers[0].static_layer["k"]: must have a numerator"#) == true)
    try #expect(
      compile("[{name: a, static_layer: {k: {l: 1}, k.l: 2}}]").problems.first?.hasSuffix(
        #""k.l" is given twice in this layer"#) == true)
    try #expect(
      compile("[{name: a, disk_layer: {symlink_root: /}}]").problems == [
        "layers[0].disk_layer.symlink_root: must be the path of a symbolic link"
      ])
  }

  @Test("a layer that a control plane would send is refused by name, and a layer without a kind")
  func refused() {
    func message(_ yaml: String) -> String {
      do {
        _ = try ConfigurationReader.readBootstrap(path: nil, yaml: yaml)
        return ""
      } catch { return "\(error)" }
    }
    #expect(
      message("layered_runtime: {layers: [{name: r, rtds_layer: {name: x}}]}").contains(
        "layered_runtime.layers[0].rtds_layer: Envoy has this field, but it is not supported yet"))
    #expect(message("layered_runtime: {layers: [{name: r}]}").contains("layered_runtime.layers[0]"))
    #expect(message("layered_runtime: {layers: [{admin_layer: {}}]}").contains("name"))
  }

  @Test("a disk layer's directory")
  func directory() {
    let disk = RuntimeLayerConfiguration.Disk(
      link: "/srv/runtime/current", subdirectory: "envoy", appendsServiceCluster: true)
    #expect(disk.directory(serviceCluster: "front") == "/srv/runtime/current/envoy/front")
    #expect(disk.directory(serviceCluster: "") == "/srv/runtime/current/envoy")
    #expect(disk.parent == "/srv/runtime")
    #expect(disk.name == "current")
    let relative = RuntimeLayerConfiguration.Disk(link: "current", subdirectory: "", appendsServiceCluster: false)
    #expect(relative.parent == ".")
    #expect(RuntimeLayerConfiguration.Disk(link: "/x", subdirectory: "", appendsServiceCluster: false).parent == "/")
  }
}
