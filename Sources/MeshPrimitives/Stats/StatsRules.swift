/// What the configuration says about all statistics (`stats_config`). Immutable; any thread.
public struct StatsRules: Sendable {
  /// Whether a statistic of this full name is shown; nil: all are.
  public var shows: (@Sendable (Bytes) -> Bool)?
  /// The bounds of the histogram of this full name, ascending, in the shown unit; nil: the usual ones.
  public var bounds: (@Sendable (Bytes) -> [Double]?)?

  /// Everything as usual.
  public init() {}
}
