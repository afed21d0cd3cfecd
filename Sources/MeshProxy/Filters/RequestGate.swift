import MeshHTTP

/// A filter that judges a request by its head and remembers nothing of it. At the front of a chain it is asked in place:
/// no object stands for it in each stream, and no part of the message is led through it. Immutable; shared by all threads.
protocol RequestGate: AnyObject, Sendable {
  /// - Returns: false if the request has been answered.
  func admit(_ stream: Stream, _ headers: HeaderMap) -> Bool
  /// The same, where the request's route says something to the filter.
  func admit(_ stream: Stream, _ headers: HeaderMap, _ route: any RouteFilterConfiguration) -> Bool
}

/// A filter that can be a gate.
protocol GateFilterConfiguration: FilterConfiguration {
  /// The filter as a gate; nil if it needs to see more than the request's head.
  /// - Parameter routes: everything that routes say to it.
  func gate(_ routes: [any RouteFilterConfiguration]) -> (any RequestGate)?
}

/// The gates at the front of a chain, which the stream itself asks. Immutable; shared by all threads.
struct RequestGates: Sendable {
  private let gates: [any RequestGate]

  /// How many filters of the chain are gates: its first ones.
  let count: Int

  init(_ filters: [any FilterConfiguration], _ routes: RouteFilters) {
    var gates: [any RequestGate] = []
    for (place, filter) in filters.enumerated() {
      guard let gate = (filter as? any GateFilterConfiguration)?.gate(routes.configurations(ofFilterAt: place)) else {
        break
      }
      gates.append(gate)
    }
    self.gates = gates
    count = gates.count
  }

  /// Asks each in its turn.
  /// - Returns: false if the request has been answered.
  @inline(never)
  func admit(_ stream: Stream, _ headers: HeaderMap, _ routes: RouteFilters) -> Bool {
    if routes.saysSomething { return admitByRoute(stream, headers, routes) }
    for gate in gates where !gate.admit(stream, headers) { return false }
    return true
  }

  private func admitByRoute(_ stream: Stream, _ headers: HeaderMap, _ routes: RouteFilters) -> Bool {
    for (place, gate) in gates.enumerated() {
      guard !routes.isConditional || routes.isEnabled(place, for: stream.route) else { continue }
      if let route = stream.route.flatMap({ routes.configuration(ofFilterAt: place, for: $0) }) {
        guard gate.admit(stream, headers, route) else { return false }
      } else {
        guard gate.admit(stream, headers) else { return false }
      }
    }
    return true
  }
}
