import MeshAPI
import MeshIO
import MeshPrimitives

/// What the admin interface is told, and what it can do.
extension Proxy: AdminContext {
  public var version: String { Self.versionText }
  /// Brought up to date first: what nobody counts is read when it is asked for.
  public var stats: StatsStore {
    serverStats.set(.uptime, Int64(loop.now.since(startedAt).rawValue / 1_000_000_000))
    let heap = CurrentProcess.heap
    serverStats.set(.memoryAllocated, Int64(clamping: heap.allocated))
    serverStats.set(.memoryHeapSize, Int64(clamping: heap.size))
    let resident = CurrentProcess.memory.resident
    // Without a descriptor to read it, the last value stays.
    if resident > 0 { serverStats.set(.memoryPhysicalSize, Int64(clamping: resident)) }
    let wall = Int64(ProcessClock.wall() / 1_000_000_000)
    serverStats.set(
      .daysUntilFirstCertificateExpires, identities.secrets.daysUntilFirstEnd(at: wall) ?? Int64(UInt32.max))
    serverStats.set(.totalConnections, identities.activeConnections)
    for cluster in snapshot?.clusters ?? [] {
      cluster.identity.publishBreakers(cluster.configuration.limits, lane: concurrency)
    }
    serverStats.set(.staleEvents, Int64(clamping: loop.staleEvents))
    let states: [State] = [.live, .draining, .preInitializing, .initializing]
    serverStats.set(.state, Int64(states.firstIndex(of: state) ?? 0))
    return store
  }

  public func statisticsAsked() { statSinks.asked() }

  public var node: Node { options.node(of: bootstrap) }

  public var commandLineOptions: [(name: String, value: AdminJSON)] {
    [
      ("config_path", .string(options.configPath ?? "")), ("config_yaml", .string(options.configYAML ?? "")),
      ("mode", .string(options.mode == .serve ? "Serve" : "Validate")), ("concurrency", .integer(Int64(concurrency))),
      ("service_cluster", .string(options.serviceCluster ?? "")), ("service_node", .string(options.serviceNode ?? "")),
      ("log_level", .string(options.logLevel.description)), ("drain_time", .string("\(options.drainSeconds)s")),
      ("lame_duck_time", .string("\(options.lameDuckSeconds)s")),
      ("file_flush_interval", .string("\(Double(options.fileFlushMilliseconds) / 1000)s")),
      ("disable_hot_restart", .bool(true)),
    ]
  }

  public var clusters: [AdminCluster] {
    (snapshot?.clusters ?? []).map { entry in
      let name = entry.configuration.name
      var cluster = AdminCluster(
        configuration: entry.configuration, identity: entry.identity, endpoints: discovery.all[name] ?? [])
      if let outliers = health.outliers(of: name) {
        cluster.outliers = cluster.endpoints.map { outliers.report($0.endpoint.identity) }
      }
      return cluster
    }
  }

  public var uninitializedClusters: [String] {
    state == .live ? [] : Set(discovery.unresolved + health.unchecked).sorted()
  }

  public var listeners: [AdminListener] {
    (snapshot?.listeners ?? []).compactMap { entry in
      sockets[ListenerKey(entry.configuration)].map {
        // One that does not bind to its port has the address that it is found by.
        AdminListener(
          name: entry.configuration.name,
          addresses: $0.addresses.isEmpty ? entry.configuration.addresses.map(\.address) : $0.addresses)
      }
    }
  }

  public func drainListeners(graceful: Bool, inboundOnly: Bool, skipExit: Bool) {
    let chosen = (snapshot?.listeners ?? []).filter { !inboundOnly || $0.configuration.direction == .inbound }
    let keys = Set(chosen.map { ListenerKey($0.configuration) })
    for worker in workers { worker.mailbox.post { $0.beginDraining(keys) } }
    if skipExit { return }
    guard graceful else { return closeListeners(keys) }
    let drain = listenerDrain ?? ListenerDrain(self)
    listenerDrain = drain
    drain.start(keys, after: .seconds(UInt64(options.drainSeconds)))
  }

  public func failHealthCheck(_ fail: Bool) {
    isHealthCheckFailed = fail
    // As in Envoy: a proxy that is to be left alone lets its clients go, one response at a time.
    for worker in workers { worker.mailbox.post { $0.setHealthCheckFailed(fail) } }
  }

  public var tlsContexts: [TLSContext] { identities.secrets.contexts }

  public var runtimeLayers: [Runtime.Layer] { runtimeLoader.layers }

  public func modifyRuntime(_ changes: [(name: String, value: String)]) -> Bool { runtimeLoader.modify(changes) }

  public func quit() {
    log.info("told to quit by the admin interface")
    loop.stop()
  }
}
