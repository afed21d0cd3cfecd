import MeshPrimitives

/// Chooses endpoints for one worker's requests to one cluster: a priority and the healthy or degraded endpoints in it, then
/// a locality, then one of them by the cluster's policy (`HostPicker`, or the request's hash). Where there is nothing to
/// choose but whose turn it is, it costs one comparison more than the turn.
struct LoadBalancer {
  /// All requests go to these in turn, whatever they are.
  private var isPlain = true
  private var rotation = RoundRobinBalancer()
  private(set) var sets = HostSets.none
  /// In the order of `sets.hosts`.
  private var endpoints: [ActiveEndpoint] = []
  /// By place, made when the first request comes there: the healthy, the degraded, all of a priority. Empty until one comes.
  private var groups: [GroupBalancer?] = []
  /// When endpoints no longer start slowly, and the rest is simpler.
  private var changesAt = MonotonicTime.never
  private var identity: ClusterIdentity?
  private var stats: StatLane<ClusterStat>?

  init() {}

  /// - Parameters:
  ///   - identity: the cluster's.
  ///   - lane: the worker's.
  init(_ identity: ClusterIdentity, lane: Int) {
    self.identity = identity
    stats = identity.stats.lane(lane)
  }

  /// Takes a new set of endpoints.
  /// - Parameter new: as `sets.hosts`.
  mutating func update(
    _ new: [ActiveEndpoint], _ sets: HostSets, _ random: inout Random, _ now: MonotonicTime
  ) {
    endpoints = new
    self.sets = sets
    changesAt = now < sets.slowUntil ? sets.slowUntil : .never
    groups = []
    let turns = sets.plainRotation(now)
    isPlain = turns != nil
    rotation = turns.map { RoundRobinBalancer($0.map { new[Int($0)] }, random: random.next()) } ?? RoundRobinBalancer()
  }

  /// The endpoint for the next request; nil if there is none.
  @inline(__always)
  mutating func pick(_ random: inout Random, _ now: @autoclosure () -> MonotonicTime) -> ActiveEndpoint? {
    if isPlain { return rotation.pick() }
    return pick(EndpointChoice(), &random, now())
  }

  /// The same for a request of which something is known.
  @inline(never)
  mutating func pick(_ choice: EndpointChoice, _ random: inout Random, _ now: MonotonicTime) -> ActiveEndpoint? {
    if now >= changesAt { update(endpoints, sets, &random, now) }
    if isPlain, choice.triedPriorities.isEmpty { return rotation.pick() }
    let load = choice.triedPriorities.isEmpty ? sets.load : sets.load.excluding(choice.triedPriorities)
    let number = choice.hash ?? random.next()
    return pick(load.only ?? load.place(number), number, choice.refusals, &random, now)
  }

  /// The endpoint for a request that goes to one place of the cluster; nil if there is none.
  /// - Parameters:
  ///   - number: the request's hash, or a random number.
  ///   - refusals: see `EndpointChoice`.
  mutating func pick(
    _ place: PriorityLoad.Place, _ number: UInt64, _ refusals: Int, _ random: inout Random, _ now: MonotonicTime
  ) -> ActiveEndpoint? {
    guard place.priority < sets.levels.count else { return nil }
    let isInPanic = sets.load.panics[place.priority]
    if isInPanic {
      stats?.add(.healthyPanic)
      if sets.configuration.failsOnPanic { return nil }
    }
    if sets.configuration.usesHash { return hashed(place, number, refusals) }
    let index = place.priority * 3 + (isInPanic ? 2 : place.isDegraded ? 1 : 0)
    if groups.isEmpty { groups = [GroupBalancer?](repeating: nil, count: sets.levels.count * 3) }
    if groups[index] == nil {
      groups[index] = GroupBalancer(sets.group(place), endpoints, sets, &random, now)
    }
    return groups[index]?.pick(&random, now)
  }

  private func hashed(_ place: PriorityLoad.Place, _ hash: UInt64, _ refusals: Int) -> ActiveEndpoint? {
    let group = sets.group(place)
    guard let hashed = group.hashed else { return nil }
    let member: Int?
    if let factor = sets.configuration.balanceFactor, let identity {
      member = hashed.member(
        for: hash, attempt: refusals, factor: factor, total: identity.stats.total(.requestActive)
      ) { endpoints[Int(group.hosts[$0])].activeRequests }
    } else {
      member = hashed.member(for: hash, attempt: refusals)
    }
    return member.map { endpoints[Int(group.hosts[$0])] }
  }
}

/// Endpoints that are alike in priority and health, of one locality or of several.
private struct GroupBalancer {
  /// By locality; one for all if localities do not count.
  private var pickers: [HostPicker]
  /// Whose locality's turn it is; empty if there is one.
  private var localities = WeightedSchedule()
  private let weights: [Double]

  init(
    _ group: HostSets.Group, _ endpoints: [ActiveEndpoint], _ sets: HostSets, _ random: inout Random,
    _ now: MonotonicTime
  ) {
    let slowStart = now < sets.slowUntil ? sets.configuration.slowStart : nil
    let hosts = group.localities.isEmpty ? [group.hosts] : group.localities.map(\.hosts)
    var pickers: [HostPicker] = []
    for hosts in hosts {
      pickers.append(
        HostPicker(
          hosts.map { endpoints[Int($0)] }, sets.configuration.policy, slowStart: slowStart, &random, now))
    }
    self.pickers = pickers
    weights = group.localities.map(\.weight)
    guard weights.count > 1 else { return }
    for (index, weight) in weights.enumerated() { localities.add(index, weight: weight) }
    // See RoundRobinBalancer.
    for _ in 0..<random.below(64) { _ = localities.next { [weights] in weights[$0] } }
  }

  mutating func pick(_ random: inout Random, _ now: MonotonicTime) -> ActiveEndpoint? {
    let locality = localities.isEmpty ? 0 : localities.next { [weights] in weights[$0] } ?? 0
    return pickers[locality].pick(&random, now)
  }
}
