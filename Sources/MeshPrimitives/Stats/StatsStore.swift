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
  /// What a recorded value is divided by when it is shown: 1,000 if microseconds are recorded and milliseconds shown.
  public let scale: UInt64

  public init(name: StaticString, scale: UInt64 = 1_000) {
    self.name = name
    self.scale = max(scale, 1)
  }
}

/// Which response code counters of a scope are shown.
public enum ResponseCodeDetail: Sendable {
  /// `…_1xx` to `…_5xx`, always all five (Envoy's listeners and connection managers).
  case classes
  /// Classes and single codes, as soon as there was one (Envoy's clusters).
  case classesAndCodes
}

/// All statistics of the process, by scope. Asking for a scope that exists gives the same object again, so that counts
/// outlive a change of configuration; removing it is explicit.
///
/// Threads: any; registration and rendering take a lock, counting does not.
public final class StatsStore: Sendable {
  enum Key: Hashable {
    case block(String, ObjectIdentifier)
    case codes(String, String)
    case histogram(String, String)
  }

  private struct Registry {
    var entries: [Key: StatEntry] = [:]
    var tables: [ObjectIdentifier: StatTable] = [:]
    /// The entries in name order; nil after a change.
    var sorted: [StatEntry]?
  }

  private let registry = Mutex(Registry())
  /// How many threads write.
  public let lanes: Int

  /// - Parameter lanes: how many threads write: the workers and the main thread.
  public init(lanes: Int) {
    precondition(lanes > 0)
    self.lanes = lanes
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
      registry.entries[key] = StatEntry(prefix: prefix, prometheus: prometheus, source: .block(block, table))
      registry.sorted = nil
      return block
    }
  }

  /// The response code counters `stem_200`, `stem_2xx` of a scope, made at the first call.
  /// - Parameter stem: `upstream_rq`, `downstream_rq`.
  public func responseCodes(
    _ prefix: String, stem: StaticString, prometheus: PrometheusScope, detail: ResponseCodeDetail
  ) -> ResponseCodeCounters {
    registry.withLock { registry in
      let key = Key.codes(prefix, stem.description)
      if case .codes(let counters, _, _)? = registry.entries[key]?.source { return counters }
      let counters = ResponseCodeCounters(lanes: lanes)
      registry.entries[key] = StatEntry(
        prefix: prefix, prometheus: prometheus, source: .codes(counters, stem: Array(Bytes(stem)), detail))
      registry.sorted = nil
      return counters
    }
  }

  /// A histogram of a scope, made at the first call.
  public func histogram(
    _ prefix: String, _ definition: HistogramDefinition, prometheus: PrometheusScope
  ) -> LatencyHistogram {
    registry.withLock { registry in
      let key = Key.histogram(prefix, definition.name.description)
      if case .histogram(let histogram, _)? = registry.entries[key]?.source { return histogram }
      let histogram = LatencyHistogram(lanes: lanes)
      registry.entries[key] = StatEntry(
        prefix: prefix, prometheus: prometheus, source: .histogram(histogram, definition))
      registry.sorted = nil
      return histogram
    }
  }

  /// Shows everything under exactly this prefix no longer. Who still holds a block may go on writing to it; the next
  /// call of `scope` makes a new one.
  public func remove(scope prefix: String) {
    registry.withLock { registry in
      registry.entries = registry.entries.filter { $0.value.prefix != prefix }
      registry.sorted = nil
    }
  }

  /// Sets all counters and histograms to zero; gauges keep their value.
  public func resetCounters() {
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
      lines.collect(entries[start..<end], options: StatsOptions())
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
    render(.prometheus, into: &output, options)
  }

  private func render(_ format: StatsReport.Format, into output: inout [UInt8], _ options: StatsOptions) {
    var report = StatsReport(self, format, options: options)
    while report.write(into: &output, softLimit: .max) {}
  }

  /// All entries in the order of their names.
  func entries() -> [StatEntry] {
    registry.withLock { registry in
      if let sorted = registry.sorted { return sorted }
      let sorted = registry.entries.values.sorted { a, b in
        if a.dottedPrefix != b.dottedPrefix { return a.dottedPrefix.lexicographicallyPrecedes(b.dottedPrefix) }
        return a.order < b.order
      }
      registry.sorted = sorted
      return sorted
    }
  }
}

/// Which statistics a report shows.
public struct StatsOptions: Sendable {
  /// Kinds of statistics (`type`).
  public struct Kinds: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let counters = Kinds(rawValue: 1)
    public static let gauges = Kinds(rawValue: 2)
    public static let histograms = Kinds(rawValue: 4)
    public static let all: Kinds = [.counters, .gauges, .histograms]
  }

  public var filter: StatsFilter
  /// Leaves out what is zero (`usedonly`).
  public var usedOnly: Bool
  public var kinds: Kinds

  public init(filter: StatsFilter = .all, usedOnly: Bool = false, kinds: Kinds = .all) {
    self.filter = filter
    self.usedOnly = usedOnly
    self.kinds = kinds
  }

  func shows(_ kind: StatKind) -> Bool { kinds.contains(kind == .counter ? .counters : .gauges) }
}
