import MeshPrimitives
import MeshRouting

/// Chooses endpoints for an aggregate cluster (`envoy.clusters.aggregate`), for one worker: the priorities of its clusters
/// stand one behind the other, those of the first cluster first, and share the load as the priorities of one cluster do. The
/// cluster that has the place then chooses among its endpoints there. Confined to its worker.
final class AggregateBalancer {
  private struct Level {
    let cluster: ActiveCluster
    /// The cluster's own.
    let priority: Int
  }

  private let names: [String]
  private let configuration: LoadBalancingConfiguration
  private unowned let worker: Worker
  private var levels: [Level] = []
  /// By place in `levels`; nil if there are none.
  private var load: PriorityLoad?
  /// What the worker's clusters were when `levels` was made.
  private var generation: UInt64?
  /// One of its clusters chooses by hash.
  private var hashes = false

  /// - Parameters:
  ///   - names: of its clusters, the first choice first.
  ///   - configuration: of its panic threshold.
  init(_ names: [String], _ configuration: LoadBalancingConfiguration, _ worker: Worker) {
    self.names = names
    self.configuration = configuration
    self.worker = worker
  }

  private func refresh() {
    guard generation != worker.hostsGeneration else { return }
    generation = worker.hostsGeneration
    levels = []
    hashes = false
    var health: [PriorityLoad.Health] = []
    for name in names {
      guard let cluster = worker.clusters[name] else { continue }
      hashes = hashes || cluster.usesHash
      for (priority, level) in cluster.hosts.levels.enumerated() where level.health.hosts > 0 {
        levels.append(Level(cluster: cluster, priority: priority))
        health.append(level.health)
      }
    }
    load = health.isEmpty ? nil : PriorityLoad(health, panicThreshold: configuration.currentPanicThreshold)
  }

  /// A request's hash counts for one of its clusters.
  var usesHash: Bool {
    refresh()
    return hashes
  }

  var priorityCount: Int { levels.count }

  /// The priority of an endpoint of one of its clusters; 0 if it is none.
  func priority(of endpoint: ActiveEndpoint) -> UInt32 {
    refresh()
    let place = levels.firstIndex { $0.cluster === endpoint.cluster && $0.priority == Int(endpoint.priority) }
    return UInt32(truncatingIfNeeded: place ?? 0)
  }

  /// Where the next request goes: the place in `levels`, and whether it is for its degraded endpoints; nil if there is none.
  private func place(_ choice: EndpointChoice) -> PriorityLoad.Place? {
    refresh()
    guard let load else { return nil }
    let now = choice.triedPriorities.isEmpty ? load : load.excluding(choice.triedPriorities)
    return now.only ?? now.place(worker.random.next())
  }

  private func endpoint(_ choice: EndpointChoice, at place: PriorityLoad.Place) -> ActiveEndpoint? {
    let level = levels[place.priority]
    return level.cluster.pickEndpoint(choice, at: .init(priority: level.priority, isDegraded: place.isDegraded))
  }

  /// The endpoint for the next request; nil if there is none that may have it.
  func pick(_ choice: EndpointChoice) -> ActiveEndpoint? {
    pickProbe(choice) ?? place(choice).flatMap { endpoint(choice, at: $0) }
  }

  /// An endpoint on probation, of the first cluster that has one: without a request now and then its cluster would never
  /// come back.
  private func pickProbe(_ choice: EndpointChoice) -> ActiveEndpoint? {
    refresh()
    for level in levels { if let probe = level.cluster.pickProbe(choice) { return probe } }
    return nil
  }

  /// What came of asking for an endpoint and its cluster's permit.
  enum Admission {
    /// The endpoint's cluster counts the request now (`ActiveCluster.admitRequest`).
    case admitted(ActiveEndpoint)
    /// There are endpoints, but no cluster that has one takes a request more.
    case full(ActiveCluster)
    case noEndpoint
  }

  /// An endpoint whose cluster takes the request. A cluster whose circuit breaker is open is passed over like one without
  /// healthy endpoints, as long as there is another.
  func admit(_ choice: EndpointChoice, _ priority: RoutePriority) -> Admission {
    if let probe = pickProbe(choice), probe.cluster.hasRoom(priority), probe.cluster.admitRequest(priority) {
      return .admitted(probe)
    }
    var choice = choice
    var full: ActiveCluster?
    var refused: [UInt32] = []
    // Each turn leaves out a cluster.
    for _ in names {
      guard let place = place(choice) else { break }
      let cluster = levels[place.priority].cluster
      // It comes again if there is no other.
      if refused.contains(UInt32(truncatingIfNeeded: place.priority)) { break }
      if cluster.hasRoom(priority), cluster.admitRequest(priority) {
        if let endpoint = endpoint(choice, at: place) { return .admitted(endpoint) }
        cluster.breakers[priority].requests.leave()
        break
      }
      full = full ?? cluster
      refused += levels.indices.filter { levels[$0].cluster === cluster }.map { UInt32(truncatingIfNeeded: $0) }
      choice.triedPriorities += refused
    }
    return full.map { .full($0) } ?? .noEndpoint
  }
}
