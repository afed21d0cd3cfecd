import MeshPrimitives

/// The routes of one virtual host, compiled for look-up.
@usableFromInline
final class VirtualHostRoutes: Sendable {
  /// What a route asks for and leads to; a trivial value, so that scanning counts no references.
  @usableFromInline
  struct Row: Sendable {
    let kind: PathRule.Kind
    let ignoresCase: Bool
    @usableFromInline let isConditional: Bool
    let textOffset: Int
    let textLength: Int
    /// The route's entries: one, or one for each weighted cluster.
    @usableFromInline let firstEntry: Int
    @usableFromInline let entryCount: Int
    /// The sum of the weights.
    @usableFromInline let totalWeight: UInt64
  }

  /// Up to so many routes are tried one by one.
  static let scanLimit = 8

  @usableFromInline let rows: [Row]
  private let texts: [UInt8]
  @usableFromInline let conditions: [[HeaderCondition]]
  @usableFromInline let entries: [RouteEntry]
  /// For each entry of a weighted route, the sum of the weights up to and with it.
  @usableFromInline let weights: [UInt64]
  private let index: PathIndex?
  @usableFromInline let isIndexed: Bool
  @usableFromInline let maximumRuns: Int

  /// A route as the builder gives it.
  struct Source {
    let rule: PathRule
    let conditions: [HeaderCondition]
    /// Entries with a weight over zero.
    let entries: [(entry: RouteEntry, weight: UInt64)]
  }

  /// - Parameter indexed: for tests, whether an index is made; by default from the number of routes.
  init(_ sources: [Source], indexed: Bool? = nil) {
    var rows: [Row] = []
    var texts: [UInt8] = []
    var entries: [RouteEntry] = []
    var weights: [UInt64] = []
    for source in sources {
      let first = entries.count
      var total: UInt64 = 0
      for (entry, weight) in source.entries {
        total += weight
        entries.append(entry)
        weights.append(total)
      }
      rows.append(
        Row(
          kind: source.rule.kind, ignoresCase: source.rule.ignoresCase, isConditional: !source.conditions.isEmpty,
          textOffset: texts.count, textLength: source.rule.text.count, firstEntry: first,
          entryCount: source.entries.count, totalWeight: total))
      texts += source.rule.text
    }
    self.rows = rows
    self.texts = texts
    self.entries = entries
    self.weights = weights
    conditions = sources.map(\.conditions)
    isIndexed = indexed ?? (sources.count > Self.scanLimit)
    index = isIndexed ? PathIndex(sources.map(\.rule), isConditional: rows.map(\.isConditional)) : nil
    maximumRuns = index?.maximumRuns ?? 0
  }

  /// The first route from `start` on whose path rule matches; -1 if there is none.
  /// - Parameter path: without query.
  @usableFromInline
  func scan(_ path: Bytes, from start: Int) -> Int {
    var number = start
    while number < rows.count {
      let row = rows[number]
      let matches = texts.withUnsafeBufferPointer { texts in
        PathRule.matches(row.kind, texts.slice(row.textOffset, row.textLength), ignoresCase: row.ignoresCase, path)
      }
      if matches { return number }
      number += 1
    }
    return -1
  }

  @usableFromInline
  func collect(_ path: Bytes, into runs: UnsafeMutableBufferPointer<PathRun>) -> Int {
    index?.collect(path, into: runs) ?? 0
  }

  @usableFromInline
  func takeLowest(_ runs: UnsafeMutableBufferPointer<PathRun>, _ count: Int) -> Int {
    index?.takeLowest(runs, count) ?? -1
  }

  @usableFromInline
  static func withoutQuery(_ path: Bytes) -> Bytes { PathRule.withoutQuery(path) }

  /// Whether the route's conditions beyond the path hold.
  @inlinable @inline(__always)
  func holds<R: RouteRequest & ~Copyable>(_ number: Int, _ request: borrowing R) -> Bool {
    guard rows[number].isConditional else { return true }
    for condition in conditions[number] where !condition.holds(request) { return false }
    return true
  }

  /// The first route that matches; -1 if there is none.
  @inlinable
  func find<R: RouteRequest & ~Copyable>(_ request: borrowing R) -> Int {
    let path = Self.withoutQuery(request.path)
    if !isIndexed {
      var number = scan(path, from: 0)
      while number >= 0, !holds(number, request) { number = scan(path, from: number + 1) }
      return number
    }
    return withUnsafeTemporaryAllocation(of: PathRun.self, capacity: maximumRuns) { runs in
      let count = collect(path, into: runs)
      while true {
        let number = takeLowest(runs, count)
        if number < 0 || holds(number, request) { return number }
      }
    }
  }

  /// The entry of a route, chosen by weight.
  @inlinable @inline(__always)
  func entry(_ number: Int, _ random: UInt64) -> RouteEntry {
    let row = rows[number]
    if row.entryCount == 1 { return entries[row.firstEntry] }
    return entries[row.firstEntry + pick(row, random)]
  }

  @usableFromInline
  func pick(_ row: Row, _ random: UInt64) -> Int {
    let point = random.multipliedFullWidth(by: row.totalWeight).high
    var low = 0
    var high = row.entryCount - 1
    while low < high {
      let middle = (low + high) / 2
      if point < weights[row.firstEntry + middle] { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
