import MeshTesting
import Testing

/// Spans on their way to collectors, good ones and others, with two workers.
@Suite("Export of spans", .timeLimit(.minutes(4)))
struct SpanExportTests {
  private static let types = "type.googleapis.com/envoy"

  /// A provider.
  enum Kind {
    case zipkin, http, grpc
    /// What the environment says.
    case environment

    func provider(_ fields: String = "") -> String {
      let more = fields.isEmpty ? "" : ", \(fields)"
      let otel = "{name: p, typed_config: {\"@type\": \(types).config.trace.v3.OpenTelemetryConfig"
      return switch self {
      case .zipkin:
        "{name: p, typed_config: {\"@type\": \(types).config.trace.v3.ZipkinConfig, collector_cluster: collector, "
          + "collector_endpoint: /api/v2/spans, collector_endpoint_version: HTTP_JSON\(more)}}"
      case .http:
        "\(otel), http_service: {http_uri: {uri: \"http://spans/v1/traces\", cluster: collector, timeout: 1s}}\(more)}}"
      case .grpc: "\(otel), grpc_service: {envoy_grpc: {cluster_name: collector}, timeout: 1s}\(more)}}"
      case .environment: "\(otel)\(more)}}"
      }
    }
  }

  /// A listener that answers by itself, with a span for each request, which are handed over at once.
  private func configuration(
    _ kind: Kind, collector port: UInt16, _ fields: String = "", interval: Int = 20, extra: String = ""
  ) -> ProxyConfiguration {
    var cluster = ProxyConfiguration.Cluster(name: "collector", endpoints: [("127.0.0.1", port)])
    if case .grpc = kind {
      cluster.fields = [
        "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {\"@type\": "
          + "\(Self.types).extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: "
          + "{http2_protocol_options: {}}}}"
      ]
    }
    var configuration = ProxyConfiguration(clusters: [cluster])
    configuration.listeners[0].routes = ["{match: {prefix: /}, direct_response: {status: 200}}"]
    configuration.listeners[0].managerFields = ["tracing: {provider: \(kind.provider(fields))}"]
    configuration.fields = [
      "node: {id: n, cluster: shop}",
      "layered_runtime: {layers: [{name: s, static_layer: {tracing.zipkin.flush_interval_ms: \(interval), "
        + "tracing.opentelemetry.flush_interval_ms: \(interval)\(extra.isEmpty ? "" : ", \(extra)")}}, {name: a, admin_layer: {}}]}",
    ]
    return configuration
  }

  /// Makes requests one after the other, on one connection, all of which must be answered, soon.
  private func ask(_ proxy: RunningProxy, _ count: Int, headers: String = "") async throws {
    let port = try proxy.port()
    try await blocking {
      let connection = try RawConnection(port: port)
      for number in 0..<count {
        try connection.send("GET /\(number) HTTP/1.1\r\nhost: test\r\n\(headers)\r\n")
        let response = try connection.receiveResponse(within: Deadline(.seconds(5)))
        guard response.status == 200 else { throw TestFailure("\(response.status)") }
      }
    }
  }

  private func waitFor(_ proxy: RunningProxy, _ name: String, _ condition: (Int) -> Bool) async throws {
    var value = 0
    do {
      try await eventually(name, within: Deadline(.seconds(40)), every: .milliseconds(20)) {
        value = try await proxy.stat(name)
        return condition(value)
      }
    } catch { throw TestFailure("\(name) is \(value)\n\(proxy.program.logs)") }
  }

  // MARK: Good collectors

  /// Header values that are no JSON as they are, and no UTF-8.
  private static let hostile: [UInt8] =
    Array("user-agent: a\"b\\c\td</script>".utf8) + [0xff, 0xc3, 0x28] + Array("é\r\n".utf8)

  @Test("each collector gets what was recorded, in its own form", arguments: [Kind.zipkin, .http, .grpc])
  func delivery(_ kind: Kind) async throws {
    let isGRPC = if case .grpc = kind { true } else { false }
    let collector = try await SpanCollectorPeer.start(isGRPC ? "grpc" : "http")
    let proxy = try await RunningProxy.start(configuration(kind, collector: collector.port))
    let port = try proxy.port()
    try await blocking {
      let connection = try RawConnection(port: port)
      try connection.send(
        Array("GET /hostile?q=%22 HTTP/1.1\r\nhost: test\r\n".utf8) + Self.hostile + Array("\r\n".utf8))
      let response = try connection.receiveResponse()
      guard response.status == 200 else { throw TestFailure("\(response.status)") }
    }
    try await ask(proxy, 20)
    let spans = try await collector.spans(21)
    #expect(spans.count == 21)
    #expect(collector.lines("WRONG") == [])
    let agent = #"a\"b\\c\td</script>\ufffd\ufffd(\u00e9"#
    #expect(spans.contains { $0.contains(agent) }, "\(spans.first ?? "")")
    let name = if case .zipkin = kind { "zipkin" } else { "opentelemetry" }
    try await waitFor(proxy, "tracing.\(name).spans_sent") { $0 == 21 }
    let reports = collector.lines("EXPORT").count
    try await waitFor(proxy, "tracing.\(name).reports_sent") { $0 == reports }
    #expect(try await proxy.stat("tracing.\(name).spans_dropped") == 0)
    #expect(try await proxy.stat("tracing.\(name).spans_waiting") == 0)
    let export = try #require(collector.lines("EXPORT").first)
    switch kind {
    case .zipkin:
      #expect(export.contains(#""content-type": "application/json""#) && export.contains(#""host": "collector""#))
      #expect(spans.allSatisfy { $0.contains(#""serviceName": "shop""#) })
    case .http, .environment:
      #expect(export.contains(#""content-type": "application/x-protobuf""#) && export.contains(#""host": "spans""#))
      #expect(
        spans.allSatisfy { $0.contains(#""service.name": "shop""#) && $0.contains(#""telemetry.sdk.name": "martlet""#) }
      )
    case .grpc: #expect(export.contains(#""user-agent": "OTel-OTLP-Exporter-Martlet/"#))
    }
  }

  @Test("headers of exports are the configuration's, with operators that need no request")
  func headers() async throws {
    let collector = try await SpanCollectorPeer.start("http")
    let configuration = configuration(
      .zipkin, collector: collector.port,
      "collector_service: {http_uri: {uri: \"http://spans:99/in?a=b\", cluster: collector, timeout: 1s}, "
        + "request_headers_to_add: [{header: {key: authorization, value: \"Bearer %ENVIRONMENT(TOKEN)%\"}}]}")
    let proxy = try await RunningProxy.start(configuration, environment: ["TOKEN": "t0k"])
    try await ask(proxy, 1)
    _ = try await collector.spans(1)
    let export = try #require(collector.lines("EXPORT").first)
    #expect(export.hasPrefix("/in?a=b 1 "))
    #expect(export.contains(#""authorization": "Bearer t0k""#) && export.contains(#""host": "spans:99""#))
  }

  // MARK: Environment

  @Test("the environment names the collector, and what this proxy is", arguments: ["grpc", "http/protobuf"])
  func environment(_ wire: String) async throws {
    let collector = try await SpanCollectorPeer.start(wire == "grpc" ? "grpc" : "http")
    let proxy = try await RunningProxy.start(
      configuration(.environment, collector: 1),
      environment: [
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:\(collector.port)", "OTEL_EXPORTER_OTLP_PROTOCOL": wire,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20%25b", "OTEL_SERVICE_NAME": "from-env",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,deployment.environment=test%2C1",
        "OTEL_TRACES_SAMPLER": "always_on",
      ])
    try await ask(proxy, 3)
    let spans = try await collector.spans(3)
    #expect(spans.allSatisfy { $0.contains(#""service.name": "from-env""#) })
    #expect(spans.allSatisfy { $0.contains(#""deployment.environment": "test,1""#) })
    let export = try #require(collector.lines("EXPORT").first)
    #expect(export.contains(#""x-key": "a %b""#), "\(export)")
    if wire != "grpc" { #expect(export.hasPrefix("/v1/traces ")) }
    #expect(try await proxy.stat("cluster.otel_exporter.upstream_rq_total") >= 1)
  }

  @Test(
    "the environment's collector over TLS, by its name and the authority that vouches for it", arguments: [true, false])
  func environmentTLS(_ isTrusted: Bool) async throws {
    let collector = try await SpanCollectorPeer.start("https")
    let proxy = try await RunningProxy.start(
      configuration(.environment, collector: 1),
      environment: [
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://localhost:\(collector.port)",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": TestCertificates.path(isTrusted ? "ca" : "other-ca"),
      ])
    try await ask(proxy, 2)
    guard isTrusted else {
      try await waitFor(proxy, "tracing.opentelemetry.reports_failed") { $0 > 0 }
      #expect(collector.lines("EXPORT") == [])
      return
    }
    #expect(try await collector.spans(2).count == 2)
    #expect(try #require(collector.lines("EXPORT").first).contains("\"host\": \"localhost:\(collector.port)\""))
  }

  @Test("a sampler of the environment, where the configuration has none")
  func environmentSampler() async throws {
    let collector = try await SpanCollectorPeer.start("http")
    let proxy = try await RunningProxy.start(
      configuration(.http, collector: collector.port), environment: ["OTEL_TRACES_SAMPLER": "parentbased_always_off"])
    try await ask(proxy, 5)
    try await ask(
      proxy, 1, headers: "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n")
    let spans = try await collector.spans(1)
    #expect(spans[0].contains("4bf92f3577b34da6a3ce929d0e0e4736"))
    try await waitFor(proxy, "tracing.opentelemetry.reports_sent") { $0 == 1 }
    #expect(collector.lines("SPAN").count == 1)
  }

  @Test("for a collector that decides later there are spans of what nobody has decided to keep, and headers say no")
  func unsampled() async throws {
    let collector = try await SpanCollectorPeer.start("http")
    var configuration = configuration(
      .http, collector: collector.port, extra: "tracing.random_sampling: 0, tracing.record_unsampled: 100")
    let upstream = try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        let context = request.value("traceparent") ?? "none"
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-heard: \(context)\r\n\r\n")
      }
    }
    configuration.clusters.append(.init(name: "backend", endpoints: [("127.0.0.1", upstream.port)]))
    configuration.listeners[0].routes = ["{match: {prefix: /}, route: {cluster: backend}}"]
    configuration.listeners[0].filters = [
      "{name: health, typed_config: {\"@type\": \(Self.types).extensions.filters.http.health_check.v3.HealthCheck, "
        + "pass_through_mode: false, headers: [{name: \":path\", string_match: {exact: /health}}]}}"
    ]
    let proxy = try await RunningProxy.start(configuration)
    // Health checks nobody wants to see.
    #expect(try await proxy.get("/health").status == 200)
    let response = try await proxy.get()
    #expect(try #require(response.value("x-heard")).hasSuffix("-00"))
    let spans = try await collector.spans(1)
    #expect(!spans[0].contains("/health"))
    #expect(try await proxy.stat("http.main.tracing.health_check") == 1)
    // SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK alone: not sampled.
    #expect(spans[0].contains("\"flags\": 256"), "\(spans[0])")
    #expect(try await proxy.stat("http.main.tracing.not_traceable") == 2)
  }

  // MARK: Bad collectors

  @Test("a collector that hangs holds nothing up, and costs a bounded number of spans")
  func hanging() async throws {
    let collector = try ScriptedCollector { connection, _, _ in
      _ = try? connection.receiveSome(within: Deadline(.seconds(60)))
      return false
    }
    let proxy = try await RunningProxy.start(configuration(.http, collector: collector.port, "max_cache_size: 50"))
    try await ask(proxy, 100)
    let before = proxy.memory.now
    for _ in 0..<20 { try await ask(proxy, 500) }
    try await waitFor(proxy, "tracing.opentelemetry.spans_dropped") { $0 > 5_000 }
    // Two workers, 50 each; a batch that finds the way empty may be larger.
    #expect(try await proxy.stat("tracing.opentelemetry.spans_waiting") < 1_000)
    #expect(proxy.memory.now - before < 24 * 1024, "\(before) → \(proxy.memory.now) KiB")
    try await waitFor(proxy, "tracing.opentelemetry.reports_failed") { $0 > 0 }
    #expect(proxy.count("does not take them: timeout") == 1)
    #expect(collector.count <= 30)
  }

  @Test("one that answers 500 loses what it was sent, and nothing is sent again")
  func refusing() async throws {
    let collector = try ScriptedCollector { connection, number, _ in
      try connection.sendResponse(number < 2 ? 500 : 200)
      return true
    }
    let proxy = try await RunningProxy.start(configuration(.http, collector: collector.port))
    for count in [3, 4] {
      try await ask(proxy, count)
      try await waitFor(proxy, "tracing.opentelemetry.spans_sent") { $0 >= count }
      try await waitFor(proxy, "tracing.opentelemetry.spans_waiting") { $0 == 0 }
    }
    try await eventually("the first answers") { collector.count >= 2 }
    try await ask(proxy, 1)
    try await proxy.waitForLog("takes them again")
    #expect(try await proxy.stat("tracing.opentelemetry.reports_dropped") == 2)
    #expect(try await proxy.stat("tracing.opentelemetry.reports_retried") == 0)
    let sent = try await proxy.stat("tracing.opentelemetry.spans_sent")
    let lost = try await proxy.stat("tracing.opentelemetry.spans_dropped")
    #expect(sent == 8 && lost > 0 && lost < 8)
  }

  @Test("one that wants them later gets them later, the same bytes")
  func throttling() async throws {
    let collector = try ScriptedCollector { connection, number, _ in
      try connection.sendResponse(number == 0 ? 429 : 202, headers: number == 0 ? [("retry-after", "1")] : [])
      return true
    }
    let proxy = try await RunningProxy.start(configuration(.http, collector: collector.port))
    let clock = ContinuousClock()
    let began = clock.now
    try await ask(proxy, 2)
    try await waitFor(proxy, "tracing.opentelemetry.reports_sent") { $0 > 0 }
    #expect(clock.now - began >= .milliseconds(990))
    #expect(collector.bodies[0] == collector.bodies[1])
    #expect(try await proxy.stat("tracing.opentelemetry.reports_retried") == 1)
    #expect(try await proxy.stat("tracing.opentelemetry.spans_dropped") == 0)
  }

  @Test(
    "one that resets connections, trickles, or talks without end",
    arguments: ["reset", "close", "drip", "huge", "junk"])
  func rude(_ manner: String) async throws {
    let collector = try ScriptedCollector { connection, _, _ in
      switch manner {
      case "reset": connection.reset()
      case "close": break
      case "drip":
        let answer = Array("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".utf8)
        for byte in answer + Array(repeating: 0x78, count: 100_000) {
          guard (try? connection.send([byte])) != nil else { return false }
          if connection.hasSomething(within: .milliseconds(10)) { return false }
        }
      case "huge":
        try? connection.send("HTTP/1.1 200 OK\r\n\r\n")
        while (try? connection.send(Array(repeating: 0x78, count: 65_536))) != nil {}
      default: try? connection.send("SSH-2.0-OpenSSH_9.6\r\n")
      }
      return false
    }
    let proxy = try await RunningProxy.start(configuration(.http, collector: collector.port))
    try await ask(proxy, 300)
    if manner == "huge" {
      // Spans were taken; but nobody knows what it wants to say.
      try await waitFor(proxy, "tracing.opentelemetry.reports_dropped") { $0 > 0 }
    } else {
      try await waitFor(proxy, "tracing.opentelemetry.reports_failed") { $0 > 0 }
    }
    try await ask(proxy, 300)
    #expect(proxy.memory.peak < 200 * 1024)
    #expect(proxy.count("does not take them") == 1)
  }

  @Test("when a collector comes back it gets what waited, and the log tells both", arguments: [Kind.zipkin, .http])
  func absence(_ kind: Kind) async throws {
    let name = if case .zipkin = kind { "zipkin" } else { "opentelemetry" }
    let first = try ScriptedCollector { _, _, _ in false }
    let port = first.port
    first.stop()
    let proxy = try await RunningProxy.start(configuration(kind, collector: port))
    try await ask(proxy, 10)
    try await proxy.waitForLog("spans: cluster collector, /")
    #expect(proxy.count("does not take them: remote connection failure") == 1)
    let collector = try await SpanCollectorPeer.start("http", port: port)
    try await ask(proxy, 10)
    let spans = try await collector.spans(20, within: Deadline(.seconds(40)))
    #expect(spans.count == 20)
    try await proxy.waitForLog("takes them again after")
    #expect(try await proxy.stat("tracing.\(name).spans_dropped") == 0)
    #expect(try await proxy.stat("tracing.\(name).reports_retried") > 0)
  }

  @Test("a collector tells how many spans it did not want")
  func partialSuccess() async throws {
    let collector = try ScriptedCollector { connection, _, _ in
      // partial_success: {rejected_spans: 1, error_message: "too old"}
      try connection.sendResponse(200, body: [0x0a, 11, 0x08, 1, 0x12, 7] + Array("too old".utf8))
      return true
    }
    let proxy = try await RunningProxy.start(configuration(.http, collector: collector.port))
    try await ask(proxy, 1)
    try await waitFor(proxy, "tracing.opentelemetry.spans_rejected") { $0 == 1 }
    try await proxy.waitForLog("rejected 1 spans: too old")
    #expect(try await proxy.stat("tracing.opentelemetry.reports_sent") == 1)
  }

  // MARK: The end, and changes

  @Test("what was recorded before the end is exported before the end", arguments: [Kind.zipkin, .http, .grpc])
  func shutdown(_ kind: Kind) async throws {
    let isGRPC = if case .grpc = kind { true } else { false }
    let collector = try await SpanCollectorPeer.start(isGRPC ? "grpc" : "http")
    // Would wait for a minute.
    let proxy = try await RunningProxy.start(configuration(kind, collector: collector.port, interval: 60_000))
    for _ in 0..<4 { try await ask(proxy, 1) }
    proxy.program.signal(15)
    #expect(try await proxy.program.waitForEnd(within: Deadline(.seconds(20))) == .exited(0))
    #expect(try await collector.spans(4).count == 4)
  }

  @Test("a collector that is not there does not hold up the end")
  func lonelyShutdown() async throws {
    let nobody = try ScriptedCollector { _, _, _ in false }
    let port = nobody.port
    nobody.stop()
    let proxy = try await RunningProxy.start(configuration(.http, collector: port, interval: 60_000))
    try await ask(proxy, 3)
    let clock = ContinuousClock()
    let began = clock.now
    proxy.program.signal(15)
    #expect(try await proxy.program.waitForEnd(within: Deadline(.seconds(20))) == .exited(0))
    #expect(clock.now - began < .seconds(4))
    #expect(proxy.count("3 spans are left that no collector has taken") == 1, "\(proxy.program.logs)")
  }

  @Test("one that hangs holds up the end for five seconds at most")
  func hangingShutdown() async throws {
    let collector = try ScriptedCollector { connection, _, _ in
      _ = try? connection.receiveSome(within: Deadline(.seconds(60)))
      return false
    }
    let proxy = try await RunningProxy.start(
      configuration(
        .zipkin, collector: collector.port, interval: 60_000, extra: "tracing.zipkin.request_timeout: 60000"))
    try await ask(proxy, 1)
    let clock = ContinuousClock()
    let began = clock.now
    proxy.program.signal(15)
    #expect(try await proxy.program.waitForEnd(within: Deadline(.seconds(20))) == .exited(0))
    #expect(clock.now - began < .seconds(9))
  }

  @Test("a provider that goes is not forgotten before its spans are sent")
  func reload() async throws {
    let collector = try await SpanCollectorPeer.start("http")
    var configuration = configuration(.http, collector: collector.port, interval: 60_000)
    let proxy = try await RunningProxy.start(configuration)
    try await ask(proxy, 2)
    configuration.listeners[0].managerFields = []
    try proxy.directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(1)
    try await proxy.waitForLog("the new configuration is in use")
    // The next request meets no tracer.
    try await ask(proxy, 2)
    #expect(try await collector.spans(2).count == 2)
    #expect(try await proxy.stat("tracing.opentelemetry.spans_sent") == 2)
  }
}
