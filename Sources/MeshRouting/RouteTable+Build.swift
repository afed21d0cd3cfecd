import MeshAPI
import MeshPrimitives

extension RouteTable {
  /// Gives the bytes of a data source, or says why there are none.
  public typealias DataLoader = (DataSource) -> Result<[UInt8], RouteProblem>

  /// Checks and compiles a route configuration.
  /// - Parameters:
  ///   - path: where the configuration stands; the problems' paths begin with it.
  ///   - runtime: where runtime keys have their values.
  ///   - load: how the bodies of direct responses are read. Without it, only `inline_string` and `inline_bytes` are
  ///     taken, so that building stays free of input and output.
  /// - Returns: the table, or nil and everything that is wrong. Clusters that do not exist are not noticed here: see
  ///   `clusterNames`.
  public static func build(
    _ configuration: RouteConfiguration, path: String = "", runtime: Runtime = Runtime(),
    load: @escaping DataLoader = RouteTable.loadInline
  ) -> (table: RouteTable?, problems: [RouteProblem]) {
    build(configuration, path: path, runtime: runtime, indexed: nil, load: load)
  }

  static func build(
    _ configuration: RouteConfiguration, path: String, runtime: Runtime = Runtime(), indexed: Bool?,
    load: @escaping DataLoader
  ) -> (table: RouteTable?, problems: [RouteProblem]) {
    var builder = RouteTableBuilder(load: load, runtime: runtime, indexed: indexed)
    let table = builder.build(configuration, prefix: path.isEmpty ? "" : path + ".")
    return (builder.problems.isEmpty ? table : nil, builder.problems)
  }

  /// Takes `inline_string` and `inline_bytes`; nothing else.
  public static func loadInline(_ source: DataSource) -> Result<[UInt8], RouteProblem> {
    switch source.specifier {
    case nil: .success([])
    case .inlineString(let text): .success(Array(text.utf8))
    case .inlineBytes(let bytes): .success(Array(bytes))
    case .filename: .failure(RouteProblem(path: "filename", message: "cannot be read here; use inline_string"))
    case .environmentVariable:
      .failure(RouteProblem(path: "environment_variable", message: "cannot be read here; use inline_string"))
    }
  }
}

/// Builds one route table, collecting problems.
private struct RouteTableBuilder {
  let load: RouteTable.DataLoader
  let runtime: Runtime
  let indexed: Bool?
  private var found: [RouteProblem] = []
  private var headers = HeaderCompiler()
  private var clusters: [String: Int] = [:]
  private var clusterNames: [String] = []
  private var clusterPaths: [String] = []

  init(load: @escaping RouteTable.DataLoader, runtime: Runtime, indexed: Bool?) {
    self.load = load
    self.runtime = runtime
    self.indexed = indexed
  }

  var problems: [RouteProblem] { found + headers.problems }

  mutating func build(_ configuration: RouteConfiguration, prefix: String) -> RouteTable {
    let shared = levels(
      requestAdd: configuration.requestHeadersToAdd, requestRemove: configuration.requestHeadersToRemove,
      responseAdd: configuration.responseHeadersToAdd, responseRemove: configuration.responseHeadersToRemove, prefix)
    let sharedMirrors = mirrors(configuration.requestMirrorPolicies, prefix)
    var hosts: [VirtualHostRoutes] = []
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
      let general = Levels(request: own.request + shared.request, response: own.response + shared.response)
      let ownMirrors = mirrors(host.requestMirrorPolicies, path + ".")
      let inherited = Inherited(levels: general, mirrors: ownMirrors.isEmpty ? sharedMirrors : ownMirrors)
      let sources = host.routes.enumerated().compactMap { number, route in
        source(route, host, index, number, inherited, "\(path).routes[\(number)]")
      }
      hosts.append(VirtualHostRoutes(sources, indexed: indexed))
    }
    let domains = domains(configuration.virtualHosts, prefix)
    return RouteTable(
      name: configuration.name, clusterNames: clusterNames, clusterPaths: clusterPaths,
      validatesClusters: !configuration.hasValidateClusters || configuration.validateClusters.value, domains: domains,
      hosts: hosts)
  }

  // MARK: Domains

  private mutating func domains(_ hosts: [VirtualHost], _ prefix: String) -> DomainIndex {
    var seen: [[UInt8]: String] = [:]
    var exact: [(key: [UInt8], host: Int)] = []
    var suffix: [(key: [UInt8], host: Int)] = []
    var begin: [(key: [UInt8], host: Int)] = []
    var catchAll: Int?
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
          catchAll = index
        } else if stars == 0 {
          exact.append((key, index))
        } else if stars == 1, key.first == UInt8(ascii: "*") {
          suffix.append((Array(key.dropFirst()), index))
        } else if stars == 1, key.last == UInt8(ascii: "*") {
          begin.append((Array(key.dropLast()), index))
        } else {
          problem(path, "'\(domain)': '*' is allowed once, at the beginning or at the end")
        }
      }
    }
    return DomainIndex(exact: exact, suffix: suffix, prefix: begin, catchAll: catchAll)
  }

  // MARK: Routes

  /// What a route has from its virtual host and the route configuration.
  private struct Inherited {
    let levels: Levels
    let mirrors: [RequestMirror]
  }

  private mutating func source(
    _ route: Route, _ host: VirtualHost, _ hostIndex: Int, _ number: Int, _ inherited: Inherited, _ path: String
  ) -> VirtualHostRoutes.Source? {
    let rule = rule(route.match, path + ".match")
    var conditions: [HeaderCondition] = []
    for (index, matcher) in route.match.headers.enumerated() {
      if let condition = headers.condition(matcher, "\(path).match.headers[\(index)]") { conditions.append(condition) }
    }
    let own = levels(
      requestAdd: route.requestHeadersToAdd, requestRemove: route.requestHeadersToRemove,
      responseAdd: route.responseHeadersToAdd, responseRemove: route.responseHeadersToRemove, path + ".")
    let general = inherited.levels
    let levels = Levels(request: own.request + general.request, response: own.response + general.response)
    let decorator = decorator(route, path + ".decorator")
    let matchedLength = rule?.text.count ?? 0

    func entry(_ action: RouteEntry.Action, _ levels: Levels) -> RouteEntry {
      RouteEntry(
        name: route.name, virtualHostName: host.name, virtualHostIndex: hostIndex, routeIndex: number, action: action,
        requestHeaders: HeaderMutations(levels: levels.request),
        responseHeaders: HeaderMutations(levels: levels.response), typedPerFilterConfig: route.typedPerFilterConfig,
        decorator: decorator)
    }

    var entries: [(entry: RouteEntry, weight: UInt64)] = []
    switch route.action {
    case nil:
      problem(path, "one of route and direct_response is required")
    case .directResponse(let response):
      if let response = direct(response, path + ".direct_response") {
        entries = [(entry(.directResponse(response), levels), 1)]
      }
    case .route(let action):
      let path = path + ".route"
      let settings = settings(action, path, matchedLength, inherited)
      switch action.clusterSpecifier {
      case nil:
        problem(path, "one of cluster and weighted_clusters is required")
      case .cluster(let name):
        if let cluster = cluster(name, path + ".cluster") {
          entries = [(entry(.forward(settings.forward(to: name, cluster)), levels), 1)]
        }
      case .weightedClusters(let weighted):
        let path = path + ".weighted_clusters"
        var total: UInt64 = 0
        for (index, choice) in weighted.clusters.enumerated() {
          let path = "\(path).clusters[\(index)]"
          let own = self.levels(
            requestAdd: choice.requestHeadersToAdd, requestRemove: choice.requestHeadersToRemove,
            responseAdd: choice.responseHeadersToAdd, responseRemove: choice.responseHeadersToRemove, path + ".")
          let all = Levels(request: own.request + levels.request, response: own.response + levels.response)
          let weight = choice.hasWeight ? UInt64(choice.weight.value) : 0
          total += weight
          guard let cluster = cluster(choice.name, path + ".name"), weight > 0 else { continue }
          entries.append((entry(.forward(settings.forward(to: choice.name, cluster)), all), weight))
        }
        if weighted.clusters.isEmpty { problem(path + ".clusters", "at least one cluster is required") }
        if !weighted.clusters.isEmpty, total == 0 || total > UInt64(UInt32.max) {
          problem(path, "the sum of the weights is \(total); it must be 1 to 4294967295")
        }
      }
    }
    guard let rule, !entries.isEmpty else { return nil }
    return VirtualHostRoutes.Source(rule: rule, conditions: conditions, entries: entries)
  }

  private mutating func rule(_ match: RouteMatch, _ path: String) -> PathRule? {
    let ignoresCase = match.hasCaseSensitive && !match.caseSensitive.value
    switch match.pathSpecifier {
    case nil:
      problem(path, "one of prefix, path and path_separated_prefix is required")
      return nil
    case .prefix(let text): return PathRule(.prefix, text, ignoresCase: ignoresCase)
    case .path(let text): return PathRule(.exact, text, ignoresCase: ignoresCase)
    case .pathSeparatedPrefix(let text):
      let bytes = text.utf8
      guard bytes.count > 1, bytes.first == UInt8(ascii: "/"), bytes.last != UInt8(ascii: "/"),
        !bytes.contains(UInt8(ascii: "?")), !bytes.contains(UInt8(ascii: "#"))
      else {
        problem(
          path + ".path_separated_prefix", "'\(text)' must begin with '/', must not end with it, and has no '?' or '#'")
        return nil
      }
      return PathRule(.separatedPrefix, text, ignoresCase: ignoresCase)
    }
  }

  // MARK: Actions

  /// What the clusters of one route action share.
  private struct ForwardSettings {
    var prefixRewrite: [UInt8]?
    var matchedLength: Int
    var timeout: Nanoseconds
    var idleTimeout: Nanoseconds?
    var maximumStreamDuration: Nanoseconds?
    var mirrors: [RequestMirror] = []

    func forward(to name: String, _ cluster: Int) -> ForwardAction {
      ForwardAction(
        cluster: name, clusterIndex: cluster, prefixRewrite: prefixRewrite, matchedLength: matchedLength,
        timeout: timeout, idleTimeout: idleTimeout, maximumStreamDuration: maximumStreamDuration, mirrors: mirrors)
    }
  }

  private mutating func settings(
    _ action: RouteAction, _ path: String, _ matchedLength: Int, _ inherited: Inherited
  ) -> ForwardSettings {
    var settings = ForwardSettings(matchedLength: matchedLength, timeout: .seconds(15))
    if action.hasTimeout { settings.timeout = time(action.timeout, path + ".timeout") }
    if action.hasIdleTimeout { settings.idleTimeout = time(action.idleTimeout, path + ".idle_timeout") }
    if action.maxStreamDuration.hasMaxStreamDuration {
      settings.maximumStreamDuration = time(
        action.maxStreamDuration.maxStreamDuration, path + ".max_stream_duration.max_stream_duration")
    }
    let own = mirrors(action.requestMirrorPolicies, path + ".")
    settings.mirrors = own.isEmpty ? inherited.mirrors : own
    if !action.prefixRewrite.isEmpty {
      let rewrite = Array(action.prefixRewrite.utf8)
      if rewrite.first != UInt8(ascii: "/") {
        problem(path + ".prefix_rewrite", "'\(action.prefixRewrite)' must begin with '/'")
      } else if !rewrite.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "#") }) {
        problem(path + ".prefix_rewrite", "holds a byte that must not occur in a path (RFC 3986 §3.3)")
      }
      settings.prefixRewrite = rewrite
    }
    return settings
  }

  private mutating func decorator(_ route: Route, _ path: String) -> RouteEntry.Decorator? {
    guard route.hasDecorator else { return nil }
    let operation = Array(route.decorator.operation.utf8)
    guard !operation.isEmpty, operation.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
      problem(path + ".operation", operation.isEmpty ? "is required" : "holds a control character")
      return nil
    }
    return .init(operation: operation, propagates: !route.decorator.hasPropagate || route.decorator.propagate.value)
  }

  private mutating func mirrors(_ policies: [RequestMirrorPolicy], _ prefix: String) -> [RequestMirror] {
    var result: [RequestMirror] = []
    for (index, policy) in policies.enumerated() {
      let path = "\(prefix)request_mirror_policies[\(index)]"
      let target: RequestMirror.Target
      switch (policy.cluster.isEmpty, policy.clusterHeader.isEmpty) {
      case (false, true):
        guard let number = cluster(policy.cluster, path + ".cluster") else { continue }
        target = .cluster(number)
      case (true, false):
        guard HeaderCompiler.isToken(policy.clusterHeader) || policy.clusterHeader == ":authority" else {
          problem(path + ".cluster_header", "'\(policy.clusterHeader)' is not a header name (RFC 9110 §5.6.2)")
          continue
        }
        target = .header(HeaderName(policy.clusterHeader))
      default:
        problem(path, "exactly one of cluster and cluster_header is required")
        continue
      }
      let rewrite = Array(policy.hostRewriteLiteral.utf8)
      if !rewrite.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) {
        problem(path + ".host_rewrite_literal", "holds a space or a control character")
      }
      result.append(
        RequestMirror(
          target: target,
          fraction: policy.hasRuntimeFraction ? share(policy.runtimeFraction) : RuntimeFraction(nil, or: .all),
          appendsSuffix: !policy.disableShadowHostSuffixAppend, hostRewrite: rewrite))
    }
    return result
  }

  /// A share of requests with its runtime key, if it has one.
  private func share(_ fraction: RuntimeFractionalPercent) -> RuntimeFraction {
    let denominator: Fraction.Denominator =
      switch fraction.defaultValue.denominator {
      case .tenThousand: .tenThousand
      case .million: .million
      default: .hundred
      }
    return RuntimeFraction(
      fraction.runtimeKey.isEmpty ? nil : runtime.value(fraction.runtimeKey),
      or: Fraction(fraction.defaultValue.numerator, of: denominator))
  }

  private mutating func time(_ duration: DurationValue, _ path: String) -> Nanoseconds {
    let nanoseconds = duration.nanoseconds
    if nanoseconds < 0 { problem(path, "must not be negative") }
    // Half of the range, so that a deadline can be computed without overflow.
    return Nanoseconds(rawValue: UInt64(min(max(nanoseconds, 0), Int64.max / 2)))
  }

  private mutating func direct(_ response: DirectResponseAction, _ path: String) -> DirectResponse? {
    var valid = true
    if !(200...599).contains(response.status) {
      problem(path + ".status", "\(response.status) is not in 200 to 599")
      valid = false
    }
    switch response.hasBody ? load(response.body) : .success([]) {
    case .failure(let failure):
      problem(failure.path.isEmpty ? path + ".body" : "\(path).body.\(failure.path)", failure.message)
      return nil
    case .success(let body):
      if body.count > 4_096 {
        problem(path + ".body", "has \(body.count) bytes; at most 4096 are allowed")
        valid = false
      }
      return valid ? DirectResponse(status: Int(response.status), body: body) : nil
    }
  }

  private mutating func cluster(_ name: String, _ path: String) -> Int? {
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

  // MARK: Headers

  /// Header mutations, the most special level first.
  private struct Levels {
    var request: [HeaderMutations.Level]
    var response: [HeaderMutations.Level]
  }

  private mutating func levels(
    requestAdd: [HeaderValueOption], requestRemove: [String], responseAdd: [HeaderValueOption],
    responseRemove: [String], _ prefix: String
  ) -> Levels {
    Levels(
      request: [headers.level(add: requestAdd, remove: requestRemove, kind: "request", pathPrefix: prefix)],
      response: [headers.level(add: responseAdd, remove: responseRemove, kind: "response", pathPrefix: prefix)])
  }

  private mutating func problem(_ path: String, _ message: String) {
    found.append(RouteProblem(path: path, message: message))
  }
}
