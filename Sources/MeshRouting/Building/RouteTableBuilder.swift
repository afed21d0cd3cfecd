import MeshAPI
import MeshPrimitives

/// Builds one route table, collecting problems.
struct RouteTableBuilder {
  let load: RouteTable.DataLoader
  let runtime: Runtime
  let indexed: Bool?
  private var found: [RouteProblem] = []
  var headers: HeaderCompiler
  var conditions = ConditionCompiler()
  var rateLimits: RateLimitCompiler
  private var clusters: [String: Int] = [:]
  private var clusterNames: [String] = []
  private var clusterPaths: [String] = []
  private var filterSources: [RouteFilterSource] = []
  /// Of direct responses' bodies.
  private(set) var bodyLimit = 4_096
  private(set) var mostSpecialWins = false

  init(
    runtime: Runtime, formats: @escaping RouteTable.FormatCompiler, load: @escaping RouteTable.DataLoader,
    indexed: Bool?
  ) {
    self.load = load
    self.runtime = runtime
    self.indexed = indexed
    headers = HeaderCompiler(formats: formats)
    rateLimits = RateLimitCompiler(runtime: runtime, formats: formats)
  }

  var problems: [RouteProblem] { found + conditions.problems + headers.problems + rateLimits.problems }

  mutating func problem(_ path: String, _ message: String) {
    found.append(RouteProblem(path: path, message: message))
  }

  /// What a route has from the levels above it.
  struct Surroundings {
    let host: VirtualHost
    let hostIndex: Int
    var levels: [HeaderLevels]
    /// By filter.
    var filters: [String: Int]
    let mirrors: [RequestMirror]
    var attemptCount: RouteEntry.AttemptCount
    let retry: RetryPolicy?
    var replayLimit: ForwardAction.ReplayLimit?
    /// The virtual host's.
    let rateLimits: [RateLimitRule]
    /// The route's.
    var tracing: RouteTraceRules?
  }

  mutating func build(_ configuration: RouteConfiguration, prefix: String) -> RouteTable {
    if configuration.hasMaxDirectResponseBodySizeBytes {
      bodyLimit = Int(configuration.maxDirectResponseBodySizeBytes.value)
    }
    mostSpecialWins = configuration.mostSpecificHeaderMutationsWins
    let internalOnly = internalOnlyHeaders(configuration.internalOnlyHeaders, "\(prefix)internal_only_headers")
    let shared = levels(
      requestAdd: configuration.requestHeadersToAdd, requestRemove: configuration.requestHeadersToRemove,
      responseAdd: configuration.responseHeadersToAdd, responseRemove: configuration.responseHeadersToRemove, prefix)
    let filters = filterSources(configuration.typedPerFilterConfig, under: [:], prefix)
    let sharedMirrors = mirrors(configuration.requestMirrorPolicies, prefix)
    var hosts: [VirtualHostRoutes] = []
    var connectHosts: [VirtualHostRoutes] = []
    var names: Set<String> = []
    for (index, host) in configuration.virtualHosts.enumerated() {
      let path = "\(prefix)virtual_hosts[\(index)]"
      if host.name.isEmpty { problem(path + ".name", "is required") }
      if !host.name.isEmpty, !names.insert(host.name).inserted {
        problem(path + ".name", "another virtual host of this route configuration is named '\(host.name)' too")
      }
      let own = levels(
        requestAdd: host.requestHeadersToAdd, requestRemove: host.requestHeadersToRemove,
        responseAdd: host.responseHeadersToAdd, responseRemove: host.responseHeadersToRemove, path + ".")
      var attemptCount: RouteEntry.AttemptCount = []
      if host.includeRequestAttemptCount { attemptCount.insert(.inRequest) }
      if host.includeAttemptCountInResponse { attemptCount.insert(.inResponse) }
      let ownMirrors = mirrors(host.requestMirrorPolicies, path + ".")
      let around = Surroundings(
        host: host, hostIndex: index, levels: [own, shared],
        filters: filterSources(host.typedPerFilterConfig, under: filters, path + "."),
        mirrors: ownMirrors.isEmpty ? sharedMirrors : ownMirrors, attemptCount: attemptCount,
        retry: host.hasRetryPolicy ? retryPolicy(host.retryPolicy, path + ".retry_policy") : nil,
        replayLimit: replayLimit(
          host.hasRequestBodyBufferLimit ? host.requestBodyBufferLimit.value : nil,
          host.hasPerRequestBufferLimitBytes ? host.perRequestBufferLimitBytes.value : nil),
        rateLimits: rateLimits.routeRules(host.rateLimits, path + ".rate_limits"))
      let sources = host.routes.enumerated().compactMap { number, route in
        source(route, number, around, "\(path).routes[\(number)]")
      }
      let redirect = tlsRedirect(host, index, path)
      hosts.append(
        VirtualHostRoutes(
          sources.filter { !$0.isForConnect },
          ignoresPathParameters: configuration.ignorePathParametersInPathMatching, tlsRedirect: redirect,
          internalNeedsNoTLS: host.requireTls == .externalOnly, indexed: indexed))
      connectHosts.append(
        VirtualHostRoutes(
          sources.filter(\.isForConnect), tlsRedirect: redirect, internalNeedsNoTLS: host.requireTls == .externalOnly,
          indexed: false))
    }
    return RouteTable(
      name: configuration.name, clusterNames: clusterNames, clusterPaths: clusterPaths,
      validatesClusters: !configuration.hasValidateClusters || configuration.validateClusters.value,
      internalOnlyHeaders: internalOnly, filterSources: filterSources,
      ignoresPort: configuration.ignorePortInHostMatching, domains: domains(configuration.virtualHosts, prefix),
      hostNames: configuration.virtualHosts.map(\.name), hosts: hosts, connectHosts: connectHosts)
  }

  private mutating func tlsRedirect(_ host: VirtualHost, _ index: Int, _ path: String) -> RouteEntry? {
    switch host.requireTls {
    case .none: return nil
    case .externalOnly, .all:
      return RouteEntry(
        name: "", virtualHostName: host.name, virtualHostIndex: index, routeIndex: -1, action: .redirect(.toTLS))
    case .UNRECOGNIZED(let number):
      problem(path + ".require_tls", "unknown value \(number)")
      return nil
    }
  }

  // MARK: Domains

  private mutating func domains(_ hosts: [VirtualHost], _ prefix: String) -> [ConfiguredDomain] {
    var seen: [[UInt8]: String] = [:]
    var domains: [ConfiguredDomain] = []
    for (index, host) in hosts.enumerated() {
      if host.domains.isEmpty { problem("\(prefix)virtual_hosts[\(index)].domains", "at least one domain is required") }
      for (number, domain) in host.domains.enumerated() {
        let path = "\(prefix)virtual_hosts[\(index)].domains[\(number)]"
        let key = domain.utf8.map(\.asciiLowercased)
        guard key.allSatisfy({ $0 > 0x20 && $0 != 0x7f }), !key.isEmpty else {
          problem(path, key.isEmpty ? "must not be empty" : "'\(domain)' holds a space or a control character")
          continue
        }
        if let other = seen[key] {
          let what = domain == "*" ? "only one domain '*' is permitted" : "the domain '\(domain)' occurs twice"
          problem(path, "\(what); it belongs to \(other) already")
          continue
        }
        seen[key] = "virtual_hosts[\(index)] ('\(host.name)')"
        let stars = key.count { $0 == UInt8(ascii: "*") }
        if domain == "*" {
          domains.append(.init(kind: .any, text: [], host: index))
        } else if stars == 0 {
          domains.append(.init(kind: .exact, text: key, host: index))
        } else if stars == 1, key.first == UInt8(ascii: "*") {
          domains.append(.init(kind: .suffix, text: Array(key.dropFirst()), host: index))
        } else if stars == 1, key.last == UInt8(ascii: "*") {
          domains.append(.init(kind: .prefix, text: Array(key.dropLast()), host: index))
        } else {
          problem(path, "'\(domain)': '*' is allowed once, at the beginning or at the end")
        }
      }
    }
    return domains
  }

  // MARK: Clusters

  /// The place of a cluster among those that routes lead to.
  mutating func cluster(_ name: String, _ path: String) -> Int? {
    if name.isEmpty {
      problem(path, "must not be empty")
      return nil
    }
    if let known = clusters[name] { return known }
    clusters[name] = clusterNames.count
    clusterNames.append(name)
    clusterPaths.append(path)
    return clusterNames.count - 1
  }

  // MARK: Filters

  /// The filters' messages of one level, in place of those of the levels above it.
  mutating func filterSources(
    _ configs: [String: TypedConfig], under general: [String: Int], _ prefix: String
  ) -> [String: Int] {
    var result = general
    for (name, config) in configs.sorted(by: { $0.key < $1.key }) {
      result[name] = filterSources.count
      filterSources.append(
        RouteFilterSource(filter: name, path: "\(prefix)typed_per_filter_config[\"\(name)\"]", config: config))
    }
    return result
  }

  // MARK: Headers

  /// The header mutations of one level.
  struct HeaderLevels {
    var request: HeaderMutations.Level
    var response: HeaderMutations.Level
  }

  mutating func levels(
    requestAdd: [HeaderValueOption], requestRemove: [String], responseAdd: [HeaderValueOption],
    responseRemove: [String], _ prefix: String
  ) -> HeaderLevels {
    HeaderLevels(
      request: headers.level(add: requestAdd, remove: requestRemove, kind: "request", pathPrefix: prefix),
      response: headers.level(add: responseAdd, remove: responseRemove, kind: "response", pathPrefix: prefix))
  }

  private mutating func internalOnlyHeaders(_ names: [String], _ path: String) -> [HeaderName] {
    names.enumerated().compactMap { headers.changeable($0.element, "\(path)[\($0.offset)]") }
  }
}
