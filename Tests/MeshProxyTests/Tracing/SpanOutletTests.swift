import MeshIO
import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Spans on their way to the main thread")
struct SpanOutletTests {
  private let store = StatsStore(lanes: 2)
  private let mailbox = Mailbox<SpanExporters>()
  private let runtime = Runtime()

  private func outlet(spans: Int, bytes: Int = 1 << 20) -> SpanOutlet {
    SpanOutlet(
      SpanCollector(.zipkin, cluster: "c", host: "c", path: "/", timeout: .init(fallback: 1)),
      limits: .init(spans: spans, bytes: bytes), stats: SpanExportStats(store, isOTLP: false),
      flushRules: SpanFlushRules(minimumSpans: runtime.value("a"), interval: runtime.value("b")),
      exporters: mailbox)
  }

  private func batch(_ count: Int, bytes: Int = 10) -> SpanBatch {
    SpanBatch(bytes: Array(repeating: 0, count: bytes), count: count)
  }

  @Test("however long the main thread is busy, only so much waits")
  func bounds() {
    let outlet = outlet(spans: 10)
    for _ in 0..<1_000 { outlet.take(batch(3)) }
    #expect(outlet.waiting == 9)
    #expect(outlet.takeDropped() == 997 * 3)
    #expect(outlet.takeDropped() == 0)
    outlet.left(batch(3))
    outlet.take(batch(3))
    #expect(outlet.waiting == 9)
    let bytes = self.outlet(spans: 1_000, bytes: 100)
    for _ in 0..<100 { bytes.take(batch(1, bytes: 30)) }
    #expect(bytes.waiting == 3)
    #expect(bytes.takeDropped() == 97)
  }

  @Test("a batch that is larger than all that may wait goes when nothing else does")
  func large() {
    let outlet = outlet(spans: 10)
    outlet.take(batch(100))
    #expect(outlet.waiting == 100)
    outlet.take(batch(1))
    #expect(outlet.waiting == 100 && outlet.takeDropped() == 1)
  }

  @Test("what comes is sent through the cluster; without one it is lost and counted")
  func noCluster() throws {
    let loop = try EventLoop()
    let exporters = SpanExporters(loop: loop, lane: 1, seed: 1) { nil }
    try mailbox.attach(to: loop, owner: exporters)
    let outlet = outlet(spans: 10)
    outlet.take(batch(4))
    outlet.take(batch(7))
    mailbox.post { $0.loop.stop() }
    loop.run()
    let stats = outlet.stats.block
    #expect(stats.total(.spansSent) == 4)
    #expect(stats.total(.spansDropped) == 11)
    #expect(stats.total(.reportsSkippedNoCluster) == 1)
    #expect(stats.total(.spansWaiting) == 0)
    #expect(stats.total(.timerFlushed) == 1)
    #expect(outlet.waiting == 0)
    var ended = false
    exporters.flush(patience: .seconds(5)) { ended = true }
    #expect(ended)
    withExtendedLifetime(exporters) {}
  }
}
