import MeshConfig
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Sinks of statistics in a configuration")
struct StatSinkConfigurationTests {
  private func build(_ sinks: String, node: String = "{id: a, cluster: b}", more: String = "") throws -> (
    configuration: StatsSinkConfiguration?, problems: [String], mainClusters: Set<String>
  ) {
    let yaml = """
      node: \(node)
      stats_sinks: [\(sinks)]
      \(more)
      static_resources:
        clusters: [{name: metrics, load_assignment: {cluster_name: metrics}}]
      """
    let identities = Identities(store: StatsStore(lanes: 1), accessLogFiles: AccessLogFiles(opensFiles: false))
    let bootstrap = try ConfigurationReader.readBootstrap(path: nil, yaml: yaml).bootstrap
    var builder = SnapshotBuilder(identities: identities, node: bootstrap.node)
    let snapshot = builder.build(bootstrap)
    return (
      snapshot?.statSinks, builder.problems.map { "\($0.path): \($0.message)" }, snapshot?.mainClusters ?? []
    )
  }

  private func sink(_ type: String, _ fields: String) -> String {
    "{name: s, typed_config: {\"@type\": type.googleapis.com/envoy.config.metrics.v3.\(type), \(fields)}}"
  }

  @Test func intervals() throws {
    let sink = sink("StatsdSink", "tcp_cluster_name: metrics")
    #expect(try build(sink).configuration?.interval == .seconds(5))
    #expect(try build(sink, more: "stats_flush_interval: 0.25s").configuration?.interval == .milliseconds(250))
    #expect(try build(sink, more: "stats_flush_on_admin: true").configuration?.interval == nil)
    #expect(try build("").configuration == nil)
    #expect(
      try build(sink, more: "stats_flush_on_admin: true\nstats_flush_interval: 1s").problems == [
        "stats_flush_interval: must not be combined with stats_flush_on_admin"
      ])
    for wrong in ["stats_flush_interval: 300s", "stats_flush_interval: 0s", "stats_flush_on_admin: false"] {
      #expect(throws: (any Error).self, "\(wrong)") { try build(sink, more: wrong) }
    }
  }

  @Test func clustersThatAreCalled() throws {
    let service = sink(
      "MetricsServiceConfig", "grpc_service: {envoy_grpc: {cluster_name: metrics}}, emit_tags_as_labels: true")
    let built = try build(service)
    #expect(built.mainClusters == ["metrics"])
    guard case .metricsService(let call, let options, let identifier)? = built.configuration?.kinds.first else {
      Issue.record("no metrics service")
      return
    }
    #expect(call.authority == "metrics" && call.metadata.map(\.name) == ["x-envoy-internal"])
    #expect(options.hasLabels && options.hasSummaries && options.hasHistograms && !options.countersAreDeltas)
    #expect(identifier == [0x0a, 8, 0x0a, 6, 0x0a, 1, 0x61, 0x12, 1, 0x62])
    #expect(
      try build(sink("StatsdSink", "tcp_cluster_name: metric")).problems == [
        "stats_sinks[0].typed_config.tcp_cluster_name: unknown cluster \"metric\" (did you mean \"metrics\"?)"
      ])
    #expect(
      try build(service, node: "{id: a}").problems == [
        "stats_sinks[0].typed_config: needs node.id and node.cluster (or --service-node and --service-cluster)"
      ])
  }

  @Test func metadata() throws {
    func service(_ value: String) -> String {
      sink(
        "MetricsServiceConfig",
        "grpc_service: {envoy_grpc: {cluster_name: metrics, skip_envoy_headers: true, authority: me}, "
          + "initial_metadata: [{key: X-Token, value: \"\(value)\"}]}")
    }
    guard case .metricsService(let call, _, _)? = try build(service("50%% off")).configuration?.kinds.first else {
      Issue.record("no metrics service")
      return
    }
    #expect(call.metadata.map { "\($0.name)=\($0.value)" } == ["x-token=50% off"])
    #expect(call.authority == "me")
    #expect(
      try build(service("%REQ(x)%")).problems == [
        "stats_sinks[0].typed_config.grpc_service.initial_metadata[0].value: must have no operators: "
          + "there is no request that they could look at"
      ])
  }

  @Test func addresses() throws {
    let socket = "address: {socket_address: {address: 127.0.0.1, port_value: 8125}}"
    guard
      case .datagrams(let address, let prefix, let hasTags, let limit)? = try build(
        sink("DogStatsdSink", "\(socket), prefix: p, max_bytes_per_datagram: 1400")
      ).configuration?.kinds.first
    else {
      Issue.record("no datagrams")
      return
    }
    #expect(address.description == "127.0.0.1:8125" && prefix == "p" && hasTags && limit == 1400)
    #expect(try build(sink("StatsdSink", "address: {pipe: {path: /tmp/x}}")).configuration?.kinds.count == 1)
    #expect(
      try build(sink("StatsdSink", "address: {socket_address: {address: localhost, port_value: 1}}")).problems == [
        "stats_sinks[0].typed_config.address.socket_address.address: must be an IP address to send datagrams to, "
          + "not \"localhost\""
      ])
    #expect(throws: (any Error).self) { try build(sink("StatsdSink", "prefix: a")) }
    #expect(throws: (any Error).self) { try build(sink("DogStatsdSink", "\(socket), max_bytes_per_datagram: 0")) }
  }

  @Test func otherThingsAreNoSinks() throws {
    #expect(throws: (any Error).self) {
      try build("{name: s, typed_config: {\"@type\": type.googleapis.com/envoy.config.core.v3.Node}}")
    }
    #expect(throws: (any Error).self) {
      try build(sink("HystrixSink", "num_buckets: 1"))
    }
  }
}
