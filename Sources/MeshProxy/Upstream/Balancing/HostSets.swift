import MeshAPI
import MeshPrimitives

/// A cluster's endpoints by priority, health and locality, with what follows for the spread of requests: all that balancing
/// needs to know beside a request. Made on the main thread whenever something of it changes, so that workers agree and
/// nothing is made twice. Immutable; shared by all threads.
public final class HostSets: Sendable {
  /// Endpoints of one locality. Numbers are places in `hosts`.
  struct Locality: Sendable, Equatable {
    /// Share of the load relative to the others, more than 0.
    var weight: Double
    var hosts: [Int32]
  }

  /// Endpoints of one priority that are alike in health.
  struct Group: Sendable {
    var hosts: [Int32] = []
    /// Those of localities that get any load; empty if localities do not count.
    var localities: [Locality] = []
    /// What chooses by hash; nil if nobody is there, or the policy does not go by hash.
    var hashed: HashedHosts?
  }

  /// The endpoints of one priority.
  struct Level: Sendable {
    /// All of them, whatever their health; in panic these have requests.
    var all = Group()
    var healthy = Group()
    var degraded = Group()
    var health = PriorityLoad.Health()
  }

  /// In the order of the configuration.
  let hosts: [WeightedEndpoint]
  let configuration: LoadBalancingConfiguration
  /// By priority; at least one.
  let levels: [Level]
  let load: PriorityLoad
  /// By place in `hosts`: how healthy each was when this was made.
  let availability: [EndpointAvailability]
  /// By place in `hosts`: since when each has been healthy, as far as that matters; empty without a slow start.
  let healthySince: [MonotonicTime]
  /// When the last one of them has its whole weight; the beginning of time if all have.
  let slowUntil: MonotonicTime

  /// - Parameters:
  ///   - previous: what there was before, of the same cluster; nil for the first.
  init(
    _ hosts: [WeightedEndpoint], _ configuration: LoadBalancingConfiguration, previous: HostSets? = nil,
    now: MonotonicTime = .init(nanoseconds: 0)
  ) {
    self.hosts = hosts
    self.configuration = configuration
    let availability = hosts.map(\.availability)
    self.availability = availability
    let highest = hosts.reduce(0) { max($0, Int($1.priority)) }
    var levels = [Level](repeating: Level(), count: highest + 1)
    for level in levels.indices {
      levels[level].health.overprovisioning = configuration.overprovisioning
      levels[level].health.isWeighted = configuration.weighsHealth
    }
    for (index, host) in hosts.enumerated() {
      levels[Int(host.priority)].add(Int32(truncatingIfNeeded: index), host, availability[index])
    }
    if levels.count == 1, levels[0].isWhole {
      // What nearly every cluster is like: nothing of its own.
      levels[0].healthy.hosts = levels[0].all.hosts
      load = .whole
    } else {
      load = PriorityLoad(levels.map(\.health), panicThreshold: configuration.currentPanicThreshold)
    }
    if configuration.weighsLocalities {
      for level in levels.indices { levels[level].weighLocalities(hosts, configuration.overprovisioning) }
    }
    if configuration.usesHash {
      for level in levels.indices {
        levels[level].hash(hosts, configuration, isInPanic: load.panics[level], known: previous?.hashed ?? [])
      }
    }
    self.levels = levels
    (healthySince, slowUntil) = Self.beginnings(hosts, availability, configuration, previous, now)
  }

  /// No endpoints.
  static let none = HostSets([], .roundRobin)

  /// Since when endpoints have been healthy: those that are new, or were not healthy before, since now.
  private static func beginnings(
    _ hosts: [WeightedEndpoint], _ availability: [EndpointAvailability], _ configuration: LoadBalancingConfiguration,
    _ previous: HostSets?, _ now: MonotonicTime
  ) -> ([MonotonicTime], MonotonicTime) {
    let longAgo = MonotonicTime(nanoseconds: 0)
    guard let slowStart = configuration.slowStart else { return ([], longAgo) }
    var before: [ObjectIdentifier: MonotonicTime] = [:]
    if let previous {
      for (index, host) in previous.hosts.enumerated() where previous.availability[index] == .healthy {
        before[ObjectIdentifier(host.endpoint.identity)] =
          previous.healthySince.isEmpty ? longAgo : previous.healthySince[index]
      }
    }
    var latest = longAgo
    let since = hosts.indices.map { index in
      guard availability[index] == .healthy else { return longAgo }
      let begun = before[ObjectIdentifier(hosts[index].endpoint.identity)] ?? now
      latest = max(latest, begun)
      return begun
    }
    return (since, latest == longAgo ? longAgo : latest + slowStart.window)
  }

  /// Everything that chooses by hash, the highest priority first.
  var hashed: [HashedHosts] {
    levels.flatMap { [$0.healthy.hashed, $0.all.hashed, $0.degraded.hashed].compactMap { $0 } }
  }

  /// The group that a place stands for.
  func group(_ place: PriorityLoad.Place) -> Group {
    let level = levels[place.priority]
    if load.panics[place.priority] { return level.all }
    return place.isDegraded ? level.degraded : level.healthy
  }

  /// The hosts that have all requests in turn; nil if there is more to it than that.
  /// - Parameter now: while endpoints start slowly, there is.
  func plainRotation(_ now: MonotonicTime) -> [Int32]? {
    guard case .roundRobin = configuration.policy, let place = load.only, !load.panics[place.priority],
      now >= slowUntil
    else { return nil }
    let group = group(place)
    return group.localities.isEmpty ? group.hosts : nil
  }
}

extension HostSets.Level {
  /// All of its endpoints are there and healthy.
  fileprivate var isWhole: Bool { health.hosts > 0 && health.healthy == health.hosts && health.excluded == 0 }

  fileprivate mutating func add(_ index: Int32, _ host: WeightedEndpoint, _ availability: EndpointAvailability) {
    let weight = UInt64(host.weight)
    all.hosts.append(index)
    health.hosts += 1
    health.weight += weight
    if host.isExcluded {
      health.excluded += 1
      health.excludedWeight += weight
    }
    switch availability {
    case .healthy:
      healthy.hosts.append(index)
      health.healthy += 1
      health.healthyWeight += weight
    case .degraded:
      degraded.hosts.append(index)
      health.degraded += 1
      health.degradedWeight += weight
    case .unhealthy: break
    }
  }

  /// Gives each locality its part of the load: its weight times the part that its endpoints can carry.
  fileprivate mutating func weighLocalities(_ hosts: [WeightedEndpoint], _ overprovisioning: UInt32) {
    struct Count {
      var hosts = 0.0
      var weight: UInt32 = 0
    }
    var counts: [WeightedEndpoint.Locality: Count] = [:]
    for index in all.hosts {
      let host = hosts[Int(index)]
      counts[host.locality, default: Count()].weight = host.localityWeight
      if !host.isExcluded { counts[host.locality, default: Count()].hosts += 1 }
    }
    func localities(_ group: HostSets.Group) -> [HostSets.Locality] {
      let members = Dictionary(grouping: group.hosts) { hosts[Int($0)].locality }
      return members.keys.sorted().compactMap { place in
        guard let members = members[place], let count = counts[place], count.hosts > 0 else { return nil }
        let share = min(1, Double(overprovisioning) / 100 * Double(members.count) / count.hosts)
        let weight = Double(count.weight) * share
        return weight > 0 ? HostSets.Locality(weight: weight, hosts: members) : nil
      }
    }
    healthy.localities = localities(healthy)
    degraded.localities = localities(degraded)
  }

  /// Makes what chooses by hash for those that may have requests.
  fileprivate mutating func hash(
    _ hosts: [WeightedEndpoint], _ configuration: LoadBalancingConfiguration, isInPanic: Bool, known: [HashedHosts]
  ) {
    let everybody = all.hosts
    func hashed(_ group: HostSets.Group) -> HostSets.Group {
      var group = group
      let members = HostSets.members(&group, of: everybody, hosts, configuration)
      group.hashed = HashedHosts.make(members, configuration.policy, known: known)
      return group
    }
    if isInPanic {
      all = hashed(all)
    } else {
      healthy = hashed(healthy)
      degraded = hashed(degraded)
    }
  }
}

extension HostSets {
  /// The members of a group with their shares. Those of localities without a weight have none, and are left out.
  fileprivate static func members(
    _ group: inout Group, of everybody: [Int32], _ hosts: [WeightedEndpoint],
    _ configuration: LoadBalancingConfiguration
  ) -> [HashedHosts.Member] {
    func key(_ host: WeightedEndpoint) -> [UInt8] { host.endpoint.hashKey(byName: configuration.hashesNames) }
    func members(_ indices: [Int32], share: Double) -> [HashedHosts.Member] {
      let sum = indices.reduce(UInt64(0)) { $0 + UInt64(hosts[Int($1)].weight) }
      return indices.map { index in
        let host = hosts[Int(index)]
        return HashedHosts.Member(key: key(host), weight: Double(host.weight) * share / Double(sum))
      }
    }
    guard configuration.weighsLocalities else { return members(group.hosts, share: 1) }
    // Of all localities, whoever is there of them now.
    let weights = Dictionary(everybody.map { (hosts[Int($0)].locality, hosts[Int($0)].localityWeight) }) { $1 }
    guard weights.contains(where: { $0.value > 0 }) else { return members(group.hosts, share: 1) }
    let sum = weights.values.reduce(UInt64(0)) { $0 + UInt64($1) }
    let byLocality = Dictionary(grouping: group.hosts) { hosts[Int($0)].locality }
    group.hosts = []
    var result: [HashedHosts.Member] = []
    for place in byLocality.keys.sorted() {
      guard let indices = byLocality[place], let weight = weights[place], weight > 0 else { continue }
      group.hosts += indices
      result += members(indices, share: Double(weight) / Double(sum))
    }
    return result
  }
}

extension Endpoint {
  /// What consistent hashing knows it by: what its metadata says (`hash_key` in `envoy.lb`), its name or its address.
  fileprivate func hashKey(byName: Bool) -> [UInt8] {
    if let key = metadata?.filterMetadata["envoy.lb"]?.fields["hash_key"]?.stringValue, !key.isEmpty {
      return Array(key.utf8)
    }
    return Array((byName && !hostname.isEmpty ? hostname : address.description).utf8)
  }
}
