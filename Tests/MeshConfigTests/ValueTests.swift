import MeshAPI
import SwiftProtobuf
import Testing

@testable import MeshConfig

/// Values as people write them, and what becomes of them.
@Suite struct ValueTests {
  /// YAML 1.1 would make most of these something else than text.
  @Test(arguments: [
    "n", "y", "no", "yes", "on", "off", "true", "false", "5", "0x10", "1e3", "1:30", "2001-01-01", ".inf",
  ])
  func textStaysText(text: String) throws {
    #expect(try load(Node.self, "id: \(text)").id == text)
  }

  @Test func nothingIsNotGiven() throws {
    for text in ["", "~", "null"] {
      let manager = try load(RouteAction.self, "cluster: a\ntimeout: \(text)\nprefix_rewrite: \(text)\n")
      #expect(!manager.hasTimeout && manager.prefixRewrite.isEmpty)
    }
    #expect(try load(Node.self, "id: \"null\"").id == "null")
    #expect(try load(Node.self, "id: ''").id.isEmpty)
  }

  @Test func durations() throws {
    let expected: [(String, Int64)] = [
      ("5s", 5_000_000_000), ("0.25s", 250_000_000), ("0s", 0), ("1.000000001s", 1_000_000_001),
      ("\"3s\"", 3_000_000_000),
      ("9223372035.999999999s", 9_223_372_035_999_999_999), ("007s", 7_000_000_000),
    ]
    for (text, nanoseconds) in expected {
      #expect(try load(RouteAction.self, "cluster: a\ntimeout: \(text)").timeout.nanoseconds == nanoseconds)
    }
  }

  @Test func durationNeverTraps() {
    #expect(DurationValue.with { $0.seconds = .max }.nanoseconds == .max)
    #expect(DurationValue.with { $0.seconds = .min }.nanoseconds == .min)
    let edge = DurationValue.with {
      $0.seconds = 9_223_372_036
      $0.nanos = .max
    }
    #expect(edge.nanoseconds == .max)
  }

  @Test func integers() throws {
    for (text, value) in [("0", 0), ("+7", 7), ("65535", 65535), ("\"80\"", 80), ("1e3", 1000), ("1.0", 1)] {
      let address = try load(SocketAddress.self, "{address: a, port_value: \(text)}")
      #expect(address.portValue == UInt32(value))
    }
  }

  @Test func explicitZeroDiffersFromNothing() throws {
    #expect(try load(CircuitBreakers.Thresholds.self, "max_requests: 0").hasMaxRequests)
    #expect(try !load(CircuitBreakers.Thresholds.self, "priority: HIGH").hasMaxRequests)
  }

  @Test func enumsByNameAndNumber() throws {
    #expect(try load(Cluster.self, "{name: a, type: STRICT_DNS}").type == .strictDns)
    #expect(try load(Cluster.self, "{name: a, type: 1}").type == .strictDns)
  }

  @Test func bools() throws {
    #expect(try load(Router.self, "suppress_envoy_headers: true").suppressEnvoyHeaders)
    #expect(try load(Router.self, "suppress_envoy_headers: \"true\"").suppressEnvoyHeaders)
    #expect(try !load(Router.self, "suppressEnvoyHeaders: false").suppressEnvoyHeaders)
  }

  @Test func bytes() throws {
    for text in ["aGk/IQ==", "aGk/IQ", "aGk_IQ", "\"aGk/\\nIQ==\""] {
      #expect(try Array(load(DataSource.self, "inline_bytes: \(text)").inlineBytes) == Array("hi?!".utf8))
    }
    #expect(try load(DataSource.self, "inline_bytes: ''").inlineBytes.isEmpty)
    for text in ["a", "aGk=IQ", "aGk/IQ=", "aGk/IR==", "====", "=", "a b!"] {
      #expect(problems(DataSource.self, "inline_bytes: \(text)").count == 1, "\(text)")
    }
  }

  @Test func structures() throws {
    let node = try load(Node.self, "metadata: {a: 1.5, b: [true, x, ~, \"2\"], c: {d: -0}, e: 0x10, f: 12:30}")
    let fields = node.metadata.fields
    #expect(fields["a"]?.numberValue == 1.5)
    let list = try #require(fields["b"]?.listValue.values)
    #expect(list.map(\.kind) == [.boolValue(true), .stringValue("x"), .nullValue(.nullValue), .stringValue("2")])
    #expect(fields["c"]?.structValue.fields["d"]?.numberValue == 0)
    #expect(fields["e"]?.stringValue == "0x10")
    #expect(fields["f"]?.stringValue == "12:30")
  }

  /// Kinds of scalar that no field of the schema has so far.
  @Test func otherScalars() throws {
    let schema = Schema(
      table: """
        message test.M
        1 a int32
        2 b int64
        3 c uint64
        4 d float
        5 e double
        6 f repeated:uint32
        7 g repeated:double
        8 h message:google.protobuf.Int64Value
        9 i repeated:bytes
        """)
    func wire(_ yaml: String) throws -> (bytes: [UInt8], problems: [String]) {
      let document = try YAMLParser.parse(Array(yaml.utf8), file: "x")
      var transcoder = Transcoder(schema: schema, document: document, source: 0, findings: Findings(limit: 10))
      transcoder.run(try #require(schema.message(named: "test.M")))
      return (transcoder.wire.bytes, transcoder.findings.all.map(\.message))
    }
    let minusOne: [UInt8] = Array(repeating: 0xff, count: 9) + [1]
    #expect(try wire("a: -1").bytes == [0x08] + minusOne)
    #expect(try wire("a: 2147483648").problems == ["must be -2147483648 to 2147483647, not 2147483648"])
    #expect(try wire("b: -9223372036854775808").bytes == [0x10] + Array(repeating: 0x80, count: 9) + [1])
    #expect(try wire("b: 9223372036854775808").problems.count == 1)
    #expect(try wire("c: 18446744073709551615").bytes == [0x18] + minusOne)
    #expect(try wire("c: -1").problems == ["must be 0 to 18446744073709551615, not -1"])
    #expect(try wire("d: 1.5").bytes == [0x25, 0, 0, 0xc0, 0x3f])
    #expect(try wire("e: 1.5").bytes == [0x29, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f])
    #expect(try wire("e: .inf").problems == ["must be a number, not \".inf\""])
    #expect(try wire("f: [1, x, 3]").bytes == [0x30, 1, 0x30, 0, 0x30, 3])
    #expect(try wire("g: [x]").bytes == [0x39] + Array(repeating: 0, count: 8))
    #expect(try wire("h: -1").bytes == [0x42, 11, 0x08] + minusOne)
    #expect(try wire("i: [aGk=, '*']").bytes == [0x4a, 2, 0x68, 0x69, 0x4a, 0])
  }

  /// Lengths that need more than one byte.
  @Test func longValues() throws {
    for count in [127, 128, 16383, 16384, 70000] {
      let text = String(repeating: "x", count: count)
      #expect(try load(Node.self, "{id: \(text), locality: {zone: \(text)}}").locality.zone == text)
    }
  }
}
