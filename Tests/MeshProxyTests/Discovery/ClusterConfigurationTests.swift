import MeshAPI
import MeshConfig
import MeshIO
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Clusters and addresses as they are configured")
struct ClusterConfigurationTests {
  private struct Built {
    var snapshot: ConfigurationSnapshot?
    var problems: [String]
    var warnings: [String]
  }

  /// Reads and compiles a bootstrap; problems of either step, without `static_resources.`.
  private func build(_ yaml: String) -> Built {
    do {
      let loaded = try ConfigurationReader.readBootstrap(path: nil, yaml: yaml)
      let identities = Identities(store: StatsStore(lanes: 1), accessLogFiles: AccessLogFiles(opensFiles: false))
      var builder = SnapshotBuilder(identities: identities)
      let snapshot = builder.build(loaded.bootstrap)
      return Built(
        snapshot: snapshot, problems: builder.problems.map { Self.short("\($0.path): \($0.message)") },
        warnings: loaded.warnings.map { Self.short($0.description) })
    } catch {
      return Built(snapshot: nil, problems: error.problems.map { Self.short($0.description) }, warnings: [])
    }
  }

  private static func short(_ text: String) -> String {
    var text = text.replacing("static_resources.", with: "")
    // The place in the text.
    if text.hasPrefix("--config-yaml:") { text = String(text.split(separator: " ", maxSplits: 1).last ?? "") }
    return text
  }

  private func cluster(_ fields: String, endpoint: String = "127.0.0.1", bootstrap: String = "") -> Built {
    build(
      "{\(bootstrap) static_resources: {clusters: [{name: c, \(fields) load_assignment: {cluster_name: c, endpoints: "
        + "[{lb_endpoints: [{endpoint: {address: {socket_address: {address: \"\(endpoint)\", port_value: 1}}}}]}]}}]}}")
  }

  private func configuration(_ built: Built) throws -> ClusterConfiguration {
    #expect(built.problems.isEmpty)
    return try #require(built.snapshot?.clusters.first?.configuration)
  }

  private let cares =
    "\"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"

  // MARK: Names

  @Test("a LOGICAL_DNS cluster has exactly one endpoint, and it is no Unix socket")
  func logicalDNS() throws {
    let problem = "clusters[0].load_assignment: a LOGICAL_DNS cluster must have exactly one endpoint"
    #expect(build("static_resources: {clusters: [{name: c, type: LOGICAL_DNS}]}").problems == [problem])
    let two = "{endpoint: {address: {socket_address: {address: a.test, port_value: 1}}}}"
    #expect(
      build(
        "static_resources: {clusters: [{name: c, type: LOGICAL_DNS, load_assignment: {cluster_name: c, endpoints: "
          + "[{lb_endpoints: [\(two), \(two)]}]}}]}"
      ).problems == [problem])
    #expect(
      build(
        "static_resources: {clusters: [{name: c, type: LOGICAL_DNS, load_assignment: {cluster_name: c, endpoints: "
          + "[{lb_endpoints: [{endpoint: {address: {pipe: {path: /x}}}}]}]}}]}"
      ).problems == [
        "clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe: "
          + "a LOGICAL_DNS cluster needs a name to resolve, not a Unix socket"
      ])
    let good = try configuration(cluster("type: LOGICAL_DNS,", endpoint: "a.test"))
    #expect(good.discovery == .logicalDNS && good.names == ["a.test"])
  }

  @Test("times of DNS, and their defaults")
  func dnsTimes() throws {
    let plain = try configuration(cluster("type: STRICT_DNS,", endpoint: "a.test")).dns
    #expect(plain == DNSSettings())
    #expect(plain.refreshRate == .seconds(5) && plain.failure == nil)
    let all = try configuration(
      cluster(
        "type: STRICT_DNS, dns_refresh_rate: 2s, dns_jitter: 0.5s, respect_dns_ttl: true, dns_lookup_family: ALL, "
          + "dns_failure_refresh_rate: {base_interval: 0.3s},", endpoint: "a.test")
    ).dns
    #expect(all.refreshRate == .seconds(2) && all.jitter == .milliseconds(500) && all.respectsTimeToLive)
    #expect(all.family == .all)
    #expect(all.failure == .init(base: .milliseconds(300), maximum: .seconds(3)))
    #expect(
      cluster("dns_failure_refresh_rate: {base_interval: 5s, max_interval: 1s},").problems == [
        "clusters[0].dns_failure_refresh_rate.max_interval: must not be less than base_interval"
      ])
  }

  @Test("resolvers: the cluster's, else the deprecated fields', else the bootstrap's")
  func resolvers() throws {
    let resolver =
      "{name: r, typed_config: {\(cares), resolvers: [{socket_address: {address: 127.0.0.1, port_value: 0}}]"
    let shared = "typed_dns_resolver_config: \(resolver), query_tries: 9}},"
    let own =
      "typed_dns_resolver_config: \(resolver), query_timeout_seconds: 7, rotate_nameservers: true, "
      + "use_resolvers_as_fallback: true, dns_resolver_options: {use_tcp_for_dns_lookups: true, "
      + "no_default_search_domain: true}}},"
    let first = try configuration(cluster(own, bootstrap: shared)).dns.resolver
    #expect(first.servers == [SocketAddress("127.0.0.1:53")])
    #expect(first.timeout == .seconds(7) && first.tries == 3)
    #expect(first.rotates && first.serversAreFallback && first.usesTCP && first.ignoresSearchDomains)
    #expect(try configuration(cluster("", bootstrap: shared)).dns.resolver.tries == 9)
    let old = "dns_resolvers: [{socket_address: {address: \"::1\", port_value: 54}}], use_tcp_for_dns_lookups: true,"
    let second = try configuration(cluster(old, bootstrap: shared)).dns.resolver
    #expect(second.servers == [SocketAddress("[::1]:54")] && second.usesTCP && second.tries == 3)
    #expect(
      cluster(old).warnings.first
        == "clusters[0].dns_resolvers: is deprecated (use typed_dns_resolver_config)")
    let older = "dns_resolution_config: {resolvers: [{socket_address: {address: 127.0.0.2, port_value: 5}}]},"
    #expect(try configuration(cluster(older)).dns.resolver.servers == [SocketAddress("127.0.0.2:5")])
    #expect(
      cluster("dns_resolvers: [{pipe: {path: /x}}, {socket_address: {address: ns.test, port_value: 1}}],").problems == [
        "clusters[0].dns_resolvers[0]: a name server must be an IP address (socket_address)",
        "clusters[0].dns_resolvers[1].socket_address.address: must be an IP address of a name server, not \"ns.test\"",
      ])
  }

  @Test("a cluster of names as an extension; the cluster's own fields do not count then")
  func dnsCluster() throws {
    func custom(_ fields: String) -> String {
      "cluster_type: {name: envoy.cluster.dns, typed_config: {\"@type\": "
        + "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, \(fields)}}, dns_lookup_family: V6_ONLY,"
    }
    let strict = try configuration(
      cluster(
        custom(
          "dns_refresh_rate: 2s, dns_jitter: 1s, respect_dns_ttl: true, dns_failure_refresh_rate: {base_interval: 1s}"),
        endpoint: "a.test"))
    #expect(strict.discovery == .strictDNS && strict.names == ["a.test"])
    #expect(strict.dns.refreshRate == .seconds(2) && strict.dns.jitter == .seconds(1) && strict.dns.respectsTimeToLive)
    #expect(strict.dns.failure == .init(base: .seconds(1), maximum: .seconds(10)) && strict.dns.family == .auto)
    let logical = try configuration(
      cluster(
        custom(
          "all_addresses_in_single_endpoint: true, dns_lookup_family: ALL, typed_dns_resolver_config: {name: r, "
            + "typed_config: {\(cares), query_tries: 7}}"), endpoint: "a.test"))
    #expect(logical.discovery == .logicalDNS && logical.dns.family == .all && logical.dns.resolver.tries == 7)
    #expect(
      cluster("type: STRICT_DNS, \(custom(""))").problems.first?.contains("two members of oneof") == true)
  }

  // MARK: Balancing

  @Test("what is wrong with a load balancing policy")
  func balancing() {
    let type = "type.googleapis.com/envoy.extensions.load_balancing_policies"
    #expect(
      cluster("lb_policy: LOAD_BALANCING_POLICY_CONFIG,").problems == [
        "clusters[0].lb_policy: LOAD_BALANCING_POLICY_CONFIG needs the field load_balancing_policy"
      ])
    let none = cluster(
      "load_balancing_policy: {policies: [{typed_extension_config: {name: m, typed_config: "
        + "{\"@type\": \(type).pick_first.v3.PickFirst}}}]},")
    #expect(none.problems.count == 1)
    #expect(
      none.problems.first?.hasPrefix("clusters[0].load_balancing_policy.policies: needs a policy that is") == true)
    #expect(
      none.warnings == [
        "clusters[0].load_balancing_policy.policies[0].typed_extension_config.typed_config.@type: "
          + "envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst is not supported yet: the next one is used"
      ])
    #expect(
      cluster(
        "lb_policy: LEAST_REQUEST, least_request_lb_config: {active_request_bias: {default_value: -1, runtime_key: k}},"
      ).problems == [
        "clusters[0].least_request_lb_config.active_request_bias.default_value: must be 0 or more, not -1.0"
      ])
    #expect(
      cluster("lb_policy: LEAST_REQUEST, least_request_lb_config: {choice_count: 1},").problems == [
        "clusters[0].least_request_lb_config.choice_count: must be at least 2, not 1"
      ])
    #expect(
      cluster("least_request_lb_config: {choice_count: 3},").warnings == [
        "clusters[0].least_request_lb_config: has no effect without lb_policy: LEAST_REQUEST"
      ])
    #expect(
      cluster("preconnect_policy: {per_upstream_preconnect_ratio: 3.5},").problems == [
        "clusters[0].preconnect_policy.per_upstream_preconnect_ratio: must be 1 to 3, not 3.5"
      ])
  }

  @Test("limits of both priorities; of several for one the first holds")
  func limits() throws {
    let built = cluster(
      "circuit_breakers: {thresholds: [{max_requests: 3, max_retries: 7}, {priority: HIGH, max_connections: 9, "
        + "track_remaining: true, max_connection_pools: 2}, {max_requests: 5}]},")
    let limits = try configuration(built).limits
    #expect(limits.normal.requests == 3 && limits.normal.retries == 7 && limits.normal.pools == .max)
    #expect(limits.high.connections == 9 && limits.high.pools == 2 && limits.high.tracksRemaining)
    #expect(limits.high.requests == 1024 && limits.high.retries == 3)
    #expect(built.warnings.count == 1)
  }

  // MARK: Endpoints

  @Test("endpoints keep their health, metadata and Unix sockets")
  func endpoints() throws {
    let address = "address: {socket_address: {address: 127.0.0.1, port_value: 1}}"
    let built = build(
      """
      static_resources: {clusters: [{name: c, metadata: {filter_metadata: {a: {b: 1}}}, load_assignment: {cluster_name: c,
        endpoints: [{metadata: {filter_metadata: {zone: {x: y}}}, lb_endpoints: [
          {health_status: DEGRADED, metadata: {filter_metadata: {envoy.lb: {canary: true}}}, endpoint: {\(address)}},
          {health_status: DRAINING, endpoint: {address: {pipe: {path: "@abstract"}}}}]}]}}]}
      """)
    let configuration = try configuration(built)
    let identities = Identities(store: StatsStore(lanes: 1), accessLogFiles: AccessLogFiles(opensFiles: false))
    let endpoints = configuration.resolved([:], identities)
    #expect(endpoints.map(\.health) == [.degraded, .draining])
    #expect(endpoints.map(\.health.receivesRequests) == [true, false])
    #expect(endpoints.map(\.endpoint.isCanary) == [true, false])
    #expect(endpoints[1].endpoint.address == SocketAddress(unixPath: "@abstract"))
    #expect(endpoints[1].endpoint.localityMetadata?.filterMetadata["zone"]?.fields["x"]?.stringValue == "y")
    #expect(configuration.metadata?.filterMetadata["a"]?.fields["b"]?.numberValue == 1)
    // The same again, and the same statistics where something else has changed.
    #expect(configuration.resolved([:], identities) == endpoints)
    let changed = identities.endpoint(
      endpoints[0].endpoint.address, hostname: "", cluster: "c", metadata: Metadata())
    #expect(changed !== endpoints[0].endpoint && changed.stats === endpoints[0].endpoint.stats)
  }

  @Test(
    "what is wrong with how endpoints are chosen",
    arguments: [
      (
        "lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 9, maximum_ring_size: 8},",
        "clusters[0].ring_hash_lb_config.minimum_ring_size: 9 is more than maximum_ring_size (8)"
      ),
      (
        "lb_policy: MAGLEV, maglev_lb_config: {table_size: 1001},",
        "clusters[0].maglev_lb_config.table_size: must be a prime, not 1001"
      ),
      (
        "lb_policy: MAGLEV, maglev_lb_config: {table_size: 5000081},",
        "clusters[0].maglev_lb_config.table_size: must be at most 5000011, not 5000081"
      ),
      (
        "lb_policy: CLUSTER_PROVIDED,",
        "clusters[0].lb_policy: CLUSTER_PROVIDED is for clusters of type ORIGINAL_DST and for aggregate clusters"
      ),
      (
        "lb_policy: MAGLEV, common_lb_config: {consistent_hashing_lb_config: {use_hostname_for_hashing: true}},",
        "clusters[0]: use_hostname_for_hashing is for clusters of names (STRICT_DNS, LOGICAL_DNS)"
      ),
      (
        "round_robin_lb_config: {slow_start_config: {slow_start_window: 1s, aggression: "
          + "{default_value: 0, runtime_key: a}}},",
        "clusters[0].round_robin_lb_config.slow_start_config.aggression.default_value: must be more than 0, not 0.0"
      ),
    ])
  func balancingMistakes(_ fields: String, _ problem: String) {
    #expect(cluster(fields).problems == [problem])
  }

  @Test(
    "settings of balancing without effect are warned of",
    arguments: [
      (
        "lb_policy: RANDOM, ring_hash_lb_config: {},", "ring_hash_lb_config: has no effect without lb_policy: RING_HASH"
      ),
      ("lb_policy: RING_HASH, maglev_lb_config: {},", "maglev_lb_config: has no effect without lb_policy: MAGLEV"),
      (
        "lb_policy: RANDOM, round_robin_lb_config: {},",
        "round_robin_lb_config: has no effect without lb_policy: ROUND_ROBIN"
      ),
      (
        "common_lb_config: {consistent_hashing_lb_config: {}},",
        "common_lb_config.consistent_hashing_lb_config: has no effect without lb_policy: RING_HASH or MAGLEV"
      ),
    ])
  func balancingWithoutEffect(_ fields: String, _ warning: String) {
    let found = cluster(fields)
    #expect(found.problems == [])
    #expect(found.warnings == ["clusters[0].\(warning)"])
  }

  @Test("what is wrong with shares of requests that are refused")
  func dropOverload() {
    func problems(_ drops: String) -> [String] {
      build(
        "static_resources: {clusters: [{name: c, load_assignment: {cluster_name: c, policy: {drop_overloads: \(drops)}}}]}"
      ).problems
    }
    #expect(problems("[{category: a, drop_percentage: {numerator: 100}}]") == [])
    #expect(
      problems("[{category: a, drop_percentage: {numerator: 101}}]") == [
        "clusters[0].load_assignment.policy.drop_overloads[0].drop_percentage: must be at most all, not 101 of 100"
      ])
    #expect(problems("[{category: a}, {category: b}]").first?.contains("has 2 items") == true)
  }

  // MARK: Sources

  @Test("what is wrong with source addresses")
  func sources() throws {
    func bind(_ fields: String) -> [String] { cluster("upstream_bind_config: {\(fields)},").problems }
    let at = "clusters[0].upstream_bind_config"
    #expect(
      bind("source_address: {address: localhost, port_value: 0}") == [
        "\(at).source_address.address: must be an IP address to bind connections to, not \"localhost\""
      ])
    let extra = "extra_source_addresses: [{address: {address: 127.0.0.2, port_value: 0}}]"
    #expect(
      bind(extra) == [
        "\(at).extra_source_addresses: needs source_address, for the endpoints of the other IP version"
      ])
    #expect(
      bind("source_address: {address: 127.0.0.1, port_value: 0}, \(extra)") == [
        "\(at).extra_source_addresses[0].address: there is an address of this IP version already "
          + "(one for each can be used)"
      ])
    #expect(
      bind("socket_options: [{level: 1, name: 2, int_value: 4294967296}]") == [
        "\(at).socket_options[0].int_value: must be a number of 32 bits, not 4294967296"
      ])
    #expect(
      bind("socket_options: [{level: 1, name: 2}]") == [
        "\(at).socket_options[0]: needs one of int_value, buf_value"
      ])
  }

  @Test("the bootstrap's source address holds for clusters without one; a change of it changes them")
  func sharedSource() throws {
    func shared(_ last: Int) -> String {
      "cluster_manager: {upstream_bind_config: {source_address: {address: 127.0.0.\(last), port_value: 0}}},"
    }
    let one = try configuration(cluster("", bootstrap: shared(7)))
    #expect(one.pool.sources.map(\.address) == [SocketAddress("127.0.0.7:0")])
    let two = try configuration(cluster("", bootstrap: shared(8)))
    #expect(one.fingerprint != two.fingerprint)
    let own = try configuration(
      cluster("upstream_bind_config: {freebind: true},", bootstrap: shared(7)))
    #expect(own.pool.sources.isEmpty && own.pool.options.freeBind)
  }

  // MARK: Listeners

  private func listener(_ fields: String, admin: String = "") -> Built {
    let manager =
      "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    let router =
      "{name: r, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"
    return build(
      """
      {\(admin) static_resources: {listeners: [{name: l, \(fields), filter_chains: [{filters: [{name: m, typed_config: {
        "@type": \(manager), stat_prefix: x, route_config: {name: r}, http_filters: [\(router)]}}]}]}]}}
      """)
  }

  @Test("a listener's addresses and their options")
  func listenAddresses() throws {
    let built = listener(
      "address: {socket_address: {address: \"::\", port_value: 80, ipv4_compat: true}}, tcp_backlog_size: 9, "
        + "freebind: true, tcp_fast_open_queue_length: 5, enable_reuse_port: false, "
        + "max_connections_to_accept_per_socket_event: 3, "
        + "socket_options: [{level: 6, name: 18, int_value: 100, state: STATE_LISTENING}], additional_addresses: ["
        + "{address: {pipe: {path: /run/x, mode: 384}}, socket_options: {socket_options: []}}, "
        + "{address: {socket_address: {address: 127.0.0.1, port_value: 81}}}]")
    #expect(built.problems.isEmpty)
    let configuration = try #require(built.snapshot?.listeners.first?.configuration)
    #expect(configuration.addresses.map(\.address.description) == ["[::]:80", "/run/x", "127.0.0.1:81"])
    #expect(configuration.acceptsPerEvent == 3)
    let first = configuration.addresses[0].options
    #expect(first.acceptsV4 && first.freeBind && first.sharesQueue && first.backlog == 9 && first.fastOpenQueue == 5)
    #expect(first.raw == [RawSocketOption(level: 6, name: 18, value: 100, state: .listening)])
    #expect(configuration.addresses[1].options.mode == 384 && configuration.addresses[1].options.raw.isEmpty)
    #expect(configuration.addresses[2].options.raw == first.raw && !configuration.addresses[2].options.acceptsV4)
  }

  @Test("what is wrong with a listener's addresses")
  func wrongListenAddresses() {
    let at = "listeners[0].address"
    #expect(
      listener("address: {pipe: {path: \"@a\", mode: 384}}").problems == [
        "\(at).pipe.mode: an abstract socket has no permissions"
      ])
    #expect(
      listener("address: {pipe: {path: \"/\(String(repeating: "x", count: 107))\"}}").problems == [
        "\(at).pipe.path: must have 1 to 107 bytes, without zero bytes, not 108"
      ])
    #expect(
      listener("address: {socket_address: {address: 127.0.0.1, port_value: 0, ipv4_compat: true}}").problems == [
        "\(at).socket_address.ipv4_compat: is for the address \"::\""
      ])
    #expect(
      listener("address: {pipe: {path: /a}}, additional_addresses: [{address: {pipe: {path: /a}}}]").problems == [
        "listeners[0].additional_addresses[0].address: listener 0 listens on /a already"
      ])
    #expect(
      listener("address: {pipe: {path: /a}}", admin: "admin: {address: {pipe: {path: /a}}},").problems == [
        "\(at): the admin interface listens on /a already"
      ])
  }
}
