import MeshAPI
import MeshPrimitives

/// Makes rules from `rate_limits`; what is wrong is reported and left out.
struct RateLimitCompiler {
  let runtime: Runtime
  let formats: RouteTable.FormatCompiler
  private var conditions = ConditionCompiler()
  private var found: [RouteProblem] = []

  init(runtime: Runtime, formats: @escaping RouteTable.FormatCompiler) {
    self.runtime = runtime
    self.formats = formats
  }

  var problems: [RouteProblem] { found + conditions.problems }

  private mutating func problem(_ path: String, _ message: String) {
    found.append(RouteProblem(path: path, message: message))
  }

  /// - Parameter path: of the list.
  mutating func rules(_ policies: [RateLimitPolicy], _ path: String) -> [RateLimitRule] {
    policies.enumerated().compactMap { rule($0.element, "\(path)[\($0.offset)]") }
  }

  /// The rules of a route or a virtual host.
  /// - Parameter path: of the list.
  mutating func routeRules(_ policies: [RateLimitPolicy], _ path: String) -> [RateLimitRule] {
    for (index, policy) in policies.enumerated() where policy.hasHitsAddend {
      // Envoy takes it and makes nothing of it.
      problem("\(path)[\(index)].hits_addend", "counts in the rate_limits of filters only")
    }
    return rules(policies, path)
  }

  private mutating func rule(_ policy: RateLimitPolicy, _ path: String) -> RateLimitRule? {
    let before = problems.count
    if policy.actions.isEmpty { problem(path + ".actions", "needs at least one action") }
    let actions = policy.actions.enumerated().compactMap { action($0.element, "\(path).actions[\($0.offset)]") }
    let hits = policy.hasHitsAddend ? self.hits(policy.hitsAddend, path + ".hits_addend") : .unsaid
    var limit: [String]?
    if policy.hasLimit {
      switch policy.limit.overrideSpecifier {
      case .dynamicMetadata(let metadata):
        limit = self.path(metadata.metadataKey, path + ".limit.dynamic_metadata.metadata_key")
      case nil: problem(path + ".limit", "needs dynamic_metadata")
      }
    }
    guard problems.count == before else { return nil }
    let key = policy.disableKey.isEmpty ? nil : "ratelimit.\(policy.disableKey).http_filter_enabled"
    return RateLimitRule(
      stage: policy.hasStage ? policy.stage.value : 0,
      enabled: key.map { RuntimeFraction(runtime.value($0), or: .all) }, isForEnd: policy.applyOnStreamDone,
      actions: actions, hits: hits, limit: limit)
  }

  private mutating func hits(_ addend: RateLimitPolicy.HitsAddend, _ path: String) -> RateLimitRule.Hits {
    guard !addend.format.isEmpty else {
      guard addend.hasNumber else { return .unsaid }
      if addend.number.value > RateLimitRule.maximumHits { problem(path + ".number", "must be at most 1000000000") }
      return .number(addend.number.value)
    }
    if addend.hasNumber { problem(path, "must not have both number and format") }
    guard addend.format.first == "%", addend.format.last == "%", addend.format.utf8.count > 2 else {
      problem(path + ".format", "must be one operator (%BYTES_RECEIVED%)")
      return .unsaid
    }
    switch formats(addend.format) {
    case .success(let format?): return .format(format)
    case .success(nil): problem(path + ".format", "must be one operator (%BYTES_RECEIVED%)")
    case .failure(let failure): problem(path + ".format", failure.message)
    }
    return .unsaid
  }

  private mutating func action(_ action: RateLimitPolicy.Action, _ path: String) -> RateLimitAction? {
    switch action.actionSpecifier {
    case nil:
      problem(path, "needs an action")
      return nil
    case .sourceCluster: return .sourceCluster
    case .destinationCluster: return .destinationCluster
    case .requestHeaders(let headers):
      let path = path + ".request_headers"
      let key = key(headers.descriptorKey, path)
      return conditions.headerName(headers.headerName, path + ".header_name")
        .map { .header($0, key: key, isOptional: headers.skipIfAbsent) }
    case .queryParameters(let query):
      let path = path + ".query_parameters"
      if query.queryParameterName.isEmpty { problem(path + ".query_parameter_name", "is required") }
      return .query(
        name: Array(query.queryParameterName.utf8), key: key(query.descriptorKey, path), isOptional: query.skipIfAbsent)
    case .remoteAddress: return .client
    case .maskedRemoteAddress(let masked): return range(masked, path + ".masked_remote_address")
    case .genericKey(let constant):
      return .constant(
        entry(constant.descriptorKey, or: "generic_key", constant.descriptorValue, path + ".generic_key"))
    case .headerValueMatch(let match):
      let path = path + ".header_value_match"
      let entry = entry(match.descriptorKey, or: "header_match", match.descriptorValue, path)
      if match.headers.isEmpty { problem(path + ".headers", "needs at least one condition") }
      switch HeaderMatching.build(match.headers, path: path + ".headers") {
      case .success(let matching):
        return .headersMatch(matching, wanted: !match.hasExpectMatch || match.expectMatch.value, entry)
      case .failure(let failure):
        found += failure.problems
        return nil
      }
    case .queryParameterValueMatch(let match):
      let path = path + ".query_parameter_value_match"
      let entry = entry(match.descriptorKey, or: "query_match", match.descriptorValue, path)
      if match.queryParameters.isEmpty { problem(path + ".query_parameters", "needs at least one condition") }
      let parameters = match.queryParameters.enumerated().compactMap {
        conditions.query($0.element, "\(path).query_parameters[\($0.offset)]")
      }
      return .queryMatches(parameters, wanted: !match.hasExpectMatch || match.expectMatch.value, entry)
    case .metadata(let metadata):
      let path = path + ".metadata"
      let key = key(metadata.descriptorKey, path)
      return self.path(metadata.metadataKey, path + ".metadata_key").map {
        .metadata(
          path: $0, ofRoute: metadata.source == .routeEntry, key: key, fallback: Array(metadata.defaultValue.utf8),
          isOptional: metadata.skipIfAbsent)
      }
    }
  }

  private mutating func key(_ key: String, _ path: String) -> [UInt8] {
    if key.isEmpty { problem(path + ".descriptor_key", "is required") }
    return Array(key.utf8)
  }

  private mutating func entry(_ key: String, or usual: String, _ value: String, _ path: String) -> RateLimitEntry {
    if value.isEmpty { problem(path + ".descriptor_value", "is required") }
    return RateLimitEntry(key: Array((key.isEmpty ? usual : key).utf8), value: Array(value.utf8))
  }

  private mutating func range(_ masked: RateLimitPolicy.Action.MaskedRemoteAddress, _ path: String) -> RateLimitAction {
    func bits(_ value: UInt32, _ most: Int) -> Int { min(Int(value), most) }
    let v4 = masked.hasV4PrefixMaskLen ? masked.v4PrefixMaskLen.value : 32
    let v6 = masked.hasV6PrefixMaskLen ? masked.v6PrefixMaskLen.value : 128
    if v4 > 32 { problem(path + ".v4_prefix_mask_len", "must be at most 32") }
    if v6 > 128 { problem(path + ".v6_prefix_mask_len", "must be at most 128") }
    return .clientRange(v4: bits(v4, 32), v6: bits(v6, 128))
  }

  /// A namespace and names of members.
  private mutating func path(_ key: MetadataKey, _ path: String) -> [String]? {
    if key.key.isEmpty { problem(path + ".key", "is required") }
    if key.path.isEmpty { problem(path + ".path", "needs at least one step") }
    for (index, step) in key.path.enumerated() where step.key.isEmpty {
      problem("\(path).path[\(index)].key", "is required")
    }
    return key.key.isEmpty || key.path.isEmpty ? nil : [key.key] + key.path.map(\.key)
  }
}

extension RateLimitRule {
  /// Compiles the rules that a filter has itself, which have neither `stage` nor `disable_key`; paths begin with `path`.
  /// - Parameter takesLimit: whether a limit may come with the request.
  public static func build(
    _ policies: [RateLimitPolicy], path: String, takesLimit: Bool, runtime: Runtime,
    formats: @escaping RouteTable.FormatCompiler
  ) -> Result<[RateLimitRule], RouteProblems> {
    var compiler = RateLimitCompiler(runtime: runtime, formats: formats)
    let rules = compiler.rules(policies, path)
    var problems = compiler.problems
    for (index, policy) in policies.enumerated() {
      if policy.hasStage { problems.append(.init(path: "\(path)[\(index)].stage", message: "means nothing here")) }
      if !policy.disableKey.isEmpty {
        problems.append(.init(path: "\(path)[\(index)].disable_key", message: "means nothing here"))
      }
      if policy.hasLimit, !takesLimit {
        problems.append(.init(path: "\(path)[\(index)].limit", message: "is for a rate limit service only"))
      }
    }
    return problems.isEmpty ? .success(rules) : .failure(RouteProblems(problems: problems))
  }
}
