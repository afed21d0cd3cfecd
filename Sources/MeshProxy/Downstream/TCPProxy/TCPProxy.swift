import MeshHTTP
import MeshPrimitives

/// A TCP proxy as one worker has it (`envoy.filters.network.tcp_proxy`). One per filter chain and configuration: its
/// sessions keep the one that they began with. Confined to the worker.
final class TCPProxy {
  let worker: Worker
  let configuration: TCPProxyConfiguration
  let stats: StatLane<TCPProxyStat>
  /// Keeps the lane above alive.
  private let identity: TCPProxyIdentity
  private let accessLogs: [AccessLogLane]
  /// Reports its connections; nil: nobody does.
  let reporter: ConnectionReporter?

  init(worker: Worker, configuration: TCPProxyConfiguration, identity: TCPProxyIdentity) {
    self.worker = worker
    self.configuration = configuration
    self.identity = identity
    stats = identity.stats.lane(worker.index)
    accessLogs = configuration.logging.accessLogs.map { AccessLogLane($0, worker) }
    reporter = configuration.telemetry.map { ConnectionReporter($0, worker) }
  }

  /// The cluster for a connection; nil if there is none of its name.
  func cluster() -> ActiveCluster? { worker.clusters[configuration.cluster(&worker.random)] }

  var hasLogs: Bool { !accessLogs.isEmpty }

  /// Writes a line about a connection that was not served.
  func log(_ info: ConnectionInfo, openedAt: MonotonicTime, _ refusal: ConnectionRefusal) {
    guard hasLogs else { return }
    let record = ConnectionRecord(worker, info, openedAt: openedAt, configuration.logging)
    record.note(refusal)
    record.info.logType = .tcpConnectionEnd
    for log in accessLogs { log.write(record) }
  }

  /// Writes a line about a session to each access log that wants one.
  func log(_ session: TCPSession, _ occasion: AccessLogType) {
    guard hasLogs else { return }
    session.info.logType = occasion
    for log in accessLogs { log.write(session) }
    session.info.logType = .notSet
  }
}
