import MeshPrimitives

/// A hash of bytes that grows byte by byte, so that one walk over a path gives the hash of each of its prefixes (FNV-1a).
struct RollingHash {
  private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  @inline(__always)
  mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
}

/// An immutable map from byte strings to small integers with open addressing. The keys come from configuration, so a
/// peer can neither choose them nor make probing slow: a probe run is as long as the configured keys make it.
struct ByteKeyTable: Sendable {
  private struct Slot {
    var hash: UInt64 = 0
    var offset: UInt32 = 0
    var length: UInt32 = 0
    /// `UInt32.max`: the slot is free.
    var value = UInt32.max
  }

  private var slots: [Slot] = []
  private var bytes: [UInt8] = []
  private var shift: UInt64 = 63
  let count: Int

  /// - Parameters:
  ///   - keys: distinct; key `i` has the value `i`. At most 2³¹.
  ///   - fromEnd: hash the keys from their last byte to their first.
  init(_ keys: [[UInt8]], fromEnd: Bool = false) {
    count = keys.count
    guard !keys.isEmpty else { return }
    var capacity = 2
    while capacity < keys.count * 2 {
      capacity *= 2
      shift -= 1
    }
    slots = [Slot](repeating: Slot(), count: capacity)
    for (value, key) in keys.enumerated() {
      var hash = RollingHash()
      if fromEnd { for byte in key.reversed() { hash.add(byte) } } else { for byte in key { hash.add(byte) } }
      var position = home(hash)
      while slots[position].value != .max { position = (position + 1) & (slots.count - 1) }
      slots[position] = Slot(
        hash: hash.value, offset: UInt32(bytes.count), length: UInt32(key.count), value: UInt32(value))
      bytes += key
    }
  }

  var isEmpty: Bool { count == 0 }

  /// The value of `key`, whose hash the caller has; -1 if there is none.
  /// - Parameter ignoringCase: the keys are in lower case, and so was what `hash` was computed from.
  @inline(__always)
  func find(_ hash: RollingHash, _ key: Bytes, ignoringCase: Bool) -> Int {
    guard count > 0 else { return -1 }
    var position = home(hash)
    while true {
      let slot = slots[position]
      if slot.value == .max { return -1 }
      if slot.hash == hash.value, Int(slot.length) == key.count {
        let equal = bytes.withUnsafeBufferPointer { bytes in
          let stored = bytes.slice(Int(slot.offset), Int(slot.length))
          return ignoringCase ? key.equalsIgnoringCase(stored) : key.equals(stored)
        }
        if equal { return Int(slot.value) }
      }
      position = (position + 1) & (slots.count - 1)
    }
  }

  @inline(__always)
  private func home(_ hash: RollingHash) -> Int {
    Int(truncatingIfNeeded: (hash.value &* 0x9e37_79b9_7f4a_7c15) >> shift)
  }
}
