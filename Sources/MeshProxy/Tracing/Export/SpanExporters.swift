import MeshIO
import MeshPrimitives

/// The exporters of all providers. Workers reach it through its mailbox (`Identities.spanExporters`). Confined to the main
/// thread.
final class SpanExporters: TimerTarget {
  let loop: EventLoop
  /// The statistics' lane of the main thread.
  let lane: Int
  let rules: ExportQueue.Rules
  var random: Random
  /// What calls are made with; nil: there is nobody to call.
  var worker: Worker? { findWorker() }
  private let findWorker: () -> Worker?
  private var exporters: [ObjectIdentifier: SpanExporter] = [:]
  private var whenIdle: (() -> Void)?
  private var deadline: Timer?

  init(
    loop: EventLoop, lane: Int, rules: ExportQueue.Rules = .init(), seed: UInt64, worker: @escaping () -> Worker?
  ) {
    self.loop = loop
    self.lane = lane
    self.rules = rules
    random = Random(seed: seed)
    findWorker = worker
  }

  /// The exporter behind an outlet, made if there is none yet.
  func exporter(of outlet: SpanOutlet) -> SpanExporter {
    let key = ObjectIdentifier(outlet)
    if let exporter = exporters[key] { return exporter }
    let exporter = SpanExporter(outlet, self, rules)
    exporters[key] = exporter
    return exporter
  }

  /// Lets go of exporters that have nothing to do. (A batch that comes makes another one.)
  func forgetUnused() {
    for (key, exporter) in exporters where exporter.isIdle { exporters[key] = nil }
  }

  /// Sends everything at once, even to collectors that did not answer before; once. `done` is called when all is sent that
  /// can be, or after `patience`. The caller has posted it after the last batch.
  func flush(patience: Nanoseconds, _ done: @escaping () -> Void) {
    whenIdle = done
    deadline = Timer(loop, self)
    deadline?.arm(after: patience)
    for exporter in exporters.values { exporter.hurry() }
    finishIfIdle()
  }

  func exporterMoved(_ exporter: SpanExporter) { finishIfIdle() }

  func timerFired(_ tag: UInt8) { finish() }

  private func finishIfIdle() {
    guard whenIdle != nil, exporters.values.allSatisfy(\.isDone) else { return }
    finish()
  }

  private func finish() {
    deadline?.disarm()
    let left = exporters.values.reduce(0) { $0 + $1.left }
    if left > 0 { Log.tracing.warning("\(left) spans are left that no collector has taken") }
    let done = whenIdle
    whenIdle = nil
    done?()
  }
}
