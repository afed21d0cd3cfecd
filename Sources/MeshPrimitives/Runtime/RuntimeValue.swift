import Synchronization

/// One runtime key's value, as features ask for it while requests run: reading is one atomic load. Any thread.
///
/// A value is read in every way that its text allows (Envoy's runtime): `25` is the integer 25, the double 25, the
/// fraction 25 of 100; `true` is a boolean; `{numerator: 1, denominator: MILLION}` is a fraction.
public final class RuntimeValue: Sendable {
  public let key: String
  /// `.max`: none.
  private let integerCell = Atomic<UInt64>(.max)
  /// The bits of a double; NaN: none.
  private let doubleCell = Atomic<UInt64>(Double.nan.bitPattern)
  /// 0: none, 1: false, 2: true.
  private let booleanCell = Atomic<UInt8>(0)
  /// Numerator, denominator << 32, 1 << 40; 0: none.
  private let fractionCell = Atomic<UInt64>(0)

  init(key: String) { self.key = key }

  /// The value as an integer, or `fallback` if there is none.
  public func integer(or fallback: UInt64) -> UInt64 {
    let value = integerCell.load(ordering: .relaxed)
    return value == .max ? fallback : value
  }

  public func double(or fallback: Double) -> Double {
    let value = Double(bitPattern: doubleCell.load(ordering: .relaxed))
    return value.isNaN ? fallback : value
  }

  public func boolean(or fallback: Bool) -> Bool {
    switch booleanCell.load(ordering: .relaxed) {
    case 1: false
    case 2: true
    default: fallback
    }
  }

  public func fraction(or fallback: Fraction) -> Fraction {
    let value = fractionCell.load(ordering: .relaxed)
    guard value != 0, let denominator = Fraction.Denominator(rawValue: UInt8(truncatingIfNeeded: value >> 32)) else {
      return fallback
    }
    return Fraction(UInt32(truncatingIfNeeded: value), of: denominator)
  }

  /// Takes a new value; nil: there is none any more.
  func set(_ entry: RuntimeEntry?) {
    integerCell.store(entry?.integer ?? .max, ordering: .relaxed)
    doubleCell.store((entry?.double ?? .nan).bitPattern, ordering: .relaxed)
    booleanCell.store(entry?.boolean.map { $0 ? 2 : 1 } ?? 0, ordering: .relaxed)
    let fraction = entry?.fraction.map {
      UInt64($0.numerator) | UInt64($0.denominator.rawValue) << 32 | 1 << 40
    }
    fractionCell.store(fraction ?? 0, ordering: .relaxed)
  }
}

/// A switch that can change while the process runs (`RuntimeFeatureFlag`): a runtime key's value, or the configured default.
public struct RuntimeFlag: Sendable {
  public let value: RuntimeValue?
  public let fallback: Bool

  /// - Parameter value: nil if no runtime key is configured.
  public init(_ value: RuntimeValue?, or fallback: Bool) {
    self.value = value
    self.fallback = fallback
  }

  public var isOn: Bool { value?.boolean(or: fallback) ?? fallback }
}

/// A share of requests that can change while the process runs (`RuntimeFractionalPercent`): a runtime key's fraction, or
/// the configured default.
public struct RuntimeFraction: Sendable {
  public let value: RuntimeValue?
  public let fallback: Fraction

  /// - Parameter value: nil if no runtime key is configured.
  public init(_ value: RuntimeValue?, or fallback: Fraction) {
    self.value = value
    self.fallback = fallback
  }

  public var current: Fraction { value?.fraction(or: fallback) ?? fallback }

  /// Whether a request with this random number belongs to the share.
  public func includes(_ random: UInt64) -> Bool { current.includes(random) }
}
