import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives

extension SnapshotBuilder {
  mutating func endpoints(
    _ cluster: Cluster, _ discovery: ClusterConfiguration.Discovery, _ path: String
  ) -> [ClusterConfiguration.ConfiguredEndpoint] {
    let groups = cluster.loadAssignment.endpoints
    if discovery == .logicalDNS, groups.count != 1 || groups[0].lbEndpoints.count != 1 {
      report("\(path).load_assignment", "a LOGICAL_DNS cluster must have exactly one endpoint")
    }
    var result: [ClusterConfiguration.ConfiguredEndpoint] = []
    for (group, locality) in groups.enumerated() {
      let groupPath = "\(path).load_assignment.endpoints[\(group)]"
      let place = WeightedEndpoint.Locality(
        region: locality.locality.region, zone: locality.locality.zone, subZone: locality.locality.subZone)
      for (index, entry) in locality.lbEndpoints.enumerated() {
        let endpointPath = "\(groupPath).lb_endpoints[\(index)].endpoint.address"
        guard let target = target(entry.endpoint.address, discovery, endpointPath) else { continue }
        result.append(
          .init(
            target: target, hostname: entry.endpoint.hostname,
            weight: entry.hasLoadBalancingWeight ? max(1, entry.loadBalancingWeight.value) : 1,
            health: EndpointHealth(entry.healthStatus), locality: place, priority: locality.priority,
            // As in Envoy, a locality without a name has no weight.
            localityWeight: locality.hasLocality ? locality.loadBalancingWeight.value : 0,
            metadata: entry.hasMetadata ? entry.metadata : nil,
            localityMetadata: locality.hasMetadata ? locality.metadata : nil,
            check: endpointCheck(
              entry.endpoint.healthCheckConfig, "\(groupPath).lb_endpoints[\(index)].endpoint.health_check_config")))
      }
    }
    return result
  }

  private mutating func target(
    _ address: Address, _ discovery: ClusterConfiguration.Discovery, _ path: String
  ) -> ClusterConfiguration.ConfiguredEndpoint.Target? {
    guard case .socketAddress(let socket) = address.address else {
      guard case .pipe(let pipe) = address.address else {
        report(path, "is required (socket_address or pipe)")
        return nil
      }
      if discovery == .logicalDNS {
        report("\(path).pipe", "a LOGICAL_DNS cluster needs a name to resolve, not a Unix socket")
      }
      if pipe.mode != 0 { report("\(path).pipe.mode", "is for sockets that are listened on") }
      return unixAddress(pipe, "\(path).pipe").map { .address($0) }
    }
    if socket.ipv4Compat { report("\(path).socket_address.ipv4_compat", "is for addresses that are listened on") }
    let port = UInt16(truncatingIfNeeded: socket.portValue)
    if let literal = IPAddress(socket.address) { return .address(SocketAddress(literal, port: port)) }
    if discovery == .staticAddresses {
      report(
        "\(path).socket_address.address",
        "\"\(socket.address)\" is no IP address, and the cluster's type is STATIC (STRICT_DNS resolves names)")
    }
    return .name(socket.address, port: port)
  }

  // MARK: DNS

  /// How a cluster's endpoints are found, and how its names are resolved.
  mutating func discovery(
    _ cluster: Cluster, _ path: String, _ defaults: ClusterDefaults
  ) -> (ClusterConfiguration.Discovery, DNSSettings) {
    guard case .clusterType(let custom) = cluster.clusterDiscoveryType else {
      let dns = dns(cluster, path, defaults)
      switch cluster.type {
      case .strictDns: return (.strictDNS, dns)
      case .logicalDns: return (.logicalDNS, dns)
      case .originalDst: return (.originalDestination(originalDestination(cluster, path)), dns)
      default: return (.staticAddresses, dns)
      }
    }
    if let config: AggregateClusterConfig = try? custom.typedConfig.unpack() {
      return (.aggregate(aggregateClusters(config, of: cluster, path)), DNSSettings())
    }
    guard let config: DnsCluster = try? custom.typedConfig.unpack() else {
      report(
        "\(path).cluster_type.typed_config",
        "must hold \(DnsCluster.protoMessageName) or \(AggregateClusterConfig.protoMessageName)")
      return (.staticAddresses, DNSSettings())
    }
    let dns = dns(config, "\(path).cluster_type.typed_config", defaults)
    return (config.allAddressesInSingleEndpoint ? .logicalDNS : .strictDNS, dns)
  }

  private mutating func originalDestination(_ cluster: Cluster, _ path: String) -> OriginalDestinationSettings {
    var settings = OriginalDestinationSettings()
    let config = cluster.originalDstLbConfig
    if config.useHTTPHeader {
      settings.header = HeaderName(config.httpHeaderName.isEmpty ? "x-envoy-original-dst-host" : config.httpHeaderName)
    }
    if config.hasUpstreamPortOverride {
      if let port = UInt16(exactly: config.upstreamPortOverride.value) {
        settings.port = port
      } else {
        report("\(path).original_dst_lb_config.upstream_port_override", "must be at most 65535")
      }
    }
    if cluster.hasCleanupInterval { settings.cleanupInterval = Nanoseconds(cluster.cleanupInterval) }
    if cluster.lbPolicy != .clusterProvided || cluster.hasLoadBalancingPolicy {
      report("\(path).lb_policy", "must be CLUSTER_PROVIDED for a cluster of type ORIGINAL_DST")
    }
    if cluster.hasLoadAssignment {
      report("\(path).load_assignment", "a cluster of type ORIGINAL_DST has no endpoints of its own")
    }
    return settings
  }

  /// The extension's settings; the cluster's own fields do not count then, as in Envoy.
  private mutating func dns(_ config: DnsCluster, _ path: String, _ defaults: ClusterDefaults) -> DNSSettings {
    var dns = DNSSettings()
    dns.family = LookupFamily(config.dnsLookupFamily)
    if config.hasDnsRefreshRate { dns.refreshRate = Nanoseconds(config.dnsRefreshRate) }
    if config.hasDnsJitter { dns.jitter = Nanoseconds(config.dnsJitter) }
    dns.respectsTimeToLive = config.respectDnsTtl
    if config.hasDnsFailureRefreshRate {
      let rate = config.dnsFailureRefreshRate
      dns.failure = backoff(rate.baseInterval, rate.hasMaxInterval ? rate.maxInterval : nil, path)
    }
    if config.hasTypedDnsResolverConfig {
      dns.resolver = resolver(config.typedDnsResolverConfig, "\(path).typed_dns_resolver_config")
    } else if let shared = defaults.resolver {
      dns.resolver = resolver(shared, "typed_dns_resolver_config")
    }
    return dns
  }

  private mutating func dns(_ cluster: Cluster, _ path: String, _ defaults: ClusterDefaults) -> DNSSettings {
    var dns = DNSSettings()
    dns.family = LookupFamily(cluster.dnsLookupFamily)
    if cluster.hasDnsRefreshRate { dns.refreshRate = Nanoseconds(cluster.dnsRefreshRate) }
    if cluster.hasDnsJitter { dns.jitter = Nanoseconds(cluster.dnsJitter) }
    dns.respectsTimeToLive = cluster.respectDnsTtl
    if cluster.hasDnsFailureRefreshRate {
      let rate = cluster.dnsFailureRefreshRate
      dns.failure = backoff(rate.baseInterval, rate.hasMaxInterval ? rate.maxInterval : nil, path)
    }
    dns.resolver = resolver(cluster, path, defaults)
    return dns
  }

  private mutating func backoff(
    _ base: DurationValue, _ maximum: DurationValue?, _ path: String
  ) -> DNSSettings.Backoff {
    let base = Nanoseconds(base)
    let maximum = maximum.map { Nanoseconds($0) } ?? Nanoseconds(rawValue: base.rawValue.multipliedClamped(by: 10))
    if maximum < base {
      report("\(path).dns_failure_refresh_rate.max_interval", "must not be less than base_interval")
    }
    return .init(base: base, maximum: maximum)
  }

  private mutating func resolver(_ cluster: Cluster, _ path: String, _ defaults: ClusterDefaults) -> ResolverOptions {
    if cluster.hasTypedDnsResolverConfig {
      return resolver(cluster.typedDnsResolverConfig, "\(path).typed_dns_resolver_config")
    }
    var options = ResolverOptions()
    if cluster.hasDnsResolutionConfig {
      let config = cluster.dnsResolutionConfig
      options.servers = servers(config.resolvers, "\(path).dns_resolution_config.resolvers")
      apply(config.dnsResolverOptions, to: &options)
    } else if !cluster.dnsResolvers.isEmpty || cluster.useTcpForDnsLookups {
      options.servers = servers(cluster.dnsResolvers, "\(path).dns_resolvers")
      options.usesTCP = cluster.useTcpForDnsLookups
    } else if let config = defaults.resolver {
      return resolver(config, "typed_dns_resolver_config")
    }
    return options
  }

  private mutating func resolver(_ extensionConfig: TypedExtensionConfig, _ path: String) -> ResolverOptions {
    var options = ResolverOptions()
    guard let config: CaresDnsResolverConfig = try? extensionConfig.typedConfig.unpack() else {
      report("\(path).typed_config", "must hold \(CaresDnsResolverConfig.protoMessageName)")
      return options
    }
    options.servers = servers(config.resolvers, "\(path).typed_config.resolvers")
    options.serversAreFallback = config.useResolversAsFallback
    options.rotates = config.rotateNameservers
    if config.hasQueryTimeoutSeconds {
      options.timeout = .seconds(min(config.queryTimeoutSeconds.value, 3600))
    }
    if config.hasQueryTries { options.tries = Int(min(config.queryTries.value, 100)) }
    apply(config.dnsResolverOptions, to: &options)
    return options
  }

  private func apply(_ settings: DnsResolverOptions, to options: inout ResolverOptions) {
    options.usesTCP = settings.useTcpForDnsLookups
    options.ignoresSearchDomains = settings.noDefaultSearchDomain
  }

  private mutating func servers(_ addresses: [Address], _ path: String) -> [MeshPrimitives.SocketAddress] {
    var result: [MeshPrimitives.SocketAddress] = []
    for (index, address) in addresses.enumerated() {
      let serverPath = "\(path)[\(index)].socket_address"
      guard case .socketAddress(let socket) = address.address else {
        report("\(path)[\(index)]", "a name server must be an IP address (socket_address)")
        continue
      }
      guard let server = ipAddress(socket, serverPath, "of a name server") else { continue }
      result.append(server.port == 0 ? server.with(port: 53) : server)
    }
    return result
  }
}

extension LookupFamily {
  init(_ family: Envoy_Extensions_Clusters_Common_Dns_V3_DnsLookupFamily) {
    switch family {
    case .v4Only: self = .v4Only
    case .v6Only: self = .v6Only
    case .v4Preferred: self = .v4Preferred
    case .all: self = .all
    default: self = .auto
    }
  }
}

extension UInt64 {
  fileprivate func multipliedClamped(by factor: UInt64) -> UInt64 {
    let (product, overflow) = multipliedReportingOverflow(by: factor)
    return overflow ? .max : product
  }
}
