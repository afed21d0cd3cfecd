import MeshAPI
import MeshPrimitives

/// Routes: what they match, and the entries that they become.
extension RouteTableBuilder {
  mutating func source(
    _ route: Route, _ number: Int, _ around: Surroundings, _ path: String
  ) -> VirtualHostRoutes.Source? {
    let match = match(route.match, path + ".match")
    let own = levels(
      requestAdd: route.requestHeadersToAdd, requestRemove: route.requestHeadersToRemove,
      responseAdd: route.responseHeadersToAdd, responseRemove: route.responseHeadersToRemove, path + ".")
    var around = around
    around.levels.insert(own, at: 0)
    around.filters = filterSources(route.typedPerFilterConfig, under: around.filters, path + ".")
    let limit = replayLimit(
      route.hasRequestBodyBufferLimit ? route.requestBodyBufferLimit.value : nil,
      route.hasPerRequestBufferLimitBytes ? route.perRequestBufferLimitBytes.value : nil)
    if let limit { around.replayLimit = limit }
    let decorator = decorator(route, path + ".decorator")
    let drafts = drafts(route, path, around, matchedLength: match?.matchedLength ?? 0)
    guard let match, let drafts, !drafts.entries.isEmpty else { return nil }
    let limits = rateLimits(route, around, path)
    around.tracing = route.hasTracing ? RouteTraceRules(route.tracing, path: path + ".tracing") : nil
    let entries = drafts.entries.map { (entry($0, route, number, around, decorator, limits), $0.weight) }
    return VirtualHostRoutes.Source(
      rule: match.rule, conditions: match.conditions, entries: entries, choice: drafts.choice,
      isForConnect: route.match.isForConnect)
  }

  /// What becomes of a request, before the levels above are added.
  struct EntryDraft {
    let action: RouteEntry.Action
    var weight: UInt64 = 1
    /// The weighted cluster's own.
    var levels: HeaderLevels?
    var filters: (configs: [String: TypedConfig], path: String)?
  }

  private mutating func entry(
    _ draft: EntryDraft, _ route: Route, _ number: Int, _ around: Surroundings, _ decorator: RouteEntry.Decorator?,
    _ limits: RouteRateLimits?
  ) -> RouteEntry {
    // From the special to the general, so that the general has the last word, or the other way round; a weighted
    // cluster's changes come first either way.
    var levels = mostSpecialWins ? around.levels.reversed() : around.levels
    if let own = draft.levels { levels.insert(own, at: 0) }
    var filters = around.filters
    if let own = draft.filters { filters = filterSources(own.configs, under: filters, own.path) }
    var attemptCount = around.attemptCount
    if case .forward = draft.action {} else { attemptCount = [] }
    return RouteEntry(
      name: route.name, virtualHostName: around.host.name, virtualHostIndex: around.hostIndex, routeIndex: number,
      action: draft.action, requestHeaders: HeaderMutations(levels: levels.map(\.request)),
      responseHeaders: HeaderMutations(levels: levels.map(\.response)), attemptCount: attemptCount,
      filterSources: filters.values.sorted(), decorator: decorator, tracing: around.tracing,
      metadata: route.metadata,
      virtualHostMetadata: around.host.metadata, rateLimits: limits)
  }

  /// What requests that are sent to a cluster are counted under; nil if nothing is said.
  private mutating func rateLimits(_ route: Route, _ around: Surroundings, _ path: String) -> RouteRateLimits? {
    guard case .route(let action)? = route.action else { return nil }
    let own = rateLimits.routeRules(action.rateLimits, path + ".route.rate_limits")
    if own.isEmpty, around.rateLimits.isEmpty { return nil }
    return RouteRateLimits(
      own: own, host: around.rateLimits,
      includesHost: action.hasIncludeVhRateLimits && action.includeVhRateLimits.value)
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

  // MARK: Matching

  struct Match {
    let rule: PathRule
    let conditions: RouteConditions
    /// How many bytes of a path the rule matches; `Int.max`: all.
    let matchedLength: Int
  }

  private mutating func match(_ match: RouteMatch, _ path: String) -> Match? {
    let rule = rule(match, path)
    var headers: [HeaderCondition] = []
    for (index, matcher) in match.headers.enumerated() {
      if let condition = conditions.header(matcher, "\(path).headers[\(index)]") { headers.append(condition) }
    }
    var query: [QueryCondition] = []
    for (index, matcher) in match.queryParameters.enumerated() {
      if let condition = conditions.query(matcher, "\(path).query_parameters[\(index)]") { query.append(condition) }
    }
    var cookies: [CookieCondition] = []
    for (index, matcher) in match.cookies.enumerated() {
      if let condition = conditions.cookie(matcher, "\(path).cookies[\(index)]") { cookies.append(condition) }
    }
    let fraction = match.hasRuntimeFraction ? fraction(match.runtimeFraction, path + ".runtime_fraction") : nil
    guard let rule else { return nil }
    return Match(
      rule: rule.rule,
      conditions: RouteConditions(
        path: rule.expression, headers: headers, query: query, cookies: cookies, fraction: fraction,
        isForGRPC: match.hasGrpc, certificate: match.hasTlsContext ? Self.certificate(match.tlsContext) : nil),
      matchedLength: rule.expression == nil ? rule.rule.text.count : .max)
  }

  private static func certificate(
    _ options: RouteMatch.TlsContextMatchOptions
  ) -> RouteConditions.CertificateCondition {
    var asked: PeerCertificateState = []
    var wanted: PeerCertificateState = []
    if options.hasPresented {
      asked.insert(.presented)
      if options.presented.value { wanted.insert(.presented) }
    }
    if options.hasValidated {
      asked.insert(.validated)
      if options.validated.value { wanted.insert(.validated) }
    }
    return .init(asked: asked, wanted: wanted)
  }

  private mutating func rule(
    _ match: RouteMatch, _ path: String
  ) -> (rule: PathRule, expression: RegularExpression?)? {
    let ignoresCase = match.hasCaseSensitive && !match.caseSensitive.value
    switch match.pathSpecifier {
    case nil:
      problem(path, "one of prefix, path, safe_regex, path_separated_prefix and connect_matcher is required")
      return nil
    // Looked up apart from those that have paths.
    case .connectMatcher: return (PathRule(.prefix, "", ignoresCase: false), nil)
    case .prefix(let text): return (PathRule(.prefix, text, ignoresCase: ignoresCase), nil)
    case .path(let text): return (PathRule(.exact, text, ignoresCase: ignoresCase), nil)
    case .safeRegex(let regex):
      guard let expression = conditions.expression(regex, path + ".safe_regex") else { return nil }
      return (PathRule(expressionPrefix: RegexPrefix.of(regex.regex)), expression)
    case .pathSeparatedPrefix(let text):
      let bytes = text.utf8
      guard bytes.count > 1, bytes.first == UInt8(ascii: "/"), bytes.last != UInt8(ascii: "/"),
        !bytes.contains(UInt8(ascii: "?")), !bytes.contains(UInt8(ascii: "#"))
      else {
        problem(
          path + ".path_separated_prefix", "'\(text)' must begin with '/', must not end with it, and has no '?' or '#'")
        return nil
      }
      return (PathRule(.separatedPrefix, text, ignoresCase: ignoresCase), nil)
    }
  }

  mutating func fraction(_ message: RuntimeFractionalPercent, _ path: String) -> RuntimeFraction? {
    guard message.hasDefaultValue else {
      problem(path + ".default_value", "is required")
      return nil
    }
    if case .UNRECOGNIZED(let number) = message.defaultValue.denominator {
      problem(path + ".default_value.denominator", "unknown value \(number)")
      return nil
    }
    return RuntimeFraction(
      message.runtimeKey.isEmpty ? nil : runtime.value(message.runtimeKey), or: Fraction(message.defaultValue))
  }
}

extension RouteMatch {
  /// The route is for CONNECT requests alone.
  var isForConnect: Bool { if case .connectMatcher = pathSpecifier { true } else { false } }
}
