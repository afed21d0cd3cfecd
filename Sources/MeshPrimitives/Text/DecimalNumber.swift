/// Plain decimal numbers in bytes.
public enum DecimalNumber {
  /// The number that `bytes` spell, digits only; nil for anything else, and for what is over 2⁶³.
  public static func parse(_ bytes: Bytes) -> UInt64? {
    guard bytes.count > 0, bytes.count <= 19 else { return nil }
    var result: UInt64 = 0
    for byte in bytes {
      guard byte &- 0x30 < 10 else { return nil }
      result = result &* 10 &+ UInt64(byte &- 0x30)
    }
    return result
  }
}
