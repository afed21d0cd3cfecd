import Testing

@testable import MeshProxy

/// Which headers clients may set; compared with Envoy 1.40, case by case.
@Suite("Sanitising requests")
struct SanitizingTests {
  /// Those by which one proxy instructs the next.
  private static let instructions = [
    "x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-max-retries", "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names", "x-envoy-upstream-alt-stat-name", "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-stream-duration-ms", "x-envoy-expected-rq-timeout-ms", "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-force-trace", "x-envoy-ip-tags", "x-envoy-original-url",
  ]
  /// Those that tell where a request has been.
  private static let history = [
    "x-envoy-decorator-operation", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node",
    "x-envoy-original-path", "x-envoy-original-host",
  ]
  private static let others = [
    "x-envoy-attempt-count", "x-envoy-is-timeout-retry", "x-envoy-foo", "x-envoy-upstream-service-time",
    "x-envoy-degraded", "x-forwarded-host", "forwarded", "x-client-trace-id",
  ]

  private static let all = (instructions + history + others + ["x-envoy-internal", "x-forwarded-client-cert"])
    .map { ($0, "mine") }

  private func check(_ result: EdgeFixture.Result, keeps: [String], drops: [String], isInternal: Bool) {
    for name in keeps + Self.others { #expect(result[name] == "mine", "\(name)") }
    for name in drops + ["x-forwarded-client-cert"] { #expect(result[name] == nil, "\(name)") }
    #expect(result.isInternal == isInternal)
    #expect(result["x-envoy-internal"] == (isInternal ? "true" : nil))
  }

  @Test("a stranger at the edge may say nothing")
  func edge() throws {
    let edge = try EdgeFixture("use_remote_address: true")
    check(try edge.request(Self.all), keeps: [], drops: Self.instructions + Self.history, isInternal: false)
  }

  @Test("elsewhere a stranger may say where the request has been")
  func elsewhere() throws {
    let edge = try EdgeFixture()
    check(try edge.request(Self.all), keeps: Self.history, drops: Self.instructions, isInternal: false)
    check(
      try edge.request(Self.all + [("x-forwarded-for", "127.0.0.1")]), keeps: Self.history, drops: Self.instructions,
      isInternal: false)
  }

  @Test("one of our own may say everything, unless others have had a hand in it")
  func ownAtEdge() throws {
    let ranges = "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}"
    let edge = try EdgeFixture("use_remote_address: true", ranges)
    check(try edge.request(Self.all), keeps: Self.instructions + Self.history, drops: [], isInternal: true)
    #expect(try edge.request(Self.all)["x-envoy-external-address"] == nil)
    #expect(try edge.request(Self.all)["x-forwarded-for"] == "127.0.0.1")
    check(
      try edge.request(Self.all + [("x-forwarded-for", "127.0.0.9")]), keeps: [],
      drops: Self.instructions + Self.history, isInternal: false)
    check(
      try edge.request(Self.all, from: "10.0.0.1:1"), keeps: [], drops: Self.instructions + Self.history,
      isInternal: false)
  }

  @Test("elsewhere x-forwarded-for must name one of our own, and nobody else")
  func ownElsewhere() throws {
    let edge = try EdgeFixture(
      "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}")
    func named(_ forwarded: String?) throws -> Bool {
      try edge.request(forwarded.map { [("x-forwarded-for", $0)] } ?? []).isInternal
    }
    #expect(try !named(nil))
    #expect(try named("127.0.0.9"))
    #expect(try !named("127.0.0.9, 127.0.0.8"))
    #expect(try !named("10.0.0.1"))
    check(
      try edge.request(Self.all + [("x-forwarded-for", "127.0.0.9")]), keeps: Self.instructions + Self.history,
      drops: [],
      isInternal: true)
  }

  @Test("what a trusted proxy names at the edge is never one of our own")
  func trustedHop() throws {
    let edge = try EdgeFixture(
      "use_remote_address: true", "xff_num_trusted_hops: 1",
      "internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}")
    #expect(try !edge.request([("x-forwarded-for", "10.1.1.1")]).isInternal)
    #expect(try edge.request(from: "10.1.1.1:5").isInternal)
  }

  @Test(
    "without ranges the private ones are internal",
    arguments: [
      ("127.0.0.1", true), ("127.0.0.9", false), ("10.0.0.1", true), ("172.16.0.1", true), ("172.31.9.9", true),
      ("172.32.0.1", false), ("192.168.1.1", true), ("192.169.0.1", false), ("169.254.1.1", false),
      ("100.64.0.1", false), ("fc00::1", false), ("fd00::1", true), ("::1", true), ("fe80::1", false),
      ("::ffff:10.0.0.1", false), ("0.0.0.0", false),
    ])
  func privateRanges(_ address: String, _ isInternal: Bool) throws {
    for config in ["{}", "{unix_sockets: true}"] {
      let edge = try EdgeFixture("internal_address_config: \(config)")
      #expect(try edge.request([("x-forwarded-for", address)]).isInternal == isInternal)
    }
    #expect(try !EdgeFixture().request([("x-forwarded-for", address)]).isInternal)
  }

  @Test("clients on Unix sockets are internal if that is said")
  func unixSockets() throws {
    let open = try EdgeFixture("use_remote_address: true", "internal_address_config: {unix_sockets: true}")
    #expect(try open.request(from: "/tmp/client").isInternal)
    let closed = try EdgeFixture("use_remote_address: true", "internal_address_config: {}")
    #expect(try !closed.request(from: "/tmp/client").isInternal)
  }

  @Test("a detector's address counts as internal only if that is said")
  func detector() throws {
    for (isTrusted, isInternal) in [("false", false), ("true", true)] {
      let edge = try EdgeFixture(
        "internal_address_config: {}",
        "original_ip_detection_extensions: [{name: h, typed_config: {\"@type\": "
          + "type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig, "
          + "header_name: cli, allow_extension_to_set_address_as_trusted: \(isTrusted)}}]")
      #expect(try edge.request([("cli", "127.0.0.1")]).isInternal == isInternal)
      #expect(try !edge.request().isInternal)
    }
  }

  @Test(
    "without TLS the certificate of a client is believed only where everything is",
    arguments: ["SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"])
  func clientCertificate(_ mode: String) throws {
    let edge = try EdgeFixture("forward_client_cert_details: \(mode)")
    let kept = try edge.request([("x-forwarded-client-cert", "By=a")])["x-forwarded-client-cert"]
    #expect(kept == (mode == "ALWAYS_FORWARD_ONLY" ? "By=a" : nil))
  }
}
