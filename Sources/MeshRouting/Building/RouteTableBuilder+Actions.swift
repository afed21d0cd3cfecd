import MeshAPI
import MeshPrimitives

/// Actions: what becomes of a request.
extension RouteTableBuilder {
  /// One draft, or one for each weighted cluster; nil after a problem.
  mutating func drafts(
    _ route: Route, _ path: String, _ around: Surroundings, matchedLength: Int
  ) -> (entries: [EntryDraft], choice: ClusterChoice?)? {
    switch route.action {
    case nil:
      problem(path, "one of route, redirect, direct_response and non_forwarding_action is required")
      return nil
    case .nonForwardingAction: return ([EntryDraft(action: .nonForwarding)], nil)
    case .directResponse(let response):
      return direct(response, path + ".direct_response").map { ([EntryDraft(action: .directResponse($0))], nil) }
    case .redirect(let action):
      return redirect(action, path + ".redirect", matchedLength).map { ([EntryDraft(action: .redirect($0))], nil) }
    case .route(let action): return forward(action, path + ".route", around, matchedLength)
    }
  }

  // MARK: Forwarding

  private mutating func forward(
    _ action: RouteAction, _ path: String, _ around: Surroundings, _ matchedLength: Int
  ) -> (entries: [EntryDraft], choice: ClusterChoice?)? {
    var settings = settings(action, path, matchedLength)
    let own = mirrors(action.requestMirrorPolicies, path + ".")
    settings.mirrors = own.isEmpty ? around.mirrors : own
    settings.retry =
      action.hasRetryPolicy ? retryPolicy(action.retryPolicy, path + ".retry_policy") : around.retry
    settings.replayLimit = around.replayLimit
    settings.tellsOfTimeouts = around.host.includeIsTimeoutRetryHeader
    switch action.clusterSpecifier {
    case nil:
      problem(path, "one of cluster, cluster_header and weighted_clusters is required")
      return nil
    case .cluster(let name):
      guard let cluster = cluster(name, path + ".cluster") else { return nil }
      return ([EntryDraft(action: .forward(ForwardAction(.name(name, cluster), settings)))], nil)
    case .clusterHeader(let name):
      guard let header = conditions.headerName(name, path + ".cluster_header") else { return nil }
      return ([EntryDraft(action: .forward(ForwardAction(.header(header), settings)))], nil)
    case .weightedClusters(let weighted): return self.weighted(weighted, path + ".weighted_clusters", settings)
    }
  }

  private mutating func weighted(
    _ weighted: WeightedCluster, _ path: String, _ settings: ForwardAction.Settings
  ) -> (entries: [EntryDraft], choice: ClusterChoice?)? {
    var header: HeaderName?
    if case .headerName(let name) = weighted.randomValueSpecifier {
      header = conditions.headerName(name, path + ".header_name")
    }
    let isSpecial = header != nil || !weighted.runtimeKeyPrefix.isEmpty
    var total: UInt64 = 0
    var drafts: [EntryDraft] = []
    for (index, choice) in weighted.clusters.enumerated() {
      let path = "\(path).clusters[\(index)]"
      let weight = choice.hasWeight ? UInt64(choice.weight.value) : 0
      total += weight
      let own = levels(
        requestAdd: choice.requestHeadersToAdd, requestRemove: choice.requestHeadersToRemove,
        responseAdd: choice.responseHeadersToAdd, responseRemove: choice.responseHeadersToRemove, path + ".")
      var host: [UInt8]?
      if case .hostRewriteLiteral(let literal) = choice.hostRewriteSpecifier, !literal.isEmpty {
        host = hostLiteral(literal, path + ".host_rewrite_literal")
      }
      guard let source = clusterSource(choice, path) else { continue }
      // One that can never be chosen makes no entry.
      guard weight > 0 || isSpecial else { continue }
      drafts.append(
        EntryDraft(
          action: .forward(ForwardAction(source, host: host, settings)), weight: weight,
          levels: own, filters: (choice.typedPerFilterConfig, path + ".")))
    }
    if weighted.clusters.isEmpty { problem(path + ".clusters", "at least one cluster is required") }
    if !weighted.clusters.isEmpty, total == 0 || total > UInt64(UInt32.max) {
      problem(path, "the sum of the weights is \(total); it must be 1 to 4294967295")
      return nil
    }
    guard isSpecial else { return (drafts, nil) }
    let prefix = weighted.runtimeKeyPrefix
    let values = prefix.isEmpty ? [] : weighted.clusters.map { runtime.value("\(prefix).\($0.name)") }
    guard drafts.count == weighted.clusters.count else { return nil }
    let weights = drafts.map { UInt32(clamping: $0.weight) }
    return (drafts, ClusterChoice(weights: weights, runtime: values, header: header))
  }

  private mutating func clusterSource(
    _ choice: WeightedCluster.ClusterWeight, _ path: String
  ) -> ForwardAction.ClusterSource? {
    switch (choice.name.isEmpty, choice.clusterHeader.isEmpty) {
    case (true, true):
      problem(path, "one of name and cluster_header is required")
      return nil
    case (false, false):
      problem(path, "only one of name and cluster_header may be given")
      return nil
    case (false, true): return cluster(choice.name, path + ".name").map { .name(choice.name, $0) }
    case (true, false):
      return conditions.headerName(choice.clusterHeader, path + ".cluster_header").map { .header($0) }
    }
  }

  /// What the clusters of one route action share.
  private mutating func settings(
    _ action: RouteAction, _ path: String, _ matchedLength: Int
  ) -> ForwardAction.Settings {
    var settings = ForwardAction.Settings()
    settings.matchedLength = matchedLength
    settings.pathRewrite = pathRewrite(action, path)
    settings.hostRewrite = hostRewrite(action, path)
    settings.appendsForwardedHost = action.appendXForwardedHost
    settings.priority = action.priority == .high ? .high : .normal
    switch action.clusterNotFoundResponseCode {
    case .serviceUnavailable: settings.clusterNotFoundStatus = 503
    case .notFound: settings.clusterNotFoundStatus = 404
    case .internalServerError: settings.clusterNotFoundStatus = 500
    case .UNRECOGNIZED(let number): problem(path + ".cluster_not_found_response_code", "unknown value \(number)")
    }
    if case .UNRECOGNIZED(let number) = action.priority { problem(path + ".priority", "unknown value \(number)") }
    if action.hasTimeout { settings.timeout = time(action.timeout, path + ".timeout") }
    if action.hasIdleTimeout { settings.idleTimeout = time(action.idleTimeout, path + ".idle_timeout") }
    settings.boundsStream = action.hasMaxStreamDuration
    settings.callTimeout = callTimeout(action, path)
    if action.maxStreamDuration.hasMaxStreamDuration {
      settings.maximumStreamDuration = time(
        action.maxStreamDuration.maxStreamDuration, path + ".max_stream_duration.max_stream_duration")
    }
    settings.upgrades = upgrades(action.upgradeConfigs, path + ".upgrade_configs")
    settings.hashPolicies = hashPolicies(action.hashPolicy, path + ".hash_policy")
    return settings
  }

  private mutating func callTimeout(_ action: RouteAction, _ path: String) -> CallTimeout? {
    let stream = action.maxStreamDuration
    let streamPath = path + ".max_stream_duration."
    if action.hasMaxStreamDuration {
      let offset = time(stream.grpcTimeoutHeaderOffset, streamPath + "grpc_timeout_header_offset")
      guard stream.hasGrpcTimeoutHeaderMax else { return nil }
      let maximum = time(stream.grpcTimeoutHeaderMax, streamPath + "grpc_timeout_header_max")
      return CallTimeout(kind: .stream, maximum: maximum, offset: offset)
    }
    let offset = time(action.grpcTimeoutOffset, path + ".grpc_timeout_offset")
    guard action.hasMaxGrpcTimeout else { return nil }
    return CallTimeout(
      kind: .response, maximum: time(action.maxGrpcTimeout, path + ".max_grpc_timeout"), offset: offset)
  }

  private mutating func upgrades(_ configs: [RouteAction.UpgradeConfig], _ path: String) -> [UpgradeRule] {
    var rules: [UpgradeRule] = []
    for (index, config) in configs.enumerated() {
      let path = "\(path)[\(index)]"
      let type = config.upgradeType.utf8.map(\.asciiLowercased)
      if let message = UpgradeType.problem(type) { problem(path + ".upgrade_type", message) }
      if rules.contains(where: { $0.type == type }) {
        problem(path + ".upgrade_type", "'\(config.upgradeType)' occurs twice")
      }
      if config.hasConnectConfig, type != UpgradeType.connect {
        problem(path + ".connect_config", "is for the upgrade_type CONNECT")
      }
      rules.append(
        UpgradeRule(
          type: type, isEnabled: !config.hasEnabled || config.enabled.value,
          termination: config.hasConnectConfig ? .init(takesPost: config.connectConfig.allowPost) : nil))
    }
    return rules
  }

  mutating func time(_ duration: DurationValue, _ path: String) -> Nanoseconds {
    let nanoseconds = duration.nanoseconds
    if nanoseconds < 0 { problem(path, "must not be negative") }
    // Half of the range, so that a deadline can be computed without overflow.
    return Nanoseconds(rawValue: UInt64(min(max(nanoseconds, 0), Int64.max / 2)))
  }

  /// Who gets copies of the requests of one level.
  mutating func mirrors(_ policies: [RequestMirrorPolicy], _ prefix: String) -> [RequestMirror] {
    var result: [RequestMirror] = []
    for (index, policy) in policies.enumerated() {
      let path = "\(prefix)request_mirror_policies[\(index)]"
      let target: RequestMirror.Target
      switch (policy.cluster.isEmpty, policy.clusterHeader.isEmpty) {
      case (false, true):
        guard let number = cluster(policy.cluster, path + ".cluster") else { continue }
        target = .cluster(number)
      case (true, false):
        guard let header = conditions.headerName(policy.clusterHeader, path + ".cluster_header") else { continue }
        target = .header(header)
      default:
        problem(path, "exactly one of cluster and cluster_header is required")
        continue
      }
      let rewrite = Array(policy.hostRewriteLiteral.utf8)
      if !rewrite.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) {
        problem(path + ".host_rewrite_literal", "holds a space or a control character")
      }
      let fraction = policy.hasRuntimeFraction ? fraction(policy.runtimeFraction, path + ".runtime_fraction") : nil
      result.append(
        RequestMirror(
          target: target, fraction: fraction ?? RuntimeFraction(nil, or: .all),
          appendsSuffix: !policy.disableShadowHostSuffixAppend,
          sampled: policy.hasTraceSampled ? policy.traceSampled.value : nil,
          requestHeaders: mutations(policy.requestHeadersMutations, path + ".request_headers_mutations"),
          hostRewrite: rewrite))
    }
    return result
  }

  /// Changes that are made one after the other: each is a level of its own.
  private mutating func mutations(_ messages: [HeaderMutation], _ path: String) -> HeaderMutations {
    var levels: [HeaderMutations.Level] = []
    for (index, message) in messages.enumerated() {
      let path = "\(path)[\(index)]"
      switch message.action {
      case .remove(let name):
        guard let name = headers.changeable(name, path + ".remove") else { continue }
        levels.append(.init(removals: [name], additions: []))
      case .append(let option): levels.append(.init(removals: [], additions: headers.additions([option], path)))
      case nil: problem(path, "needs one of remove and append")
      }
    }
    return HeaderMutations(levels: levels)
  }

  // MARK: Rewrites

  private mutating func pathRewrite(_ action: RouteAction, _ path: String) -> PathRewrite? {
    let given = [
      action.prefixRewrite.isEmpty ? nil : "prefix_rewrite", action.hasRegexRewrite ? "regex_rewrite" : nil,
      action.pathRewrite.isEmpty ? nil : "path_rewrite",
    ].compactMap { $0 }
    if given.count > 1 {
      problem("\(path).\(given[1])", "must not be combined with \(given[0])")
      return nil
    }
    if !action.prefixRewrite.isEmpty {
      return pathText(action.prefixRewrite, path + ".prefix_rewrite").map { .prefix($0) }
    }
    if action.hasRegexRewrite {
      return conditions.substitution(action.regexRewrite, path + ".regex_rewrite").map { .substitution($0) }
    }
    return action.pathRewrite.isEmpty ? nil : pathFormat(action.pathRewrite, path + ".path_rewrite")
  }

  /// A rewrite by a text that may hold operators.
  private mutating func pathFormat(_ text: String, _ path: String) -> PathRewrite? {
    switch headers.text(text, path) {
    case nil: return nil
    case .format(let format): return .format(format)
    case .literal(let bytes): return .literal(bytes)
    }
  }

  /// A text that a path may begin with.
  private mutating func pathText(_ text: String, _ path: String) -> [UInt8]? {
    let bytes = Array(text.utf8)
    if bytes.first != UInt8(ascii: "/") {
      problem(path, "'\(text)' must begin with '/'")
      return nil
    }
    if !bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "#") }) {
      problem(path, "holds a byte that must not occur in a path (RFC 3986 §3.3)")
      return nil
    }
    return bytes
  }

  private mutating func hostRewrite(_ action: RouteAction, _ path: String) -> HostRewrite? {
    switch action.hostRewriteSpecifier {
    case nil: return nil
    case .hostRewriteLiteral(let text):
      return text.isEmpty ? nil : hostLiteral(text, path + ".host_rewrite_literal").map { .literal($0) }
    case .autoHostRewrite(let value): return value.value ? .automatic : nil
    case .hostRewriteHeader(let name):
      return conditions.headerName(name, path + ".host_rewrite_header").map { .header($0) }
    case .hostRewritePathRegex(let message):
      return conditions.substitution(message, path + ".host_rewrite_path_regex").map { .path($0) }
    case .hostRewrite(let text):
      switch headers.text(text, path + ".host_rewrite") {
      case nil: return nil
      case .format(let format): return .format(format)
      case .literal(let bytes): return bytes.isEmpty ? nil : .literal(bytes)
      }
    }
  }

  private mutating func hostLiteral(_ text: String, _ path: String) -> [UInt8]? {
    let bytes = Array(text.utf8)
    guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "@") }) else {
      problem(path, "'\(text)' is not a host")
      return nil
    }
    return bytes
  }

  // MARK: Answers

  private mutating func redirect(_ action: RedirectAction, _ path: String, _ matchedLength: Int) -> Redirect? {
    let before = problems.count
    let status: Int
    switch action.responseCode {
    case .movedPermanently: status = 301
    case .found: status = 302
    case .seeOther: status = 303
    case .temporaryRedirect: status = 307
    case .permanentRedirect: status = 308
    case .UNRECOGNIZED(let number):
      problem(path + ".response_code", "unknown value \(number)")
      status = 301
    }
    var scheme: [UInt8] = []
    switch action.schemeRewriteSpecifier {
    case nil: break
    case .httpsRedirect(let wanted): if wanted { scheme = Array("https".utf8) }
    case .schemeRedirect(let text):
      scheme = Array(text.utf8)
      // RFC 3986 §3.1.
      let isScheme = scheme.allSatisfy {
        $0 &- 0x30 < 10 || ($0 | 0x20) &- 0x61 < 26
          || [UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ".")].contains($0)
      }
      if !isScheme { problem(path + ".scheme_redirect", "'\(text)' is not a scheme (RFC 3986 §3.1)") }
    }
    let host = action.hostRedirect.isEmpty ? [] : hostLiteral(action.hostRedirect, path + ".host_redirect") ?? []
    if action.portRedirect > 65_535 {
      problem(path + ".port_redirect", "\(action.portRedirect) is not a port (0 to 65535)")
    } else if action.portRedirect > 0, host.withUnsafeBufferPointer({ Authority.portStart($0) < host.count }) {
      problem(path + ".port_redirect", "must not be combined with a host_redirect that has a port")
    }
    let target = redirectPath(action, path)
    guard problems.count == before else { return nil }
    return Redirect(
      status: status, scheme: scheme, host: host, port: action.portRedirect, path: target,
      matchedLength: matchedLength, dropsQuery: action.stripQuery)
  }

  private mutating func redirectPath(_ action: RedirectAction, _ path: String) -> PathRewrite? {
    switch action.pathRewriteSpecifier {
    case nil: return nil
    case .pathRedirect(let text):
      guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
        problem(path + ".path_redirect", "holds a byte that must not occur in a URI (RFC 3986 §2)")
        return nil
      }
      return text.isEmpty ? nil : .literal(Array(text.utf8))
    case .prefixRewrite(let text):
      return text.isEmpty ? nil : pathText(text, path + ".prefix_rewrite").map { .prefix($0) }
    case .regexRewrite(let message):
      return conditions.substitution(message, path + ".regex_rewrite").map { .substitution($0) }
    case .pathRewrite(let text):
      return text.isEmpty ? nil : pathFormat(text, path + ".path_rewrite")
    }
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
      if body.count > bodyLimit {
        problem(
          path + ".body",
          "has \(body.count) bytes; at most \(bodyLimit) are allowed (max_direct_response_body_size_bytes)")
        valid = false
      }
      let format = response.hasBodyFormat ? response.bodyFormat : nil
      return valid ? DirectResponse(status: Int(response.status), body: body, bodyFormat: format) : nil
    }
  }
}
