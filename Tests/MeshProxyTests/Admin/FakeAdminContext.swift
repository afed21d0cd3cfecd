import MeshAPI
import MeshConfig
import MeshHTTP
import MeshIO
import MeshPrimitives
import Synchronization

@testable import MeshProxy

/// A process that is not there: tells what a test has put in and remembers what it was told to do.
final class FakeAdminContext: AdminContext {
  let version = "0.0.1-test"
  var state = Proxy.State.live
  var isHealthCheckFailed = false
  var startedAt = ProcessClock.monotonic()
  var commandLineOptions: [(name: String, value: AdminJSON)] = []
  var node = Node()
  var bootstrap = Bootstrap()
  // 2026-11-22T06:17:25.913Z
  var configuredAt: UInt64 = 1_795_328_245_913_000_000
  var clusters: [AdminCluster] = []
  var uninitializedClusters: [String] = []
  var listeners: [AdminListener] = []
  let stats = StatsStore(lanes: 1)
  let processLog = ProcessLog(processID: 1, clock: { 0 }, write: { _ in true })
  /// The calls that change something, in order.
  private(set) var calls: [String] = []

  func drainListeners(graceful: Bool, inboundOnly: Bool, skipExit: Bool) {
    calls.append("drain graceful=\(graceful) inboundOnly=\(inboundOnly) skipExit=\(skipExit)")
  }
  func failHealthCheck(_ fail: Bool) {
    isHealthCheckFailed = fail
    calls.append("failHealthCheck \(fail)")
  }
  func quit() { calls.append("quit") }
  var runtimeLayers: [Runtime.Layer] = []
  func modifyRuntime(_ changes: [(name: String, value: String)]) -> Bool {
    calls.append("modifyRuntime \(changes.map { "\($0.name)=\($0.value)" }.joined(separator: "&"))")
    return !runtimeLayers.isEmpty
  }
  func reopenLogs() { calls.append("reopenLogs") }

  // MARK: Content

  /// Adds a cluster with endpoints at `addresses`.
  @discardableResult
  func addCluster(
    _ name: String, limits: CircuitBreaker.Limits = .init(), endpoints: [WeightedEndpoint] = []
  ) -> AdminCluster {
    let cluster = AdminCluster(
      configuration: ClusterConfiguration(
        name: name, statName: name, limits: ByPriority(normal: limits, high: CircuitBreaker.Limits())),
      identity: ClusterIdentity(name: name, statName: name, store: stats), endpoints: endpoints)
    clusters.append(cluster)
    return cluster
  }

  static func endpoint(
    _ address: String, hostname: String = "", weight: UInt32 = 1, health: EndpointHealth = .healthy,
    locality: WeightedEndpoint.Locality = .init()
  ) -> WeightedEndpoint {
    let address = MeshPrimitives.SocketAddress(address) ?? .unnamedUnix
    return WeightedEndpoint(
      endpoint: MeshProxy.Endpoint(address: address, hostname: hostname, lanes: 1), weight: weight,
      health: health, locality: locality)
  }

  /// Takes over a configuration as a file would have it.
  func configure(_ yaml: String) throws {
    bootstrap = try ConfigurationReader.readBootstrap(path: nil, yaml: yaml).bootstrap
    node = bootstrap.node
  }
}
