import MeshIO
import MeshPrimitives

/// The overload manager: looks at resources in regular intervals and tells the workers what their pressure triggers.
/// Confined to the main thread.
final class OverloadWatch: TimerTarget {
  private struct Watched {
    let resource: OverloadConfiguration.Resource
    let monitor: any ResourceMonitor
    var pressure: Double?
    var isFailing = false
  }

  /// Called with every change of the state, and at each refresh while streams are to be reset.
  var onChange: (OverloadState) -> Void = { _ in }
  private let loop: EventLoop
  private let store: StatsStore
  private let lane: Int
  private let log: Log
  private let changes: RateLimitedLog
  private var timer: Timer?
  private var configuration: OverloadConfiguration?
  private var watched: [Watched] = []
  private var state = OverloadState()
  private var refreshDelay: HistogramLane?
  private var nextRefresh = MonotonicTime.never
  private var nextShrink = MonotonicTime(nanoseconds: 0)
  /// How often free memory is given back while `shrink_heap` is saturated.
  private static let shrinkInterval = Nanoseconds.seconds(10)

  /// - Parameter lane: the statistics' lane of the main thread.
  init(loop: EventLoop, store: StatsStore, lane: Int, log: Log = .main) {
    self.loop = loop
    self.store = store
    self.lane = lane
    self.log = log
    changes = RateLimitedLog(log, perSecond: 4)
    timer = Timer(loop, self)
  }

  /// Takes a configuration, with which everything begins anew, unless it is the one that is there. The workers must have
  /// been told of it.
  func configure(_ new: OverloadConfiguration?) {
    guard new?.message != configuration?.message else { return }
    configuration = new
    watched = []
    state = OverloadState()
    timer?.disarm()
    guard let new, !new.resources.isEmpty else { return }
    refreshDelay =
      store.histogram(
        "overload",
        HistogramDefinition(
          name: "refresh_interval_delay",
          help: "How much later than planned the resources were looked at, in milliseconds."),
        prometheus: PrometheusScope("envoy_overload")
      ).lane(lane)
    watched = new.resources.enumerated().map { index, resource in
      Watched(resource: resource, monitor: resource.kind.monitor(onset: new.onset(ofResource: index), loop))
    }
    refresh()
  }

  func timerFired(_ tag: UInt8) {
    refreshDelay?.record(loop.now.since(nextRefresh).rawValue / 1000)
    refresh()
  }

  /// Looks at all resources now.
  private func refresh() {
    guard let configuration else { return }
    for index in watched.indices { read(index) }
    var next = OverloadState()
    for action in configuration.actions {
      let strength = strength(action.triggers)
      next[action.action] = strength
      let stats = action.stats.lane(lane)
      stats.set(.active, strength == 1 ? 1 : 0)
      stats.set(.scalePercent, Int64(strength * 100))
      tell(action.action.name, state[action.action], strength)
    }
    for point in configuration.points {
      let strength = strength(point.triggers)
      next[point.point] = strength
      point.stats.lane(lane).set(.scalePercent, Int64(strength * 100))
      tell(point.point.name, state[point.point], strength)
    }
    if next != state || next[.resetHighMemoryStream] > 0 {
      state = next
      onChange(next)
    }
    if next[.shrinkHeap] == 1 { shrink(configuration) }
    nextRefresh = loop.now + configuration.refreshInterval
    timer?.arm(at: nextRefresh)
  }

  private func read(_ index: Int) {
    let stats = watched[index].resource.stats.lane(lane)
    do {
      let pressure = try watched[index].monitor.pressure()
      watched[index].pressure = pressure
      watched[index].isFailing = false
      stats.set(.pressure, Int64((min(max(pressure, 0), 1e6)) * 100))
    } catch {
      // What was known last stays.
      stats.add(.failedUpdates)
      if !watched[index].isFailing { log.warning("\(watched[index].resource.name): \(error.reason)") }
      watched[index].isFailing = true
    }
  }

  private func strength(_ triggers: OverloadConfiguration.Triggers) -> Float {
    triggers.compactMap { trigger in watched[trigger.resource].pressure.map { trigger.trigger.strength(at: $0) } }
      .max() ?? 0
  }

  private func tell(_ name: String, _ old: Float, _ new: Float) {
    guard (old > 0) != (new > 0) else { return }
    let pressures = watched.map { watched in
      "\(watched.resource.name) \(watched.pressure.map { "\(Int(min($0, 1e6) * 100)) %" } ?? "unknown")"
    }
    let text = "\(name) is \(new > 0 ? "active" : "inactive") (\(pressures.joined(separator: ", ")))"
    if new > 0 { changes.warning(text) } else { changes.info(text) }
  }

  private func shrink(_ configuration: OverloadConfiguration) {
    guard loop.now >= nextShrink else { return }
    nextShrink = loop.now + Self.shrinkInterval
    CurrentProcess.releaseFreeHeap()
    configuration.shrinks?.lane(lane).add(.count)
  }
}
