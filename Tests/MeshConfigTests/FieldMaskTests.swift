import MeshAPI
import MeshConfig
import Testing

@Suite struct FieldMaskTests {
  private static let json = Array(
    #"{"a":1,"b":{"c":"x,}\"y","d":[{"c":1},2],"e":{}},"f":[1,2],"g":null,"h":{"i":{"j":true,"k":-1.5}}}"#.utf8)

  @Test(arguments: [
    ("a", #"{"a":1}"#), ("b.c", #"{"b":{"c":"x,}\"y"}}"#), ("b.d", #"{"b":{"d":[{"c":1},2]}}"#),
    ("b.e.x", #"{"b":{"e":{}}}"#),
    ("f,a", #"{"a":1,"f":[1,2]}"#), ("h.i.k", #"{"h":{"i":{"k":-1.5}}}"#),
    ("h.i.k,h", #"{"h":{"i":{"j":true,"k":-1.5}}}"#),
    ("h,h.i.k", #"{"h":{"i":{"j":true,"k":-1.5}}}"#), ("nothing", "{}"),
    ("g,h.i.j", #"{"g":null,"h":{"i":{"j":true}}}"#),
    ("a.x", #"{"a":1}"#),
  ])
  func chooses(mask: String, expected: String) throws {
    let mask = try #require(FieldMask(mask))
    #expect(String(decoding: mask.applied(to: Self.json), as: UTF8.self) == expected)
  }

  @Test func withoutPathsEverythingIsChosen() throws {
    let mask = try #require(FieldMask(""))
    #expect(mask.isEmpty)
    #expect(mask.applied(to: Self.json) == Self.json)
  }

  @Test func whatIsNoPath() {
    for text in ["a..b", ".a", "a.", ".", Array(repeating: "a", count: 33).joined(separator: ".")] {
      #expect(FieldMask(text) == nil, "\(text)")
    }
  }

  @Test func pathsAreCheckedAgainstTheSchema() throws {
    func isValid(_ mask: String) -> Bool { FieldMask(mask)?.isValid(for: Bootstrap.protoMessageName) == true }
    #expect(isValid("node.id,admin.address.socket_address.port_value"))
    #expect(isValid("static_resources.clusters"))
    // Envoy's, and not supported: there is such a field.
    #expect(isValid("stats_flush_interval"))
    #expect(!isValid("static_resources.clusters.name"), "through a list")
    #expect(!isValid("node.nothing"))
    #expect(!isValid("node.id.more"))
    #expect(FieldMask("name")?.isValid(for: "no.such.Message") == false)
  }

  @Test func below() throws {
    let mask = try #require(FieldMask("a.b,a.c.d,e"))
    #expect(mask.below("a") == FieldMask("b,c.d"))
    #expect(mask.below("e")?.isEmpty == true)
    #expect(mask.below("f") == nil)
    #expect(FieldMask("a.b,a")?.below("a")?.isEmpty == true)
  }
}
