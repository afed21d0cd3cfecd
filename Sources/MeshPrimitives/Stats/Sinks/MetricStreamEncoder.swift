/// Statistics as messages for a metrics service (`envoy.service.metrics.v3.StreamMetricsMessage`): of each series what has
/// changed since it was last told.
///
/// - A series is told for the first time when it is not 0.
/// - Its first telling has `start_timestamp`: since when it counts, or when it was not there yet. So has every series after `POST /reset_counters`, when all
///   are told again. With that and the values since the start a receiver tells a restart from a decrease, and can lose any
///   message but the last.
/// - A series that is gone is told once more, with Prometheus' marker of staleness as its value.
///
/// Confined to one thread.
public struct MetricStreamEncoder {
  public struct Options: Sendable {
    /// Counters say what came since they were last told.
    public var countersAreDeltas = false
    /// Names of clusters and so on are labels and not part of the name.
    public var hasLabels = false
    /// Histograms are shown by quantiles.
    public var hasSummaries = true
    /// Histograms are shown by buckets.
    public var hasHistograms = true
    /// Series in one message at most; 0: no bound.
    public var maximumSeries = 0

    public init() {}
  }

  /// A NaN that says: there is no such series any more.
  static let stale = Double(bitPattern: 0x7ff0_0000_0000_0002)
  /// A message ends here, in bytes.
  static let messageSize = 1 << 20
  /// Series looked at in one portion.
  static let portion = 4_096

  /// What the next portion is.
  public enum Portion: Equatable {
    /// Fields `envoy_metrics` of a message.
    case message([UInt8])
    /// Nothing has changed so far: ask again, when others have had their turn.
    case nothing
    /// The flush is over.
    case end
  }

  private let options: Options
  private var memory = SeriesMemory()
  private var walk: MetricWalk?
  private var rule: (@Sendable (Bytes) -> Bool)?
  private var time: UInt64 = 0
  private var epoch: UInt64 = 0
  /// The message that is being made, and the families in it that are not complete.
  private var message: [UInt8] = []
  private var seriesInMessage = 0
  private var current = MetricMessage()
  private var summaries = MetricMessage()
  private var currentName: [UInt8] = []
  private var currentKind = MetricFamily.Kind.counter
  /// How many series were told since the start.
  public private(set) var seriesTold: UInt64 = 0

  public init(_ options: Options) { self.options = options }

  /// The field `identifier` of a stream's first message. - Parameter node: a message `envoy.config.core.v3.Node`.
  public static func identifier(node: [UInt8]) -> [UInt8] {
    var field: [UInt8] = []
    field.append(field: 1) { $0.append(field: 1, bytes: node) }
    return field
  }

  /// A flush is going on.
  public var isFlushing: Bool { walk != nil }

  /// The receiver is a new one and knows nothing: a flush that goes on ends, and the next one tells everything. Deltas are
  /// not told twice.
  public mutating func forget() {
    walk = nil
    message.removeAll()
    closeFamilies()
    message.removeAll()
    seriesInMessage = 0
    if !options.countersAreDeltas { memory.forget() }
  }

  /// Begins a flush.
  /// - Parameter time: now, in nanoseconds since 1970.
  public mutating func begin(_ store: StatsStore, at time: UInt64) {
    self.time = time
    if epoch != store.countsSince {
      epoch = store.countsSince
      if !options.countersAreDeltas { memory.forget() }
    }
    rule = store.rules.shows
    memory.beginPass(at: time)
    walk = MetricWalk(store)
  }

  /// The next message, or none yet.
  public mutating func next() -> Portion {
    guard var walk else { return .end }
    for _ in 0..<Self.portion {
      guard let step = walk.next() else {
        tellGone()
        self.walk = nil
        closeFamilies()
        return message.isEmpty ? .end : .message(takeMessage())
      }
      switch step {
      case .endOfFamily: closeFamilies()
      case .entry(let family, let item, let entry): tell(family, item, entry)
      }
      if isFull {
        self.walk = walk
        closeFamilies()
        return .message(takeMessage())
      }
    }
    self.walk = walk
    return .nothing
  }

  private var isFull: Bool {
    (options.maximumSeries > 0 && seriesInMessage >= options.maximumSeries)
      || message.count + current.content.count + summaries.content.count >= Self.messageSize
  }

  private mutating func takeMessage() -> [UInt8] {
    defer {
      message = []
      seriesInMessage = 0
    }
    return message
  }

  // MARK: Series

  private mutating func tell(_ family: MetricFamily, _ item: MetricFamily.Item, _ entry: StatEntry) {
    let told = memory.met(entry)
    if case .histogram(let histogram, let definition) = entry.source {
      return tell(histogram, definition, told)
    }
    entry.visit(item) { sample in
      let last = told[item, sample.label]
      guard sample.value != (last ?? 0), shows(entry, sample.name) else { return }
      told[item, sample.label] = sample.value
      openFamily(entry, sample, family.kind, newSince: last == nil ? told.notBefore : nil)
      var value = sample.value
      if options.countersAreDeltas, family.kind == .counter, let last, value >= last { value &-= last }
      current.add(entry, sample.label, family.kind, value: Double(value), labels: labelNames)
    }
  }

  private mutating func tell(
    _ histogram: LatencyHistogram, _ definition: HistogramDefinition, _ told: SeriesMemory.Told
  ) {
    let snapshot = histogram.snapshot()
    let last = told.histogram
    guard snapshot.count != (last?.count ?? 0) || snapshot.sum != (last?.sum ?? 0) else { return }
    let name = Array(Bytes(definition.name))
    guard shows(told.entry, name) else { return }
    told.histogram = snapshot
    openFamily(
      told.entry, MetricSample(entry: told.entry, name: name, label: .none, value: 0), .histogram,
      newSince: last == nil ? told.notBefore : nil)
    let shown = ShownHistogram(entry: told.entry, snapshot: snapshot, scale: definition.scale, exemplars: [])
    if options.hasHistograms { current.add(shown, labels: labelNames) }
    if options.hasSummaries { summaries.addSummary(shown, labels: labelNames) }
  }

  private func shows(_ entry: StatEntry, _ name: [UInt8]) -> Bool {
    guard let rule else { return true }
    return entry.fullName(name).withUnsafeBufferPointer { rule($0) }
  }

  private var labelNames: LabelNames { options.hasLabels ? .envoy : .none }

  /// What was told and is not there any more.
  private mutating func tellGone() {
    closeFamilies()
    for told in memory.endPass() {
      told.forEach { item, label in
        told.entry.describe(item, label) { name, kind in
          let sample = MetricSample(entry: told.entry, name: name, label: label, value: 0)
          openFamily(told.entry, sample, kind, newSince: nil)
          current.add(told.entry, label, kind, value: Self.stale, labels: labelNames)
          closeFamilies()
        }
      }
    }
  }

  // MARK: Families

  /// Makes sure that what is added next is added to a family of its name.
  /// - Parameter newSince: since when it counts at the earliest, if it is told for the first time.
  private mutating func openFamily(
    _ entry: StatEntry, _ sample: MetricSample, _ kind: MetricFamily.Kind, newSince: UInt64?
  ) {
    seriesInMessage += 1
    seriesTold &+= 1
    let start = newSince.map { max($0, epoch) } ?? 0
    current.start = start > 0 && !options.countersAreDeltas ? start : nil
    summaries.start = current.start
    current.time = time
    summaries.time = time
    let name =
      options.hasLabels ? entry.extractedPrefix + sample.extractedName : entry.fullName(sample.name)
    if !currentName.isEmpty, name == currentName, kind == currentKind { return }
    closeFamilies()
    currentName = name
    currentKind = kind
    if kind != .histogram || options.hasHistograms { current.begin(name, "", kind, isSummary: false) }
    if kind == .histogram, options.hasSummaries { summaries.begin(name, "", kind, isSummary: true) }
  }

  private mutating func closeFamilies() {
    currentName = []
    if !summaries.isEmpty { message.append(field: 2, bytes: summaries.take()) }
    if !current.isEmpty { message.append(field: 2, bytes: current.take()) }
  }
}

extension MetricMessage {
  /// The message, which begins anew.
  fileprivate mutating func take() -> [UInt8] {
    var taken = MetricMessage(time: time)
    swap(&taken, &self)
    return taken.content
  }
}

extension StatEntry {
  /// Calls `body` with the name, without the scope, and the kind of one of its series.
  fileprivate func describe(
    _ item: MetricFamily.Item, _ label: MetricSample.Label, _ body: (_ name: [UInt8], _ kind: MetricFamily.Kind) -> Void
  ) {
    switch (source, item, label) {
    case (.block(_, let table), .row(let index), _) where index < table.rows.count:
      body(table.rows[index].name, table.rows[index].kind == .counter ? .counter : .gauge)
    case (.codes(_, let stem, _), .completed, _): body(stem + Array("_completed".utf8), .counter)
    case (.codes(_, let stem, _), .classes, .codeClass(let number)): body(stem + Array("_\(number)xx".utf8), .counter)
    case (.codes(_, let stem, _), .codes, .code(let code)): body(stem + Array("_\(code)".utf8), .counter)
    default: break
    }
  }
}
