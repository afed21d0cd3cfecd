/// A share of all requests (`envoy.type.v3.FractionalPercent`).
public struct Fraction: Sendable, Equatable {
  public enum Denominator: UInt8, Sendable {
    case hundred, tenThousand, million

    /// 100, 10,000 or 1,000,000.
    public var value: UInt64 {
      switch self {
      case .hundred: 100
      case .tenThousand: 10_000
      case .million: 1_000_000
      }
    }
  }

  /// More than the denominator means all.
  public let numerator: UInt32
  public let denominator: Denominator

  public init(_ numerator: UInt32, of denominator: Denominator = .hundred) {
    self.numerator = numerator
    self.denominator = denominator
  }

  /// 0 %.
  public static let none = Fraction(0)
  /// 100 %.
  public static let all = Fraction(100)

  /// Whether a request with this random number belongs to the share. The same number gives the same answer, and a larger
  /// share includes the smaller one.
  @inlinable
  public func includes(_ random: UInt64) -> Bool {
    random.multipliedFullWidth(by: denominator.value).high < UInt64(numerator)
  }
}
