import MeshPrimitives

/// How many connections may be open at once: `envoy.filters.network.connection_limit`. Shared by all threads.
final class OpenConnectionLimit: Sendable {
  private let maximum: Int
  /// How long a connection over the limit stays open.
  let delay: Nanoseconds
  private let enabled: RuntimeFlag
  /// Of connections that are served; kept over configuration updates.
  private let count: CircuitBreaker.Gate
  private let stats: StatBlock<ConnectionLimitStat>
  private let lease: StatsLease

  init(
    maximum: Int, delay: Nanoseconds, enabled: RuntimeFlag, count: CircuitBreaker.Gate,
    stats: StatBlock<ConnectionLimitStat>, lease: StatsLease
  ) {
    self.maximum = maximum
    self.delay = delay
    self.enabled = enabled
    self.count = count
    self.stats = stats
    self.lease = lease
  }

  /// What a connection holds until it ends.
  struct Place {
    fileprivate let limit: OpenConnectionLimit
    /// It is over the limit, and does not count for it.
    let isRefused: Bool

    func leave(lane: Int) {
      limit.stats.lane(lane).subtract(.active)
      if !isRefused { limit.count.leave() }
    }
  }

  /// A place for a new connection; nil if the limit is switched off.
  func place(lane: Int) -> Place? {
    guard enabled.isOn else { return nil }
    let stats = stats.lane(lane)
    stats.add(.active)
    if count.enter(limit: maximum) { return Place(limit: self, isRefused: false) }
    stats.add(.limited)
    return Place(limit: self, isRefused: true)
  }
}

/// The places that a worker's connections hold. Confined to the worker.
struct ConnectionPlaces {
  private var places: [UInt64: [OpenConnectionLimit.Place]] = [:]

  mutating func add(_ place: OpenConnectionLimit.Place, of connection: UInt64) {
    places[connection, default: []].append(place)
  }

  /// A connection has ended.
  @inline(__always)
  mutating func leave(_ connection: UInt64, lane: Int) {
    if places.isEmpty { return }
    for place in places.removeValue(forKey: connection) ?? [] { place.leave(lane: lane) }
  }
}
