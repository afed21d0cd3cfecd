import MeshAPI
import SwiftProtobuf
import Testing

@testable import MeshConfig

/// What binary resources hold beyond the schema.
@Suite struct UnknownFieldTests {
  /// A field in wire format.
  private func field(_ number: Int, _ content: [UInt8]) -> [UInt8] {
    var writer = WireWriter()
    writer.data(number, content)
    return writer.bytes
  }

  private func found(_ bytes: [UInt8], _ message: String) -> [String] {
    UnknownFieldWalker.unknownFields(inWire: bytes, message: message).map(\.description)
  }

  @Test func knownFieldsAreNotReported() throws {
    let bootstrap = try load(Bootstrap.self, frontProxy)
    #expect(found(try bootstrap.serializedBytes(), Bootstrap.protoMessageName).isEmpty)
    #expect(found([], Bootstrap.protoMessageName).isEmpty)
  }

  @Test func namedByTheTableOfAllFields() throws {
    let cluster: [UInt8] = try Cluster.with { $0.name = "a" }.serializedBytes()
    // 22 is lb_subset_config, 5000 is nothing.
    let resources = field(2, cluster) + field(2, cluster + field(22, []) + field(5000, [1]) + field(22, []))
    #expect(
      found(resources, Bootstrap.StaticResources.protoMessageName) == [
        "clusters[1].lb_subset_config: Envoy has this field, but it is not supported yet",
        "clusters[1].<field 5000>: there is no such field in Cluster",
      ])
  }

  @Test func insideAnyAndMaps() throws {
    let manager: [UInt8] = try HttpConnectionManager.with { $0.statPrefix = "a" }.serializedBytes()
    let any = TypedConfig.with {
      $0.typeURL = "type.googleapis.com/" + HttpConnectionManager.protoMessageName
      $0.value = .init(manager + field(49, []))
    }
    let filter = NetworkFilter.with {
      $0.name = "f"
      $0.typedConfig = any
    }
    #expect(
      found(try filter.serializedBytes(), NetworkFilter.protoMessageName) == [
        "typed_config.proxy_status_config: Envoy has this field, but it is not supported yet"
      ])
    let buffer = TypedConfig.with {
      $0.typeURL = "type.googleapis.com/" + BufferPerRoute.protoMessageName
      $0.value = .init(field(99, []))
    }
    let route = Route.with { $0.typedPerFilterConfig = ["b": buffer] }
    #expect(
      found(try route.serializedBytes(), Route.protoMessageName) == [
        "typed_per_filter_config[\"b\"].<field 99>: there is no such field in BufferPerRoute"
      ])
  }

  @Test func typesOfAny() throws {
    func type(_ name: String) throws -> [String] {
      let filter = HttpFilter.with {
        $0.name = "f"
        $0.typedConfig.typeURL = "type.googleapis.com/" + name
      }
      return found(try filter.serializedBytes(), HttpFilter.protoMessageName)
    }
    #expect(try type(Router.protoMessageName).isEmpty)
    #expect(
      try type("envoy.extensions.filters.http.lua.v3.Lua") == [
        "typed_config: Envoy has envoy.extensions.filters.http.lua.v3.Lua, but it is not supported yet"
      ])
    #expect(try type("a.B") == ["typed_config: there is no type \"a.B\""])
    #expect(
      try type(Cluster.protoMessageName)[0].hasPrefix("typed_config: envoy.config.cluster.v3.Cluster cannot be used"))
    #expect(ExtensionTypes.isKnown("") == false)
    #expect(ExtensionTypes.isKnown("envoy.extensions.filters.http.lua.v3.Lua\n") == false)
  }

  @Test func bounded() {
    let bytes = (0..<300).flatMap { field(6000 + $0, []) }
    #expect(UnknownFieldWalker.unknownFields(inWire: bytes, message: Cluster.protoMessageName).count == 100)
    #expect(UnknownFieldWalker.unknownFields(inWire: bytes, message: Cluster.protoMessageName, limit: 3).count == 3)
    #expect(found([], "no.Message") == [": there is no message no.Message in the schema"])
  }

  /// Every cut and every flipped byte of a real message: never a trap, and a cut one is either shorter or malformed.
  @Test func hostileBytes() throws {
    let whole: [UInt8] = try load(Bootstrap.self, frontProxy).serializedBytes()
    let schema = Schema.embedded()
    let bootstrap = try #require(schema.message(named: Bootstrap.protoMessageName))
    func found(_ bytes: [UInt8], _ message: String) -> [String] {
      UnknownFieldWalker.unknownFields(inWire: bytes, message: message, limit: 10, schema: schema).map(\.description)
    }
    for count in whole.indices { _ = found(Array(whole[..<count]), Bootstrap.protoMessageName) }
    for index in whole.indices {
      for bit in [index % 3, 7] {
        var bytes = whole
        bytes[index] ^= 1 << UInt8(bit)
        _ = found(bytes, Bootstrap.protoMessageName)
        var validator = WireValidator(schema: schema) { _, _, _ in }
        bytes.withUnsafeBytes { validator.validate($0, bootstrap) }
      }
    }
    #expect(found([0x80], Cluster.protoMessageName) == [": is malformed"])
    #expect(found([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], Cluster.protoMessageName).count == 1)
    #expect(found(Array(repeating: 0xff, count: 20), Cluster.protoMessageName).count == 1)
    #expect(found([0x00], Cluster.protoMessageName) == [": is malformed"])
    #expect(found([0x0b], Cluster.protoMessageName) == [": is malformed"])
    // An unknown field of every wire type is skipped to the next field.
    let skipped: [UInt8] = [0xb8, 0xee, 0x02, 1] + [0xb9, 0xee, 0x02] + Array(repeating: 0, count: 8)
    #expect(found(skipped + [0xbd, 0xee, 0x02, 0, 0, 0, 0] + field(22, []), Cluster.protoMessageName).count == 2)
  }
}
