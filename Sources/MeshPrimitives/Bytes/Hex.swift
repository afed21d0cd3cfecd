/// Hexadecimal digits, eight at a time in one register.
public enum Hex {
  /// The eight lower-case digits of `value`, the first digit in the lowest byte: stored little-endian they read in order.
  @inlinable @inline(__always)
  public static func digits(_ value: UInt32) -> UInt64 {
    var x = UInt64(value.byteSwapped)
    // Spread the bytes to 16-bit lanes, then the nibbles to bytes.
    x = (x | (x << 16)) & 0x0000_ffff_0000_ffff
    x = (x | (x << 8)) & 0x00ff_00ff_00ff_00ff
    x = ((x >> 4) & 0x000f_000f_000f_000f) | ((x & 0x000f_000f_000f_000f) << 8)
    return spelled(x)
  }

  /// Nibbles, one to a byte, as digits. A nibble over 15 gives no digit.
  @inlinable @inline(__always)
  static func spelled(_ nibbles: UInt64) -> UInt64 {
    let overNine = ((nibbles &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
    return nibbles &+ 0x3030_3030_3030_3030 &+ overNine &* 39
  }

  /// Writes 16 lower-case digits.
  @inlinable @inline(__always)
  public static func write(_ value: UInt64, into buffer: UnsafeMutablePointer<UInt8>) {
    let raw = UnsafeMutableRawPointer(buffer)
    raw.storeBytes(of: digits(UInt32(truncatingIfNeeded: value >> 32)).littleEndian, as: UInt64.self)
    raw.storeBytes(of: digits(UInt32(truncatingIfNeeded: value)).littleEndian, toByteOffset: 8, as: UInt64.self)
  }

  /// Reads 16 digits.
  /// - Parameters:
  ///   - digits: at least 16 readable bytes.
  ///   - value: set to the number; unspecified if the result is false.
  ///   - upperCase: whether `A`–`F` are digits too.
  /// - Returns: whether all 16 bytes are digits.
  @inlinable @inline(__always)
  public static func read(_ digits: UnsafePointer<UInt8>, into value: inout UInt64, upperCase: Bool = false) -> Bool {
    let raw = UnsafeRawPointer(digits)
    var first = UInt64(littleEndian: raw.loadUnaligned(as: UInt64.self))
    var second = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    if upperCase {
      first |= (first >> 1) & 0x2020_2020_2020_2020
      second |= (second >> 1) & 0x2020_2020_2020_2020
    }
    let high = nibbles(first)
    let low = nibbles(second)
    // Spelling the nibbles again finds every byte that is not a digit, but for letters whose nibble exceeds 15.
    let wrong = (spelled(high) ^ first) | (spelled(low) ^ second) | ((high | low) & 0xf0f0_f0f0_f0f0_f0f0)
    value = UInt64(packed(high)) << 32 | UInt64(packed(low))
    return wrong == 0
  }

  @inlinable @inline(__always)
  static func nibbles(_ digits: UInt64) -> UInt64 {
    (digits & 0x0f0f_0f0f_0f0f_0f0f) &+ ((digits >> 6) & 0x0101_0101_0101_0101) &* 9
  }

  @inlinable @inline(__always)
  static func packed(_ nibbles: UInt64) -> UInt32 {
    var x = ((nibbles & 0x000f_000f_000f_000f) << 4) | ((nibbles >> 8) & 0x000f_000f_000f_000f)
    x = (x | (x >> 8)) & 0x0000_ffff_0000_ffff
    return UInt32(truncatingIfNeeded: x | (x >> 16)).byteSwapped
  }
}
