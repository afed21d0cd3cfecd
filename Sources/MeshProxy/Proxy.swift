import MeshAPI
import MeshConfig
import MeshIO
import MeshPrimitives

/// The process: owns the main thread's event loop, the configuration, the listening sockets and the workers' threads.
/// Everything here runs on the main thread; workers are reached by their mailboxes.
public final class Proxy {
  /// What `/ready` and `/server_info` tell.
  public enum State: String, Sendable {
    case preInitializing = "PRE_INITIALIZING"
    case initializing = "INITIALIZING"
    case live = "LIVE"
    case draining = "DRAINING"
  }

  /// The version of this program.
  public static let versionText = "0.1.0"

  /// The same as a number, for `server.version`: 1.2.3 is 1002003.
  static var versionNumber: Int64 {
    versionText.split(separator: ".").reduce(0) { $0 * 1000 + (Int64($1) ?? 0) }
  }

  let options: CommandLineOptions
  let loop: EventLoop
  let mailbox = Mailbox<Proxy>()
  let store: StatsStore
  private let serverBlock: StatBlock<ServerStat>
  /// From the process's start to its readiness.
  private let startupTime: LatencyHistogram
  let serverStats: StatLane<ServerStat>
  let identities: Identities
  let accessLogFiles: AccessLogFiles
  let runtimeLoader: RuntimeLoader
  private let overload: OverloadWatch
  private let configurationStats: ConfigurationStats
  let concurrency: Int
  public let startedAt: MonotonicTime
  public private(set) var state = State.preInitializing
  /// `POST /healthcheck/fail`.
  public internal(set) var isHealthCheckFailed = false
  public private(set) var bootstrap: Bootstrap
  public private(set) var configuredAt: UInt64 = 0
  private(set) var snapshot: ConfigurationSnapshot?

  let listenSockets: ListenSockets
  private let inherited: InheritedSockets
  private let signals: SignalSource
  private(set) var workers: [WorkerHandle] = []
  /// What the main thread calls others with: clusters without listeners, on its own loop. nil unless the configuration
  /// names a cluster that it calls (`ConfigurationSnapshot.mainClusters`).
  private(set) var mainWorker: Worker?
  private(set) var sockets: [ListenerKey: BoundListener] = [:]
  /// Where statistics are sent.
  private(set) lazy var statSinks = StatisticsSinks(
    loop: loop, lane: concurrency, statistics: { [unowned self] in stats }, worker: { [unowned self] in mainWorker })
  /// Takes series away that nobody counts in any more.
  private(set) lazy var seriesEviction = SeriesEviction(loop: loop, store: identities.store, lane: concurrency) {
    [unowned self] done in atAllWorkers({ $0.forgetSeries() }, done)
  }
  let discovery: EndpointDiscovery
  let health: HealthMonitor
  private(set) lazy var spanExporters = SpanExporters(
    loop: loop, lane: concurrency, seed: UInt64.random(in: .min ... .max)
  ) { [unowned self] in mainWorker }
  private var admin: AdminServer?
  private(set) var shutdown: ShutdownSequence?
  /// `POST /drain_listeners?graceful`.
  var listenerDrain: ListenerDrain?
  /// From the reading of a file to the last worker's word that its configuration is in place.
  private var isReloading = false
  /// SIGHUP came while starting or reloading.
  private var isReloadWanted = false
  private var exitCode: Int32 = 0
  let log = Log.main

  /// The sockets of one address, all workers' together.
  struct BoundAddress {
    /// As the kernel bound it.
    let address: MeshPrimitives.SocketAddress
    let descriptors: [Int32]
    /// The workers accept from one queue.
    let isShared: Bool
  }

  /// A listener's sockets.
  struct BoundListener {
    /// The listener's own address is the first; none if it does not bind to its port.
    let bound: [BoundAddress]

    var addresses: [MeshPrimitives.SocketAddress] { bound.map(\.address) }

    /// The sockets of one worker: descriptor i of an address belongs to worker i modulo `workers`.
    func share(of worker: Int, of workers: Int) -> [ListeningSocket] {
      bound.flatMap { bound in
        bound.descriptors.enumerated().filter { $0.offset % workers == worker }.map {
          ListeningSocket(descriptor: $0.element, address: bound.address, isShared: bound.isShared)
        }
      }
    }
  }

  /// A worker, as other threads see it.
  struct WorkerHandle: Sendable {
    let mailbox: Mailbox<Worker>
    let thread: LoopThread
  }

  /// `--version`.
  public static var versionLine: String { "martlet-proxy \(versionText)" }

  /// Runs a proxy until it is told to stop. Returns the process's exit status.
  public static func serve(_ options: CommandLineOptions) -> Int32 {
    let proxy: Proxy
    do {
      // Before any thread starts: threads inherit what is blocked here.
      let signals = try SignalSource([.terminate, .interrupt, .hangup, .user1])
      CurrentProcess.ignoreWriteSignals()
      let limit = CurrentProcess.raiseDescriptorLimit()
      Log.main.info("\(versionLine), process \(CurrentProcess.id), at most \(limit) descriptors")
      let loaded = try ConfigurationReader.readBootstrap(path: options.configPath, yaml: options.configYAML)
      for warning in loaded.warnings { Log.config.warning(warning.description) }
      proxy = try Proxy(options, loaded.bootstrap, signals)
      guard let snapshot = proxy.compile(loaded), let runtime = proxy.prepareRuntime(snapshot, loaded) else { return 1 }
      proxy.runtimeLoader.apply(runtime, serviceCluster: proxy.node.cluster)
      proxy.snapshot = snapshot
    } catch let errors as ConfigurationErrors {
      for problem in errors.problems { Log.config.error(problem.description) }
      return 1
    } catch {
      Log.main.critical("\(error)")
      return 1
    }
    return proxy.run()
  }

  /// `--mode validate`: prints everything that is wrong with the configuration, to standard error, or that it is valid,
  /// to standard output. Opens no socket. Returns the exit status.
  public static func validate(_ options: CommandLineOptions) -> Int32 {
    func complain(_ problems: [ConfigurationProblem]) {
      AppendFile.standardError().write(problems.map { "\($0)\n" }.joined())
    }
    do {
      let loaded = try ConfigurationReader.readBootstrap(path: options.configPath, yaml: options.configYAML)
      complain(loaded.warnings)
      let files = AccessLogFiles(flushInterval: .seconds(1), opensFiles: false)
      var builder = SnapshotBuilder(
        identities: Identities(store: StatsStore(lanes: 1), accessLogFiles: files),
        node: options.node(of: loaded.bootstrap))
      _ = builder.build(loaded.bootstrap)
      guard builder.problems.isEmpty else {
        complain(builder.problems.map { loaded.problem(at: $0.path, $0.message) })
        return 1
      }
      AppendFile.standardOutput().write("\(options.configPath ?? "--config-yaml"): the configuration is valid\n")
      return 0
    } catch {
      complain(error.problems)
      return 1
    }
  }

  private init(_ options: CommandLineOptions, _ bootstrap: Bootstrap, _ signals: SignalSource) throws {
    self.options = options
    self.bootstrap = bootstrap
    self.signals = signals
    let processors = ProcessorQuota.availableProcessors()
    concurrency = options.concurrency ?? processors.count
    let reason = options.concurrency == nil ? processors.explanation : "as told by --concurrency"
    log.info("\(concurrency) worker thread\(concurrency == 1 ? "" : "s") (\(reason))")
    loop = try EventLoop()
    startedAt = ProcessClock.monotonic()
    // What is wrong with it is reported with everything else.
    store = StatsStore(
      lanes: concurrency + 1, rules: StatsRules(bootstrap.statsConfig) { _, _ in },
      at: ProcessClock.wall())
    serverBlock = store.scope("server", prometheus: PrometheusScope("envoy_server"))
    serverStats = serverBlock.lane(concurrency)
    startupTime = store.histogram(
      "server",
      HistogramDefinition(
        name: "initialization_time_ms", help: "From the process's start to its readiness, in milliseconds."),
      prometheus: PrometheusScope("envoy_server"))
    accessLogFiles = AccessLogFiles(
      flushInterval: .milliseconds(UInt64(options.fileFlushMilliseconds)), stats: store)
    identities = Identities(store: store, accessLogFiles: accessLogFiles)
    identities.secrets.follow(on: loop)
    runtimeLoader = RuntimeLoader(identities.runtime, loop: loop, store: store, lane: concurrency)
    overload = OverloadWatch(loop: loop, store: store, lane: concurrency)
    configurationStats = ConfigurationStats(store, lane: concurrency)
    inherited = InheritedSockets()
    listenSockets = ListenSockets(loop, source: inherited)
    discovery = EndpointDiscovery(loop: loop, identities: identities, mainLane: concurrency)
    health = HealthMonitor(loop: loop, identities: identities, mainLane: concurrency)
    discovery.health = health
    serverStats.set(.concurrency, Int64(concurrency))
    serverStats.set(.version, Self.versionNumber)
  }

  /// Builds the snapshot of a loaded configuration, or logs everything that is wrong with it.
  private func compile(_ loaded: LoadedBootstrap) -> ConfigurationSnapshot? {
    var builder = SnapshotBuilder(identities: identities, node: options.node(of: loaded.bootstrap))
    let snapshot = builder.build(loaded.bootstrap)
    for problem in builder.problems {
      Log.config.error(loaded.problem(at: problem.path, problem.message).description)
    }
    return snapshot
  }

  /// The runtime's layers, ready to be taken; nil, with an error in the log, if one cannot be watched.
  private func prepareRuntime(
    _ snapshot: ConfigurationSnapshot, _ loaded: LoadedBootstrap
  ) -> RuntimeLoader.Preparation? {
    do { return try runtimeLoader.prepare(snapshot.runtimeLayers) } catch {
      Log.config.error(loaded.problem(at: "layered_runtime", "cannot see changes: \(error)").description)
      return nil
    }
  }

  // MARK: Running

  /// Serves until told to stop. Returns the process's exit status.
  public func run() -> Int32 {
    do {
      try mailbox.attach(to: loop, owner: self)
      try health.start()
      try identities.spanExporters.attach(to: loop, owner: spanExporters)
      try signals.attach(to: loop) { [unowned self] signal, _ in received(signal) }
      try startAdmin()
      try startWorkers()
    } catch {
      log.critical("\(error)")
      return 1
    }
    state = .initializing
    overload.onChange = { [unowned self] state in
      for worker in workers { worker.mailbox.post { $0.take(state) } }
    }
    if let snapshot {
      configurationStats.begin(listeners: snapshot.listeners.count, waitingFor: snapshot.clusters.count)
      health.update(snapshot)
      discovery.update(snapshot.clusters.map(\.configuration)) { [unowned self] in
        health.whenChecked { [unowned self] in begin(snapshot) }
      }
    }
    discovery.onChange = { [unowned self] cluster, hosts in
      mainWorker?.update(hosts, of: cluster)
      for worker in workers { worker.mailbox.post { $0.update(hosts, of: cluster) } }
    }
    health.onChange = { [unowned self] in discovery.healthChanged($0) }
    loop.run()
    for worker in workers { worker.mailbox.post { $0.stop() } }
    for worker in workers { worker.thread.join() }
    health.flush()
    statSinks.close()
    accessLogFiles.flushAndWait()
    log.info("exiting")
    return exitCode
  }

  private func startWorkers() throws {
    for index in 0..<concurrency {
      let mailbox = Mailbox<Worker>()
      let seed = UInt64.random(in: .min ... .max)
      let main = self.mailbox
      let serverBlock = self.serverBlock
      let drainTime = Nanoseconds.seconds(UInt64(options.drainSeconds))
      let thread = try LoopThread.start(name: "worker-\(index)") {
        do {
          let worker = try Worker(
            index: index, seed: seed, serverStats: serverBlock, drainTime: drainTime, failures: .standard)
          try mailbox.attach(to: worker.loop, owner: worker)
          withExtendedLifetime(worker) { worker.loop.run() }
        } catch {
          main.post { $0.fail("worker \(index): \(error)") }
        }
      }
      workers.append(WorkerHandle(mailbox: mailbox, thread: thread))
    }
  }

  private func startAdmin() throws {
    guard bootstrap.hasAdmin, bootstrap.admin.hasAddress else { return }
    var builder = SnapshotBuilder(identities: identities)
    guard let place = builder.listenAddress(bootstrap.admin.address, ListenOptions(), "admin.address") else { return }
    let bound = try bind(place, workers: 1)
    if !place.address.isLoopback, !place.address.isUnix {
      log.warning(
        "admin interface on \(bound.address): anyone who reaches it can stop this proxy (use a loopback address)")
    }
    let server = AdminServer(
      loop: loop, context: self, descriptors: bound.descriptors, address: bound.address,
      configuration: snapshot?.admin ?? .init())
    server.startAccepting()
    admin = server
    log.info("admin interface on \(bound.address)")
  }

  private func bind(_ place: ListenAddress, workers: Int) throws(ListenError) -> BoundAddress {
    let address = place.address
    let descriptors = try listenSockets.acquire(address, workers: workers, options: place.options)
    let actual = address.isUnix ? address : descriptors.first.flatMap { Socket.localAddress($0) } ?? address
    return BoundAddress(
      address: actual, descriptors: descriptors,
      isShared: workers > 1 && (address.isUnix || place.options.sharesQueue))
  }

  /// The endpoints of every cluster are known, or have been waited for long enough: listen.
  private func begin(_ snapshot: ConfigurationSnapshot) {
    guard shutdown == nil else { return }
    identities.connectionLimit.configure(snapshot.maximumConnections)
    do {
      for entry in snapshot.listeners { try listen(entry.configuration) }
    } catch {
      configurationStats.listenFailed()
      return fail("\(error)")
    }
    configurationStats.took(bootstrap.staticResources)
    let unclaimed = inherited.closeUnclaimed()
    if !unclaimed.isEmpty {
      log.warning(
        "inherited sockets that no listener wants are closed: \(unclaimed.map(\.description).joined(separator: ", "))")
    }
    configuredAt = ProcessClock.wall()
    push(snapshot, hosts: discovery.hosts) { [unowned self] in
      guard state == .initializing else { return }
      state = .live
      serverStats.set(.live, 1)
      configurationStats.finished(workers: concurrency)
      startupTime.lane(concurrency).record(loop.now.since(startedAt).rawValue / 1000)
      CurrentProcess.releaseUnusedMemory()
      log.info("all workers are serving; ready after \(loop.now.since(startedAt).wholeMilliseconds) ms")
      reloadIfWanted()
    }
    overload.configure(snapshot.overload)
  }

  private func listen(_ configuration: ListenerConfiguration) throws(ListenError) {
    let key = ListenerKey(configuration)
    guard sockets[key] == nil else { return }
    var bound: [BoundAddress] = []
    do {
      if configuration.bindsToPort {
        for place in configuration.addresses { bound.append(try bind(place, workers: concurrency)) }
      }
    } catch {
      for bound in bound { listenSockets.release(bound.address) }
      throw error
    }
    sockets[key] = BoundListener(bound: bound)
    let places = bound.isEmpty ? "no socket of its own" : bound.map(\.address.description).joined(separator: ", ")
    log.info("listener \(configuration.name) on \(places)")
  }

  private func release(_ listener: BoundListener) {
    for bound in listener.bound { listenSockets.release(bound.address) }
  }

  /// Hands a snapshot to every worker; `done` is called when all have taken it.
  private func push(
    _ snapshot: ConfigurationSnapshot, hosts: [String: HostSets], _ done: @escaping () -> Void
  ) {
    let updates = workers.indices.map { index in
      WorkerUpdate(
        snapshot: snapshot,
        sockets: sockets.mapValues { $0.share(of: index, of: concurrency) },
        hosts: hosts)
    }
    updateMainWorker(snapshot, hosts: hosts)
    statSinks.configure(snapshot.statSinks)
    seriesEviction.configure(snapshot.seriesEviction)
    atAllWorkers({ $0.apply(updates[$0.index]) }, done)
  }

  private func updateMainWorker(_ snapshot: ConfigurationSnapshot, hosts: [String: HostSets]) {
    if mainWorker == nil, !snapshot.mainClusters.isEmpty {
      do {
        mainWorker = try Worker(index: concurrency, seed: UInt64.random(in: .min ... .max), loop: loop)
      } catch {
        log.error("the main thread cannot call anyone: \(error)")
      }
    }
    guard let mainWorker else { return }
    let called = snapshot.ofMainThread(beside: Set(mainWorker.clusters.keys))
    mainWorker.apply(WorkerUpdate(snapshot: called, sockets: [:], hosts: hosts))
  }

  /// Runs `body` on every worker's thread, then `done` here.
  func atAllWorkers(_ body: @escaping @Sendable (Worker) -> Void, _ done: @escaping () -> Void) {
    let acknowledgements = Countdown(workers.count, done)
    let identifier = ObjectIdentifier(acknowledgements)
    pendingPushes[identifier] = acknowledgements
    let main = mailbox
    for worker in workers {
      worker.mailbox.post { worker in
        body(worker)
        main.post { $0.acknowledged(identifier) }
      }
    }
  }

  private var pendingPushes: [ObjectIdentifier: Countdown] = [:]

  private func acknowledged(_ push: ObjectIdentifier) {
    if pendingPushes[push]?.count() == true { pendingPushes[push] = nil }
  }

  /// Something that cannot be lived with.
  func fail(_ reason: String) {
    log.critical(reason)
    exitCode = 1
    loop.stop()
  }

  // MARK: Signals

  private func received(_ signal: ProcessSignal) {
    switch signal {
    case .hangup: reload()
    case .user1: reopenLogs()
    case .terminate: shutDown(.graceful)
    case .interrupt: shutDown(.prompt)
    default: break
    }
  }

  public func reopenLogs() {
    log.info("reopening access logs")
    for worker in workers { worker.mailbox.post { $0.flushAccessLogs() } }
    accessLogFiles.reopenAll()
  }

  /// SIGTERM (`graceful`) or SIGINT (`prompt`, without the lame-duck time). A second one ends the process at once.
  func shutDown(_ manner: ShutdownSequence.Manner) {
    guard shutdown == nil else {
      log.warning("told to stop again: ending at once")
      return loop.stop()
    }
    state = .draining
    serverStats.set(.live, 0)
    let sequence = ShutdownSequence(self, manner)
    shutdown = sequence
    sequence.begin()
  }

  /// Closes listeners while the process goes on: what the kernel has accepted is answered, then there is nobody.
  func closeListeners(_ keys: Set<ListenerKey>) {
    let gone = retire { keys.contains($0) }
    atAllWorkers({ $0.endListeners(keys) }) { [unowned self] in
      for listener in gone { release(listener) }
    }
  }

  /// Takes sockets from the list. No handshake begins at their addresses any more, unless another listener has the
  /// address too. They are to be released when the workers have emptied and left them.
  private func retire(_ isGone: (ListenerKey) -> Bool) -> [BoundListener] {
    let gone = sockets.filter { isGone($0.key) }
    for key in gone.keys { sockets[key] = nil }
    let inUse = Set(sockets.values.flatMap(\.addresses))
    for address in gone.values.flatMap(\.addresses) where !inUse.contains(address) {
      listenSockets.stopRouting(address)
    }
    return Array(gone.values)
  }

  func releaseSockets() {
    for listener in sockets.values { release(listener) }
    sockets.removeAll()
  }

  // MARK: Reload

  /// Reads the configuration again. What is wrong is logged and the old configuration stays. One at a time: what is asked
  /// for meanwhile follows.
  func reload() {
    guard shutdown == nil else { return }
    guard let path = options.configPath else {
      return log.warning("there is no configuration file to read again")
    }
    guard state == .live, !isReloading else {
      isReloadWanted = true
      return
    }
    isReloading = true
    log.info("reading \(path) again")
    let loaded: LoadedBootstrap
    do {
      loaded = try ConfigurationReader.readBootstrap(path: path, yaml: options.configYAML)
    } catch {
      for problem in error.problems { Log.config.error(problem.description) }
      return rejectReload()
    }
    for warning in loaded.warnings { Log.config.warning(warning.description) }
    guard let next = compile(loaded), let runtime = prepareRuntime(next, loaded) else { return rejectReload() }
    if loaded.bootstrap.admin != bootstrap.admin {
      log.warning("the admin interface cannot change while running: the old one stays")
    }
    if loaded.bootstrap.statsConfig != bootstrap.statsConfig {
      log.warning("stats_config cannot change while running: the old one stays")
    }
    let opened = next.listeners.map { ListenerKey($0.configuration) }.filter { sockets[$0] == nil }
    do {
      for entry in next.listeners { try listen(entry.configuration) }
    } catch {
      log.error("\(error)")
      configurationStats.listenFailed()
      for key in opened { if let listener = sockets.removeValue(forKey: key) { release(listener) } }
      return rejectReload()
    }
    health.update(next)
    discovery.update(next.clusters.map(\.configuration)) { [unowned self] in
      health.whenChecked { [unowned self] in install(next, runtime, loaded.bootstrap) }
    }
  }

  private func rejectReload() {
    serverStats.add(.reloadFailure)
    // What only the refused configuration has is forgotten.
    discovery.forgetOldEndpoints()
    log.error("the new configuration is not used; the old one stays")
    isReloading = false
    reloadIfWanted()
  }

  private func reloadIfWanted() {
    guard isReloadWanted else { return }
    isReloadWanted = false
    reload()
  }

  private func install(_ next: ConfigurationSnapshot, _ runtime: RuntimeLoader.Preparation, _ bootstrap: Bootstrap) {
    // Names were waited for; the process may have been told to end meanwhile.
    guard shutdown == nil else { return }
    snapshot = next
    identities.secrets.takeConfiguration()
    identities.connectionLimit.configure(next.maximumConnections)
    self.bootstrap = bootstrap
    configurationStats.took(bootstrap.staticResources)
    runtimeLoader.apply(runtime, serviceCluster: node.cluster)
    configuredAt = ProcessClock.wall()
    let kept = Set(next.listeners.map { ListenerKey($0.configuration) })
    let gone = retire { !kept.contains($0) }
    push(next, hosts: discovery.hosts) { [unowned self] in
      for listener in gone { release(listener) }
      discovery.forgetOldEndpoints()
      spanExporters.forgetUnused()
      serverStats.add(.reloadSuccess)
      configurationStats.finished(workers: concurrency)
      CurrentProcess.releaseUnusedMemory()
      log.info("the new configuration is in use")
      isReloading = false
      reloadIfWanted()
    }
    overload.configure(next.overload)
  }
}

/// Counts down to one event. Confined to one thread.
final class Countdown {
  private var remaining: Int
  private let done: () -> Void

  init(_ count: Int, _ done: @escaping () -> Void) {
    remaining = count
    self.done = done
  }

  /// True with the last count, after `done` was called.
  func count() -> Bool {
    remaining -= 1
    guard remaining == 0 else { return false }
    done()
    return true
  }
}
