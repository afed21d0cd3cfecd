import MeshHTTP
import MeshIO
import MeshPrimitives

/// statsd by lines over a connection to a cluster (`tcp_cluster_name`). Confined to the main thread.
///
/// What the receiver does not read waits within the cluster's `per_connection_buffer_limit_bytes`; then no more lines are made
/// until it has, and flushes that come meanwhile are left out: what was counted comes with a later one. A receiver that
/// reads nothing for a minute loses its connection.
final class StatsdConnectionSink: StatisticsSink, PoolClient, ResponseReceiver, TimerTarget {
  private let worker: Worker
  private let store: StatsStore
  private let cluster: String
  private var encoder: StatsdEncoder
  private let block: StatBlock<StatsdStat>
  private let stats: StatLane<StatsdStat>
  private let log = RateLimitedLog(Log.main, perSecond: 1)
  private let headers: HeaderMap
  private var place = ClusterPlace()
  private var ticket: ConnectionPool.Ticket?
  private var upstream: (any RequestSender)?
  private var isBlocked = false
  /// The flush that goes on is the last one.
  private var finished: (() -> Void)?
  /// Of the cluster, as it was when the connection was made.
  private var fingerprint: [UInt8]?
  private var delay = ReconnectDelay()
  /// No connection is begun before.
  private var notBefore = MonotonicTime(nanoseconds: 0)
  private var patience: Timer?
  private var turn: Timer?
  private var lines: [UInt8] = []

  private static let longestBlock = Nanoseconds.seconds(60)
  private enum Tag { static let patience: UInt8 = 0, turn: UInt8 = 1 }

  init(_ worker: Worker, _ store: StatsStore, cluster: String, _ encoder: StatsdEncoder, lane: Int) {
    self.worker = worker
    self.store = store
    self.cluster = cluster
    self.encoder = encoder
    block = store.scope("statsd", prometheus: PrometheusScope("envoy_statsd"))
    stats = block.lane(lane)
    headers = HeaderMap()
    patience = Timer(worker.loop, self, tag: Tag.patience)
    turn = Timer(worker.loop, self, tag: Tag.turn)
  }

  func flush() {
    guard !encoder.isFlushing else { return stats.add(.connectionOverflow) }
    guard upstream != nil else { return connect() }
    encoder.begin(store)
    advance()
  }

  func finish(_ done: @escaping () -> Void) {
    guard upstream != nil else { return done() }
    finished = done
    if !encoder.isFlushing { encoder.begin(store) }
    advance()
  }

  func close() {
    finished = nil
    leave()
  }

  func clustersChanged() {
    if upstream != nil, worker.clusters[cluster]?.configuration.fingerprint != fingerprint { leave() }
  }

  // MARK: The connection

  private func connect() {
    guard ticket == nil, worker.loop.now >= notBefore else { return }
    switch place.take(in: cluster, worker, headers) {
    case .refused(let reason): lost(reason)
    case .endpoint(let endpoint): ticket = endpoint.tunnelPool(.normal, downstream: 0).acquire(self)
    }
  }

  /// There is no connection, or no more of it.
  private func lost(_ reason: String) {
    leave()
    if let finished {
      self.finished = nil
      return finished()
    }
    stats.add(.writeFailures)
    let wait = delay.next(&worker.random)
    notBefore = worker.loop.now + wait
    log.warning("statsd: cluster \(cluster): \(reason)")
  }

  private func leave() {
    patience?.disarm()
    turn?.disarm()
    ticket?.giveUp()
    ticket = nil
    let open = upstream
    upstream = nil
    isBlocked = false
    open?.cancel()
    place.leave()
  }

  func poolReady(_ connection: any ClientConnection) {
    ticket = nil
    place.connected()
    fingerprint = worker.clusters[cluster]?.configuration.fingerprint
    upstream = connection.send(headers, method: .connect, endStream: false, receiver: self)
    if !encoder.isFlushing { encoder.begin(store) }
    advance()
  }

  func poolFailed(_ reason: StreamResetReason, _ detail: StaticString, _ transport: TransportFailure?) {
    ticket = nil
    place.failed(reason)
    lost(reason.text.description)
  }

  func poolUnavailable() {
    ticket = nil
    lost("no healthy upstream")
  }

  // MARK: Lines

  private func advance() {
    guard !isBlocked, upstream != nil, encoder.isFlushing else { return }
    lines.removeAll(keepingCapacity: true)
    _ = encoder.next { line in
      lines.append(contentsOf: line)
      lines.append(0x0a)
    }
    // One line after another until the receiver is slower, with turns for others between.
    if encoder.isFlushing { turn?.arm(after: .milliseconds(1)) }
    // At the end our direction does, and the receiver's when it has all.
    let isLast = finished != nil && !encoder.isFlushing
    if isLast || !lines.isEmpty { lines.withUnsafeBufferPointer { upstream?.sendData($0, endStream: isLast) } }
  }

  func timerFired(_ tag: UInt8) {
    if tag == Tag.turn { return advance() }
    place.timedOut()
    lost("the receiver does not read")
  }

  func requestBlocked() {
    isBlocked = true
    patience?.arm(after: Self.longestBlock)
  }

  func requestUnblocked() {
    isBlocked = false
    patience?.disarm()
    advance()
  }

  // MARK: What the receiver says

  func receiveInformational(status: Int, _ headers: HeaderMap) {}

  func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    worker.headerMaps.recycle(headers)
    delay.reset()
  }

  func receiveData(_ bytes: Bytes, endStream: Bool) {
    // Nothing that it says is of interest, but that it says no more.
    if endStream { lost("the receiver has closed the connection") }
  }

  func receiveTrailers(_ trailers: HeaderMap) { worker.headerMaps.recycle(trailers) }

  func responseReset(_ reason: StreamResetReason, detail: StaticString) {
    upstream = nil
    place.failed(reason)
    lost(reason.text.description)
  }
}
