import MeshAPI
import MeshConfig
import MeshIO
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Health as it is configured")
struct HealthConfigurationTests {
  /// What is wrong with a cluster that has these fields, without the path to it; or its configuration.
  private func cluster(
    _ fields: String, endpoint: String = ""
  ) -> (configuration: ClusterConfiguration?, problems: [String]) {
    let yaml =
      "{static_resources: {clusters: [{name: c, \(fields) load_assignment: {cluster_name: c, endpoints: "
      + "[{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}\(endpoint)}}]}]}}]}}"
    func short(_ text: String) -> String {
      var text = text.replacing("static_resources.clusters[0].", with: "")
      if text.hasPrefix("--config-yaml:") { text = String(text.split(separator: " ", maxSplits: 1).last ?? "") }
      return text
    }
    do {
      let loaded = try ConfigurationReader.readBootstrap(path: nil, yaml: yaml)
      let identities = Identities(store: StatsStore(lanes: 1), accessLogFiles: AccessLogFiles(opensFiles: false))
      var builder = SnapshotBuilder(identities: identities)
      let snapshot = builder.build(loaded.bootstrap)
      return (
        snapshot?.clusters.first?.configuration, builder.problems.map { short("\($0.path): \($0.message)") }
      )
    } catch {
      return (nil, error.problems.map { short($0.description) })
    }
  }

  private let times = "timeout: 1s, interval: 2s, unhealthy_threshold: 3, healthy_threshold: 4"

  private func check(_ kind: String) -> String { "health_checks: [{\(times), \(kind)}]," }

  // MARK: Outlier detection

  @Test func outlierDefaults() throws {
    let settings = try #require(cluster("outlier_detection: {},").configuration?.outliers)
    let expected: [OutlierSettings.Name: UInt64] = [
      .interval: 10_000, .baseEjectionTime: 30_000, .maximumEjectionTime: 300_000, .maximumJitter: 0,
      .maximumPercent: 10,
      .consecutive5xx: 5, .consecutiveGatewayFailure: 5, .consecutiveLocalOriginFailure: 5, .enforcing5xx: 100,
      .enforcingGatewayFailure: 0, .enforcingLocalOriginFailure: 100, .enforcingFailurePercentage: 0,
      .enforcingFailurePercentageLocalOrigin: 0, .failurePercentageThreshold: 85, .failurePercentageMinimumHosts: 5,
      .failurePercentageVolume: 50,
    ]
    for name in OutlierSettings.Name.allCases { #expect(settings[name].current == expected[name], "\(name)") }
    #expect(!settings.splitsErrors && !settings.alwaysEjectsOne && settings.checkEndsEjection)
    // The longest time is never less than the first one, unless it is given.
    let long = try #require(cluster("outlier_detection: {base_ejection_time: 400s},").configuration?.outliers)
    #expect(long[.maximumEjectionTime].time == .seconds(400))
    #expect(cluster("").configuration?.outliers == nil)
  }

  @Test(arguments: [
    (
      "outlier_detection: {base_ejection_time: 2s, max_ejection_time: 1s},",
      "outlier_detection.max_ejection_time: must not be less than base_ejection_time"
    ),
    ("outlier_detection: {enforcing_success_rate: 0},", "outlier_detection.enforcing_success_rate:"),
    ("outlier_detection: {success_rate_minimum_hosts: 5},", "outlier_detection.success_rate_minimum_hosts:"),
    ("outlier_detection: {max_ejection_percent: 101},", "outlier_detection.max_ejection_percent:"),
    ("outlier_detection: {interval: 0s},", "outlier_detection.interval:"),
  ])
  func outlierProblems(_ fields: String, _ problem: String) {
    let problems = cluster(fields).problems
    #expect(problems.count == 1)
    #expect(problems.first?.hasPrefix(problem) == true, "\(problems)")
  }

  // MARK: Health checks

  @Test func checkDefaults() throws {
    let configuration = try #require(cluster(check("http_health_check: {path: /h}")).configuration)
    let settings = try #require(configuration.healthChecks)
    let timings = settings.timings
    #expect(timings.timeout == .seconds(1))
    for time in [timings.interval, timings.unhealthy, timings.unhealthyEdge, timings.healthyEdge] {
      #expect(time == .seconds(2))
    }
    for time in [timings.noTraffic, timings.noTrafficHealthy] { #expect(time == .seconds(60)) }
    #expect(settings.unhealthyThreshold == 3 && settings.healthyThreshold == 4 && settings.reusesConnection)
    guard case .http(let request) = settings.kind else {
      Issue.record("no request")
      return
    }
    #expect(request.method == .get && request.expected == [200..<201] && request.retriable.isEmpty)
    #expect(request.bufferLimit == 1024 && !request.isHTTP2 && request.host.isEmpty)
  }

  @Test func intervalsStandForOthers() throws {
    let fields =
      "health_checks: [{\(times), no_traffic_interval: 5s, unhealthy_interval: 6s, tcp_health_check: {send: {text: 00fF}}}],"
    let timings = try #require(cluster(fields).configuration?.healthChecks).timings
    #expect(timings.noTrafficHealthy == .seconds(5))
    #expect(timings.unhealthyEdge == .seconds(6))
    #expect(timings.healthyEdge == .seconds(2))
  }

  @Test func endpointsMayDiffer() throws {
    func endpoint(_ config: String) throws -> EndpointCheck {
      let built = cluster("", endpoint: ", health_check_config: {\(config)}")
      return try #require(built.configuration?.endpoints.first).check
    }
    let here = Endpoint(address: SocketAddress(try #require(IPAddress("127.0.0.1")), port: 1), hostname: "", lanes: 1)
    #expect(try endpoint("port_value: 80").target(here).description == "127.0.0.1:80")
    let elsewhere = "address: {socket_address: {address: 127.0.0.2, port_value: 5}}"
    #expect(try endpoint(elsewhere).target(here).description == "127.0.0.2:5")
    #expect(try endpoint("\(elsewhere), port_value: 80").target(here).description == "127.0.0.2:80")
    #expect(try endpoint("hostname: a.example").hostname == "a.example")
    #expect(try endpoint("disable_active_health_check: true").isDisabled)
  }

  @Test(arguments: [
    ("http_health_check: {path: \"\"}", "health_checks[0].http_health_check.path:"),
    ("http_health_check: {path: /, method: CONNECT}", "health_checks[0].http_health_check.method:"),
    ("http_health_check: {path: /, codec_client_type: HTTP3}", "health_checks[0].http_health_check.codec_client_type:"),
    ("http_health_check: {path: /, send: {text: \"00\"}}", "health_checks[0].http_health_check.send:"),
    (
      "http_health_check: {path: /, method: POST, send: {text: \"0\"}}",
      "health_checks[0].http_health_check.send.text: must be bytes in hexadecimal"
    ),
    (
      "http_health_check: {path: /, receive: [{text: \"00zz\"}]}", "health_checks[0].http_health_check.receive[0].text:"
    ),
    (
      "http_health_check: {path: /, response_buffer_size: 1, receive: [{text: \"0000\"}]}",
      "health_checks[0].http_health_check.receive: has 2 bytes; response_buffer_size lets 1 be looked at"
    ),
    (
      "http_health_check: {path: /, expected_statuses: [{start: 99, end: 200}]}",
      "health_checks[0].http_health_check.expected_statuses[0]:"
    ),
    (
      "http_health_check: {path: /, retriable_statuses: [{start: 500, end: 601}]}",
      "health_checks[0].http_health_check.retriable_statuses[0]:"
    ),
    (
      "http_health_check: {path: /, request_headers_to_add: [{header: {key: x, value: \"%NONSENSE%\"}}]}",
      "health_checks[0].http_health_check.request_headers_to_add[0].header.value:"
    ),
    ("grpc_health_check: {}", "health_checks[0].grpc_health_check: needs a cluster that speaks HTTP/2"),
    ("tcp_health_check: {}, alt_port: 1", "health_checks[0].alt_port:"),
    ("tcp_health_check: {}, tls_options: {alpn_protocols: [\"\"]}", "health_checks[0].tls_options.alpn_protocols[0]:"),
    ("custom_health_check: {name: x}", "health_checks[0].custom_health_check:"),
  ])
  func checkProblems(_ kind: String, _ problem: String) {
    let problems = cluster(check(kind)).problems
    #expect(problems.contains { $0.hasPrefix(problem) }, "\(problems)")
  }

  @Test func thereIsOneCheckOfSomeKind() {
    let one = "{\(times), tcp_health_check: {}}"
    #expect(
      cluster("health_checks: [\(one), \(one)],").problems.first?.hasPrefix("health_checks: has 2 elements") == true)
    #expect(cluster("health_checks: [{\(times)}],").problems.count == 1)
    #expect(cluster("health_checks: [{tcp_health_check: {}}],").problems.count >= 4)
  }

  @Test func clustersWithoutEndpointsOfTheirOwn() {
    let yaml =
      "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, outlier_detection: {}, \(check("tcp_health_check: {}"))"
    let problems = cluster(yaml).problems
    #expect(
      problems.contains { $0.hasPrefix("outlier_detection: is not supported for a cluster of type ORIGINAL_DST") })
    #expect(problems.contains { $0.hasPrefix("health_checks: is not supported for a cluster of type ORIGINAL_DST") })
  }
}
