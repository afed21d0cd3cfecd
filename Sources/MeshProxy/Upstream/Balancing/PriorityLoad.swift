/// How the load is spread over the priorities of a cluster, by Envoy's rules: a priority takes as much as its healthy
/// endpoints can carry, with a margin; the rest goes to the next one, then to degraded endpoints. A value without clocks or
/// endpoints.
struct PriorityLoad: Sendable, Equatable {
  /// What there is of endpoints in one priority.
  struct Health: Sendable, Equatable {
    var hosts = 0
    var healthy = 0
    var degraded = 0
    /// Not counted among those that ought to be healthy.
    var excluded = 0
    /// The same by weight.
    var healthyWeight: UInt64 = 0
    var degradedWeight: UInt64 = 0
    var excludedWeight: UInt64 = 0
    var weight: UInt64 = 0
    /// In percent.
    var overprovisioning: UInt32 = 140
    /// Weights count, not numbers.
    var isWeighted = false

    /// How much of the load its healthy, or degraded, endpoints can carry, in percent.
    func availability(degraded isDegraded: Bool) -> UInt32 {
      guard hosts > excluded else { return 0 }
      let able: UInt64
      let all: UInt64
      if isWeighted {
        able = isDegraded ? degradedWeight : healthyWeight
        all = weight - excludedWeight
      } else {
        able = UInt64(isDegraded ? degraded : healthy)
        all = UInt64(hosts - excluded)
      }
      guard all > 0 else { return 0 }
      let (product, overflow) = able.multipliedReportingOverflow(by: UInt64(overprovisioning))
      return overflow ? 100 : UInt32(min(100, product / all))
    }

    /// Too few of its endpoints are healthy or degraded.
    func isInPanic(below threshold: UInt32) -> Bool {
      guard hosts > excluded else { return threshold > 0 }
      return 100 * Double(healthy + degraded) / Double(hosts - excluded) < Double(threshold)
    }
  }

  /// One of a cluster's groups of endpoints.
  struct Place: Sendable, Equatable {
    var priority: Int
    /// Those that are degraded, in place of those that are healthy.
    var isDegraded = false
  }

  /// In percent, by priority; together 100.
  private(set) var healthy: [UInt32]
  private(set) var degraded: [UInt32]
  /// Health does not count.
  private(set) var panics: [Bool]
  /// What each priority could carry.
  private let carries: (healthy: [UInt32], degraded: [UInt32])

  /// Of one priority with healthy endpoints only.
  static let whole = PriorityLoad([Health(hosts: 1, healthy: 1)], panicThreshold: 50)

  /// - Parameters:
  ///   - levels: of every priority, 0 first; at least one.
  ///   - threshold: in percent; 0 switches panic off.
  init(_ levels: [Health], panicThreshold threshold: UInt32) {
    let able = levels.map { $0.availability(degraded: false) }
    let poor = levels.map { $0.availability(degraded: true) }
    carries = (able, poor)
    (healthy, degraded) = Self.spread(able, poor)
    panics = levels.map { _ in false }
    let total = Self.total(able, poor)
    if threshold == 0, total == 0 {
      // There is nobody; whoever is asked says so.
      healthy[0] = 100
      return
    }
    guard total < 100 else { return }
    panics = levels.map { $0.isInPanic(below: threshold) }
    if panics.allSatisfy({ $0 }) { spreadByNumber(levels) }
  }

  static func == (a: Self, b: Self) -> Bool {
    a.healthy == b.healthy && a.degraded == b.degraded && a.panics == b.panics && a.carries == b.carries
  }

  /// All are in panic: each priority gets its share of endpoints.
  private mutating func spreadByNumber(_ levels: [Health]) {
    let hosts = levels.reduce(0) { $0 + $1.hosts }
    degraded = levels.map { _ in 0 }
    guard hosts > 0, let first = levels.firstIndex(where: { $0.hosts > 0 }) else {
      healthy = levels.map { _ in 0 }
      healthy[0] = 100
      return
    }
    healthy = levels.map { UInt32(100 * $0.hosts / hosts) }
    healthy[first] += 100 - healthy.reduce(0, +)
  }

  private static func total(_ able: [UInt32], _ poor: [UInt32]) -> UInt32 {
    min(100, able.reduce(0, +) + poor.reduce(0, +))
  }

  /// Shares by what each can carry, the first ones first; what rounding leaves is the first one's.
  private static func spread(_ able: [UInt32], _ poor: [UInt32]) -> (healthy: [UInt32], degraded: [UInt32]) {
    let total = total(able, poor)
    guard total > 0 else { return (able, poor) }
    var left: UInt32 = 100
    func take(_ percent: UInt32) -> UInt32 {
      let share = min(left, percent * 100 / total)
      left -= share
      return share
    }
    var healthy = able.map(take)
    var degraded = poor.map(take)
    if let first = able.firstIndex(where: { $0 > 0 }) {
      healthy[first] += left
    } else if let first = poor.firstIndex(where: { $0 > 0 }) {
      degraded[first] += left
    }
    return (healthy, degraded)
  }

  /// The same without some priorities, for a request that has been there already; the same as it is if nobody else can
  /// carry anything (`envoy.retry_priorities.previous_priorities`).
  func excluding(_ tried: [UInt32]) -> PriorityLoad {
    let isTried = healthy.indices.map { index in tried.contains { $0 == UInt32(index) } }
    let able = zip(carries.healthy, isTried).map { $1 ? 0 : $0 }
    let poor = zip(carries.degraded, isTried).map { $1 ? 0 : $0 }
    guard Self.total(able, poor) > 0 else { return self }
    var result = self
    (result.healthy, result.degraded) = Self.spread(able, poor)
    return result
  }

  /// The one group that has the whole load; nil if several have some.
  var only: Place? {
    if let priority = healthy.firstIndex(of: 100) { return Place(priority: priority) }
    return degraded.firstIndex(of: 100).map { Place(priority: $0, isDegraded: true) }
  }

  /// - Parameter number: any; the same one gets the same place.
  func place(_ number: UInt64) -> Place {
    let percent = UInt32(number % 100) + 1
    var sum: UInt32 = 0
    for (priority, share) in healthy.enumerated() {
      sum += share
      if percent <= sum { return Place(priority: priority) }
    }
    for (priority, share) in degraded.enumerated() {
      sum += share
      if percent <= sum { return Place(priority: priority, isDegraded: true) }
    }
    return Place(priority: 0)
  }
}
