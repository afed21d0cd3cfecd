import MeshRouting

/// What routes say to the filters of one chain (`typed_per_filter_config`), and which filters a route's requests meet.
/// Immutable; shared by all threads.
public struct RouteFilters: Sendable {
  /// What one route says, by the filter's place in the chain.
  struct Statements: Sendable {
    var configurations: [Int: any RouteFilterConfiguration] = [:]
    /// Filters that see this route's requests, or do not, whatever the chain says.
    var isEnabled: [Int: Bool] = [:]
  }

  private let byRoute: [ObjectIdentifier: Statements]
  /// Filters that see a request only if its route says so (`disabled` in the chain).
  private let disabled: Set<Int>
  /// Which filters a request meets depends on its route.
  let isConditional: Bool

  /// No route says anything.
  init() { self.init([:], disabled: []) }

  init(_ byRoute: [ObjectIdentifier: Statements], disabled: Set<Int>) {
    self.byRoute = byRoute
    self.disabled = disabled
    isConditional = !disabled.isEmpty || byRoute.values.contains { $0.isEnabled.values.contains(false) }
    saysSomething = isConditional || !byRoute.isEmpty
  }

  /// Some route says something to some filter, or the chain has filters that only some routes' requests meet.
  let saysSomething: Bool

  /// Everything that routes say to the filter at a place of the chain.
  func configurations(ofFilterAt place: Int) -> [any RouteFilterConfiguration] {
    byRoute.values.compactMap { $0.configurations[place] }
  }

  /// What a route says to the filter at a place of the chain.
  func configuration(ofFilterAt place: Int, for route: RouteEntry) -> (any RouteFilterConfiguration)? {
    byRoute[ObjectIdentifier(route)]?.configurations[place]
  }

  /// Whether the filter at a place of the chain sees a request.
  func isEnabled(_ place: Int, for route: RouteEntry?) -> Bool {
    route.flatMap { byRoute[ObjectIdentifier($0)]?.isEnabled[place] } ?? !disabled.contains(place)
  }
}
