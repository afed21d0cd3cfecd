import MeshAPI
import SwiftProtobuf

/// Rules that look at several fields of a message at once, which Envoy has in its code rather than in its schema.
enum MessageRules {
  /// Takes what is wrong with the part of the message that the steps lead to.
  typealias Report = (_ steps: [ConfigurationPath.Step], _ message: String, _ kind: WireValidator.Kind) -> Void

  /// Checks the message called `name`, if it has such rules.
  static func check(_ name: String, _ bytes: UnsafeRawBufferPointer, _ report: Report) {
    switch name {
    case Bootstrap.StaticResources.protoMessageName: decode(bytes) { staticResources($0, report) }
    case Listener.protoMessageName:
      decode(bytes) { (listener: Listener) in listenAddress(listener.address, report) }
    case Admin.protoMessageName:
      decode(bytes) { (admin: Admin) in listenAddress(admin.address, report) }
    case HttpConnectionManager.protoMessageName:
      decode(bytes) { (manager: HttpConnectionManager) in
        connectionManager(manager, report)
        EdgeRules.check(manager, report)
      }
    case XffConfig.protoMessageName: decode(bytes) { EdgeRules.check($0 as XffConfig, report) }
    case CidrRange.protoMessageName: decode(bytes) { EdgeRules.check($0 as CidrRange, report) }
    case RouteConfiguration.protoMessageName: decode(bytes) { routeConfiguration($0, report) }
    case VirtualHost.protoMessageName:
      decode(bytes) { (host: VirtualHost) in
        removals(host.requestHeadersToRemove, "request_headers_to_remove", report)
        removals(host.responseHeadersToRemove, "response_headers_to_remove", report)
      }
    case Route.protoMessageName:
      decode(bytes) { (route: Route) in
        removals(route.requestHeadersToRemove, "request_headers_to_remove", report)
        removals(route.responseHeadersToRemove, "response_headers_to_remove", report)
      }
    case WeightedCluster.protoMessageName: decode(bytes) { weightedCluster($0, report) }
    case HeaderValueOption.protoMessageName: decode(bytes) { headerValueOption($0, report) }
    case Cluster.protoMessageName: decode(bytes) { cluster($0, report) }
    case TcpKeepalive.protoMessageName: decode(bytes) { keepAlive($0, report) }
    case RateLimitServiceConfig.protoMessageName:
      decode(bytes) { (service: RateLimitServiceConfig) in
        if service.grpcService.hasTimeout {
          report(
            [.field("grpc_service"), .field("timeout")], "has no effect: the filter's own timeout decides", .doubtful)
        }
      }
    case Metadata.protoMessageName:
      decode(bytes) { (metadata: Metadata) in
        if metadata.filterMetadata[""] != nil {
          report([.field("filter_metadata"), .key("")], "a name must not be empty", .value)
        }
      }
    default: break
    }
  }

  private static func decode<M: Message>(_ bytes: UnsafeRawBufferPointer, _ body: (M) -> Void) {
    var options = BinaryDecodingOptions()
    options.messageDepthLimit = ConfigurationReader.messageDepthLimit
    // Bytes that cannot be decoded have been reported by whoever decodes the whole.
    guard let message = try? M(serializedBytes: Array(bytes), options: options) else { return }
    body(message)
  }

  /// Calls `body` with the place of every name that an earlier one has already.
  private static func repeated(_ names: [String], _ body: (_ index: Int, _ first: Int) -> Void) {
    var seen: [String: Int] = [:]
    for (index, name) in names.enumerated() where !name.isEmpty {
      if let first = seen[name] { body(index, first) } else { seen[name] = index }
    }
  }

  // MARK: Listeners

  private static func staticResources(_ resources: Bootstrap.StaticResources, _ report: Report) {
    repeated(resources.listeners.map(\.name)) { index, first in
      report(
        [.field("listeners"), .index(index), .field("name")],
        "\(quoted(resources.listeners[index].name)) is the name of listeners[\(first)] already (names must be unique)",
        .value)
    }
    repeated(resources.clusters.map(\.name)) { index, first in
      report(
        [.field("clusters"), .index(index), .field("name")],
        "\(quoted(resources.clusters[index].name)) is the name of clusters[\(first)] already (names must be unique)",
        .value)
    }
  }

  private static func listenAddress(_ address: Address, _ report: Report) {
    literal(address, [.field("address")], report) {
      "must be an IP address to listen on, not \(quoted($0))"
    }
  }

  /// Reports when the address is a host name.
  private static func literal(
    _ address: Address, _ steps: [ConfigurationPath.Step], _ report: Report, _ problem: (String) -> String
  ) {
    let host = address.socketAddress.address
    guard !host.isEmpty, !IPLiteral.isValid(host) else { return }
    report(steps + [.field("socket_address"), .field("address")], problem(host), .value)
  }

  private static func connectionManager(_ manager: HttpConnectionManager, _ report: Report) {
    let filters = manager.httpFilters
    let field = ConfigurationPath.Step.field("http_filters")
    for (index, filter) in filters.dropLast().enumerated() where filter.typedConfig.holds(Router.self) {
      report([field, .index(index)], "the router must be the last filter", .value)
    }
    if let last = filters.last, !last.typedConfig.typeURL.isEmpty, !last.typedConfig.holds(Router.self) {
      report(
        [field, .index(filters.count - 1)], "the last filter must be the router (\(Router.protoMessageName))", .value)
    } else if let last = filters.last, last.disabled, last.typedConfig.holds(Router.self) {
      report([field, .index(filters.count - 1), .field("disabled")], "the router cannot be disabled", .value)
    }
    if manager.hasAccessLogOptions {
      let message = "must not be combined with access_log_options"
      if manager.hasAccessLogFlushInterval { report([.field("access_log_flush_interval")], message, .value) }
      if manager.flushAccessLogOnNewRequest { report([.field("flush_access_log_on_new_request")], message, .value) }
    }
    for (index, log) in manager.accessLog.enumerated() {
      let format: SubstitutionFormatString? =
        if let file: FileAccessLog = try? log.typedConfig.unpack() {
          file.logFormat
        } else if let out: StdoutAccessLog = try? log.typedConfig.unpack() {
          out.logFormat
        } else if let out: StderrAccessLog = try? log.typedConfig.unpack() {
          out.logFormat
        } else {
          nil
        }
      if let format, !format.contentType.isEmpty {
        report(
          [
            .field("access_log"), .index(index), .field("typed_config"), .field("log_format"), .field("content_type"),
          ], "has no effect: an access log has no content type", .doubtful)
      }
    }
  }

  // MARK: Routes

  private static func routeConfiguration(_ table: RouteConfiguration, _ report: Report) {
    removals(table.requestHeadersToRemove, "request_headers_to_remove", report)
    removals(table.responseHeadersToRemove, "response_headers_to_remove", report)
    var seen: [String: String] = [:]
    for (index, host) in table.virtualHosts.enumerated() {
      for (place, domain) in host.domains.enumerated() {
        let steps: [ConfigurationPath.Step] = [
          .field("virtual_hosts"), .index(index), .field("domains"), .index(place),
        ]
        if domain.isEmpty {
          report(steps, "an empty domain never matches (\"*\" stands for all)", .doubtful)
        } else if !isDomainPattern(domain) {
          report(
            steps,
            "\(quoted(domain)) matches only a host of exactly this name: * stands for something only at the"
              + " beginning or at the end", .doubtful)
        }
        // Host names are compared without regard to case.
        let folded = domain.lowercased()
        if let first = seen[folded] {
          report(
            steps, "\(quoted(domain)) is served by \(first) already (a domain may occur once in a route table)", .value)
        } else {
          seen[folded] = "virtual_hosts[\(index)].domains[\(place)]"
        }
      }
    }
  }

  private static func isDomainPattern(_ domain: String) -> Bool {
    guard domain != "*" else { return true }
    let bytes = Array(domain.utf8)
    let inside = bytes.first == UInt8(ascii: "*") ? bytes.dropFirst() : bytes.dropLast()
    return !inside.contains(UInt8(ascii: "*"))
  }

  private static func weightedCluster(_ weighted: WeightedCluster, _ report: Report) {
    let sum = weighted.clusters.reduce(UInt64(0)) { $0 &+ UInt64($1.weight.value) }
    if sum == 0, !weighted.clusters.isEmpty, weighted.clusters.allSatisfy(\.hasWeight) {
      report([.field("clusters")], "the weights must not all be 0", .value)
    } else if sum > UInt64(UInt32.max) {
      report([.field("clusters")], "the sum of the weights must be at most \(UInt32.max), not \(sum)", .value)
    }
    for (index, cluster) in weighted.clusters.enumerated() {
      let nested: Report = { report([.field("clusters"), .index(index)] + $0, $1, $2) }
      removals(cluster.requestHeadersToRemove, "request_headers_to_remove", nested)
      removals(cluster.responseHeadersToRemove, "response_headers_to_remove", nested)
    }
  }

  private static func headerValueOption(_ option: HeaderValueOption, _ report: Report) {
    if option.hasAppend, option.appendAction != .appendIfExistsOrAdd {
      report([.field("append")], "must not be combined with append_action", .value)
    }
    if !isModifiable(option.header.key) {
      report([.field("header"), .field("key")], unmodifiable(option.header.key), .value)
    }
  }

  private static func removals(_ names: [String], _ field: String, _ report: Report) {
    for (index, name) in names.enumerated() where !isModifiable(name) {
      report([.field(field), .index(index)], unmodifiable(name), .value)
    }
  }

  private static func isModifiable(_ name: String) -> Bool {
    name.utf8.first != UInt8(ascii: ":") && name.lowercased() != "host"
  }

  private static func unmodifiable(_ name: String) -> String {
    "\(quoted(name)) cannot be added or removed (neither can host, nor any name that begins with a colon)"
  }

  // MARK: Clusters

  /// Linux's bounds.
  private static func keepAlive(_ settings: TcpKeepalive, _ report: Report) {
    func check(_ field: String, _ value: UInt32, _ most: UInt32) {
      if value < 1 || value > most { report([.field(field)], "must be 1 to \(most), not \(value)", .value) }
    }
    if settings.hasKeepaliveProbes { check("keepalive_probes", settings.keepaliveProbes.value, 127) }
    if settings.hasKeepaliveTime { check("keepalive_time", settings.keepaliveTime.value, 32767) }
    if settings.hasKeepaliveInterval { check("keepalive_interval", settings.keepaliveInterval.value, 32767) }
  }

  private static func cluster(_ cluster: Cluster, _ report: Report) {
    for key in cluster.typedExtensionProtocolOptions.keys.sorted()
    where key != UpstreamHttpProtocolOptions.protoMessageName {
      report(
        [.field("typed_extension_protocol_options"), .key(key)],
        "there are no options of this name (allowed: \(UpstreamHttpProtocolOptions.protoMessageName))", .value)
    }
    repeated(cluster.circuitBreakers.thresholds.map { "\($0.priority.rawValue)" }) { index, first in
      report(
        [.field("circuit_breakers"), .field("thresholds"), .index(index)],
        "has no effect: thresholds[\(first)] has the same priority", .doubtful)
    }
    balancing(cluster, report)
    if case .clusterType? = cluster.clusterDiscoveryType { return }
    guard cluster.type == .static else { return }
    for (group, locality) in cluster.loadAssignment.endpoints.enumerated() {
      for (index, endpoint) in locality.lbEndpoints.enumerated() {
        literal(
          endpoint.endpoint.address,
          [
            .field("load_assignment"), .field("endpoints"), .index(group), .field("lb_endpoints"), .index(index),
            .field("endpoint"), .field("address"),
          ], report
        ) { "must be an IP address in a STATIC cluster, not \(quoted($0)) (host names need type: STRICT_DNS)" }
      }
    }
  }
}
