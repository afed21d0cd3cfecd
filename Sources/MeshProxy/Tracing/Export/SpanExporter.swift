import MeshIO
import MeshPrimitives

/// Sends the spans of one provider to its collector: `ExportQueue` says when, `SpanCollector` how. Confined to the main
/// thread.
final class SpanExporter: TimerTarget {
  /// About a collector that is away there is a line when it goes, when it is back, and now and then between.
  private static let reminder = Nanoseconds.seconds(60)
  private static let log = RateLimitedLog(Log.tracing, perSecond: 5)

  let outlet: SpanOutlet
  private unowned let exporters: SpanExporters
  private var queue: ExportQueue
  private var calls: [UInt64: SideCall] = [:]
  private var nextCall: UInt64 = 0
  private var timer: Timer?
  private let stats: StatLane<SpanExportStat>
  private let otlpStats: StatLane<OTLPExportStat>?
  /// The collector does not take spans.
  private var trouble: Trouble?

  private struct Trouble {
    let since: MonotonicTime
    var reported: MonotonicTime
    var lost = 0
  }

  init(_ outlet: SpanOutlet, _ exporters: SpanExporters, _ rules: ExportQueue.Rules) {
    self.outlet = outlet
    self.exporters = exporters
    queue = ExportQueue(rules)
    stats = outlet.stats.block.lane(exporters.lane)
    otlpStats = outlet.stats.otlp?.lane(exporters.lane)
  }

  private var loop: EventLoop { exporters.loop }

  /// Nothing waits, nothing is under way.
  var isIdle: Bool { queue.isIdle && outlet.waiting == 0 }
  /// Idle, or not worth waiting for: the collector is silent.
  var isDone: Bool { isIdle || queue.isResting }
  /// How many spans it still has.
  var left: Int { outlet.waiting + queue.spansToRepeat }

  func take(_ batch: SpanBatch) {
    if batch.count < outlet.flushRules.minimum { stats.add(.timerFlushed) }
    stats.add(.spansWaiting, Int64(batch.count))
    queue.add(batch)
    work()
  }

  /// The outlet was full.
  func countDropped() { lose(outlet.takeDropped()) }

  private func lose(_ count: Int) {
    stats.add(.spansDropped, Int64(count))
    trouble?.lost += count
  }

  /// The end is near: what waits is sent at once.
  func hurry() {
    queue.hurry()
    work()
  }

  func timerFired(_ tag: UInt8) { work() }

  // MARK: Sending

  private func work() {
    while let export = queue.next(loop.now) { send(export) }
    guard let time = queue.wakeUp else { return }
    let timer = self.timer ?? Timer(loop, self)
    self.timer = timer
    timer.arm(at: time)
  }

  private func send(_ export: ExportQueue.Export) {
    if export.attempts == 0 {
      stats.subtract(.spansWaiting, Int64(export.count))
      for batch in export.batches { outlet.left(batch) }
      stats.add(.spansSent, Int64(export.count))
    } else {
      stats.add(.reportsRetried)
    }
    guard let worker = exporters.worker else { return ended(export, .noCluster) }
    nextCall += 1
    let number = nextCall
    let collector = outlet.collector
    let call = SideCall.start(
      worker: worker, cluster: collector.cluster, collector.request(export.batches, worker)
    ) { [weak self] outcome in
      guard let self else { return }
      calls[number] = nil
      ended(export, collector.answer(outcome))
      // What else is to be sent goes out in a turn of its own: a call that fails at once must not make a recursion.
      loop.defer { [weak self] in self?.work() }
    }
    if let call { calls[number] = call }
  }

  private func ended(_ export: ExportQueue.Export, _ answer: ExportAnswer) {
    switch answer {
    case .taken(let rejected, _):
      stats.add(.reportsSent)
      otlpStats?.add(.spansRejected, min(rejected, Int64(export.count)))
    case .later, .refused: stats.add(.reportsDropped)
    case .none: stats.add(.reportsFailed)
    case .noCluster: stats.add(.reportsSkippedNoCluster)
    }
    let verdict = queue.ended(export, answer, loop.now, dice: exporters.random.next())
    tell(answer)
    if verdict == .lost { lose(export.count) }
    exporters.exporterMoved(self)
  }

  /// Says in the log what has changed.
  private func tell(_ answer: ExportAnswer) {
    let name = outlet.collector.name
    if answer.isTaken {
      if let old = trouble {
        trouble = nil
        let seconds = loop.now.since(old.since).wholeMilliseconds / 1000
        Self.log.info("spans: \(name) takes them again after \(seconds) s; \(old.lost) were lost")
      }
      if let complaint = answer.complaint { Self.log.warning("spans: \(name) \(complaint)") }
      return
    }
    let complaint = answer.complaint ?? ""
    guard let old = trouble else {
      trouble = Trouble(since: loop.now, reported: loop.now)
      return Self.log.warning("spans: \(name) does not take them: \(complaint)")
    }
    guard loop.now.since(old.reported) >= Self.reminder else { return }
    trouble?.reported = loop.now
    Self.log.warning("spans: \(name) still does not take them: \(complaint); \(old.lost) were lost so far")
  }
}

extension SpanFlushRules {
  /// How many spans a worker hands over at least, unless they have waited for long.
  var minimum: Int { Int(clamping: max(1, minimumSpans.integer(or: Self.defaultMinimum))) }
}
