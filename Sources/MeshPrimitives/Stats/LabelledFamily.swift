import Synchronization

/// One metric of which there is a series for each set of labels that is met while the proxy runs: a counter or a histogram.
/// Labels come from peers, so that the number of series has a bound; what comes beyond it is counted in a series that the
/// caller names.
///
/// Threads: any. Finding a series takes a lock: keep what is found. Counting takes none (`StatBlock.lane`).
public final class LabelledFamily: Sendable {
  /// The series of a set of labels.
  public struct Series: Sendable {
    let entry: StatEntry
    /// There was no room: it is the series that stands in for all the others.
    public let isOverflow: Bool
    /// It was made by this call.
    public let isNew: Bool

    /// Its counter; nil for a histogram's.
    public var counter: StatBlock<SoleStat>? {
      if case .block(let block, _) = entry.source { block as? StatBlock<SoleStat> } else { nil }
    }

    /// Its histogram; nil for a counter's.
    public var histogram: LatencyHistogram? {
      if case .histogram(let histogram, _) = entry.source { histogram } else { nil }
    }
  }

  private struct Held {
    let entry: StatEntry
    /// Nobody has asked for it since `markIdle`.
    var isIdle = false
  }

  private struct State {
    var series: [LabelSet: Held] = [:]
    /// Those that stand in for the others; not counted in the bound, since the caller has few of them.
    var overflow: [LabelSet: Held] = [:]
    /// All in the order of their labels; nil after a change.
    var sorted: [StatEntry]?
  }

  /// What the metric is called behind the namespace: `requests_total`.
  public let name: StaticString
  /// What `# HELP` says of it.
  public let help: StaticString
  /// The namespace, and what Envoy puts before it: `istio`, `istiocustom.istio_`.
  let metricPrefix: [UInt8]
  let dottedPrefix: [UInt8]
  private let lanes: Int
  private let scale: UInt64?
  private let bounds: [Double]
  private let table: StatTable
  private let state = Mutex(State())

  /// - Parameters:
  ///   - scale: of a histogram (`HistogramDefinition.scale`); nil: a counter.
  init(namespace: String, name: StaticString, help: StaticString, scale: UInt64?, lanes: Int, rules: StatsRules) {
    self.name = name
    self.help = help
    self.scale = scale
    self.lanes = lanes
    metricPrefix = Array(namespace.utf8)
    dottedPrefix = Array("\(namespace)custom.\(namespace)_".utf8)
    let full = dottedPrefix + Array(Bytes(name))
    bounds = full.withUnsafeBufferPointer { rules.bounds?($0) } ?? HistogramSnapshot.defaultBounds
    table = StatTable(definitions: [.counter(name, help)])
  }

  /// The series of `labels`, made at the first call.
  /// - Parameters:
  ///   - overflow: the labels of the series that stands in if there are `maximum` series already.
  public func series(_ labels: LabelSet, overflow: @autoclosure () -> LabelSet, maximum: Int) -> Series {
    state.withLock { state in
      if let known = state.series[labels] {
        if known.isIdle { state.series[labels]?.isIdle = false }
        return Series(entry: known.entry, isOverflow: false, isNew: false)
      }
      let isOverflow = state.series.count >= maximum
      let labels = isOverflow ? overflow() : labels
      if isOverflow, let known = state.overflow[labels] {
        state.overflow[labels]?.isIdle = false
        return Series(entry: known.entry, isOverflow: true, isNew: false)
      }
      let made = StatEntry(labels, of: self, makeSource())
      if isOverflow { state.overflow[labels] = Held(entry: made) } else { state.series[labels] = Held(entry: made) }
      state.sorted = nil
      return Series(entry: made, isOverflow: isOverflow, isNew: true)
    }
  }

  // MARK: Going

  /// Marks every series as one that nobody asks for. Whoever counts has to ask again from now on.
  func markIdle() {
    state.withLock { state in
      for labels in state.series.keys { state.series[labels]?.isIdle = true }
      for labels in state.overflow.keys { state.overflow[labels]?.isIdle = true }
    }
  }

  /// Removes the series that nobody has asked for since `markIdle`. What a lane still counts in one of them is lost.
  /// - Returns: how many these were.
  func removeIdle() -> Int {
    state.withLock { state in
      let before = state.series.count + state.overflow.count
      state.series = state.series.filter { !$0.value.isIdle }
      state.overflow = state.overflow.filter { !$0.value.isIdle }
      let removed = before - state.series.count - state.overflow.count
      if removed > 0 { state.sorted = nil }
      return removed
    }
  }

  private func makeSource() -> StatEntry.Source {
    guard let scale else { return .block(StatBlock<SoleStat>(lanes: lanes), table) }
    return .histogram(LatencyHistogram(lanes: lanes), HistogramDefinition(name: name, help: help, scale: scale))
  }

  /// How many series there are, those that stand in not counted.
  public var count: Int { state.withLock { $0.series.count } }

  /// A histogram's bounds, ascending, in the shown unit.
  var shownBounds: [Double] { bounds }

  /// All series in the order of their labels.
  func entries() -> [StatEntry] {
    state.withLock { state in
      if let sorted = state.sorted { return sorted }
      let all = state.series.values.map(\.entry) + state.overflow.values.map(\.entry)
      let sorted = all.sorted { $0.labels.lexicographicallyPrecedes($1.labels) }
      state.sorted = sorted
      return sorted
    }
  }
}

/// The metrics of a store whose series come with labels, by name. Threads: any.
public final class LabelledFamilies: Sendable {
  private let known = Mutex<[LabelledFamily]>([])
  private let lanes: Int
  private let rules: StatsRules

  init(lanes: Int, rules: StatsRules) {
    self.lanes = lanes
    self.rules = rules
  }

  /// A counter, made at the first call: `namespace_name`. It stays for good.
  public func counter(namespace: String, _ name: StaticString, help: StaticString) -> LabelledFamily {
    family(namespace, name, help, scale: nil)
  }

  /// A histogram, made at the first call.
  /// - Parameter scale: what recorded values are divided by when they are shown.
  public func histogram(
    namespace: String, _ name: StaticString, help: StaticString, scale: UInt64
  ) -> LabelledFamily { family(namespace, name, help, scale: max(scale, 1)) }

  private func family(
    _ namespace: String, _ name: StaticString, _ help: StaticString, scale: UInt64?
  ) -> LabelledFamily {
    let prefix = Array(namespace.utf8)
    return known.withLock { known in
      if let found = known.first(where: { $0.metricPrefix == prefix && Bytes($0.name).equals(name) }) { return found }
      let made = LabelledFamily(
        namespace: namespace, name: name, help: help, scale: scale, lanes: lanes, rules: rules)
      known.append(made)
      return made
    }
  }

  /// There are no families.
  public var isEmpty: Bool { known.withLock { $0.isEmpty } }

  /// Marks every series as one that nobody asks for; whoever counts has to ask again from now on.
  public func markIdle() { for family in known.withLock({ $0 }) { family.markIdle() } }

  /// Removes the series that nobody has asked for since `markIdle`; whoever still counts in one counts for nobody.
  /// - Returns: how many these were.
  public func removeIdle() -> Int { known.withLock { $0 }.reduce(0) { $0 + $1.removeIdle() } }

  /// Every family's series, in the order of the families' names.
  func entries() -> [[StatEntry]] {
    let families = known.withLock { $0 }
    let named = families.map { (name: $0.dottedPrefix + Array(Bytes($0.name)), family: $0) }
    return named.sorted { $0.name.lexicographicallyPrecedes($1.name) }.map { $0.family.entries() }
      .filter { !$0.isEmpty }
  }
}

extension LabelledFamilies {
  /// Puts all series in their place among others, by name.
  func merge(into sorted: [StatEntry]) -> [StatEntry] {
    let series = entries()
    guard let first = series.first?.first else { return sorted }
    let place = sorted.firstIndex { first.dottedPrefix.lexicographicallyPrecedes($0.dottedPrefix) } ?? sorted.count
    return Array(sorted[..<place]) + Array(series.joined()) + Array(sorted[place...])
  }
}
