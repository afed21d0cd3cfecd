import MeshConfig
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Limits as they are configured")
struct RateLimitConfigurationTests {
  private static let types = "type.googleapis.com/envoy.extensions.filters"
  private static let manager =
    "{name: m, typed_config: {\"@type\": "
    + "\(types).network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: m, route_config: {virtual_hosts: "
    + "[{name: v, domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: c}}]}]}, http_filters: [FILTER "
    + "{name: r, typed_config: {\"@type\": \(types).http.router.v3.Router}}]}}"

  /// What is wrong with a listener of these network filters.
  private func problems(_ filters: String) -> [String] {
    let yaml = """
      static_resources:
        listeners:
        - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
          filter_chains: [{filters: [\(filters)]}]
        clusters: [{name: c, type: STATIC}]
      """
    do {
      let bootstrap = try ConfigurationReader.readBootstrap(path: nil, yaml: yaml).bootstrap
      let identities = Identities(store: StatsStore(lanes: 2), accessLogFiles: AccessLogFiles(opensFiles: false))
      var builder = SnapshotBuilder(identities: identities)
      return builder.build(bootstrap) == nil ? builder.problems.map { "\($0.path): \($0.message)" } : []
    } catch { return error.problems.map(\.description) }
  }

  private func network(_ type: String, _ fields: String) -> String {
    "{name: n, typed_config: {\"@type\": \(Self.types).network.\(type), stat_prefix: n, \(fields)}}"
  }

  private func http(_ filter: String) -> [String] {
    problems(Self.manager.replacing("FILTER", with: filter + ","))
  }

  private static let plain = manager.replacing("FILTER", with: "")
  private let rate = "token_bucket: {max_tokens: 1, fill_interval: 1s}"

  @Test("filters that admit connections come before the one that serves")
  func order() {
    let limit = network("connection_limit.v3.ConnectionLimit", "max_connections: 1")
    let rate = network("local_ratelimit.v3.LocalRateLimit", rate)
    #expect(problems(Self.plain) == [])
    #expect(problems("\(limit), \(rate), \(limit), \(Self.plain)") == [])
    let chain = "static_resources.listeners[0].filter_chains[0]"
    #expect(problems(limit).first?.hasPrefix("\(chain).filters[0].typed_config: must hold ") == true)
    #expect(problems("\(Self.plain), \(limit)").contains { $0.contains("filters[1]") })
    #expect(
      problems("\(Self.plain), \(Self.plain)") == [
        "\(chain).filters[1]: nothing can follow a filter that ends the chain"
      ])
  }

  @Test("what is wrong with them is said with its place")
  func network() {
    let fast = network("local_ratelimit.v3.LocalRateLimit", "token_bucket: {max_tokens: 1, fill_interval: 0.049s}")
    #expect(
      problems("\(fast), \(Self.plain)") == [
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.token_bucket.fill_interval: "
          + "must be at least 0.05s"
      ])
    for (type, fields, part) in [
      ("connection_limit.v3.ConnectionLimit", "max_connections: 0", "max_connections"),
      ("connection_limit.v3.ConnectionLimit", "delay: 1s", "max_connections"),
      ("local_ratelimit.v3.LocalRateLimit", "share_key: a", "token_bucket"),
    ] {
      let found = problems("\(network(type, fields)), \(Self.plain)")
      #expect(found.count == 1 && found[0].contains(part), "\(found)")
    }
  }

  @Test("a rate limit service is one of a cluster that is there")
  func service() {
    func filter(_ service: String, _ fields: String = "") -> [String] {
      http(
        "{name: l, typed_config: {\"@type\": \(Self.types).http.ratelimit.v3.RateLimit, domain: d, "
          + "rate_limit_service: {grpc_service: {\(service)}}\(fields)}}")
    }
    #expect(filter("envoy_grpc: {cluster_name: c}") == [])
    #expect(
      filter("envoy_grpc: {cluster_name: d}").first?.hasSuffix(
        "rate_limit_service.grpc_service.envoy_grpc.cluster_name: unknown cluster \"d\"") == true)
    #expect(filter("").first?.contains("grpc_service") == true)
    let google = filter("google_grpc: {target_uri: a, stat_prefix: b}")
    #expect(google.first?.contains("Envoy has this field, but it is not supported yet") == true, "\(google)")
    #expect(
      filter("envoy_grpc: {cluster_name: c}", ", request_type: some").first?.hasSuffix(
        "request_type: must be internal, external or both") == true)
    #expect(filter("envoy_grpc: {cluster_name: c}", ", timeout: -1s").count == 1)
  }

  @Test("parts of the local filter that are not there are refused by their names")
  func missing() {
    let found = http(
      "{name: l, typed_config: {\"@type\": \(Self.types).http.local_ratelimit.v3.LocalRateLimit, stat_prefix: l, "
        + "local_cluster_rate_limit: {}}}")
    #expect(found.first?.contains("local_cluster_rate_limit: Envoy has this field") == true, "\(found)")
  }
}
