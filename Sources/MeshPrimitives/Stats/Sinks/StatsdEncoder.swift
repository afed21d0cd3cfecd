/// Statistics as lines of statsd, as Envoy writes them: `envoy.cluster.a.upstream_rq_total:3|c`, or with tags (DogStatsD)
/// `envoy.cluster.upstream_rq_total:3|c|#envoy.cluster_name:a`. Counters say what came since the last flush, gauges what is;
/// both from their first value on that is not 0.
///
/// Timers are made of what a histogram has counted since the last flush: a line for each of its buckets, with the sample rate
/// that says for how many values it stands (`:12.5|ms|@0.25` is four times 12.5 ms). So percentiles and counts come out as
/// if each value had been sent, and a flush is bounded however many requests there were.
///
/// Confined to one thread.
public struct StatsdEncoder {
  /// Lines for one histogram and flush at most; neighbouring buckets are put together until it holds.
  public static let maximumTimerLines = 32
  /// Values that one line stands for at most, so that the sample rate has enough digits.
  private static let maximumSamples: UInt64 = 1_000_000
  /// Series looked at in one portion.
  static let portion = 2_048

  private let prefix: [UInt8]
  private let hasTags: Bool
  private var memory = SeriesMemory()
  private var walk: MetricWalk?
  private var rule: (@Sendable (Bytes) -> Bool)?
  private var line: [UInt8] = []

  /// - Parameters:
  ///   - prefix: what names begin with, without the dot; empty: `envoy`.
  ///   - hasTags: names of clusters and so on are tags and not part of the name.
  public init(prefix: String, hasTags: Bool) {
    self.prefix = Array((prefix.isEmpty ? "envoy" : prefix).utf8) + [0x2e]
    self.hasTags = hasTags
  }

  /// A flush is going on.
  public var isFlushing: Bool { walk != nil }

  /// Begins a flush.
  public mutating func begin(_ store: StatsStore) {
    memory.beginPass()
    rule = store.rules.shows
    walk = MetricWalk(store)
  }

  /// Writes the next portion, each line without its end.
  /// - Returns: whether there is more.
  public mutating func next(_ emit: (Bytes) -> Void) -> Bool {
    guard var walk else { return false }
    for _ in 0..<Self.portion {
      guard let step = walk.next() else {
        _ = memory.endPass()
        self.walk = nil
        return false
      }
      guard case .entry(let family, let item, let entry) = step else { continue }
      let told = memory.met(entry)
      if case .histogram(let histogram, let definition) = entry.source {
        write(histogram, definition, told, emit)
      } else {
        entry.visit(item) { write($0, family.kind, item, told, emit) }
      }
    }
    self.walk = walk
    return true
  }

  private mutating func write(
    _ sample: MetricSample, _ kind: MetricFamily.Kind, _ item: MetricFamily.Item, _ told: SeriesMemory.Told,
    _ emit: (Bytes) -> Void
  ) {
    let last = told[item, sample.label]
    guard last != nil || sample.value != 0, shows(sample.entry, sample.name) else { return }
    told[item, sample.label] = sample.value
    writeName(sample.entry, hasTags ? sample.extractedName : sample.name)
    if kind == .counter {
      // A counter below what it was has been reset.
      let last = last ?? 0
      line.append(decimal: sample.value >= last ? sample.value &- last : sample.value)
      line.append("|c")
    } else {
      line.append(decimal: sample.value)
      line.append("|g")
    }
    writeTags(sample.entry, sample.label)
    line.withUnsafeBufferPointer(emit)
  }

  private mutating func write(
    _ histogram: LatencyHistogram, _ definition: HistogramDefinition, _ told: SeriesMemory.Told,
    _ emit: (Bytes) -> Void
  ) {
    let snapshot = histogram.snapshot()
    guard snapshot.count > 0 || told.histogram != nil else { return }
    let name = Array(Bytes(definition.name))
    guard shows(told.entry, name) else { return }
    let news = snapshot.since(told.histogram).merged(to: Self.maximumTimerLines)
    told.histogram = snapshot
    for bucket in news {
      var rest = bucket.count
      while rest > 0 {
        let count = min(rest, Self.maximumSamples)
        rest -= count
        writeName(told.entry, name)
        line.append((Double(bucket.low) + Double(bucket.end - 1)) / 2, scale: definition.scale)
        line.append("|ms")
        if count > 1 { writeRate(count) }
        writeTags(told.entry, .none)
        line.withUnsafeBufferPointer(emit)
      }
    }
  }

  private func shows(_ entry: StatEntry, _ name: [UInt8]) -> Bool {
    guard let rule else { return true }
    return entry.fullName(name).withUnsafeBufferPointer { rule($0) }
  }

  private mutating func writeName(_ entry: StatEntry, _ name: [UInt8]) {
    line.removeAll(keepingCapacity: true)
    line += prefix
    let start = line.count
    if hasTags {
      line += entry.extractedPrefix
      line += name
    } else {
      line += entry.fullName(name)
    }
    // What means something else in a line: names may be peers' words.
    for index in start..<line.count where Self.isSpecial(line[index]) { line[index] = 0x5f }
    line.append(0x3a)
  }

  private mutating func writeTags(_ entry: StatEntry, _ label: MetricSample.Label) {
    guard hasTags else { return }
    var isFirst = true
    LabelNames.forEach(entry.labels, label, .envoy) { name, value in
      line.append(isFirst ? "|#" : ",")
      isFirst = false
      line += name
      line.append(0x3a)
      for byte in value { line.append(Self.isSpecial(byte) && byte != 0x3a || byte == 0x2c ? 0x5f : byte) }
    }
  }

  /// `:`, `|`, `#`, `@` and what is no part of a line.
  private static func isSpecial(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x3a, 0x7c, 0x23, 0x40: true
    default: byte < 0x20 || byte == 0x7f
    }
  }

  /// One in `count`, with twelve decimals and no exponent, which not everybody reads.
  private mutating func writeRate(_ count: UInt64) {
    line.append("|@0.")
    var digits: [UInt8] = []
    digits.append(decimal: 1_000_000_000_000 / count)
    for _ in 0..<(12 - digits.count) { line.append(0x30) }
    while digits.last == 0x30 { digits.removeLast() }
    line += digits
  }
}

extension HistogramSnapshot {
  /// What was counted since an earlier snapshot of the same histogram.
  func since(_ earlier: HistogramSnapshot?) -> [Bucket] {
    // Less than before: it was reset.
    guard let earlier, earlier.count <= count else { return buckets }
    var before: [UInt64: UInt64] = [:]
    for bucket in earlier.buckets { before[bucket.low] = bucket.count }
    return buckets.compactMap { bucket in
      let known = before[bucket.low] ?? 0
      guard bucket.count > known else { return nil }
      return Bucket(low: bucket.low, end: bucket.end, count: bucket.count - known)
    }
  }
}

extension [HistogramSnapshot.Bucket] {
  /// Neighbours are put together, two by two, until there are at most `maximum`.
  func merged(to maximum: Int) -> Self {
    var result = self
    while result.count > Swift.max(maximum, 1) {
      result = stride(from: 0, to: result.count, by: 2).map { index in
        guard index + 1 < result.count else { return result[index] }
        let (a, b) = (result[index], result[index + 1])
        return HistogramSnapshot.Bucket(low: a.low, end: b.end, count: a.count &+ b.count)
      }
    }
    return result
  }
}
