import MeshPrimitives

/// A run of ascending route numbers within a `PathIndex`: the routes with one and the same path rule.
@usableFromInline
struct PathRun {
  var position: Int
  let end: Int
}

/// Finds, among many path rules, those that match, without trying each: one walk over the path hashes all its prefixes,
/// and each length that occurs among the rules is looked up. The rules that match come out in the order of the routes.
final class PathIndex: Sendable {
  /// The rules of one kind.
  private struct Family: Sendable {
    var table = ByteKeyTable([])
    var runs: [Range<Int>] = []
    /// Ascending and distinct.
    var lengths: [Int] = []
  }

  /// The rules that look at case, or those that do not.
  private struct Half: Sendable {
    var prefix = Family()
    var separated = Family()
    var exact = Family()
    var isEmpty = true
  }

  private let sensitive: Half
  private let insensitive: Half
  private let order: [Int]
  /// How many runs one path can match.
  let maximumRuns: Int

  /// - Parameters:
  ///   - rules: in the order of the routes.
  ///   - isConditional: whether a route asks for more than its path. Routes behind an unconditional one with the same
  ///     rule are never reached and are left out.
  init(_ rules: [PathRule], isConditional: [Bool]) {
    var routes: [PathRule: [Int]] = [:]
    var rulesInOrder: [PathRule] = []
    for (number, rule) in rules.enumerated() {
      if let last = routes[rule]?.last {
        if isConditional[last] { routes[rule]?.append(number) }
      } else {
        routes[rule] = [number]
        rulesInOrder.append(rule)
      }
    }
    var order: [Int] = []
    var maximumRuns = 0
    func family(_ kind: PathRule.Kind, ignoresCase: Bool) -> Family {
      var family = Family()
      let rules = rulesInOrder.filter { $0.kind == kind && $0.ignoresCase == ignoresCase }
      for rule in rules {
        let start = order.count
        order += routes[rule] ?? []
        family.runs.append(start..<order.count)
      }
      family.table = ByteKeyTable(rules.map(\.text))
      family.lengths = Set(rules.map(\.text.count)).sorted()
      maximumRuns += kind == .exact ? min(rules.count, 1) : family.lengths.count
      return family
    }
    func half(ignoresCase: Bool) -> Half {
      var half = Half()
      half.prefix = family(.prefix, ignoresCase: ignoresCase)
      half.separated = family(.separatedPrefix, ignoresCase: ignoresCase)
      half.exact = family(.exact, ignoresCase: ignoresCase)
      half.isEmpty = half.prefix.table.isEmpty && half.separated.table.isEmpty && half.exact.table.isEmpty
      return half
    }
    sensitive = half(ignoresCase: false)
    insensitive = half(ignoresCase: true)
    self.order = order
    self.maximumRuns = maximumRuns
  }

  /// Collects the runs whose rule matches.
  /// - Parameters:
  ///   - path: without query.
  ///   - runs: room for `maximumRuns`.
  /// - Returns: how many there are.
  func collect(_ path: Bytes, into runs: UnsafeMutableBufferPointer<PathRun>) -> Int {
    var count = 0
    if !sensitive.isEmpty { collect(sensitive, ignoringCase: false, path, into: runs, &count) }
    if !insensitive.isEmpty { collect(insensitive, ignoringCase: true, path, into: runs, &count) }
    return count
  }

  /// The lowest route number that is left in `runs`, taken out of them; -1 if they are used up.
  @inline(__always)
  func takeLowest(_ runs: UnsafeMutableBufferPointer<PathRun>, _ count: Int) -> Int {
    var lowest = Int.max
    var holder = -1
    for index in 0..<count where runs[index].position < runs[index].end {
      let number = order[runs[index].position]
      if number < lowest {
        lowest = number
        holder = index
      }
    }
    guard holder >= 0 else { return -1 }
    runs[holder].position += 1
    return lowest
  }

  @inline(__always)
  private func collect(
    _ half: Half, ignoringCase: Bool, _ path: Bytes, into runs: UnsafeMutableBufferPointer<PathRun>, _ count: inout Int
  ) {
    func add(_ family: Family, _ hash: RollingHash, _ length: Int) {
      let found = family.table.find(hash, path.slice(0, length), ignoringCase: ignoringCase)
      guard found >= 0, count < runs.count else { return }
      runs.initializeElement(
        at: count, to: PathRun(position: family.runs[found].lowerBound, end: family.runs[found].upperBound))
      count += 1
    }
    var hash = RollingHash()
    var nextPrefix = 0
    var nextSeparated = 0
    var position = 0
    while true {
      if nextPrefix < half.prefix.lengths.count, half.prefix.lengths[nextPrefix] == position {
        add(half.prefix, hash, position)
        nextPrefix += 1
      }
      if nextSeparated < half.separated.lengths.count, half.separated.lengths[nextSeparated] == position {
        if position == path.count || path[position] == 0x2f { add(half.separated, hash, position) }
        nextSeparated += 1
      }
      guard position < path.count else { break }
      hash.add(ignoringCase ? path[position].asciiLowercased : path[position])
      position += 1
    }
    if !half.exact.table.isEmpty { add(half.exact, hash, path.count) }
  }
}
