/// A fast generator of random numbers (xoshiro256**, Blackman and Vigna 2018): identifiers, load balancing, jitter.
/// Not for secrets. The program seeds it from the kernel's entropy; a test seeds it with a constant.
///
/// A value: confined to whoever owns it (one per worker).
public struct Random: RandomNumberGenerator {
  @usableFromInline var a: UInt64
  @usableFromInline var b: UInt64
  @usableFromInline var c: UInt64
  @usableFromInline var d: UInt64

  /// - Parameter seed: 256 random bits. The all-zero state, from which the generator would never leave, is replaced.
  public init(seed: (UInt64, UInt64, UInt64, UInt64)) {
    (a, b, c, d) = seed
    if a | b | c | d == 0 { self = Random(seed: 0) }
  }

  /// - Parameter seed: any number; expanded by SplitMix64, so that near seeds give unrelated sequences.
  public init(seed: UInt64) {
    var state = seed
    func split() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }
    a = split()
    b = split()
    c = split()
    d = split()
  }

  /// 64 random bits.
  @inlinable @inline(__always)
  public mutating func next() -> UInt64 {
    let scrambled = b &* 5
    let result = ((scrambled << 7) | (scrambled >> 57)) &* 9
    let t = b << 17
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = (d << 45) | (d >> 19)
    return result
  }

  /// A number in `0 ..< bound` by multiplication (Lemire 2019, without the rejection step: for a `bound` under 2³² the
  /// bias is under 2⁻³²). `bound` 0 gives 0.
  @inlinable @inline(__always)
  public mutating func below(_ bound: UInt64) -> UInt64 {
    next().multipliedFullWidth(by: bound).high
  }
}
