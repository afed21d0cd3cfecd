import MeshHTTP
import MeshIO
import MeshPrimitives

/// One thread of the data plane: an event loop with its listeners, connections, streams, clusters and pools. Owns all it
/// touches; the rest of the process sends it messages through its mailbox and hands it immutable snapshots. Lives as long
/// as its thread, so that what it owns may refer to it strongly.
public final class Worker {
  /// 0-based; also the lane of every statistic this worker counts in.
  public let index: Int
  public let loop: EventLoop
  public var random: Random
  let headerMaps = HeaderMapPool()
  /// Where formats are filled in whose result goes elsewhere; see `withSubstitution`.
  var substitutionOutput = SubstitutionOutput()
  /// An empty map that nobody changes.
  let noHeaders = HeaderMap()
  let log = Log.http
  /// Every response is its connection's last.
  var isDraining: Bool { isEnding || isHealthCheckFailed }
  private var isEnding = false { didSet { updateConnectionEnds() } }
  /// `POST /healthcheck/fail` was the last word.
  private(set) var isHealthCheckFailed = false { didSet { updateConnectionEnds() } }
  /// Responses may be their connections' last, because the worker drains or because of overload.
  private(set) var mayEndConnections = false
  /// nil unless the overload manager does something.
  private(set) var overload: WorkerOverload?
  /// How long connections of listeners that end may last that cannot be ended in a better way (`--drain-time-s`).
  let drainTime: Nanoseconds
  private let serverStats: StatBlock<ServerStat>?
  /// Where a line is written of whatever fails; nil: nowhere.
  let failures: FailureLog?

  private var listeners: [ListenerKey: ActiveListener] = [:]
  /// Listeners that accept no more and whose connections are ending.
  private var endingListeners: [ObjectIdentifier: ActiveListener] = [:]
  private(set) var clusters: [String: ActiveCluster] = [:]
  /// Changes whenever some cluster's endpoints do: what is made of several clusters' is then made anew.
  private(set) var hostsGeneration: UInt64 = 0
  /// For TCP sessions that move much.
  let splicePipes = SplicePipePool(limit: 64)
  private var freeStreams: [Stream] = []
  /// Filters between two requests.
  var idleLocalRateLimits: [LocalRateLimitFilter] = []
  /// Rate limits that belong to clients' connections.
  var connectionLimiters = ConnectionLimiters()
  /// Places that connections hold under limits.
  var connectionPlaces = ConnectionPlaces()
  /// Changes when series that were looked up have to be looked up again: those that nobody asks for are taken away.
  private(set) var seriesGeneration: UInt64 = 0
  func forgetSeries() { seriesGeneration &+= 1 }
  /// The workloads that peers have named.
  let peerMetadata = PeerMetadataCache()
  private var connectionCounter: UInt64 = 0
  private var dateSecond: UInt64 = 0
  private let dateBuffer: UnsafeMutablePointer<UInt8>
  private var accessLogBuffers: [ObjectIdentifier: AccessLogBuffer] = [:]
  private var spanBuffers: [ObjectIdentifier: SpanBuffer] = [:]
  private var drainObserver: (@Sendable () -> Void)?

  /// - Parameters:
  ///   - loop: the thread's event loop, if it has one already.
  ///   - serverStats: this worker's lane of the `server` statistics, if there are any.
  ///   - failures: where a line is written of whatever fails.
  init(
    index: Int, seed: UInt64, loop: EventLoop? = nil, serverStats: StatBlock<ServerStat>? = nil,
    drainTime: Nanoseconds = .seconds(30), failures: FailureLog? = nil
  ) throws(SystemError) {
    self.failures = failures
    self.index = index
    self.drainTime = drainTime
    self.serverStats = serverStats
    self.loop = if let loop { loop } else { try EventLoop() }
    random = Random(seed: seed)
    dateBuffer = .allocate(capacity: HTTPDate.length)
  }

  deinit { dateBuffer.deallocate() }

  // MARK: What streams need

  func takeStream() -> Stream { freeStreams.popLast() ?? Stream(worker: self) }

  func recycle(_ stream: Stream) {
    // A stream remembers what it met, for the access log, and shall not keep alive what is gone.
    if stream.router.scopes != nil { stream.router.scopes = nil }
    if freeStreams.count < 256, stream.info.cluster?.isGone != true { freeStreams.append(stream) }
  }

  /// The time as the `date` header has it; written anew once a second.
  var date: Bytes {
    let second = loop.wallClock / 1_000_000_000
    if second != dateSecond {
      dateSecond = second
      HTTPDate.write(unixSeconds: Int64(second), into: dateBuffer)
    }
    return Bytes(start: dateBuffer, count: HTTPDate.length)
  }

  /// Shows what the loop has dropped. Called now and then, by whoever accepts a connection.
  func publishStaleEvents() { serverStats?.lane(index).set(.staleEvents, Int64(clamping: loop.staleEvents)) }

  /// Unique in this process: the worker's number and a count.
  func nextConnectionIdentifier() -> UInt64 {
    connectionCounter &+= 1
    return UInt64(index) << 48 | connectionCounter
  }

  /// A connection from a client is closed: what belonged to it is given back.
  @inline(__always)
  func forgetConnection(_ identifier: UInt64) {
    connectionLimiters.forget(identifier)
    connectionPlaces.leave(identifier, lane: index)
  }

  func accessLogBuffer(_ file: AccessLogFile) -> AccessLogBuffer {
    let key = ObjectIdentifier(file)
    if let buffer = accessLogBuffers[key] { return buffer }
    let buffer = AccessLogBuffer(file: file, loop: loop)
    accessLogBuffers[key] = buffer
    return buffer
  }

  /// Where spans for a tracer are written.
  func spanBuffer(_ tracer: Tracer) -> SpanBuffer {
    let key = ObjectIdentifier(tracer)
    if let buffer = spanBuffers[key] { return buffer }
    let buffer = SpanBuffer(tracer, loop: loop)
    spanBuffers[key] = buffer
    return buffer
  }

  /// Hands over all spans that are written.
  func flushSpans() { for buffer in spanBuffers.values { buffer.flush() } }

  /// Hands over all spans, so that those of a provider that goes do not wait, and lets go of buffers that nobody writes to.
  private func forgetUnusedSpanBuffers() {
    flushSpans()
    for key in Array(spanBuffers.keys) where isKnownUniquelyReferenced(&spanBuffers[key]) { spanBuffers[key] = nil }
  }

  /// Lets go of files that no connection manager writes to any more; the last one to hold a buffer hands over its lines.
  private func forgetUnusedAccessLogs() {
    for key in Array(accessLogBuffers.keys) where isKnownUniquelyReferenced(&accessLogBuffers[key]) {
      accessLogBuffers[key] = nil
    }
  }

  /// Runs `body` once, after `span`.
  func after(_ span: Nanoseconds, _ body: @escaping () -> Void) {
    let alarm = Alarm(self, body)
    alarms[ObjectIdentifier(alarm)] = alarm
    alarm.start(loop, span)
  }

  private var alarms: [ObjectIdentifier: Alarm] = [:]

  private final class Alarm: TimerTarget {
    private let worker: Worker
    private let body: () -> Void
    private var timer: Timer?

    init(_ worker: Worker, _ body: @escaping () -> Void) {
      self.worker = worker
      self.body = body
    }

    func start(_ loop: EventLoop, _ span: Nanoseconds) {
      timer = Timer(loop, self)
      timer?.arm(after: span)
    }

    func timerFired(_ tag: UInt8) {
      worker.alarms[ObjectIdentifier(self)] = nil
      body()
    }
  }

  /// The listener of an address; one of all addresses of the machine, if there is none of this one.
  func listener(at address: SocketAddress) -> ActiveListener? {
    func listens(_ candidate: SocketAddress, _ isWanted: (SocketAddress) -> Bool) -> Bool {
      !candidate.isUnix && candidate.port == address.port && isWanted(candidate)
    }
    let ip = address.ip
    return listeners.first { $0.key.addresses.contains { listens($0) { $0.ip == ip } } }?.value
      ?? listeners.first {
        $0.key.addresses.contains { listens($0) { $0.ip.isUnspecified && $0.ip.family == ip.family } }
      }?.value
  }

  // MARK: Configuration

  /// Takes a new snapshot. Clusters first, so that routes find them.
  func apply(_ update: WorkerUpdate) {
    let snapshot = update.snapshot
    var gone = clusters
    for entry in snapshot.clusters {
      let name = entry.configuration.name
      let cluster = gone[name]
      // One that counts under another name is another cluster.
      if let cluster, cluster.identity === entry.identity {
        gone[name] = nil
        if cluster.configuration.fingerprint != entry.configuration.fingerprint {
          cluster.update(configuration: entry.configuration)
        }
      } else {
        clusters[name] = ActiveCluster(worker: self, identity: entry.identity, configuration: entry.configuration)
      }
    }
    for (name, hosts) in update.hosts { clusters[name]?.update(hosts) }
    for (name, cluster) in gone {
      cluster.drain()
      if clusters[name] === cluster { clusters[name] = nil }
    }
    if !gone.isEmpty { freeStreams.removeAll() }

    if overload?.configuration.message != snapshot.overload?.message {
      let old = overload?.state ?? OverloadState()
      overload = snapshot.overload.flatMap { $0.concernsWorkers ? WorkerOverload($0, self) : nil }
      overloadChanged(from: old)
    }

    // Those that go are first: another listener may have the same address, and so the same sockets.
    let kept = Set(snapshot.listeners.map { ListenerKey($0.configuration) })
    endListeners(Set(listeners.keys.filter { !kept.contains($0) }))
    for entry in snapshot.listeners {
      let key = ListenerKey(entry.configuration)
      if let listener = listeners[key] {
        listener.update(entry.configuration, identity: entry.identity)
      } else if let sockets = update.sockets[key] {
        let listener = ActiveListener(
          worker: self, configuration: entry.configuration, sockets: sockets, identity: entry.identity)
        listeners[key] = listener
        listener.suspend(overload?.suspendsAccepting ?? false)
        listener.startAccepting()
      }
    }
    forgetUnusedAccessLogs()
    forgetUnusedSpanBuffers()
  }

  /// The overload manager has looked at its resources.
  func take(_ state: OverloadState) {
    guard let overload else { return }
    let old = overload.state
    overload.take(state)
    overloadChanged(from: old)
  }

  private func overloadChanged(from old: OverloadState) {
    updateConnectionEnds()
    let state = overload?.state ?? OverloadState()
    if old[.reduceTimeouts] != state[.reduceTimeouts] { for listener in allListeners { listener.timeoutsChanged() } }
    let suspends = overload?.suspendsAccepting ?? false
    for listener in listeners.values { listener.suspend(suspends) }
    if state[.resetHighMemoryStream] > 0 { overload?.resetHighMemoryStreams(of: allListeners) }
  }

  private func updateConnectionEnds() {
    mayEndConnections = isDraining || (overload?.state[.disableKeepAlive] ?? 0) > 0
  }

  private var allListeners: [ActiveListener] { Array(listeners.values) + Array(endingListeners.values) }

  /// Ends some listeners: what the kernel has accepted is served, idle connections end after their drain time.
  func endListeners(_ keys: Set<ListenerKey>) {
    for key in keys {
      if let listener = listeners.removeValue(forKey: key) { end(listener) }
    }
  }

  /// The endpoints of one cluster, or their health, changed; nothing else did.
  func update(_ hosts: HostSets, of cluster: String) { clusters[cluster]?.update(hosts) }

  /// Some cluster has other endpoints than before, or is another one.
  func hostsChanged() { hostsGeneration &+= 1 }

  private func end(_ listener: ActiveListener, idleFor patience: Nanoseconds? = nil) {
    listener.stopAccepting()
    guard listener.connectionCount > 0 else { return }
    endingListeners[ObjectIdentifier(listener)] = listener
    listener.drainConnections(idleFor: patience)
  }

  // MARK: The end

  /// From now on every response is its connection's last. Connections are still accepted.
  func beginDraining() { isEnding = true }

  /// `POST /healthcheck/fail` and `/ok`.
  func setHealthCheckFailed(_ failed: Bool) { isHealthCheckFailed = failed }

  /// Responses to these listeners' clients are their connections' last from now on. Connections are still accepted.
  func beginDraining(_ keys: Set<ListenerKey>) { for key in keys { listeners[key]?.beginDraining() } }

  /// Accepts what the kernel holds, then no more; idle connections close, the others after their response. `done` is
  /// called when the last is gone.
  /// - Parameter patience: how long idle connections may stay; nil for what the listener's configuration says.
  func stopListening(idleFor patience: Nanoseconds?, _ done: @escaping @Sendable () -> Void) {
    drainObserver = done
    isEnding = true
    for listener in listeners.values { end(listener, idleFor: patience) }
    listeners.removeAll()
    reportIfDrained()
  }

  /// The deadline has passed: what is left ends now.
  func closeConnections() {
    for listener in listeners.values { listener.closeConnections() }
    for listener in endingListeners.values { listener.closeConnections() }
  }

  func listenerBecameEmpty(_ listener: ActiveListener) {
    guard endingListeners[ObjectIdentifier(listener)] != nil else { return }
    loop.defer { [self] in
      endingListeners[ObjectIdentifier(listener)] = nil
      reportIfDrained()
    }
  }

  private func reportIfDrained() {
    guard endingListeners.isEmpty, listeners.isEmpty, let done = drainObserver else { return }
    drainObserver = nil
    done()
  }

  /// Leaves the loop; what the access logs hold goes to their files first.
  func stop() {
    flushAccessLogs()
    flushSpans()
    failures?.tellRemainder()
    loop.stop()
  }

  func flushAccessLogs() { for buffer in accessLogBuffers.values { buffer.flush() } }

  /// Connections now open to clients.
  var connectionCount: Int {
    listeners.values.reduce(0) { $0 + $1.connectionCount }
      + endingListeners.values.reduce(0) { $0 + $1.connectionCount }
  }
}
