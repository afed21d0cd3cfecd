/// Which statistics a report shows, and how.
public struct StatsOptions: Sendable {
  /// Kinds of statistics (`type`).
  public struct Kinds: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let counters = Kinds(rawValue: 1)
    public static let gauges = Kinds(rawValue: 2)
    public static let histograms = Kinds(rawValue: 4)
    public static let all: Kinds = [.counters, .gauges, .histograms]
  }

  /// How text and JSON show histograms (`histogram_buckets`).
  public enum Histograms: String, Sendable, CaseIterable {
    /// Quantiles.
    case summary
    /// For each bound, how many records were less than or equal to it.
    case cumulative
    /// For each bound, how many records were less than or equal to it and more than the one before.
    case disjoint
    /// The histogram's own buckets, and quantiles.
    case detailed
  }

  /// Only statistics in whose full names this finds something; nil: all.
  public var filter: RegularExpression?
  /// Only statistics in whose full names the filter finds nothing (`invert_filter`).
  public var isInverted = false
  /// Leaves out what is zero (`usedonly`).
  public var usedOnly: Bool
  public var kinds: Kinds
  public var histograms = Histograms.summary
  /// What the store's configuration leaves out in any case.
  var rule: (@Sendable (Bytes) -> Bool)?

  public init(filter: RegularExpression? = nil, usedOnly: Bool = false, kinds: Kinds = .all) {
    self.filter = filter
    self.usedOnly = usedOnly
    self.kinds = kinds
  }

  func shows(_ kind: StatKind) -> Bool { kinds.contains(kind == .counter ? .counters : .gauges) }

  /// Names need not be looked at.
  var showsEveryName: Bool { filter == nil && rule == nil }

  func shows(name: Bytes) -> Bool {
    guard rule?(name) != false else { return false }
    guard let filter else { return true }
    return filter.finds(in: name) != isInverted
  }
}
