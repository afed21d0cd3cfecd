import MeshIO
import MeshPrimitives

/// A metrics service (`envoy.stat_sinks.metrics_service`): one stream, over which what has changed is told
/// (`MetricStreamEncoder`). When the stream is lost, another is begun after a while, and everything is told again. Confined to
/// the main thread.
///
/// A message is made when there is room for it, and not before, so that a slow service costs no memory: flushes that come
/// while one goes on are left out, and what has changed comes with the next.
final class MetricsServiceSink: StatisticsSink, GRPCStreamOwner, TimerTarget {
  static let path = "/envoy.service.metrics.v3.MetricsService/StreamMetrics"

  private let worker: Worker
  private let store: StatsStore
  private let call: GRPCStream.Call
  private var encoder: MetricStreamEncoder
  private let identifier: [UInt8]
  private let block: StatBlock<MetricsServiceStat>
  private let stats: StatLane<MetricsServiceStat>
  private let log = RateLimitedLog(Log.main, perSecond: 1)
  private var stream: GRPCStream?
  private var isOpen = false
  private var openedAt = MonotonicTime(nanoseconds: 0)
  private var saidWho = false
  /// Of the cluster, as it was when the stream began.
  private var fingerprint: [UInt8]?
  private var delay = ReconnectDelay()
  /// The flush that goes on is the last one.
  private var finished: (() -> Void)?
  private var timer: Timer?

  private enum Tag { static let turn: UInt8 = 0, reconnect: UInt8 = 1 }
  private var reconnect: Timer?
  /// A stream that has lasted so long was of use.
  private static let useful = Nanoseconds.seconds(10)

  /// - Parameter identifier: the field `identifier` of the first message.
  init(
    _ worker: Worker, _ store: StatsStore, _ call: GRPCStream.Call, _ options: MetricStreamEncoder.Options,
    identifier: [UInt8], lane: Int
  ) {
    self.worker = worker
    self.store = store
    self.call = call
    self.identifier = identifier
    encoder = MetricStreamEncoder(options)
    block = store.scope("metrics_service", prometheus: PrometheusScope("envoy_metrics_service"))
    stats = block.lane(lane)
    timer = Timer(worker.loop, self, tag: Tag.turn)
    reconnect = Timer(worker.loop, self, tag: Tag.reconnect)
  }

  func flush() {
    guard isOpen else { return open() }
    guard !encoder.isFlushing else { return stats.add(.flushesSkipped) }
    begin()
  }

  func finish(_ done: @escaping () -> Void) {
    guard isOpen else {
      close()
      return done()
    }
    finished = done
    if encoder.isFlushing { advance() } else { begin() }
  }

  func close() {
    finished = nil
    timer?.disarm()
    reconnect?.disarm()
    stream?.cancel()
    stream = nil
    isOpen = false
  }

  /// A connection of what the cluster was lasts as long as its streams do: this one would last for ever.
  func clustersChanged() {
    guard isOpen, worker.clusters[call.cluster]?.configuration.fingerprint != fingerprint else { return }
    close()
    open()
  }

  // MARK: The stream

  private func open() {
    guard stream == nil, reconnect?.isArmed != true else { return }
    stats.add(.streams)
    let stream = GRPCStream(worker, call, owner: self)
    self.stream = stream
    stream.start()
  }

  func streamOpened(_ stream: GRPCStream) {
    isOpen = true
    openedAt = worker.loop.now
    fingerprint = worker.clusters[call.cluster]?.configuration.fingerprint
    saidWho = false
    encoder.forget()
    begin()
  }

  /// There is nothing that the service could say.
  func stream(_ stream: GRPCStream, received message: [UInt8]) {}

  func streamHasRoom(_ stream: GRPCStream) { advance() }

  func stream(_ stream: GRPCStream, ended end: GRPCStream.End) {
    if isOpen, worker.loop.now.since(openedAt) > Self.useful { delay.reset() }
    self.stream = nil
    isOpen = false
    encoder.forget()
    timer?.disarm()
    // It has heard the last.
    if let finished {
      self.finished = nil
      return finished()
    }
    stats.add(.streamFailures)
    reconnect?.arm(after: delay.next(&worker.random))
    log.warning(
      "metrics service \(call.cluster): the stream ended with grpc-status \(end.status.code)"
        + (end.message.isEmpty ? "" : " (\(end.message))"))
  }

  // MARK: Messages

  private func begin() {
    encoder.begin(store, at: worker.loop.wallClock)
    advance()
  }

  func timerFired(_ tag: UInt8) {
    if tag == Tag.turn { advance() } else { open() }
  }

  /// Sends messages while there is room, and lets others have their turn between.
  private func advance() {
    guard isOpen, let stream, stream.hasRoom, encoder.isFlushing else { return }
    switch encoder.next() {
    case .end: break
    case .nothing: timer?.arm(after: .milliseconds(1))
    case .message(let metrics):
      stats.add(.messages)
      let message = saidWho ? metrics : identifier + metrics
      saidWho = true
      if stream.send(message), encoder.isFlushing { timer?.arm(after: .milliseconds(1)) }
    }
    // It answers when it has all.
    if finished != nil, !encoder.isFlushing { self.stream?.halfClose() }
  }
}
