import MeshIO
import MeshPrimitives

/// The telemetry filter of one TCP proxy: counts connections and their bytes in Istio's metrics. What a connection is counted
/// as is settled when it has its upstream, or ends without: what comes later does not move it elsewhere, so that as many
/// are closed as were opened. Confined to the worker.
final class ConnectionReporter: TimerTarget {
  /// What has been reported of a connection.
  struct Report {
    fileprivate let key: SeriesKey
    fileprivate var row: ConnectionRow
    fileprivate var sent: UInt64 = 0
    fileprivate var received: UInt64 = 0
  }

  private let configuration: IstioStatsConfiguration
  private let worker: Worker
  private var rows = SeriesCache<ConnectionRow>()
  private var dimensions = TextNumbers()
  private var principals = PrincipalNumbers()
  private var open: [ObjectIdentifier: TCPSession] = [:]
  private let timer: Timer

  init(_ configuration: IstioStatsConfiguration, _ worker: Worker) {
    self.configuration = configuration
    self.worker = worker
    timer = Timer(worker.loop)
    timer.aim(at: self)
  }

  // MARK: What happens

  /// The session has its upstream.
  func didBegin(_ session: TCPSession) {
    begin(session)
    guard let interval = configuration.interval else { return }
    open[ObjectIdentifier(session)] = session
    if !timer.isArmed { timer.arm(after: interval) }
  }

  /// The session is over, whether it had an upstream or not.
  func didEnd(_ session: TCPSession) {
    if session.report == nil { begin(session) }
    open[ObjectIdentifier(session)] = nil
    report(session)
    session.report?.row.closed?.add(.count)
  }

  func timerFired(_ tag: UInt8) {
    for session in open.values { report(session) }
    if let interval = configuration.interval, !open.isEmpty { timer.arm(after: interval) }
  }

  private func begin(_ session: TCPSession) {
    let key = key(session)
    let row = rows.row(key, worker.seriesGeneration) { makeRow(session) }
    session.report = Report(key: key, row: row)
    row.opened?.add(.count)
  }

  private func report(_ session: TCPSession) {
    guard var report = session.report else { return }
    // The row may have been looked up long ago, and nobody else have asked for it since.
    report.row = rows.row(report.key, worker.seriesGeneration) { [row = report.row] in makeRow(row.labels, row.values) }
    // Sent is what the client got, and received what came from it: as in Istio, whichever side reports.
    let (sent, received) = (session.response.bytes, session.request.bytes)
    report.row.sent?.add(.count, Int64(clamping: sent &- report.sent))
    report.row.received?.add(.count, Int64(clamping: received &- report.received))
    report.sent = sent
    report.received = received
    session.report = report
  }

  // MARK: Who it was

  private func key(_ session: TCPSession) -> SeriesKey {
    var key = SeriesKey()
    if configuration.reporter == .source {
      key.peer = session.info.endpoint?.workload?.number ?? 0
      if let connection = session.info.upstreamConnection, connection.tls != nil {
        key.principals = principals.number(connection.identifier) { Principals(connection.tls) }
      }
    } else if let connection = session.info.connection, connection.tls != nil {
      key.principals = principals.number(connection.identifier) { Principals(connection.tls) }
    }
    key.service = session.info.cluster?.configuration.service?.number ?? 0
    if configuration.hasFormats {
      let values = configuration.values(session).joined(separator: [0])
      key.dimensions = Array(values).withUnsafeBufferPointer { dimensions.number($0) }
    }
    key.note(.tcp, flags: session.info.flags)
    return key
  }

  private func makeRow(_ session: TCPSession) -> ConnectionRow {
    let isSource = configuration.reporter == .source
    let principals = Principals(isSource ? session.info.upstreamConnection?.tls : session.info.connection?.tls)
    var service = IstioLabels.Service()
    if let known = session.info.cluster?.configuration.service { service.take(known) }
    var labels = IstioLabels(
      configuration.reporter, own: configuration.own, peer: isSource ? session.info.endpoint?.workload?.names : nil,
      principals, service)
    labels.addConnection()
    labels.addEnd(session.info.flags, configuration.reporter, isMutualTLS: principals.areMutual)
    return makeRow(labels, configuration.values(session))
  }

  private func makeRow(_ labels: IstioLabels, _ values: [[UInt8]]) -> ConnectionRow {
    ConnectionRow(labels, values, lane: worker.index) {
      configuration.series($0, labels, values, lane: worker.index)
    }
  }
}
