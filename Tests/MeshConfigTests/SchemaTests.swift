import MeshAPI
import MeshTesting
import SwiftProtobuf
import Testing

@testable import MeshConfig

@Suite struct SchemaTests {
  /// Every message that a configuration may hold has its generated type, and the other way round: each type's name is in
  /// the table.
  @Test func tableAndTypesAgree() throws {
    let schema = Schema.embedded()
    let types: [any Message.Type] = [
      Bootstrap.self, Listener.self, Cluster.self, RouteConfiguration.self, HttpConnectionManager.self, Router.self,
      Buffer.self, BufferPerRoute.self, HTTPFault.self, FileAccessLog.self, StdoutAccessLog.self, StderrAccessLog.self,
      UpstreamHttpProtocolOptions.self, ClusterLoadAssignment.self,
    ]
    for type in types { #expect(schema.message(named: type.protoMessageName) != nil, "\(type.protoMessageName)") }
    for message in schema.messages {
      #expect(Set(message.fields.map(\.number)).count == message.fields.count)
      #expect(!message.others.contains { other in message.byNumber[other.number] != nil })
      for field in message.fields {
        #expect(message.byName[field.name] == message.byName[field.jsonName])
        #expect(field.number > 0)
        for type in field.rules.types { #expect(schema.message(named: type) != nil, "\(type)") }
        if field.kind == .any { #expect(!field.rules.types.isEmpty) }
      }
      for oneof in message.oneofs { #expect(!oneof.members.isEmpty) }
    }
    for type in schema.enums {
      #expect(!type.supported.isEmpty)
      // What is not written is the default, and the default must be something that is supported.
      #expect(type.values.first { $0.number == 0 }?.supported == true, "\(type.name)")
    }
  }

  @Test func names() throws {
    #expect(Schema.jsonName("per_connection_buffer_limit_bytes") == "perConnectionBufferLimitBytes")
    #expect(Schema.jsonName("http2_protocol_options") == "http2ProtocolOptions")
    #expect(Schema.shortName("envoy.config.cluster.v3.Cluster.LbPolicy") == "Cluster.LbPolicy")
    #expect(Schema.shortName("nothing.upper") == "nothing.upper")
    let schema = Schema.embedded()
    let place = try #require(schema.message(named: Cluster.protoMessageName))
    let cluster = schema.messages[place]
    #expect(cluster.others.contains { $0.name == "lb_subset_config" && $0.number == 22 })
  }

  /// The schema agrees with Envoy's, and everything that is generated from it is up to date.
  @Test func generatedFilesAreUpToDate() async throws {
    let root = String(#filePath).split(separator: "/").dropLast(3).joined(separator: "/")
    let check = try RunningProgram("/\(root)/scripts/generate-schema", ["--check"])
    let ending = try await check.waitForEnd(within: Deadline(.seconds(120)))
    #expect(ending == .exited(0), "\(check.logs)")
    #expect(check.output.contains("agree with Envoy's API"))
  }
}
