/// Whether a statistic only grows (until the counters are reset) or goes up and down.
public enum StatKind: Sendable {
  case counter, gauge
}

/// The name and kind of one statistic, without the prefix of its scope.
public struct StatDefinition: Sendable {
  /// For instance `upstream_rq_total`; dots are allowed (`outlier_detection.ejections_active`).
  public let name: StaticString
  public let kind: StatKind

  public init(name: StaticString, kind: StatKind) {
    self.name = name
    self.kind = kind
  }

  public static func counter(_ name: StaticString) -> Self { Self(name: name, kind: .counter) }
  public static func gauge(_ name: StaticString) -> Self { Self(name: name, kind: .gauge) }
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
