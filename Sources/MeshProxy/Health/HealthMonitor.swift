import MeshHTTP
import MeshIO
import MeshPrimitives

/// What the process finds out about the health of endpoints, once for all workers. Owns what looks after each cluster,
/// takes the workers' reports, and tells whoever needs to know. Confined to the main thread.
final class HealthMonitor: TimerTarget {
  /// Endpoints of a cluster have become healthy, or no longer are.
  var onChange: (String) -> Void = { _ in }
  let loop: EventLoop
  let lane: Int
  let headerMaps = HeaderMapPool()
  private(set) var outlierEventLog: HealthEventLog?
  private let identities: Identities
  private var random = Random(seed: UInt64.random(in: .min ... .max))
  private var clusters: [String: ClusterHealth] = [:]
  private var whenComplete: (() -> Void)?
  private var patience: Timer?

  init(loop: EventLoop, identities: Identities, mainLane: Int) {
    self.loop = loop
    self.identities = identities
    lane = mainLane
  }

  /// Starts to take reports. The monitor must live until the loop ends.
  func start() throws(SystemError) { try identities.healthReports.attach(to: loop, owner: self) }

  // MARK: Configuration

  /// Takes the clusters of a new configuration, before their endpoints. What is known of endpoints that stay is kept.
  func update(_ snapshot: ConfigurationSnapshot) {
    takeEventLog(snapshot.outlierEventLog)
    var gone = clusters
    for entry in snapshot.clusters {
      let name = entry.configuration.name
      if let known = gone[name], known.identity === entry.identity {
        gone[name] = nil
        known.update(entry.configuration)
      } else {
        gone.removeValue(forKey: name)?.end()
        clusters[name] = ClusterHealth(self, entry)
      }
    }
    for (name, cluster) in gone {
      cluster.end()
      clusters[name] = nil
    }
  }

  private func takeEventLog(_ file: AccessLogFile?) {
    guard outlierEventLog?.file !== file else { return }
    outlierEventLog?.flush()
    outlierEventLog = file.map { HealthEventLog($0, loop: loop) }
  }

  /// Takes the endpoints of a cluster, before anybody else is told of them.
  func take(_ endpoints: [WeightedEndpoint], of cluster: String) { clusters[cluster]?.take(endpoints) }

  /// Writes what event logs hold.
  func flush() {
    outlierEventLog?.flush()
    for cluster in clusters.values { cluster.flush() }
  }

  /// For whoever looks after a cluster.
  func nextRandom() -> Random { Random(seed: random.next()) }

  /// What is known of a cluster's endpoints; nil if nobody looks for outliers there.
  func outliers(of cluster: String) -> OutlierDetector? { clusters[cluster]?.outliers }

  // MARK: The first checks

  /// No configuration waits longer for the first checks of its endpoints, however long they may take.
  static let maximumPatience = Nanoseconds.seconds(30)

  /// Clusters whose endpoints have not all been checked.
  var unchecked: [String] { clusters.filter { !$0.value.isChecked }.keys.sorted() }

  /// Calls `ready` when every endpoint has been checked once, or has been waited for; at once if there is none to check.
  func whenChecked(_ ready: @escaping () -> Void) {
    guard let longest = clusters.values.compactMap(\.firstCheckTime).max() else { return ready() }
    whenComplete = ready
    patience = Timer(loop, self)
    patience?.arm(after: min(longest + .seconds(1), Self.maximumPatience))
  }

  func firstChecksEnded() {
    guard whenComplete != nil, clusters.values.allSatisfy(\.isChecked) else { return }
    complete()
  }

  func timerFired(_ tag: UInt8) {
    Log.upstream.warning("going on before every endpoint of \(unchecked.joined(separator: ", ")) has been checked")
    complete()
  }

  private func complete() {
    patience?.disarm()
    let ready = whenComplete
    whenComplete = nil
    ready?()
  }

  // MARK: What workers report

  func reached(_ types: EjectionTypes, _ identity: EndpointIdentity, of cluster: String) {
    clusters[cluster]?.outliers?.reached(types, identity)
  }

  func proven(_ identity: EndpointIdentity, of cluster: String) { clusters[cluster]?.outliers?.proven(identity) }

  func failedPassively(_ identity: EndpointIdentity, of cluster: String) {
    clusters[cluster]?.checks?.failPassively(identity)
  }
}
