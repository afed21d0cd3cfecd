import MeshIO
import MeshPrimitives

/// statsd and DogStatsD by datagrams (`envoy.stat_sinks.statsd`, `envoy.stat_sinks.dog_statsd`). What the kernel does not take
/// is lost, as datagrams are, and counted. Confined to the main thread.
final class StatsdDatagramSink: StatisticsSink, TimerTarget {
  private let store: StatsStore
  private let address: SocketAddress
  private var encoder: StatsdEncoder
  private let limit: Int?
  private let stats: StatLane<StatsdStat>
  private let block: StatBlock<StatsdStat>
  private let log = RateLimitedLog(Log.main, perSecond: 1)
  private var timer: Timer?
  private var socket: Int32?
  private var isClosed = false
  private var datagram: [UInt8] = []

  /// - Parameter limit: bytes of a datagram; nil: each line has one of its own.
  init(
    _ loop: EventLoop, _ store: StatsStore, to address: SocketAddress, _ encoder: StatsdEncoder, limit: Int?, lane: Int
  ) {
    self.store = store
    self.address = address
    self.encoder = encoder
    self.limit = limit
    block = store.scope("statsd", prometheus: PrometheusScope("envoy_statsd"))
    stats = block.lane(lane)
    timer = Timer(loop, self)
  }

  deinit { if let socket { Socket.close(socket) } }

  func flush() {
    guard !encoder.isFlushing else { return stats.add(.connectionOverflow) }
    guard open() else { return stats.add(.writeFailures) }
    encoder.begin(store)
    advance()
  }

  /// What is left is said at once: a datagram never waits.
  func close() {
    guard !isClosed else { return }
    isClosed = true
    timer?.disarm()
    if !encoder.isFlushing, open() { encoder.begin(store) }
    while encoder.isFlushing { writePortion() }
    if let socket { Socket.close(socket) }
    socket = nil
  }

  func timerFired(_ tag: UInt8) { advance() }

  /// Writes a portion; the next one comes when others have had their turn.
  private func advance() {
    writePortion()
    if encoder.isFlushing { timer?.arm(after: .milliseconds(1)) }
  }

  private func writePortion() {
    let limit = limit ?? 0
    _ = encoder.next { line in
      if line.count >= limit {
        send(line)
      } else {
        if datagram.count + line.count + 1 > limit {
          sendDatagram()
        } else if !datagram.isEmpty {
          datagram.append(0x0a)
        }
        datagram.append(contentsOf: line)
      }
    }
    if !encoder.isFlushing { sendDatagram() }
  }

  private func sendDatagram() {
    if !datagram.isEmpty { datagram.withUnsafeBufferPointer { send($0) } }
    datagram.removeAll(keepingCapacity: true)
  }

  private func send(_ bytes: Bytes) {
    guard let socket else { return }
    var sent = Socket.send(socket, bytes)
    // What went wrong with an earlier one (nobody listened) is told once, in place of sending this one.
    if sent == Socket.connectionRefused { sent = Socket.send(socket, bytes) }
    if sent < 0 { stats.add(.writeFailures) }
  }

  private func open() -> Bool {
    if socket != nil { return true }
    switch Socket.datagram(to: address) {
    case .success(let made): socket = made
    case .failure(let error): log.warning("statsd: \(error)")
    }
    return socket != nil
  }
}
