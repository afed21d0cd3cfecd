/// A set of interned header names: one bit each, so that "is any of these present?" is one instruction or two.
public struct HeaderIDSet: Equatable, Sendable {
  @usableFromInline var low: UInt64
  @usableFromInline var high: UInt64

  /// The empty set.
  @inlinable @inline(__always)
  public init() {
    low = 0
    high = 0
  }

  /// This set with `id` in it. A chain of these over literals folds to a constant, which an array literal would not.
  @inlinable @inline(__always)
  public func adding(_ id: HeaderID) -> HeaderIDSet {
    var result = self
    result.insert(id)
    return result
  }

  @inlinable @inline(__always)
  public var isEmpty: Bool { low | high == 0 }

  @inlinable @inline(__always)
  public func contains(_ id: HeaderID) -> Bool {
    let bit = UInt64(1) &<< UInt64(id.rawValue & 63)
    return (id.rawValue < 64 ? low : high) & bit != 0
  }

  @inlinable @inline(__always)
  public mutating func insert(_ id: HeaderID) {
    let bit = UInt64(1) &<< UInt64(id.rawValue & 63)
    if id.rawValue < 64 { low |= bit } else { high |= bit }
  }

  @inlinable @inline(__always)
  public mutating func remove(_ id: HeaderID) {
    let bit = UInt64(1) &<< UInt64(id.rawValue & 63)
    if id.rawValue < 64 { low &= ~bit } else { high &= ~bit }
  }

  /// Whether the two sets share a member.
  @inlinable @inline(__always)
  public func intersects(_ other: HeaderIDSet) -> Bool { (low & other.low) | (high & other.high) != 0 }

  @inlinable @inline(__always)
  public func intersection(_ other: HeaderIDSet) -> HeaderIDSet {
    var result = HeaderIDSet()
    result.low = low & other.low
    result.high = high & other.high
    return result
  }

  @inlinable @inline(__always)
  public func union(_ other: HeaderIDSet) -> HeaderIDSet {
    var result = HeaderIDSet()
    result.low = low | other.low
    result.high = high | other.high
    return result
  }
}
