/// Whether a statistic only grows (until the counters are reset) or goes up and down.
public enum StatKind: Sendable {
  case counter, gauge
}

/// The name and kind of one statistic, without the prefix of its scope, and what it means.
public struct StatDefinition: Sendable {
  /// For instance `upstream_rq_total`; dots are allowed (`outlier_detection.ejections_active`).
  public let name: StaticString
  public let kind: StatKind
  /// What is counted, in a sentence of plain text: `# HELP` for Prometheus, and docs/operations.md begins with it.
  public let help: StaticString

  public init(name: StaticString, kind: StatKind, help: StaticString = "") {
    self.name = name
    self.kind = kind
    self.help = help
  }

  public static func counter(_ name: StaticString, _ help: StaticString = "") -> Self {
    Self(name: name, kind: .counter, help: help)
  }

  public static func gauge(_ name: StaticString, _ help: StaticString = "") -> Self {
    Self(name: name, kind: .gauge, help: help)
  }
}

/// The statistics of one kind of thing (a cluster, a listener): an enumeration whose raw values count up from zero, so
/// that a statistic's address is its scope's base plus a constant.
///
///     enum ClusterStat: Int, StatSet {
///       case upstreamRequestTotal
///       var definition: StatDefinition { .counter("upstream_rq_total") }
///     }
public protocol StatSet: RawRepresentable<Int>, CaseIterable, Sendable {
  var definition: StatDefinition { get }
}

/// A statistic that stands alone; see `StatsStore.counter`.
public enum SoleStat: Int, StatSet {
  case count

  public var definition: StatDefinition { StatDefinition(name: "", kind: .counter) }
}
