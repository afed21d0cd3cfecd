import MeshAPI
import Testing

@testable import MeshConfig

/// Parts of Envoy that are not there yet are refused by name and place, as often as they occur, and nothing else is said
/// of them: what is within them is not looked at.
@Suite struct MissingPartTests {
  /// Every problem, without the list of what is supported instead.
  private func missing(_ yaml: String) -> [String] {
    problems(Bootstrap.self, yaml).map { line in
      line.firstRange(of: " (supported").map { String(line[..<$0.lowerBound]) } ?? line
    }
  }

  /// `frontProxy` with HTTP filters before the router.
  private func filtered(_ filter: String) -> String {
    frontProxy.replacing(line: "http_filters:", with: "http_filters:\n" + filter)
  }

  @Test func bandwidthLimit() {
    let filter = """
      - name: envoy.filters.http.bandwidth_limit
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit
          stat_prefix: limited
          limit_kbps: 500
      """
    #expect(
      missing(filtered(filter)) == [
        "x.yaml:28:24: \(managerPath).http_filters[0].typed_config.@type: Envoy has "
          + "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit, but it is not supported yet"
      ])
  }

  @Test func accessControl() {
    let filter = """
      - name: envoy.filters.http.rbac
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
          rules: {action: DENY, policies: {all: {permissions: [{any: true}], principals: [{any: true}]}}}
      """
    #expect(
      missing(filtered(filter)) == [
        "x.yaml:28:24: \(managerPath).http_filters[0].typed_config.@type: Envoy has "
          + "envoy.extensions.filters.http.rbac.v3.RBAC, but it is not supported yet"
      ])
  }

  @Test func transportSecurity() {
    let socket = """
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          common_tls_context: {key_log: {path: keys}, tls_certificate_provider_instance: {instance_name: a}}
          allow_renegotiation: true
      """
    let path = "static_resources.clusters[0].transport_socket.typed_config"
    #expect(
      missing(frontProxy.replacing(line: "lb_policy: ROUND_ROBIN", with: "lb_policy: ROUND_ROBIN\n" + socket))
        == [
          "x.yaml:37:30: \(path).common_tls_context.key_log",
          "x.yaml:37:53: \(path).common_tls_context.tls_certificate_provider_instance",
          "x.yaml:38:9: \(path).allow_renegotiation",
        ].map { "\($0): Envoy has this field, but it is not supported yet" })
  }

  @Test func proxyStatusAndEarlyMutations() {
    let manager = """
      codec_type: AUTO
      proxy_status_config: {}
      early_header_mutation_extensions: [{name: x}]
      """
    #expect(
      missing(frontProxy.replacing(line: "codec_type: AUTO", with: manager)) == [
        "x.yaml:13:11: \(managerPath).proxy_status_config: Envoy has this field, but it is not supported yet",
        "x.yaml:14:11: \(managerPath).early_header_mutation_extensions: Envoy has this field, but it is not supported yet",
      ])
  }

  @Test func otherSourcesOfConfiguration() {
    #expect(
      missing("dynamic_resources: {cds_config: {path_config_source: {path: cds.yaml}}}\n" + frontProxy) == [
        "x.yaml:1:1: dynamic_resources: Envoy has this field, but it is not supported yet"
      ])
  }
}
