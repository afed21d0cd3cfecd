import MeshConfig
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Providers of traces as they are configured")
struct TracerConfigurationTests {
  private static let types = "type.googleapis.com/envoy"
  private static let path =
    "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.tracing.provider.typed_config"

  private static func zipkin(_ fields: String) -> String {
    "provider: {name: z, typed_config: {\"@type\": \(types).config.trace.v3.ZipkinConfig, \(fields)}}"
  }

  private static func otel(_ fields: String) -> String {
    "provider: {name: o, typed_config: {\"@type\": \(types).config.trace.v3.OpenTelemetryConfig\(fields)}}"
  }

  private static let plain =
    "collector_cluster: c, collector_endpoint: /api/v2/spans, collector_endpoint_version: HTTP_JSON"
  private static let http = ", http_service: {http_uri: {uri: \"http://h/v1/traces\", cluster: c, timeout: 1s}}"

  private final class Compiled {
    let identities = Identities(store: StatsStore(lanes: 3), accessLogFiles: AccessLogFiles(opensFiles: false))
    var snapshot: ConfigurationSnapshot?
    var problems: [String] = []

    /// The tracer of the first listener.
    var tracer: Tracer? {
      guard case .connectionManager(let manager, _)? = snapshot?.listeners[0].configuration.filterChains[0].network
      else { return nil }
      return manager.tracing?.tracer
    }

    var outlet: SpanOutlet? { tracer?.receiver as? SpanOutlet }

    @discardableResult
    func build(_ tracing: String, bootstrap fields: String = "", node: String = "n") -> Self {
      let yaml = """
        node: {id: i, cluster: "\(node)"}
        \(fields)
        static_resources:
          listeners:
          - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
            filter_chains: [{filters: [{name: m, typed_config: {"@type": \(types).extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: m,
              tracing: {\(tracing)},
              route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: c}}]}]},
              http_filters: [{name: r, typed_config: {"@type": \(types).extensions.filters.http.router.v3.Router}}]}}]}]
          clusters:
          - {name: c, type: STATIC}
          - name: h2
            type: STATIC
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": \(types).extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {http2_protocol_options: {}}
        """
      do {
        let bootstrap = try ConfigurationReader.readBootstrap(path: nil, yaml: yaml).bootstrap
        var builder = SnapshotBuilder(identities: identities, node: bootstrap.node)
        let next = builder.build(bootstrap)
        problems = builder.problems.map { "\($0.path): \($0.message)" }
        if next != nil { snapshot = next }
      } catch { problems = error.problems.map(\.description) }
      return self
    }
  }

  private func compile(_ tracing: String, bootstrap: String = "", node: String = "n") -> Compiled {
    Compiled().build(tracing, bootstrap: bootstrap, node: node)
  }

  @Test("Zipkin's defaults are Envoy's")
  func zipkinDefaults() throws {
    let compiled = compile(Self.zipkin(Self.plain))
    #expect(compiled.problems == [])
    let tracer = try #require(compiled.tracer)
    #expect(tracer.sharesSpans && tracer.makes64BitIDs && !tracer.makesServerSpans)
    #expect(tracer.propagation == .b3Multi)
    let collector = try #require(compiled.outlet).collector
    #expect(collector.cluster == "c" && collector.host == "c" && collector.path == "/api/v2/spans")
    #expect(collector.timeout.current == .seconds(5))
    #expect(compiled.snapshot?.mainClusters == ["c"])
  }

  @Test("Zipkin's fields")
  func zipkinFields() throws {
    let compiled = compile(
      Self.zipkin(
        Self.plain + ", collector_hostname: z.local, trace_id_128bit: true, shared_span_context: false, "
          + "split_spans_for_request: true, trace_context_option: USE_B3_WITH_W3C_PROPAGATION"))
    #expect(compiled.problems == [])
    let tracer = try #require(compiled.tracer)
    #expect(!tracer.sharesSpans && !tracer.makes64BitIDs && tracer.makesServerSpans)
    #expect(tracer.propagation == [.b3Multi, .w3c])
    #expect(compiled.outlet?.collector.host == "z.local")
    let service = compile(
      Self.zipkin(
        "collector_endpoint_version: HTTP_JSON, collector_service: {http_uri: {uri: \"https://z:9/a?b=c\", cluster: c, "
          + "timeout: 0.25s}}"))
    let collector = try #require(service.outlet).collector
    #expect(collector.host == "z:9" && collector.path == "/a?b=c" && collector.timeout.current == .milliseconds(250))
    // A path only: the cluster is the host.
    let path = compile(
      Self.zipkin(
        "collector_endpoint_version: HTTP_JSON, collector_service: {http_uri: {uri: /x, cluster: c, timeout: 0s}}"))
    #expect(path.outlet?.collector.host == "c" && path.outlet?.collector.path == "/x")
    #expect(path.outlet?.collector.timeout.current == .seconds(60), "never without bound")
  }

  @Test(
    "what is wrong with a Zipkin provider is said with its place",
    arguments: [
      ("collector_endpoint: /x, collector_endpoint_version: HTTP_JSON", "collector_cluster: is required, unless"),
      ("collector_cluster: c, collector_endpoint_version: HTTP_JSON", "collector_endpoint: is required"),
      (
        "collector_cluster: c, collector_endpoint: api, collector_endpoint_version: HTTP_JSON",
        "collector_endpoint: \"api\" is no path"
      ),
      (
        "collector_cluster: d, collector_endpoint: /x, collector_endpoint_version: HTTP_JSON",
        "collector_cluster: unknown cluster \"d\""
      ),
      (
        "collector_cluster: c, collector_endpoint: /x, collector_endpoint_version: GRPC",
        "collector_endpoint_version: must be HTTP_JSON or HTTP_PROTO"
      ),
      (
        "collector_endpoint_version: HTTP_JSON, collector_service: {http_uri: {uri: x, cluster: c, timeout: 1s}}",
        "collector_service.http_uri.uri: \"x\" is no path"
      ),
      (
        "collector_endpoint_version: HTTP_JSON, collector_service: {http_uri: {uri: /x, cluster: d, timeout: 1s}}",
        "collector_service.http_uri.cluster: unknown cluster \"d\""
      ),
    ])
  func zipkinProblems(_ fields: String, _ expected: String) {
    let problems = compile(Self.zipkin(fields)).problems
    #expect(problems.count == 1)
    #expect(problems.first?.hasPrefix("\(Self.path).\(expected)") == true, "\(problems)")
  }

  @Test("the version of Zipkin's API must be said")
  func zipkinVersion() {
    let problems = compile(Self.zipkin("collector_cluster: c, collector_endpoint: /x")).problems
    #expect(problems.count == 1 && problems[0].contains("collector_endpoint_version"), "\(problems)")
  }

  @Test("OpenTelemetry's defaults")
  func otelDefaults() throws {
    let compiled = compile(Self.otel(Self.http))
    #expect(compiled.problems == [])
    let tracer = try #require(compiled.tracer)
    #expect(tracer.propagation == .w3c && tracer.sampler == nil)
    let outlet = try #require(compiled.outlet)
    #expect(outlet.limits.spans == .max && outlet.limits.bytes == 8 << 20)
    #expect(outlet.collector.host == "h" && outlet.collector.path == "/v1/traces")
    #expect(
      compile(Self.otel(Self.http + ", max_cache_size: 10")).outlet?.limits.spans == 20, "10 for each of two workers")
    let grpc = compile(Self.otel(", grpc_service: {envoy_grpc: {cluster_name: h2, authority: a}, timeout: 0.3s}"))
    #expect(grpc.problems == [])
    #expect(grpc.outlet?.collector.host == "a" && grpc.outlet?.collector.timeout.current == .milliseconds(300))
  }

  @Test(
    "samplers",
    arguments: [
      ("AlwaysOnSamplerConfig", .alwaysOn),
      (
        "TraceIdRatioBasedSamplerConfig, sampling_percentage: {numerator: 5, denominator: TEN_THOUSAND}",
        .ratio(Fraction(5, of: .tenThousand))
      ),
      ("TraceIdRatioBasedSamplerConfig", .ratio(Fraction(0))),
      (
        "ParentBasedSamplerConfig, wrapped_sampler: {name: w, typed_config: {\"@type\": "
          + "\(types).extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig}}",
        .parentBased(root: .alwaysOn)
      ),
    ] as [(String, TraceSampler)])
  func samplers(_ text: String, _ expected: TraceSampler) {
    let sampler =
      ", sampler: {name: s, typed_config: {\"@type\": \(Self.types).extensions.tracers.opentelemetry.samplers.v3.\(text)}}"
    let compiled = compile(Self.otel(Self.http + sampler))
    #expect(compiled.problems == [])
    #expect(compiled.tracer?.sampler == expected)
  }

  @Test(
    "what is wrong with an OpenTelemetry provider is said with its place",
    arguments: [
      ("", ": needs grpc_service or http_service, or OTEL_EXPORTER_OTLP_ENDPOINT in the environment"),
      (http + ", grpc_service: {envoy_grpc: {cluster_name: h2}}", ": must have one of grpc_service and http_service"),
      (
        ", http_service: {http_uri: {uri: \"http://h/x\", cluster: d, timeout: 1s}}",
        ".http_service.http_uri.cluster: unknown cluster \"d\""
      ),
      (
        ", http_service: {http_uri: {uri: \"http:///x\", cluster: c, timeout: 1s}}",
        ".http_service.http_uri.uri: must be a URL with a host"
      ),
      (
        ", http_service: {http_uri: {uri: \"http://h/x\", cluster: c, timeout: 1s}, request_headers_to_add: [{header: {key: "
          + "host, value: x}}]}", ".http_service.request_headers_to_add[0]."
      ),
      (
        ", grpc_service: {envoy_grpc: {cluster_name: d}}",
        ".grpc_service.envoy_grpc.cluster_name: unknown cluster \"d\""
      ),
      (
        ", grpc_service: {envoy_grpc: {cluster_name: c}}",
        ".grpc_service.envoy_grpc.cluster_name: cluster \"c\" does not speak HTTP/2"
      ),
      (http + ", max_cache_size: 0", ".max_cache_size: must be at least 1"),
      (
        http
          + ", sampler: {name: s, typed_config: {\"@type\": \(types).extensions.load_balancing_policies.random.v3.Random}}",
        ".sampler.typed_config: envoy.extensions.load_balancing_policies.random.v3.Random is no sampler"
      ),
      (
        http
          + ", resource_detectors: [{name: s, typed_config: {\"@type\": \(types).extensions.load_balancing_policies.random.v3.Random}}]",
        ".resource_detectors[0].typed_config: envoy.extensions.load_balancing_policies.random.v3.Random is no resource"
      ),
    ])
  func otelProblems(_ fields: String, _ expected: String) {
    let problems = compile(Self.otel(fields)).problems
    #expect(problems.count == 1)
    #expect(problems.first?.contains(Self.path + expected) == true, "\(problems)")
  }

  @Test("equal providers have one tracer, over changes of the configuration, too")
  func identity() throws {
    let compiled = compile(Self.zipkin(Self.plain))
    let first = try #require(compiled.tracer)
    compiled.build(Self.zipkin(Self.plain) + ", verbose: true")
    #expect(compiled.tracer === first)
    compiled.build(Self.zipkin(Self.plain), node: "other")
    #expect(compiled.tracer !== first, "another service name")
    compiled.build(Self.zipkin(Self.plain + ", trace_id_128bit: true"))
    #expect(compiled.tracer !== first)
  }

  @Test("a provider of all connection managers")
  func defaultProvider() {
    let http = "tracing: {http: {" + Self.zipkin(Self.plain).dropFirst("provider: {".count) + "}"
    let compiled = compile("", bootstrap: http)
    #expect(compiled.problems == [])
    #expect(compiled.outlet?.collector.cluster == "c")
    #expect(compile("").tracer == nil)
    let own = compile(Self.otel(Self.http), bootstrap: http)
    #expect(own.outlet?.collector.isOTLP == true)
    let wrong = compile("", bootstrap: http.replacing("collector_cluster: c", with: "collector_cluster: d"))
    #expect(
      wrong.problems == ["tracing.http.typed_config.collector_cluster: unknown cluster \"d\" (did you mean \"c\"?)"])
  }
}
