/// MurmurHash2 with 64 bits (Appleby 2008), as the GNU C++ library's `std::hash` has it: what older consistent hashing
/// was made with.
public enum MurmurHash2 {
  private static let multiplier: UInt64 = 0xc6a4_a793_5bd1_e995

  /// - Parameter seed: by default that of `std::hash`.
  public static func hash(_ bytes: Bytes, seed: UInt64 = 0xc70f_6907) -> UInt64 {
    let raw = UnsafeRawBufferPointer(bytes)
    var hash = seed ^ (UInt64(raw.count) &* multiplier)
    let whole = raw.count & ~7
    var offset = 0
    while offset < whole {
      hash = (hash ^ (mix(raw.word(at: offset) &* multiplier) &* multiplier)) &* multiplier
      offset &+= 8
    }
    if offset < raw.count {
      var rest: UInt64 = 0
      for index in stride(from: raw.count - 1, through: offset, by: -1) { rest = rest << 8 | UInt64(raw[index]) }
      hash = (hash ^ rest) &* multiplier
    }
    return mix(mix(hash) &* multiplier)
  }

  private static func mix(_ value: UInt64) -> UInt64 { value ^ (value >> 47) }
}
