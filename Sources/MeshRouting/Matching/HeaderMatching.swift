import MeshAPI
import MeshPrimitives

/// Conditions on headers that must all hold (`repeated HeaderMatcher`), for whoever has such conditions beside routes:
/// filters. Immutable; shared by all threads.
public struct HeaderMatching: Sendable {
  private let conditions: [HeaderCondition]

  /// No conditions: every request matches.
  public init() { conditions = [] }

  /// Compiles matchers, or says everything that is wrong with them; paths begin with `path`.
  public static func build(_ matchers: [HeaderMatcher], path: String) -> Result<HeaderMatching, RouteProblems> {
    var compiler = ConditionCompiler()
    let conditions = matchers.enumerated().compactMap { compiler.header($0.element, "\(path)[\($0.offset)]") }
    guard compiler.problems.isEmpty else { return .failure(RouteProblems(problems: compiler.problems)) }
    return .success(HeaderMatching(conditions: conditions))
  }

  private init(conditions: [HeaderCondition]) { self.conditions = conditions }

  /// Whether all conditions hold.
  public func matches<R: RouteRequest & ~Copyable>(_ request: borrowing R) -> Bool {
    for condition in conditions where !condition.holds(request) { return false }
    return true
  }
}

/// Several problems as one error.
public struct RouteProblems: Error, Equatable, Sendable {
  public let problems: [RouteProblem]
}
