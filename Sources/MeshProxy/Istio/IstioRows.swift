import MeshPrimitives

/// The series that one kind of request is counted in. Confined to the worker.
final class RequestRow {
  // The series keep what the lanes point to.
  private let series: [LabelledFamily.Series]
  private let requests: StatLane<SoleStat>?
  private let durations: LatencyHistogram?
  private let duration: HistogramLane?
  private let received: HistogramLane?
  private let sent: HistogramLane?

  init(_ series: (IstioMetric) -> LabelledFamily.Series?, lane: Int) {
    let requests = series(.requests)
    let duration = series(.requestDuration)
    let received = series(.requestBytes)
    let sent = series(.responseBytes)
    self.series = [requests, duration, received, sent].compactMap { $0 }
    self.requests = requests?.counter?.lane(lane)
    durations = duration?.histogram
    self.duration = durations?.lane(lane)
    self.received = received?.histogram?.lane(lane)
    self.sent = sent?.histogram?.lane(lane)
  }

  /// A request that shows what the times were made of.
  func note(_ exemplar: Exemplar, lane: Int) { durations?.note(exemplar, lane: lane) }

  /// - Parameter microseconds: nil: the request did not end.
  @inline(__always)
  func count(microseconds: UInt64?, received bytesReceived: UInt64, sent bytesSent: UInt64) {
    requests?.add(.count)
    if let microseconds { duration?.record(microseconds) }
    received?.record(bytesReceived)
    sent?.record(bytesSent)
  }
}

/// The series that messages of gRPC are counted in. Confined to the worker.
final class MessageRow {
  private let series: [LabelledFamily.Series]
  private let requests: StatLane<SoleStat>?
  private let responses: StatLane<SoleStat>?

  init(_ series: (IstioMetric) -> LabelledFamily.Series?, lane: Int) {
    let requests = series(.requestMessages)
    let responses = series(.responseMessages)
    self.series = [requests, responses].compactMap { $0 }
    self.requests = requests?.counter?.lane(lane)
    self.responses = responses?.counter?.lane(lane)
  }

  /// Counts what has come since the last report.
  func count(_ messages: inout StreamPeers.MessageCounts) {
    requests?.add(.count, Int64(clamping: messages.requests &- messages.reportedRequests))
    responses?.add(.count, Int64(clamping: messages.responses &- messages.reportedResponses))
    messages.reportedRequests = messages.requests
    messages.reportedResponses = messages.responses
  }
}

/// The series that one kind of connection is counted in. Confined to the worker.
final class ConnectionRow {
  /// What it was made of, to be made again.
  let labels: IstioLabels
  let values: [[UInt8]]
  private let series: [LabelledFamily.Series]
  let sent: StatLane<SoleStat>?
  let received: StatLane<SoleStat>?
  let opened: StatLane<SoleStat>?
  let closed: StatLane<SoleStat>?

  init(_ labels: IstioLabels, _ values: [[UInt8]], lane: Int, series: (IstioMetric) -> LabelledFamily.Series?) {
    self.labels = labels
    self.values = values
    let all = [IstioMetric.sentBytes, .receivedBytes, .connectionsOpened, .connectionsClosed].map(series)
    self.series = all.compactMap { $0 }
    sent = all[0]?.counter?.lane(lane)
    received = all[1]?.counter?.lane(lane)
    opened = all[2]?.counter?.lane(lane)
    closed = all[3]?.counter?.lane(lane)
  }
}
