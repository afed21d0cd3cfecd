import MeshAPI
import MeshPrimitives
import MeshTesting
import SwiftProtobuf
import Testing

@testable import MeshProxy

@Suite("Workload identities")
struct WorkloadIdentityTests {
  private static func node() -> StructValue {
    var labels = StructValue()
    labels.fields["app"] = .init(stringValue: "shop")
    labels.fields["version"] = .init(stringValue: "v2")
    labels.fields["service.istio.io/canonical-name"] = .init(stringValue: "shop-canonical")
    labels.fields["service.istio.io/canonical-revision"] = .init(stringValue: "r2")
    labels.fields["role"] = .init(stringValue: "front")
    labels.fields["secret"] = .init(stringValue: "not for others")
    var node = StructValue()
    node.fields["NAME"] = .init(stringValue: "shop-1")
    node.fields["NAMESPACE"] = .init(stringValue: "store")
    node.fields["WORKLOAD_NAME"] = .init(stringValue: "shop")
    node.fields["CLUSTER_ID"] = .init(stringValue: "c1")
    node.fields["OWNER"] = .init(stringValue: "kubernetes://apis/apps/v1/namespaces/store/deployments/shop")
    node.fields["LABELS"] = .init(structValue: labels)
    node.fields["ISTIO_VERSION"] = .init(stringValue: "not for others")
    return node
  }

  private func decoded(_ text: [UInt8]) -> WorkloadIdentity? {
    text.withUnsafeBufferPointer { WorkloadIdentity(header: $0) }
  }

  @Test("What a node tells is what its peer understands, and no more than that")
  func roundTrip() throws {
    let header = WorkloadIdentity.header(of: Self.node(), adding: ["role"])
    let names = try #require(decoded(header)).names
    #expect(names == WorkloadIdentity(node: Self.node()).names)
    #expect(names.workload == Array("shop".utf8))
    #expect(names.namespace == Array("store".utf8))
    #expect(names.canonicalName == Array("shop-canonical".utf8))
    #expect(names.canonicalRevision == Array("r2".utf8))
    #expect(names.app == Array("shop".utf8))
    #expect(names.version == Array("v2".utf8))
    #expect(names.cluster == Array("c1".utf8))
    let told = try StructValue(serializedBytes: try #require(bytes(header)))
    #expect(Set(told.fields.keys) == ["NAME", "NAMESPACE", "WORKLOAD_NAME", "CLUSTER_ID", "LABELS", "OWNER"])
    #expect(told.fields["OWNER"]?.stringValue == "kubernetes://apis/apps/v1/namespaces/store/deployments/shop")
    let labels = try #require(told.fields["LABELS"]).structValue.fields
    #expect(
      Set(labels.keys) == [
        "app", "version", "service.istio.io/canonical-name", "service.istio.io/canonical-revision", "role",
      ])
    // The same each time, whatever order a dictionary has.
    for _ in 0..<20 { #expect(WorkloadIdentity.header(of: Self.node(), adding: ["role"]) == header) }
  }

  @Test("Padding may be there or not")
  func padding() throws {
    let header = WorkloadIdentity.header(of: Self.node(), adding: [])
    let bare = Array(header.reversed().drop { $0 == UInt8(ascii: "=") }.reversed())
    #expect(try #require(decoded(bare)).names == decoded(header)?.names)
  }

  private func string(_ text: String, key: UInt8) -> [UInt8] {
    [key << 3 | 2, UInt8(text.utf8.count)] + Array(text.utf8)
  }

  private func bytes(_ header: [UInt8]) -> [UInt8]? {
    var decoder = Base64Stream.Decoder()
    var out: [UInt8] = []
    return header.withUnsafeBufferPointer { decoder.decode($0, into: &out) } ? out : nil
  }

  private func encoded(_ bytes: [UInt8]) -> [UInt8] {
    var encoder = Base64Stream.Encoder()
    var text: [UInt8] = []
    bytes.withUnsafeBufferPointer { encoder.encode($0, into: &text) }
    encoder.finish(into: &text)
    return text
  }

  @Test("What is cut off anywhere, changed anywhere or random is refused or understood, never more")
  func hostile() throws {
    let header = WorkloadIdentity.header(of: Self.node(), adding: [])
    for end in 0..<header.count { _ = decoded(Array(header[..<end])) }
    let wire = try #require(bytes(header))
    for end in 0..<wire.count { _ = decoded(encoded(Array(wire[..<end]))) }
    var random = Random(seed: 7)
    for _ in 0..<3000 {
      var changed = wire
      for _ in 0..<Int(random.next() % 4 + 1) {
        changed[Int(random.next() % UInt64(changed.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      if let names = decoded(encoded(changed))?.names {
        for text in [names.workload, names.namespace, names.app, names.version, names.cluster] {
          #expect(text.count <= LabelSet.maximumValue)
        }
      }
      let garbage = (0..<Int(random.next() % 300)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      _ = decoded(garbage)
      _ = decoded(encoded(garbage))
    }
    #expect(decoded(Array("!!!!".utf8)) == nil)
    #expect(decoded(Array("bGllcw==".utf8)) == nil)
    #expect(decoded(Array("=".utf8)) == nil)
  }

  @Test("Structures within structures, values of other kinds, and headers that are too long")
  func shapes() throws {
    var deep = StructValue()
    for _ in 0..<200 {
      var outer = StructValue()
      outer.fields["LABELS"] = .init(structValue: deep)
      deep = outer
    }
    var options = BinaryEncodingOptions()
    options.useDeterministicOrdering = true
    #expect(decoded(encoded(try deep.serializedBytes(options: options))) == nil)
    var odd = StructValue()
    odd.fields["WORKLOAD_NAME"] = .init(numberValue: 7)
    odd.fields["LABELS"] = .init(stringValue: "none")
    odd.fields["NAMESPACE"] = .init(stringValue: String(repeating: "n", count: 1000))
    let names = try #require(decoded(encoded(try odd.serializedBytes()))).names
    #expect(names.workload == [])
    #expect(names.namespace.count == LabelSet.maximumValue)
    odd.fields["FILL"] = .init(stringValue: String(repeating: "n", count: 4000))
    #expect(decoded(encoded(try odd.serializedBytes())) == nil)
    // A name that is no UTF-8 makes the whole worth nothing, as for Istio's proxies.
    let broken: [UInt8] = [0x0a, 0x14] + string("WORKLOAD_NAME", key: 1) + [0x12, 0x03, 0x1a, 0x01, 0xff]
    #expect(decoded(encoded(broken)) == nil)
  }

  @Test("Endpoints name their workloads in five parts")
  func endpoints() throws {
    let names = try #require(WorkloadIdentity(endpoint: "w;ns;cn;cr;c")).names
    #expect(names.workload == Array("w".utf8))
    #expect(names.namespace == Array("ns".utf8))
    #expect(names.canonicalName == Array("cn".utf8))
    #expect(names.canonicalRevision == Array("cr".utf8))
    #expect(names.cluster == Array("c".utf8))
    #expect(try #require(WorkloadIdentity(endpoint: ";;;;")).names == .init())
    #expect(WorkloadIdentity(endpoint: "w;ns;cn;cr") == nil)
    #expect(WorkloadIdentity(endpoint: "") == nil)
  }

  @Test("The cache believes what is in a header, not the number that came with it, and stays small")
  func cache() throws {
    let cache = PeerMetadataCache()
    var refused = 0
    func look(_ header: [UInt8], _ id: String?) -> WorkloadIdentity? {
      header.withUnsafeBufferPointer { header in
        guard let id else { return cache.workload(header, id: nil) { refused += 1 } }
        return Array(id.utf8).withUnsafeBufferPointer { cache.workload(header, id: $0) { refused += 1 } }
      }
    }
    func header(_ name: String) -> [UInt8] {
      var node = StructValue()
      node.fields["WORKLOAD_NAME"] = .init(stringValue: name)
      return WorkloadIdentity.header(of: node, adding: [])
    }
    let good = try #require(look(header("good"), "id"))
    #expect(look(header("good"), "id") === good)
    // The same number, another workload: somebody lies, and is taken for who it says it is, not for `good`.
    #expect(look(header("evil"), "id")?.names.workload == Array("evil".utf8))
    #expect(look(header("good"), "id") === good)
    #expect(look(Array("bGllcw==".utf8), "id") == nil)
    #expect(refused == 1)
    #expect(look(Array("bGllcw==".utf8), "id") == nil)
    #expect(refused == 1, "what cannot be decoded is known, too")
    #expect(look([UInt8](repeating: 0x41, count: WorkloadIdentity.maximumHeader + 1), nil) == nil)
    #expect(refused == 2)
    var numbers: Set<UInt64> = []
    for number in 0..<5000 {
      numbers.insert(try #require(look(header("w\(number)"), "id\(number)")).number)
    }
    #expect(numbers.count == 5000)
    // Long forgotten, and read anew.
    #expect(look(header("good"), "id")?.names.workload == Array("good".utf8))
  }
}
