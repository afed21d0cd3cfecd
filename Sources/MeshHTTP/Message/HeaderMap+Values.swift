import MeshPrimitives

/// Values with a type.
extension HeaderMap {
  /// `content-length` as a number. The parser has already refused anything that is not one plain decimal number.
  public var contentLength: UInt64? {
    value(.contentLength).flatMap { DecimalNumber.parse($0) }
  }

  /// Sets a header to a decimal number.
  public func set(_ id: HeaderID, number: UInt64) {
    if has(id) { remove(id) }
    if number < 10 {
      reserveTail(1).pointee = UInt8(truncatingIfNeeded: number) &+ 0x30
      return addReserved(id, 1)
    }
    var digits = 1
    var bound: UInt64 = 10
    while digits < 19, number >= bound {
      digits &+= 1
      bound &*= 10
    }
    if digits == 19, number >= 10_000_000_000_000_000_000 { digits = 20 }
    let buffer = reserveTail(20)
    var rest = number
    var position = digits
    while position > 0 {
      position &-= 1
      buffer[position] = UInt8(truncatingIfNeeded: rest % 10) &+ 0x30
      rest /= 10
    }
    addReserved(id, digits)
  }
}
