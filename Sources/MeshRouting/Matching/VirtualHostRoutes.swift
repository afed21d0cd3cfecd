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
    /// The entry is chosen by more than weights and a random number.
    @usableFromInline let hasChoice: Bool
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
  @usableFromInline let conditions: [RouteConditions]
  @usableFromInline let choices: [ClusterChoice?]
  @usableFromInline let entries: [RouteEntry]
  /// For each entry of a weighted route, the sum of the weights up to and with it.
  @usableFromInline let weights: [UInt64]
  private let index: PathIndex?
  @usableFromInline let isIndexed: Bool
  @usableFromInline let maximumRuns: Int
  /// Parameters (`;…`) in paths are left out before anything looks at them.
  @usableFromInline let ignoresPathParameters: Bool

  /// Where requests are sent that must come over TLS and do not; nil: none must.
  @usableFromInline let tlsRedirect: RouteEntry?
  /// Requests from inside may come without (`require_tls: EXTERNAL_ONLY`).
  @usableFromInline let internalNeedsNoTLS: Bool

  /// A route as the builder gives it.
  struct Source {
    let rule: PathRule
    let conditions: RouteConditions
    /// Entries with a weight over zero; with a `choice`, all.
    let entries: [(entry: RouteEntry, weight: UInt64)]
    let choice: ClusterChoice?
    /// CONNECT requests alone take it.
    let isForConnect: Bool
  }

  /// - Parameter indexed: for tests, whether an index is made; by default from the number of routes.
  init(
    _ sources: [Source], ignoresPathParameters: Bool = false, tlsRedirect: RouteEntry? = nil,
    internalNeedsNoTLS: Bool = false, indexed: Bool? = nil
  ) {
    self.ignoresPathParameters = ignoresPathParameters
    self.tlsRedirect = tlsRedirect
    self.internalNeedsNoTLS = internalNeedsNoTLS
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
          hasChoice: source.choice != nil, textOffset: texts.count, textLength: source.rule.text.count,
          firstEntry: first,
          entryCount: source.entries.count, totalWeight: total))
      texts += source.rule.text
    }
    self.rows = rows
    self.texts = texts
    self.entries = entries
    self.weights = weights
    conditions = sources.map(\.conditions)
    choices = sources.map(\.choice)
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
      if ruleMatches(number, path) { return number }
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

  /// Whether the route's conditions beyond the path's beginning hold.
  @inlinable @inline(__always)
  func holds<R: RouteRequest & ~Copyable>(
    _ number: Int, _ request: borrowing R, _ path: Bytes, _ random: UInt64
  ) -> Bool {
    guard rows[number].isConditional else { return true }
    return conditions[number].failure(request, path: path, random: random) == nil
  }

  /// Whether the request has to be sent to `tlsRedirect`.
  @inlinable
  func mustComeOverTLS<R: RouteRequest & ~Copyable>(_ request: borrowing R) -> Bool {
    if request.scheme.equals("https") { return false }
    guard internalNeedsNoTLS, let value = request.header(internalRequest) else { return true }
    return !value.equals("true")
  }

  /// The first route that matches; -1 if there is none.
  @inlinable
  func find<R: RouteRequest & ~Copyable>(_ request: borrowing R, random: UInt64) -> Int {
    let path = Self.withoutQuery(request.path)
    if ignoresPathParameters, path.contains(0x3b) {
      return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: path.count) { buffer in
        find(request, PathRule.withoutParameters(path, into: buffer), random)
      }
    }
    return find(request, path, random)
  }

  @inlinable
  func find<R: RouteRequest & ~Copyable>(_ request: borrowing R, _ path: Bytes, _ random: UInt64) -> Int {
    if !isIndexed {
      var number = scan(path, from: 0)
      while number >= 0, !holds(number, request, path, random) { number = scan(path, from: number + 1) }
      return number
    }
    return withUnsafeTemporaryAllocation(of: PathRun.self, capacity: maximumRuns) { runs in
      let count = collect(path, into: runs)
      while true {
        let number = takeLowest(runs, count)
        if number < 0 || holds(number, request, path, random) { return number }
      }
    }
  }

  /// The entry of a route, chosen by weight.
  @inlinable @inline(__always)
  func entry<R: RouteRequest & ~Copyable>(_ number: Int, _ request: borrowing R, _ random: UInt64) -> RouteEntry {
    let row = rows[number]
    if row.entryCount == 1 { return entries[row.firstEntry] }
    if row.hasChoice, let choice = choices[number] {
      return entries[row.firstEntry + choice.pick(request, random)]
    }
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

  /// Whether a route's path rule matches, tried by itself.
  @inline(__always)
  func ruleMatches(_ number: Int, _ path: Bytes) -> Bool {
    let row = rows[number]
    return texts.withUnsafeBufferPointer { texts in
      PathRule.matches(row.kind, texts.slice(row.textOffset, row.textLength), ignoresCase: row.ignoresCase, path)
    }
  }
}

@usableFromInline let internalRequest = HeaderName("x-envoy-internal")
