import MeshAPI
import MeshConfig
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Listeners and TCP proxies as they are configured")
struct ListenerConfigurationTests {
  private static let types = "type.googleapis.com/envoy.extensions"
  private static let tcp =
    "{name: tcp, typed_config: {\"@type\": \(types).filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: c}}"

  /// Problems of reading or of compiling, without the place of the one listener or cluster.
  private func problems(_ yaml: String) -> [String] {
    func short(_ text: String) -> String {
      var text = text.replacing("static_resources.", with: "").replacing("listeners[0].", with: "")
      if text.hasPrefix("--config-yaml:") { text = String(text.split(separator: " ", maxSplits: 1).last ?? "") }
      return text
    }
    do {
      let loaded = try ConfigurationReader.readBootstrap(path: nil, yaml: yaml)
      let identities = Identities(store: StatsStore(lanes: 1), accessLogFiles: AccessLogFiles(opensFiles: false))
      var builder = SnapshotBuilder(identities: identities)
      _ = builder.build(loaded.bootstrap)
      return builder.problems.map { short("\($0.path): \($0.message)") }
    } catch {
      return error.problems.map { short($0.description) }
    }
  }

  private func listener(_ fields: String) -> [String] {
    problems(
      "static_resources: {listeners: [{name: l, address: {socket_address: {address: 127.0.0.1, port_value: 1}}, \(fields)}]}"
    )
  }

  private func chains(_ matches: [String]) -> [String] {
    let chains = matches.map { "{filter_chain_match: {\($0)}, filters: [\(Self.tcp)]}" }
    return listener("filter_chains: [\(chains.joined(separator: ", "))]")
  }

  private func proxy(_ fields: String) -> [String] {
    listener(
      "filter_chains: [{filters: [{name: tcp, typed_config: {\"@type\": "
        + "\(Self.types).filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, \(fields)}}]}]")
  }

  @Test("Filter chains for the same connections are an error at the later one's place")
  func duplicates() {
    let conflict = "fits connections no less closely than that of filter_chains[0]: which is meant cannot be told"
    #expect(chains(["", ""]) == ["filter_chains[1].filter_chain_match: \(conflict)"])
    #expect(
      chains(["server_names: [a.test, b.test]", "server_names: [c.test, B.test]"])
        == ["filter_chains[1].filter_chain_match: \(conflict)"])
    #expect(chains(["server_names: [a.test]", "server_names: [\"*.test\"]", ""]) == [])
  }

  @Test("What a filter chain can be matched by, and what not")
  func matches() {
    for (name, quoted) in [("\"*\"", "*"), ("a.*.test", "a.*.test"), ("\"*a.test\"", "*a.test"), ("\"*.\"", "*.")] {
      #expect(
        chains(["server_names: [x, \(name)]"])
          == [
            "filter_chains[0].filter_chain_match.server_names[1]: \"\(quoted)\" is no name "
              + "(a name, or \"*.\" and a name for all below it)"
          ])
    }
    #expect(chains(["prefix_ranges: [{address_prefix: a}]"]).first?.contains("prefix_ranges[0].address_prefix") == true)
    #expect(chains(["destination_port: 0"]).count == 1)
    #expect(chains(["source_ports: [65536]"]).count == 1)
    #expect(chains(["address_suffix: a"]).first?.contains("not supported yet") == true)
  }

  @Test("A listener without a filter chain is an error, one with only the default chain is none")
  func defaultChain() {
    #expect(listener("") == ["listeners[0]: has no filter chain (filter_chains, default_filter_chain)"])
    #expect(listener("default_filter_chain: {filters: [\(Self.tcp)]}") == [])
    #expect(listener("filter_chains: [{filters: []}]").count == 1)
  }

  @Test("A TCP proxy needs a cluster, and the other fields of Envoy are refused by their names")
  func tcpProxy() {
    #expect(proxy("idle_timeout: 1s").first?.contains("cluster") == true)
    #expect(proxy("cluster: nobody") == [])
    #expect(proxy("weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 2}]}") == [])
    for field in [
      "metadata_match: {}", "tunneling_config: {hostname: a}", "downstream_idle_timeout: 1s",
      "upstream_connect_mode: IMMEDIATE", "proxy_protocol_tlvs: []", "on_demand: {}",
    ] {
      #expect(proxy("cluster: c, \(field)").first?.contains("it is not supported yet") == true, "\(field)")
    }
    #expect(
      proxy("cluster: c, access_log_flush_interval: 1s, access_log_options: {}").contains {
        $0.hasSuffix("access_log_flush_interval: must not be combined with access_log_options")
      })
    for type in [
      "rbac.v3.RBAC", "ratelimit.v3.RateLimit", "redis_proxy.v3.RedisProxy",
      "sni_cluster.v3.SniCluster",
    ] {
      let found = listener(
        "filter_chains: [{filters: [{name: f, typed_config: {\"@type\": \(Self.types).filters.network.\(type)}}]}]")
      #expect(found.first?.contains("not supported yet") == true, "\(found)")
    }
  }

  @Test("Listener filters")
  func listenerFilters() {
    func filter(_ type: String, _ fields: String = "", _ more: String = "") -> [String] {
      listener(
        "filter_chains: [{filters: [\(Self.tcp)]}], listener_filters: [{name: f, typed_config: {\"@type\": "
          + "\(Self.types).filters.listener.\(type)\(fields.isEmpty ? "" : ", ")\(fields)}\(more)}]")
    }
    let proxyProtocol = "proxy_protocol.v3.ProxyProtocol"
    #expect(filter("tls_inspector.v3.TlsInspector", "max_client_hello_size: 256") == [])
    #expect(filter("tls_inspector.v3.TlsInspector", "max_client_hello_size: 16385").count == 1)
    for field in ["enable_ja3_fingerprinting: true", "enable_ja4_fingerprinting: true"] {
      #expect(filter("tls_inspector.v3.TlsInspector", field).first?.contains("not supported yet") == true)
    }
    #expect(filter(proxyProtocol, "rules: [{tlv_type: 255, on_tlv_present: {key: a}}]") == [])
    #expect(filter(proxyProtocol, "rules: [{tlv_type: 256, on_tlv_present: {key: a}}]").count == 1)
    #expect(
      filter(proxyProtocol, "disallowed_versions: [V1, V2]")
        == ["listener_filters[0].typed_config.disallowed_versions: leaves no version that is allowed"])
    #expect(filter("original_src.v3.OriginalSrc").first?.contains("not supported yet") == true)
    let ports = ", filter_disabled: {not_match: {destination_port_range: {start: 1, end: 2}}}"
    #expect(filter("original_dst.v3.OriginalDst", "", ports) == [])
  }

  @Test("Clusters of type ORIGINAL_DST, and those that tell who the client is")
  func clusters() {
    func cluster(_ fields: String) -> [String] { problems("static_resources: {clusters: [{name: c, \(fields)}]}") }
    #expect(cluster("type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, cleanup_interval: 1s") == [])
    #expect(cluster("type: ORIGINAL_DST").first?.contains("must be CLUSTER_PROVIDED") == true)
    #expect(
      cluster("lb_policy: CLUSTER_PROVIDED")
        == ["clusters[0].lb_policy: CLUSTER_PROVIDED is for clusters of type ORIGINAL_DST and for aggregate clusters"])
    #expect(
      cluster(
        "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: {upstream_port_override: 65536}"
      )
      .count == 1)
    func header(_ config: String) -> [String] {
      cluster(
        "transport_socket: {name: p, typed_config: {\"@type\": "
          + "\(Self.types).transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport, \(config) "
          + "transport_socket: {name: r, typed_config: {\"@type\": \(Self.types).transport_sockets.raw_buffer.v3.RawBuffer}}}}"
      )
    }
    #expect(header("config: {version: V2, added_tlvs: [{type: 224, value: YWJj}]},") == [])
    #expect(
      header("config: {added_tlvs: [{type: 224, value: YWJj}]},").first?.contains("version 1 has no typed values")
        == true)
  }

  @Test("A listener filter leaves connections alone by their port")
  func conditions() throws {
    let facts = ConnectionFacts(
      destination: try #require(SocketAddress("10.0.0.1:80")), source: try #require(SocketAddress("10.0.0.2:1")))
    let port = ListenerFilterCondition.destinationPort(from: 80, to: 81)
    #expect(port.holds(facts))
    #expect(!ListenerFilterCondition.not(port).holds(facts))
    #expect(!ListenerFilterCondition.destinationPort(from: 79, to: 80).holds(facts))
    #expect(!ListenerFilterCondition.destinationPort(from: 81, to: 80).holds(facts))
    #expect(ListenerFilterCondition.any([.not(.always), port]).holds(facts))
    #expect(!ListenerFilterCondition.all([.always, .not(port)]).holds(facts))
  }
}
