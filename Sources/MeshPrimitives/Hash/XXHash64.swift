/// xxHash with 64 bits (Collet 2014), for choices that several programs have to make alike: the same bytes give the same
/// number everywhere. Not for secrets, and not against people who choose what is hashed.
public enum XXHash64 {
  private static let prime1: UInt64 = 0x9e37_79b1_85eb_ca87
  private static let prime2: UInt64 = 0xc2b2_ae3d_27d4_eb4f
  private static let prime3: UInt64 = 0x1656_67b1_9e37_79f9
  private static let prime4: UInt64 = 0x85eb_ca77_c2b2_ae63
  private static let prime5: UInt64 = 0x27d4_eb2f_1656_67c5

  /// - Parameter seed: another seed gives unrelated numbers.
  public static func hash(_ bytes: Bytes, seed: UInt64 = 0) -> UInt64 {
    let raw = UnsafeRawBufferPointer(bytes)
    var offset = 0
    var hash: UInt64
    if raw.count >= 32 {
      var lanes = (
        seed &+ prime1 &+ prime2, seed &+ prime2, seed, seed &- prime1
      )
      repeat {
        lanes.0 = round(lanes.0, raw.word(at: offset))
        lanes.1 = round(lanes.1, raw.word(at: offset &+ 8))
        lanes.2 = round(lanes.2, raw.word(at: offset &+ 16))
        lanes.3 = round(lanes.3, raw.word(at: offset &+ 24))
        offset &+= 32
      } while raw.count - offset >= 32
      hash = lanes.0.rotated(1) &+ lanes.1.rotated(7) &+ lanes.2.rotated(12) &+ lanes.3.rotated(18)
      for lane in [lanes.0, lanes.1, lanes.2, lanes.3] {
        hash = (hash ^ round(0, lane)) &* prime1 &+ prime4
      }
    } else {
      hash = seed &+ prime5
    }
    hash &+= UInt64(raw.count)
    while raw.count - offset >= 8 {
      hash = (hash ^ round(0, raw.word(at: offset))).rotated(27) &* prime1 &+ prime4
      offset &+= 8
    }
    if raw.count - offset >= 4 {
      let half = UInt64(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
      hash = (hash ^ (half &* prime1)).rotated(23) &* prime2 &+ prime3
      offset &+= 4
    }
    while offset < raw.count {
      hash = (hash ^ (UInt64(raw[offset]) &* prime5)).rotated(11) &* prime1
      offset &+= 1
    }
    hash = (hash ^ (hash >> 33)) &* prime2
    hash = (hash ^ (hash >> 29)) &* prime3
    return hash ^ (hash >> 32)
  }

  private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
    (lane &+ word &* prime2).rotated(31) &* prime1
  }
}

extension UnsafeRawBufferPointer {
  /// Eight bytes, the least significant first. They must lie within the buffer.
  @inline(__always)
  func word(at offset: Int) -> UInt64 { UInt64(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
}

extension UInt64 {
  @inline(__always)
  fileprivate func rotated(_ bits: UInt64) -> UInt64 { (self &<< bits) | (self &>> (64 &- bits)) }
}
