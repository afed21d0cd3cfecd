import MeshIO
import MeshPrimitives

/// Somebody who is told the statistics. Confined to the main thread.
protocol StatisticsSink: AnyObject {
  /// Begins to tell what there is now; skips it if the last time has not ended.
  func flush()
  /// The clusters may be others than before.
  func clustersChanged()
  /// Nothing more will be told; what can be said without waiting is said.
  func close()
}

extension StatisticsSink {
  func clustersChanged() {}
}

/// Tells the statistics to whoever the configuration names, at regular intervals or when they are asked for
/// (`stats_sinks`). Confined to the main thread.
final class StatisticsSinks: TimerTarget {
  private let loop: EventLoop
  private let lane: Int
  private let statistics: () -> StatsStore
  private let worker: () -> Worker?
  private var configuration: StatsSinkConfiguration?
  private var sinks: [any StatisticsSink] = []
  private var timer: Timer?

  /// - Parameters:
  ///   - lane: the statistics' lane of the main thread.
  ///   - statistics: brings them up to date.
  ///   - worker: what clusters are called with; nil: there is none yet.
  init(
    loop: EventLoop, lane: Int, statistics: @escaping () -> StatsStore, worker: @escaping () -> Worker?
  ) {
    self.loop = loop
    self.lane = lane
    self.statistics = statistics
    self.worker = worker
    timer = Timer(loop, self)
  }

  /// Takes a configuration, with which all sinks begin anew, unless it is the one that is there.
  func configure(_ new: StatsSinkConfiguration?) {
    if let new, new.isSame(as: configuration) {
      for sink in sinks { sink.clustersChanged() }
      return
    }
    for sink in sinks { sink.close() }
    configuration = new
    sinks = new?.kinds.compactMap { make($0) } ?? []
    timer?.disarm()
    if let interval = new?.interval, !sinks.isEmpty { timer?.arm(after: interval) }
  }

  private func make(_ kind: StatsSinkConfiguration.Kind) -> (any StatisticsSink)? {
    let store = statistics()
    switch kind {
    case .metricsService(let call, let options, let identifier):
      guard let worker = worker() else { return nil }
      return MetricsServiceSink(worker, store, call, options, identifier: identifier, lane: lane)
    case .datagrams(let address, let prefix, let hasTags, let limit):
      return StatsdDatagramSink(
        loop, store, to: address, StatsdEncoder(prefix: prefix, hasTags: hasTags), limit: limit, lane: lane)
    case .connection(let cluster, let prefix):
      guard let worker = worker() else { return nil }
      return StatsdConnectionSink(
        worker, store, cluster: cluster, StatsdEncoder(prefix: prefix, hasTags: false), lane: lane)
    }
  }

  func timerFired(_ tag: UInt8) {
    if let interval = configuration?.interval { timer?.arm(after: interval) }
    flush()
  }

  /// Somebody asks for statistics.
  func asked() { if configuration != nil, configuration?.interval == nil { flush() } }

  private func flush() {
    _ = statistics()
    for sink in sinks { sink.flush() }
  }

  /// The process ends.
  func close() {
    timer?.disarm()
    if !sinks.isEmpty { _ = statistics() }
    for sink in sinks { sink.close() }
    sinks = []
  }
}
