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

/// What is done for the filters of a chain: gates at its front are asked by the stream itself, what only observes needs
/// nothing, and all others are objects of each stream. Immutable; shared by all threads.
struct RequestGates: Sendable {
  private let gates: [any RequestGate]
  /// Of each gate, in the chain.
  private let places: [Int]

  /// How many gates there are.
  let count: Int
  /// The places in the chain of the filters that are objects.
  let filterPlaces: [Int]

  init(_ filters: [any FilterConfiguration], _ routes: RouteFilters) {
    var gates: [any RequestGate] = []
    var places: [Int] = []
    var filterPlaces: [Int] = []
    for (place, filter) in filters.enumerated() {
      if (filter as? any ObserverConfiguration)?.onlyObserves == true { continue }
      // Behind a filter that is an object a gate is one, too: each has its turn.
      if filterPlaces.isEmpty,
        let gate = (filter as? any GateFilterConfiguration)?.gate(routes.configurations(ofFilterAt: place))
      {
        gates.append(gate)
        places.append(place)
      } else {
        filterPlaces.append(place)
      }
    }
    self.gates = gates
    self.places = places
    self.filterPlaces = filterPlaces
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
    for (gate, place) in zip(gates, places) {
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
