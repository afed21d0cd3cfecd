import MeshAPI
import MeshPrimitives

extension Fraction {
  /// A configured share. Nothing configured is 0 %, as proto3 has it; the reader has refused denominators that there are
  /// not.
  public init(_ percent: FractionalPercent) {
    let denominator: Denominator =
      switch percent.denominator {
      case .tenThousand: .tenThousand
      case .million: .million
      default: .hundred
      }
    self.init(percent.numerator, of: denominator)
  }
}
