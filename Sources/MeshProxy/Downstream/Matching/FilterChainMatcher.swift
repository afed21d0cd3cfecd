import MeshPrimitives

/// Finds the filter chain for a connection. Compiled once from the rules of a listener's filter chains; immutable.
///
/// A connection is compared with one criterion after the other, in Envoy's order. At each, the value that fits it most
/// closely decides which rules are looked at further, and nothing leads back from there. So the rules are a tree with one
/// level for each criterion, and a connection takes one way through it, however many rules there are.
///
/// A criterion that no rule has costs nothing: its level is left out.
struct FilterChainMatcher: Sendable {
  /// Two rules that some connections fit equally well.
  struct Conflict: Error, Equatable {
    /// The earlier of them.
    let first: Int
    let second: Int
  }

  /// In the order of comparison.
  enum Criterion: Int, CaseIterable, Sendable {
    case destinationPort, destination, serverName, transportProtocol, applicationProtocol, directSource, sourceType,
      source, sourcePort
  }

  /// A value of a criterion that a rule asks for.
  enum Key: Hashable, Sendable {
    case port(UInt16)
    case range(AddressRange)
    case text(String)
    case suffix(String)
    case sourceType(FilterChainRule.SourceType)
    case any
  }

  indirect enum Node: Sendable {
    case rule(Int)
    case level(Level)
  }

  struct Level: Sendable {
    let criterion: Criterion
    /// Those with an exact value, or a suffix.
    var exact: [Key: Node] = [:]
    /// The longest first.
    var ranges: [(range: AddressRange, node: Node)] = []
    var any: Node?
  }

  private let root: Node?

  /// - Throws: when two rules are the same for some connections.
  init(_ rules: [FilterChainRule]) throws(Conflict) {
    guard !rules.isEmpty else {
      root = nil
      return
    }
    let used = Criterion.allCases.filter { criterion in rules.contains { $0.keys(criterion) != [.any] } }
    root = try Self.node(Array(rules.indices), rules, used[...])
  }

  private static func node(
    _ candidates: [Int], _ rules: [FilterChainRule], _ criteria: ArraySlice<Criterion>
  ) throws(Conflict) -> Node {
    guard let criterion = criteria.first else {
      if candidates.count > 1 { throw Conflict(first: candidates[0], second: candidates[1]) }
      return .rule(candidates[0])
    }
    var groups: [Key: [Int]] = [:]
    for candidate in candidates {
      for key in rules[candidate].keys(criterion) { groups[key, default: []].append(candidate) }
    }
    var level = Level(criterion: criterion)
    // Sorted by their first rule, so that of several conflicts it is always the same that is reported.
    for (key, group) in groups.sorted(by: { $0.value.lexicographicallyPrecedes($1.value) }) {
      let next = try node(group, rules, criteria.dropFirst())
      switch key {
      case .any: level.any = next
      case .range(let range): level.ranges.append((range, next))
      default: level.exact[key] = next
      }
    }
    level.ranges.sort { $0.range.length > $1.range.length }
    return .level(level)
  }

  /// The place of the rule for a connection; nil if none fits.
  func match(_ facts: ConnectionFacts) -> Int? {
    var node = root
    while let here = node {
      switch here {
      case .rule(let index): return index
      case .level(let level): node = level.next(facts)
      }
    }
    return nil
  }
}

extension FilterChainMatcher.Level {
  func next(_ facts: ConnectionFacts) -> FilterChainMatcher.Node? {
    switch criterion {
    case .destinationPort:
      facts.destination.isUnix ? any : exact[.port(facts.destination.port)] ?? any
    case .destination: address(facts.destination)
    case .serverName: serverName(facts.serverName)
    case .transportProtocol: exact[.text(facts.transportProtocol)] ?? any
    case .applicationProtocol:
      facts.applicationProtocols.lazy.compactMap { exact[.text($0)] }.first ?? any
    case .directSource: address(facts.directSource)
    case .sourceType: exact[.sourceType(facts.isFromThisMachine ? .thisMachine : .external)] ?? any
    case .source: address(facts.source)
    case .sourcePort: facts.source.isUnix ? any : exact[.port(facts.source.port)] ?? any
    }
  }

  private func address(_ address: SocketAddress) -> FilterChainMatcher.Node? {
    guard !address.isUnix else { return any }
    let ip = address.ip.unmapped
    return ranges.first { $0.range.contains(ip) }?.node ?? any
  }

  /// The name, else what stands behind each of its dots but one at the beginning, from the longest on.
  private func serverName(_ name: String) -> FilterChainMatcher.Node? {
    if !name.isEmpty {
      if let node = exact[.text(name)] { return node }
      var rest = name.utf8.dropFirst()
      while let dot = rest.firstIndex(of: UInt8(ascii: ".")) {
        if let node = exact[.suffix(String(name[dot...]))] { return node }
        rest = name.utf8[name.utf8.index(after: dot)...]
      }
    }
    return any
  }
}

extension FilterChainRule {
  /// What the rule asks for in a criterion; never empty.
  func keys(_ criterion: FilterChainMatcher.Criterion) -> Set<FilterChainMatcher.Key> {
    let keys: Set<FilterChainMatcher.Key> =
      switch criterion {
      case .destinationPort: destinationPort.map { [.port($0)] } ?? []
      case .destination: Set(destinationRanges.map { .range($0) })
      case .serverName:
        Set(
          serverNames.map {
            switch $0 {
            case .exact(let name): .text(name)
            case .suffix(let suffix): .suffix(suffix)
            }
          })
      case .transportProtocol: transportProtocol.isEmpty ? [] : [.text(transportProtocol)]
      case .applicationProtocol: Set(applicationProtocols.map { .text($0) })
      case .directSource: Set(directSourceRanges.map { .range($0) })
      case .sourceType: sourceType == .any ? [] : [.sourceType(sourceType)]
      case .source: Set(sourceRanges.map { .range($0) })
      case .sourcePort: Set(sourcePorts.map { .port($0) })
      }
    return keys.isEmpty ? [.any] : keys
  }
}
