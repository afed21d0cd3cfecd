import MeshIO
import MeshPrimitives

/// Somebody who is told the statistics. Confined to the main thread.
protocol StatisticsSink: AnyObject {
  /// Begins to tell what there is now; skips it if the last time has not ended.
  func flush()
  /// The clusters may be others than before.
  func clustersChanged()
  /// Tells what there is for the last time. - Parameter done: called when the receiver has it, or will not have it.
  func finish(_ done: @escaping () -> Void)
  /// Nothing more will be told; what can be said without waiting is said.
  func close()
}

extension StatisticsSink {
  func clustersChanged() {}

  func finish(_ done: @escaping () -> Void) {
    close()
    done()
  }
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
  /// What is done when the last has been told.
  private var finished: (() -> Void)?
  /// How long receivers are waited for at the end.
  private static let patience = Nanoseconds.milliseconds(500)

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
    if let finished { return finished() }
    if let interval = configuration?.interval { timer?.arm(after: interval) }
    flush()
  }

  /// Somebody asks for statistics.
  func asked() { if configuration != nil, configuration?.interval == nil { flush() } }

  private func flush() {
    _ = statistics()
    for sink in sinks { sink.flush() }
  }

  /// Tells everybody what there is for the last time, then calls `done`: when they have it, or have been waited for.
  func finish(_ done: @escaping () -> Void) {
    timer?.disarm()
    guard !sinks.isEmpty, finished == nil else { return done() }
    _ = statistics()
    var waiting = sinks.count
    finished = { [unowned self] in
      finished = nil
      timer?.disarm()
      close()
      done()
    }
    timer?.arm(after: Self.patience)
    for sink in sinks {
      sink.finish { [unowned self] in
        waiting -= 1
        if waiting == 0 { finished?() }
      }
    }
  }

  /// The process ends.
  func close() {
    timer?.disarm()
    if !sinks.isEmpty { _ = statistics() }
    for sink in sinks { sink.close() }
    sinks = []
  }
}
