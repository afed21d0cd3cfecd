/// What outlier detection tells of one endpoint, for `/clusters`.
public struct OutlierReport: Sendable, Equatable {
  /// Ejections so far.
  public var ejections: UInt32 = 0
  /// In words: why it was ejected the last time; nil if it never was.
  public var lastEjection: String?
  /// In words: why it was not ejected though it should have been; nil if that never was so.
  public var lastRefusal: String?
  /// Share of the responses of the last interval that were no failures, in percent; nil if there were too few.
  public var successRate: Double?
  /// The same of connections.
  public var localOriginSuccessRate: Double?

  public init() {}
}
