/// The generator MT19937 (Matsumoto and Nishimura 1998): for sequences that have to be the same in every program, given
/// the same seed. Has 2.5 KB of state; `Random` is for everything else.
public struct MersenneTwister {
  private var state: [UInt32]
  private var next = 624

  public init(seed: UInt32) {
    state = [seed]
    state.reserveCapacity(624)
    var last = seed
    for index in 1..<UInt32(624) {
      last = 1_812_433_253 &* (last ^ (last >> 30)) &+ index
      state.append(last)
    }
  }

  /// 32 bits.
  public mutating func number() -> UInt32 {
    if next == 624 { turn() }
    var word = state[next]
    next += 1
    word ^= word >> 11
    word ^= (word << 7) & 0x9d2c_5680
    word ^= (word << 15) & 0xefc6_0000
    return word ^ (word >> 18)
  }

  /// A number in `0 ..< bound`, every one as likely. `bound` is at least 1.
  public mutating func number(below bound: UInt32) -> UInt32 {
    let width = (UInt64(1) << 32) / UInt64(bound)
    while true {
      let candidate = UInt64(number()) / width
      if candidate < UInt64(bound) { return UInt32(truncatingIfNeeded: candidate) }
    }
  }

  private mutating func turn() {
    for index in 0..<624 {
      let word = (state[index] & 0x8000_0000) | (state[(index + 1) % 624] & 0x7fff_ffff)
      state[index] = state[(index + 397) % 624] ^ (word >> 1) ^ (word & 1 == 0 ? 0 : 0x9908_b0df)
    }
    next = 0
  }
}
