import MeshAPI
import MeshConfig
import MeshPrimitives

/// The overload manager: what is watched, and what that sets off.
extension SnapshotBuilder {
  /// Monitors as they can be referred to by triggers.
  private typealias Resources = [OverloadConfiguration.Resource]

  /// What the overload manager does; nil if it does nothing.
  mutating func overload(_ manager: OverloadManager) -> OverloadConfiguration? {
    let before = problems.count
    var leases: [StatsLease] = []
    let resources = resources(manager, &leases)
    var names: Set<String> = []
    var reductions: [TimeoutReduction.Kind: TimeoutReduction] = [:]
    var actions: [OverloadConfiguration.Action] = []
    var resets: StatBlock<StreamResetStat>?
    var shrinks: StatBlock<HeapShrinkStat>?
    for (index, message) in manager.actions.enumerated() {
      let path = "overload_manager.actions[\(index)]"
      guard isNew(message.name, path, &names), let action = action(message, path) else { continue }
      let scope = "overload.\(message.name)"
      leases.append(identities.store.lease(scope))
      switch action {
      case .reduceTimeouts: reductions = self.reductions(message, "\(path).typed_config")
      case .resetHighMemoryStream:
        if !manager.hasBufferFactoryConfig {
          report(path, "needs overload_manager.buffer_factory_config, which says what much memory is")
        }
        leases.append(identities.store.lease(message.name))
        resets = identities.store.scope(message.name, prometheus: overloadScope(message.name, ""))
      case .shrinkHeap:
        shrinks = identities.store.scope(scope, prometheus: overloadScope(message.name))
      default: break
      }
      actions.append(
        .init(
          action: action, triggers: triggers(message.triggers, resources, "\(path).triggers"),
          stats: identities.store.scope(scope, prometheus: overloadScope(message.name))))
    }
    var points: [OverloadConfiguration.Point] = []
    for (index, message) in manager.loadshedPoints.enumerated() {
      let path = "overload_manager.loadshed_points[\(index)]"
      guard isNew(message.name, path, &names), let point = point(message.name, "\(path).name") else { continue }
      let scope = "overload.\(message.name)"
      leases.append(identities.store.lease(scope))
      points.append(
        .init(
          point: point, triggers: triggers(message.triggers, resources, "\(path).triggers"),
          stats: identities.store.scope(scope, prometheus: overloadScope(message.name))))
    }
    if manager.hasRefreshInterval, manager.refreshInterval.nanoseconds < 1_000_000 {
      report("overload_manager.refresh_interval", "must be at least 1ms")
    }
    guard problems.count == before, !resources.isEmpty else { return nil }
    return OverloadConfiguration(
      message: manager, resources: resources, actions: actions, points: points, reductions: reductions, resets: resets,
      shrinks: shrinks, leases: leases)
  }

  private func overloadScope(_ name: String, _ prefix: String = "overload_") -> PrometheusScope {
    PrometheusScope("envoy_\(prefix)\(String(name.map { $0 == "." ? "_" : $0 }))")
  }

  private mutating func isNew(_ name: String, _ path: String, _ names: inout Set<String>) -> Bool {
    if names.insert(name).inserted { return true }
    report("\(path).name", "another one has the name \"\(name)\" already")
    return false
  }

  // MARK: Resources

  private mutating func resources(_ manager: OverloadManager, _ leases: inout [StatsLease]) -> Resources {
    var result: Resources = []
    var names: Set<String> = []
    for (index, monitor) in manager.resourceMonitors.enumerated() {
      let path = "overload_manager.resource_monitors[\(index)]"
      guard isNew(monitor.name, path, &names), let kind = kind(monitor.typedConfig, path) else { continue }
      let scope = "overload.\(monitor.name)"
      leases.append(identities.store.lease(scope))
      result.append(
        .init(
          name: monitor.name, kind: kind,
          stats: identities.store.scope(scope, prometheus: overloadScope(monitor.name))))
    }
    return result
  }

  private mutating func kind(_ message: TypedConfig, _ path: String) -> OverloadConfiguration.Kind? {
    if let heap: FixedHeapConfig = try? message.unpack() { return .heap(maximum: heap.maxHeapSizeBytes) }
    if let group: CgroupMemoryConfig = try? message.unpack() {
      return .controlGroupMemory(maximum: group.maxMemoryBytes == 0 ? nil : group.maxMemoryBytes)
    }
    if let processors: CpuUtilizationConfig = try? message.unpack() {
      return .processors(isContainer: processors.mode == .container)
    }
    if message.holds(DownstreamConnectionsConfig.self) { return .connections(identities.connectionLimit) }
    if let injected: InjectedResourceConfig = try? message.unpack() {
      if injected.filename.isEmpty { report("\(path).typed_config.filename", "must not be empty") }
      return .injected(path: injected.filename)
    }
    report("\(path).typed_config", "\(message.messageName) is no resource monitor")
    return nil
  }

  /// The limit on connections from clients that a resource monitor sets; nil without such a monitor.
  mutating func maximumConnections(_ manager: OverloadManager) -> UInt64? {
    var result: UInt64?
    for (index, monitor) in manager.resourceMonitors.enumerated() {
      let path = "overload_manager.resource_monitors[\(index)]"
      guard let limit: DownstreamConnectionsConfig = try? monitor.typedConfig.unpack() else { continue }
      if result != nil { report(path, "another monitor watches the number of connections already") }
      result = UInt64(clamping: limit.maxActiveDownstreamConnections)
    }
    return result
  }

  // MARK: What they set off

  private mutating func triggers(
    _ messages: [OverloadTriggerConfig], _ resources: Resources, _ path: String
  ) -> OverloadConfiguration.Triggers {
    var result: OverloadConfiguration.Triggers = []
    for (index, message) in messages.enumerated() {
      let path = "\(path)[\(index)]"
      guard let resource = resources.firstIndex(where: { $0.name == message.name }) else {
        let near = NearestName.of(message.name, in: resources.map(\.name)).map { " (did you mean \"\($0)\"?)" } ?? ""
        report("\(path).name", "there is no resource monitor \"\(message.name)\"\(near)")
        continue
      }
      if case .connections = resources[resource].kind {
        report("\(path).name", "\(message.name) is a limit of its own, which triggers nothing")
      }
      if result.contains(where: { $0.resource == resource }) {
        report("\(path).name", "another trigger is for \(message.name) already")
      }
      switch message.triggerOneof {
      case .threshold(let threshold): result.append((resource, .threshold(threshold.value)))
      case .scaled(let scaled):
        if scaled.scalingThreshold >= scaled.saturationThreshold {
          report("\(path).scaled.scaling_threshold", "must be less than saturation_threshold")
        }
        result.append((resource, .scaled(from: scaled.scalingThreshold, to: scaled.saturationThreshold)))
      case nil: report(path, "needs one of threshold and scaled")
      }
    }
    return result
  }

  private mutating func action(_ message: OverloadActionConfig, _ path: String) -> OverloadAction? {
    let known = OverloadAction.allCases.map(\.name)
    guard let action = OverloadAction.allCases.first(where: { $0.name == message.name }) else {
      reportUnknown(message.name, "overload action", known, OverloadAction.unsupported, "\(path).name")
      return nil
    }
    if action != .reduceTimeouts, message.hasTypedConfig {
      report("\(path).typed_config", "\(message.name) takes none")
    }
    return action
  }

  private mutating func point(_ name: String, _ path: String) -> LoadShedPoint? {
    if let point = LoadShedPoint.allCases.first(where: { $0.name == name }) { return point }
    reportUnknown(name, "load shed point", LoadShedPoint.allCases.map(\.name), LoadShedPoint.unsupported, path)
    return nil
  }

  private mutating func reportUnknown(
    _ name: String, _ what: String, _ known: [String], _ unsupported: [String], _ path: String
  ) {
    if unsupported.contains(name) {
      return report(path, "Envoy has the \(what) \(name), but it is not supported yet")
    }
    let near = NearestName.of(name, in: known).map { "; did you mean \"\($0)\"?" } ?? ""
    report(path, "there is no \(what) \"\(name)\" (there are \(known.joined(separator: ", "))\(near))")
  }

  private mutating func reductions(
    _ message: OverloadActionConfig, _ path: String
  ) -> [TimeoutReduction.Kind: TimeoutReduction] {
    guard let timers: ScaleTimersConfig = try? message.typedConfig.unpack() else {
      report(path, "is required: which timeouts become shorter")
      return [:]
    }
    var result: [TimeoutReduction.Kind: TimeoutReduction] = [:]
    for (index, timer) in timers.timerScaleFactors.enumerated() {
      let path = "\(path).timer_scale_factors[\(index)]"
      let kind: TimeoutReduction.Kind
      switch timer.timer {
      case .httpDownstreamConnectionIdle: kind = .connectionIdle
      case .httpDownstreamStreamIdle: kind = .streamIdle
      case .transportSocketConnect: kind = .transportSocketConnect
      case .httpDownstreamConnectionMax: kind = .connectionMaximum
      case .httpDownstreamStreamFlush: kind = .streamFlush
      default:
        report("\(path).timer", "is required")
        continue
      }
      let least: TimeoutReduction.Least
      switch timer.overloadAdjust {
      case .minTimeout(let span): least = .span(Nanoseconds(span))
      case .minScale(let share): least = .share(share.value / 100)
      case nil:
        report(path, "needs one of min_timeout and min_scale")
        continue
      }
      if result.updateValue(TimeoutReduction(least: least), forKey: kind) != nil {
        report("\(path).timer", "is given twice")
      }
    }
    return result
  }
}
