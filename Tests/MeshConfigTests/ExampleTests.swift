import MeshAPI
import Testing

@testable import MeshConfig

@Suite struct ExampleTests {
  @Test func frontProxyLoads() throws {
    let bootstrap = try load(Bootstrap.self, frontProxy)
    let listener = try #require(bootstrap.staticResources.listeners.first)
    #expect(listener.address.socketAddress.portValue == 8000)
    let manager: HttpConnectionManager = try listener.filterChains[0].filters[0].typedConfig.unpack()
    #expect(manager.statPrefix == "ingress_http")
    #expect(manager.routeConfig.virtualHosts[0].routes[0].match.prefix == "/service/1")
    #expect(manager.routeConfig.virtualHosts[0].routes[0].route.cluster == "service1")
    #expect(manager.httpFilters[0].typedConfig.holds(Router.self))
    #expect(throws: TypedConfigError.self) { try manager.httpFilters[0].typedConfig.unpack(as: Buffer.self) }
    let cluster = try #require(bootstrap.staticResources.clusters.first)
    #expect(cluster.type == .strictDns)
    #expect(cluster.loadAssignment.endpoints[0].lbEndpoints[0].endpoint.address.socketAddress.address == "service1")
    #expect(bootstrap.admin.address.socketAddress.portValue == 8001)
  }

  /// The same in camelCase, in JSON, with tabs, and with types without a host part.
  @Test func jsonLoads() throws {
    let json = """
      {
      \t"node": {"id": "n", "cluster": "y", "locality": {"subZone": "rack \\u0041"}},
      \t"staticResources": {
      \t\t"clusters": [{
      \t\t\t"name": "a", "connectTimeout": "0.25s", "loadAssignment": {"clusterName": "a", "endpoints": []},
      \t\t\t"circuitBreakers": {"thresholds": [{"maxRequests": 10}]},
      \t\t\t"typedExtensionProtocolOptions": {
      \t\t\t\t"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      \t\t\t\t\t"@type": "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      \t\t\t\t\t"explicitHttpConfig": {"httpProtocolOptions": {}}
      \t\t\t\t}
      \t\t\t}
      \t\t}]
      \t}
      }
      """
    let bootstrap = try load(Bootstrap.self, json)
    #expect(bootstrap.node.id == "n")
    #expect(bootstrap.node.cluster == "y")
    #expect(bootstrap.node.locality.subZone == "rack A")
    let cluster = bootstrap.staticResources.clusters[0]
    #expect(cluster.connectTimeout.nanoseconds == 250_000_000)
    #expect(cluster.circuitBreakers.thresholds[0].maxRequests.value == 10)
    let options = try #require(cluster.typedExtensionProtocolOptions[UpstreamHttpProtocolOptions.protoMessageName])
    #expect(options.typeURL == "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
    let upstream: UpstreamHttpProtocolOptions = try options.unpack()
    #expect(upstream.explicitHTTPConfig.protocolConfig == .httpProtocolOptions(Http1ProtocolOptions()))
  }

  @Test func manyClustersLoad() throws {
    var yaml = "static_resources:\n  clusters:\n"
    for index in 0..<1000 { yaml += "  - {name: c\(index), connect_timeout: 1s}\n" }
    let bootstrap = try load(Bootstrap.self, yaml)
    #expect(bootstrap.staticResources.clusters.count == 1000)
    #expect(bootstrap.staticResources.clusters[999].name == "c999")
  }

  /// Every extension, with every field that it has.
  @Test func everyExtensionLoads() throws {
    let yaml = """
      stat_prefix: x
      codec_type: HTTP1
      server_name: s
      server_header_transformation: PASS_THROUGH
      max_request_headers_kb: 96
      stream_idle_timeout: 1s
      request_timeout: 2s
      request_headers_timeout: 3s
      drain_timeout: 4s
      delayed_close_timeout: 5s
      use_remote_address: true
      generate_request_id: false
      preserve_external_request_id: true
      always_set_request_id_in_response: true
      http_protocol_options: {}
      common_http_protocol_options:
        idle_timeout: 6s
        max_connection_duration: 7s
        max_headers_count: 8
        max_requests_per_connection: 9
        max_stream_duration: 10s
      access_log:
      - name: f
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
          path: /tmp/x
          log_format: {text_format_source: {inline_string: "%REQ(:METHOD)%\\n"}}
      - typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}
      - typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog}
      http_filters:
      - name: fault
        disabled: true
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
          delay: {fixed_delay: 0.001s, percentage: {numerator: 50}}
          abort: {http_status: 503, percentage: {numerator: 1, denominator: MILLION}}
          max_active_faults: 0
          headers: [{name: x-fault, string_match: {exact: "yes"}}]
      - name: buffer
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
          max_request_bytes: 1024
      - name: router
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          suppress_envoy_headers: true
      route_config:
        validate_clusters: false
        virtual_hosts:
        - name: v
          domains: [a.example, "*.b.example", "c.*", "*"]
          request_headers_to_add: [{header: {key: a, value: b}, append_action: ADD_IF_ABSENT, keep_empty_value: true}]
          routes:
          - name: r
            match:
              path_separated_prefix: /api
              case_sensitive: false
              headers:
              - {name: a, present_match: false}
              - {name: b, string_match: {prefix: p, ignore_case: true}, invert_match: true}
              - {name: ":method", string_match: {suffix: T}}
              - {name: d, string_match: {contains: x}}
            route:
              weighted_clusters:
                clusters: [{name: one, weight: 30, response_headers_to_remove: [x]}, {name: two, weight: 70}]
              prefix_rewrite: /
              timeout: 0s
              idle_timeout: 0.5s
            typed_per_filter_config:
              buffer:
                "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute
                disabled: true
          - match: {path: /x}
            direct_response: {status: 204}
      """
    let manager = try load(HttpConnectionManager.self, yaml)
    let fault: HTTPFault = try manager.httpFilters[0].typedConfig.unpack()
    #expect(fault.delay.fixedDelay.nanoseconds == 1_000_000)
    #expect(fault.abort.percentage.denominator == .million)
    #expect(fault.hasMaxActiveFaults && fault.maxActiveFaults.value == 0)
    #expect(manager.hasGenerateRequestID && !manager.generateRequestID.value)
    let file: FileAccessLog = try manager.accessLog[0].typedConfig.unpack()
    #expect(file.logFormat.textFormatSource.inlineString == "%REQ(:METHOD)%\n")
    let route = manager.routeConfig.virtualHosts[0].routes[0]
    #expect(route.route.weightedClusters.clusters.map(\.weight.value) == [30, 70])
    #expect(route.route.hasTimeout && route.route.timeout.nanoseconds == 0)
    #expect(route.match.headers[0].headerMatchSpecifier == .presentMatch(false))
    let buffer = try #require(route.typedPerFilterConfig["buffer"])
    #expect(try buffer.unpack(as: BufferPerRoute.self).override == .disabled(true))
  }
}
