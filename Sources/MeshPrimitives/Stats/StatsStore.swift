import Synchronization

/// How the statistics of a scope are named for Prometheus.
public struct PrometheusScope: Sendable {
  /// The first part of the metric's name: `envoy_cluster`.
  public let metricPrefix: String
  /// The labels that say which one: `envoy_cluster_name` is `service1`.
  public let labels: [(name: String, value: String)]

  public init(_ metricPrefix: String, labels: [(name: String, value: String)] = []) {
    self.metricPrefix = metricPrefix
    self.labels = labels
  }
}

/// The name of a histogram, and how its values are shown.
public struct HistogramDefinition: Sendable {
  /// For instance `upstream_rq_time`.
  public let name: StaticString
  /// What is measured, in a sentence of plain text; see `StatDefinition.help`.
  public let help: StaticString
  /// What a recorded value is divided by when it is shown: 1,000 if microseconds are recorded and milliseconds shown.
  public let scale: UInt64

  public init(name: StaticString, help: StaticString = "", scale: UInt64 = 1_000) {
    self.name = name
    self.help = help
    self.scale = max(scale, 1)
  }
}

/// Which response code counters of a scope are shown.
public struct ResponseCodeDetail: OptionSet, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// All of `…_1xx` to `…_5xx` from the start; without it, what there was.
  public static let always = ResponseCodeDetail(rawValue: 1)
  /// Single codes, as soon as there was one.
  public static let codes = ResponseCodeDetail(rawValue: 2)
  /// `…_completed`: the sum.
  public static let completed = ResponseCodeDetail(rawValue: 4)

  /// `…_1xx` to `…_5xx`, always all five (Envoy's connection managers).
  public static let classes: ResponseCodeDetail = .always
  /// Classes and single codes, as soon as there was one (Envoy's clusters).
  public static let classesAndCodes: ResponseCodeDetail = .codes
}

/// All statistics of the process, by scope. Asking for a scope that exists gives the same object again, so that counts
/// outlive a change of configuration; a scope is shown for as long as someone has a lease on it.
///
/// Threads: any; registration and rendering take a lock, counting does not.
public final class StatsStore: Sendable {
  enum Key: Hashable {
    case block(String, ObjectIdentifier)
    case lane(String)
    case codes(String, String)
    case histogram(String, String)
    case counter(String, String)
  }

  private struct Registry {
    var entries: [Key: StatEntry] = [:]
    var tables: [ObjectIdentifier: StatTable] = [:]
    /// What each prefix has.
    var keys: [String: [Key]] = [:]
    /// Who holds a prefix, with a number that tells one holding from the next.
    var leases: [String: Holder] = [:]
    var lastLease: UInt64 = 0
    /// The entries in name order; nil after a change.
    var sorted: [StatEntry]?
    /// The same by what Prometheus has together.
    var families: [MetricFamily]?
    /// Of histograms and response codes.
    var names: Set<String> = []

    mutating func add(_ key: Key, _ entry: StatEntry) {
      if entries.updateValue(entry, forKey: key) == nil { keys[entry.prefix, default: []].append(key) }
      changed()
    }

    /// An entry with this prefix, if there is one.
    func neighbour(_ prefix: String) -> StatEntry? { keys[prefix]?.first.flatMap { entries[$0] } }

    /// A name that many keys have, once.
    mutating func shared(_ name: StaticString) -> String {
      let name = name.description
      if let known = names.firstIndex(of: name) { return names[known] }
      names.insert(name)
      return name
    }

    mutating func changed() {
      sorted = nil
      families = nil
    }
  }

  private struct Holder {
    weak var lease: StatsLease?
    let number: UInt64
  }

  private let registry = Mutex(Registry())
  private let epoch: Atomic<UInt64>
  private let exemplarsWanted = Atomic(false)
  /// How many threads write.
  public let lanes: Int
  let rules: StatsRules
  /// Metrics whose series come with labels.
  public let labelled: LabelledFamilies

  /// - Parameters:
  ///   - lanes: how many threads write: the workers and the main thread.
  ///   - rules: what the configuration says about all statistics.
  ///   - time: now, in nanoseconds since 1970.
  public init(lanes: Int, rules: StatsRules = StatsRules(), at time: UInt64 = 0) {
    precondition(lanes > 0)
    epoch = Atomic(time)
    self.lanes = lanes
    self.rules = rules
    labelled = LabelledFamilies(lanes: lanes, rules: rules)
  }

  /// The statistics of one scope, made at the first call.
  /// - Parameters:
  ///   - prefix: the scope's full name without a dot at the end: `cluster.service1`.
  ///   - prometheus: how Prometheus sees the scope; what the first call gave stays.
  public func scope<Set: StatSet>(
    _ prefix: String, prometheus: PrometheusScope, _ set: Set.Type = Set.self
  ) -> StatBlock<Set> {
    let identity = ObjectIdentifier(set)
    return registry.withLock { registry in
      let key = Key.block(prefix, identity)
      if case .block(let source, _)? = registry.entries[key]?.source, let block = source as? StatBlock<Set> {
        return block
      }
      let table = registry.tables[identity] ?? StatTable(definitions: Set.allCases.map(\.definition))
      registry.tables[identity] = table
      let block = StatBlock<Set>(lanes: lanes)
      registry.add(
        key,
        StatEntry(
          prefix: prefix, prometheus: prometheus, source: .block(block, table),
          neighbour: registry.neighbour(prefix)))
      return block
    }
  }

  /// Shows some statistics of one lane of `block` under a prefix of their own. What the first call for the prefix gave
  /// stays.
  public func show<Set: StatSet>(
    _ stats: [Set], of block: StatBlock<Set>, lane: Int, under prefix: String, prometheus: PrometheusScope
  ) {
    registry.withLock { registry in
      let key = Key.lane(prefix)
      guard registry.entries[key] == nil else { return }
      let view = StatLaneView(block, lane: lane, stats: stats)
      registry.add(
        key,
        StatEntry(
          prefix: prefix, prometheus: prometheus, source: .block(view, StatTable(definitions: view.definitions))))
    }
  }

  /// The response code counters `stem_200`, `stem_2xx` of a scope, made at the first call.
  /// - Parameter stem: `upstream_rq`, `downstream_rq`.
  public func responseCodes(
    _ prefix: String, stem: StaticString, prometheus: PrometheusScope, detail: ResponseCodeDetail
  ) -> ResponseCodeCounters {
    registry.withLock { registry in
      let key = Key.codes(prefix, registry.shared(stem))
      if case .codes(let counters, _, _)? = registry.entries[key]?.source { return counters }
      let counters = ResponseCodeCounters(lanes: lanes)
      registry.add(
        key,
        StatEntry(
          prefix: prefix, prometheus: prometheus, source: .codes(counters, stem: Array(Bytes(stem)), detail),
          neighbour: registry.neighbour(prefix)))
      return counters
    }
  }

  /// One counter of a scope whose counters come as they are needed, made at the first call.
  /// - Parameters:
  ///   - name: without the scope's.
  ///   - help: see `StatDefinition.help`.
  public func counter(
    _ prefix: String, _ name: StaticString, help: StaticString, prometheus: PrometheusScope
  ) -> StatBlock<SoleStat> {
    registry.withLock { registry in
      let key = Key.counter(prefix, registry.shared(name))
      if case .block(let source, _)? = registry.entries[key]?.source, let block = source as? StatBlock<SoleStat> {
        return block
      }
      let block = StatBlock<SoleStat>(lanes: lanes)
      registry.add(
        key,
        StatEntry(
          prefix: prefix, prometheus: prometheus, source: .block(block, StatTable(definitions: [.counter(name, help)])),
          neighbour: registry.neighbour(prefix)))
      return block
    }
  }

  /// A histogram of a scope, made at the first call.
  public func histogram(
    _ prefix: String, _ definition: HistogramDefinition, prometheus: PrometheusScope
  ) -> LatencyHistogram {
    registry.withLock { registry in
      let key = Key.histogram(prefix, registry.shared(definition.name))
      if case .histogram(let histogram, _)? = registry.entries[key]?.source { return histogram }
      let histogram = LatencyHistogram(lanes: lanes)
      let name = Array("\(prefix).\(definition.name)".utf8)
      registry.add(
        key,
        StatEntry(
          prefix: prefix, prometheus: prometheus, source: .histogram(histogram, definition),
          bounds: name.withUnsafeBufferPointer { rules.bounds?($0) } ?? HistogramSnapshot.defaultBounds,
          neighbour: registry.neighbour(prefix)))
      return histogram
    }
  }

  /// Holds everything under exactly this prefix: it is shown for as long as someone holds it, then forgotten. What no one
  /// ever held stays for good. Asking again while it is held gives the same lease.
  public func lease(_ prefix: String) -> StatsLease {
    registry.withLock { registry in
      if let held = registry.leases[prefix]?.lease { return held }
      registry.lastLease += 1
      let lease = StatsLease(self, prefix: prefix, number: registry.lastLease)
      registry.leases[prefix] = Holder(lease: lease, number: registry.lastLease)
      return lease
    }
  }

  /// The last holder has let go. If someone else has begun to hold the prefix meanwhile, its statistics are theirs now.
  fileprivate func end(_ prefix: String, number: UInt64) {
    registry.withLock { registry in
      guard registry.leases[prefix]?.number == number else { return }
      registry.leases[prefix] = nil
      for key in registry.keys.removeValue(forKey: prefix) ?? [] { registry.entries[key] = nil }
      registry.changed()
    }
  }

  /// Since when counters and histograms count: the store's making, or the last reset. Nanoseconds since 1970.
  public var countsSince: UInt64 { epoch.load(ordering: .relaxed) }

  /// Whoever reads statistics has asked for exemplars: whoever counts requests may keep some (`LatencyHistogram.note`).
  public var keepsExemplars: Bool {
    get { exemplarsWanted.load(ordering: .relaxed) }
    set { exemplarsWanted.store(newValue, ordering: .relaxed) }
  }

  /// Sets all counters and histograms to zero; gauges keep their value.
  /// - Parameter time: now, in nanoseconds since 1970.
  public func resetCounters(at time: UInt64 = 0) {
    if time > 0 { epoch.store(time, ordering: .relaxed) }
    for entry in entries() {
      switch entry.source {
      case .block(let block, _): block.resetCounters()
      case .codes(let counters, _, _): counters.resetCounters()
      case .histogram(let histogram, _): histogram.reset()
      }
    }
  }

  /// Calls `body` with every counter and gauge, in the order of their full names. Histograms are not visited.
  public func visit(_ body: (_ name: String, _ kind: StatKind, _ value: Int64) -> Void) {
    let entries = entries()
    var lines = StatLines()
    var start = 0
    while start < entries.count {
      let end = StatEntry.endOfGroup(entries, from: start)
      var options = StatsOptions()
      options.rule = rules.shows
      lines.collect(entries[start..<end], options: options)
      lines.visit { body($0.text, $1, $2) }
      start = end
    }
  }

  /// Envoy's `/stats`: a line `name: value` each, sorted, histograms last. Added to `output` in one go; for large stores
  /// a `StatsReport` writes in portions.
  public func renderText(into output: inout [UInt8], options: StatsOptions = StatsOptions()) {
    render(.text, into: &output, options)
  }

  /// Envoy's `/stats?format=json`.
  public func renderJSON(into output: inout [UInt8], options: StatsOptions = StatsOptions()) {
    render(.json, into: &output, options)
  }

  /// Envoy's `/stats/prometheus` (text exposition format 0.0.4).
  public func renderPrometheus(into output: inout [UInt8], options: StatsOptions = StatsOptions()) {
    var report = MetricsReport(self, options: options)
    while report.write(into: &output, softLimit: .max) {}
  }

  private func render(_ format: StatsReport.Format, into output: inout [UInt8], _ options: StatsOptions) {
    var report = StatsReport(self, format, options: options)
    while report.write(into: &output, softLimit: .max) {}
  }

  /// All entries in the order of their names.
  func entries() -> [StatEntry] { labelled.merge(into: registry.withLock { Self.sorted(&$0) }) }

  /// All metrics as Prometheus has them, those with labels of their own last.
  func metricFamilies() -> [MetricFamily] { scopedFamilies() + MetricFamily.families(of: labelled.entries()) }

  private func scopedFamilies() -> [MetricFamily] {
    registry.withLock { registry in
      if let families = registry.families { return families }
      var groups: [[StatEntry]] = []
      var positions: [[UInt8]: Int] = [:]
      for entry in Self.sorted(&registry) {
        let family = entry.family
        if let position = positions[family] {
          groups[position].append(entry)
        } else {
          positions[family] = groups.count
          groups.append([entry])
        }
      }
      let families = MetricFamily.families(of: groups)
      registry.families = families
      return families
    }
  }

  /// There are several entries for each prefix, and ten thousand clusters: the prefixes are sorted, not the entries.
  private static func sorted(_ registry: inout sending Registry) -> [StatEntry] {
    if let sorted = registry.sorted { return sorted }
    var groups: [(dotted: String, prefix: String)] = []
    groups.reserveCapacity(registry.keys.count)
    for prefix in registry.keys.keys { groups.append((prefix.isEmpty ? "" : prefix + ".", prefix)) }
    groups.sort { $0.dotted.utf8.lexicographicallyPrecedes($1.dotted.utf8) }
    var sorted: [StatEntry] = []
    sorted.reserveCapacity(registry.entries.count)
    for group in groups {
      let entries = (registry.keys[group.prefix] ?? []).compactMap { registry.entries[$0] }
      sorted += entries.sorted { $0.order < $1.order }
    }
    registry.sorted = sorted
    return sorted
  }
}

/// Keeps the statistics under one prefix in sight; see `StatsStore.lease`. Whoever counts there keeps it beside what it
/// counts with.
public final class StatsLease: Sendable {
  private let store: StatsStore
  public let prefix: String
  private let number: UInt64

  fileprivate init(_ store: StatsStore, prefix: String, number: UInt64) {
    self.store = store
    self.prefix = prefix
    self.number = number
  }

  deinit { store.end(prefix, number: number) }
}
