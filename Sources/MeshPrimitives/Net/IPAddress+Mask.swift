extension IPAddress {
  /// The first `bits` bits of the address, the others zero; `bits` is at most the address's length.
  public func masked(bits: Int) -> (address: IPAddress, bits: Int) {
    if family == .v4 {
      let kept = min(max(bits, 0), 32)
      let mask = kept == 0 ? 0 : UInt32.max << UInt32(32 - kept)
      return (IPAddress(v4: UInt32(truncatingIfNeeded: low) & mask), kept)
    }
    let kept = min(max(bits, 0), 128)
    func mask(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : bits >= 64 ? .max : .max << UInt64(64 - bits) }
    return (IPAddress(v6: high & mask(kept), low & mask(kept - 64), scope: 0), kept)
  }
}
