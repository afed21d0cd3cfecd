import MeshAPI
import MeshPrimitives
import MeshRouting

/// The filters that limit rates.
extension FilterRegistry {
  static let rateLimits: [FilterRegistration] = [
    FilterRegistration(
      name: LocalRateLimitFilter.name, typeName: LocalRateLimit.protoMessageName,
      make: { config, context throws(FilterProblem) in
        LocalRateLimitFilter.Configuration(
          settings: try LocalRateLimitSettings(unpack(config), context, isForRoute: false))
      },
      makeForRoute: { config, context throws(FilterProblem) in
        try LocalRateLimitSettings(unpack(config), context, isForRoute: true)
      }),
    FilterRegistration(
      name: GlobalRateLimitFilter.name, typeName: GlobalRateLimit.protoMessageName,
      make: { config, context throws(FilterProblem) in
        GlobalRateLimitFilter.Configuration(settings: try GlobalRateLimitSettings(unpack(config), context))
      },
      makeForRoute: { config, context throws(FilterProblem) in
        try GlobalRateLimitSettings.ForRoute(unpack(config), context)
      }),
  ]
}

extension FilterBuildContext {
  /// Headers that a filter adds; nil if there are none.
  func additions(_ options: [HeaderValueOption], _ path: String) throws(FilterProblem) -> HeaderMutations? {
    if options.isEmpty { return nil }
    switch HeaderMutations.build(adding: options, path: path, formats: HeaderFormat.compile) {
    case .success(let mutations): return mutations
    case .failure(let failure): throw FilterProblem(failure)
    }
  }

  /// The `rate_limits` that a filter has itself.
  func rateLimitRules(_ policies: [RateLimitPolicy], takesLimit: Bool) throws(FilterProblem) -> [RateLimitRule] {
    if policies.isEmpty { return [] }
    switch RateLimitRule.build(
      policies, path: "rate_limits", takesLimit: takesLimit, runtime: runtime, formats: HeaderFormat.compile)
    {
    case .success(let rules): return rules
    case .failure(let failure): throw FilterProblem(failure)
    }
  }
}

extension FilterProblem {
  /// The first of several problems.
  init(_ failure: RouteProblems) {
    self.init(path: failure.problems.first?.path ?? "", message: failure.problems.first?.message ?? "is wrong")
  }
}
