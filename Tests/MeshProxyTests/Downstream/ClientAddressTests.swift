import Testing

@testable import MeshProxy

/// Who the client is; compared with Envoy 1.40, case by case.
@Suite("The client's address")
struct ClientAddressTests {
  private static let types = "type.googleapis.com/envoy.extensions.http.original_ip_detection"

  private func detectors(_ list: String...) -> String {
    "original_ip_detection_extensions: [\(list.joined(separator: ", "))]"
  }
  private func xff(_ fields: String = "") -> String {
    "{name: xff, typed_config: {\"@type\": \(Self.types).xff.v3.XffConfig\(fields)}}"
  }
  private func header(_ fields: String = "") -> String {
    "{name: h, typed_config: {\"@type\": \(Self.types).custom_header.v3.CustomHeaderConfig, header_name: Cli\(fields)}}"
  }

  // MARK: At the edge

  @Test("at the edge the client is who is connected")
  func edge() throws {
    let edge = try EdgeFixture("use_remote_address: true")
    for forwarded in [nil, "1.1.1.1", "1.1.1.1, 2.2.2.2", "bad"] {
      let result = try edge.request(forwarded.map { [("x-forwarded-for", $0)] } ?? [], from: "192.0.2.7:99")
      #expect(result.client == "192.0.2.7:99")
      #expect(result.peer == "192.0.2.7:99")
      #expect(result["x-forwarded-for"] == (forwarded.map { $0 + "," } ?? "") + "192.0.2.7")
      #expect(result["x-envoy-external-address"] == "192.0.2.7")
      #expect(result["x-forwarded-proto"] == "http")
      #expect(!result.isInternal)
    }
    #expect(try edge.request(from: "[2001:db8::1]:9")["x-forwarded-for"] == "2001:db8::1")
  }

  @Test(
    "behind trusted proxies the client is whom they have named",
    arguments: [
      (1, nil, "127.0.0.1:1234", "127.0.0.1"), (1, "1.1.1.1", "1.1.1.1:0", "1.1.1.1"),
      (1, "1.1.1.1, 2.2.2.2", "2.2.2.2:0", "2.2.2.2"), (1, "3.3.3.3, bad", "127.0.0.1:1234", "127.0.0.1"),
      (2, "1.1.1.1", "127.0.0.1:1234", "127.0.0.1"), (2, "1.1.1.1, 2.2.2.2", "1.1.1.1:0", "1.1.1.1"),
      (2, "3.3.3.3, 1.1.1.1, bad", "1.1.1.1:0", "1.1.1.1"), (1, "::1", "[::1]:0", "::1"),
    ] as [(Int, String?, String, String)])
  func trustedHops(_ hops: Int, _ forwarded: String?, _ client: String, _ external: String) throws {
    let edge = try EdgeFixture("use_remote_address: true", "xff_num_trusted_hops: \(hops)")
    let result = try edge.request(forwarded.map { [("x-forwarded-for", $0)] } ?? [])
    #expect(result.client == client)
    #expect(result.peer == "127.0.0.1:1234")
    #expect(result["x-envoy-external-address"] == external)
    #expect(result["x-forwarded-for"] == (forwarded.map { $0 + "," } ?? "") + "127.0.0.1")
  }

  @Test("x-forwarded-for is left alone where that is wanted")
  func skip() throws {
    let edge = try EdgeFixture("use_remote_address: true", "skip_xff_append: true")
    #expect(try edge.request()["x-forwarded-for"] == nil)
    #expect(try edge.request([("x-forwarded-for", "1.1.1.1")])["x-forwarded-for"] == "1.1.1.1")
    #expect(try edge.request()["x-envoy-external-address"] == "127.0.0.1")
  }

  @Test("a Unix socket's path is no address to forward")
  func unixSocket() throws {
    let edge = try EdgeFixture("use_remote_address: true")
    let result = try edge.request([("x-envoy-external-address", "1.1.1.1")], from: "/tmp/client")
    #expect(result["x-forwarded-for"] == nil)
    #expect(result.client == "/tmp/client")
    #expect(!result.isInternal)
  }

  @Test(
    "x-forwarded-proto and x-forwarded-port are believed behind trusted proxies and elsewhere than at the edge",
    arguments: [
      (["use_remote_address: true"], "http", "8080"),
      (["use_remote_address: true", "xff_num_trusted_hops: 1"], "https", "77"), ([], "https", "77"),
    ])
  func forwardedProto(_ fields: [String], _ proto: String, _ port: String) throws {
    let edge = try EdgeFixture(fields + ["append_x_forwarded_port: true"])
    let believed = try edge.request([("x-forwarded-proto", "https"), ("x-forwarded-port", "77")])
    #expect(believed["x-forwarded-proto"] == proto)
    #expect(believed["x-forwarded-port"] == port)
    let own = try edge.request()
    #expect(own["x-forwarded-proto"] == "http")
    #expect(own["x-forwarded-port"] == "8080")
  }

  // MARK: Elsewhere

  @Test(
    "elsewhere the client is the last that x-forwarded-for names, if it is an address",
    arguments: [
      (0, nil, nil), (0, "1.2.3.4", "1.2.3.4:0"), (0, "1.2.3.4, 5.6.7.8", "5.6.7.8:0"), (0, "1.2.3.4, x", nil),
      (0, "", nil), (0, "1.2.3.4,", nil), (0, "1.2.3.4:80", nil), (0, "::1", "[::1]:0"), (0, "[::1]", nil),
      (1, "1.1.1.1", nil), (1, "1.1.1.1, 2.2.2.2", "1.1.1.1:0"), (2, "1.1.1.1, 2.2.2.2", nil),
    ] as [(Int, String?, String?)])
  func elsewhere(_ hops: Int, _ forwarded: String?, _ client: String?) throws {
    let edge = try EdgeFixture("xff_num_trusted_hops: \(hops)")
    let result = try edge.request(forwarded.map { [("x-forwarded-for", $0)] } ?? [])
    #expect(result.client == client ?? "127.0.0.1:1234")
    #expect(result.peer == "127.0.0.1:1234")
    #expect(result["x-forwarded-for"] == forwarded)
    #expect(result["x-envoy-external-address"] == nil)
  }

  @Test("several lines of x-forwarded-for are one")
  func severalLines() throws {
    let result = try EdgeFixture().request([("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")])
    #expect(result.client == "2.2.2.2:0")
    #expect(result["x-forwarded-for"] == "1.1.1.1,2.2.2.2")
  }

  // MARK: Detectors

  @Test("trusted proxies are passed over, if the peer is one of them")
  func trustedRanges() throws {
    let ours = ", xff_trusted_cidrs: {cidrs: [{address_prefix: 127.0.0.0, prefix_len: 8}]}"
    let edge = try EdgeFixture(detectors(xff(ours)))
    for (forwarded, client) in [
      ("1.1.1.1", "1.1.1.1:0"), ("9.9.9.9, 1.1.1.1, 127.0.0.5", "1.1.1.1:0"), ("127.0.0.6, 127.0.0.5", "127.0.0.6:0"),
      ("bad, 127.0.0.5", "127.0.0.1:1234"),
    ] {
      let result = try edge.request([("x-forwarded-for", forwarded)])
      #expect(result.client == client)
      #expect(result["x-forwarded-for"] == forwarded)
    }
    // A peer that is not trusted is appended, and believed nothing.
    let stranger = try edge.request([("x-forwarded-for", "1.1.1.1")], from: "192.0.2.7:1")
    #expect(stranger.client == "192.0.2.7:1")
    #expect(stranger["x-forwarded-for"] == "1.1.1.1,192.0.2.7")
  }

  @Test("the first detector that finds an address decides; each that is asked may want the peer appended")
  func order() throws {
    let both = [("cli", "8.8.8.8"), ("x-forwarded-for", "1.1.1.1")]
    let first = try EdgeFixture(detectors(xff(", skip_xff_append: false"), header()))
    #expect(try first.request(both).client == "1.1.1.1:0")
    #expect(try first.request(both)["x-forwarded-for"] == "1.1.1.1,127.0.0.1")
    #expect(try first.request([both[0]]).client == "8.8.8.8:0")
    #expect(try first.request([both[0]])["x-forwarded-for"] == "127.0.0.1")
    #expect(try first.request().client == "127.0.0.1:1234")
    #expect(try first.request()["x-forwarded-for"] == "127.0.0.1")
    let second = try EdgeFixture(detectors(header(), xff(", skip_xff_append: false")))
    #expect(try second.request(both).client == "8.8.8.8:0")
    #expect(try second.request(both)["x-forwarded-for"] == "1.1.1.1")
    #expect(try EdgeFixture(detectors(xff())).request([both[1]])["x-forwarded-for"] == "1.1.1.1")
  }

  @Test(
    "a header holds an address and nothing else",
    arguments: [
      ("8.8.8.8", "8.8.8.8:0"), ("::1", "[::1]:0"), ("8.8.8.8:99", nil), ("q", nil), ("[::1]", nil),
      ("8.8.8.8 , 1", nil),
    ] as [(String, String?)])
  func customHeader(_ value: String, _ client: String?) throws {
    let edge = try EdgeFixture(detectors(header()))
    #expect(try edge.request([("cli", value)]).client == client ?? "127.0.0.1:1234")
    let strict = try EdgeFixture(detectors(header(", reject_with_status: {code: Unauthorized}")))
    let result = try strict.request([("cli", value)])
    #expect(result.goesOn == (client != nil))
    if client == nil {
      #expect(result.response.status == 401)
      #expect(result.response.body.isEmpty)
      #expect(result.details == "rejecting_because_detection_failed")
    }
  }

  @Test("a status that is no error stands for 403")
  func rejection() throws {
    let edge = try EdgeFixture(detectors(header(", reject_with_status: {code: OK}")))
    #expect(try edge.request().response.status == 403)
  }
}
