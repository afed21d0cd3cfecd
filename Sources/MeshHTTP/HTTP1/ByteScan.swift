import MeshPrimitives

/// The few loops over raw bytes that everything else here is made of, sixteen bytes at a time. The only unchecked memory
/// access of the codec; each says what its caller must hold.
enum ByteScan {
  typealias Vector = SIMD16<UInt8>

  /// The operators between two vectors are single instructions; those between a vector and a scalar are loops.
  @inline(__always)
  static func all(_ byte: UInt8) -> Vector { Vector(repeating: byte) }

  // MARK: Loading

  @inline(__always)
  static func load16(_ p: UnsafePointer<UInt8>, _ i: Int) -> Vector {
    UnsafeRawPointer(p).loadUnaligned(fromByteOffset: i, as: Vector.self)
  }

  @inline(__always)
  static func load8(_ p: UnsafePointer<UInt8>, _ i: Int) -> UInt64 {
    UnsafeRawPointer(p).loadUnaligned(fromByteOffset: i, as: UInt64.self)
  }

  @inline(__always)
  static func store16(_ p: UnsafeMutablePointer<UInt8>, _ i: Int, _ vector: Vector) {
    UnsafeMutableRawPointer(p + i).storeBytes(of: vector, as: Vector.self)
  }

  /// The bytes `p[i..<i + 16]`, those at and beyond `n` being zero. Reads nothing beyond `n`. `n` is at least 8 and `i <= n`.
  @inline(__always)
  static func load16(_ p: UnsafePointer<UInt8>, _ i: Int, _ n: Int) -> Vector {
    i &+ 16 <= n ? load16(p, i) : loadTail(p, i, n)
  }

  @inline(__always)
  static func loadTail(_ p: UnsafePointer<UInt8>, _ i: Int, _ n: Int) -> Vector {
    let left = n &- i
    // Smart shifts: one by 64 or more gives zero.
    let last = load8(p, n &- 8)
    let words =
      left >= 8
      ? SIMD2<UInt64>(load8(p, i), last >> UInt64(truncatingIfNeeded: (16 &- left) &* 8))
      : SIMD2<UInt64>(last >> UInt64(truncatingIfNeeded: (8 &- left) &* 8), 0)
    return unsafeBitCast(words, to: Vector.self)
  }

  // MARK: Searching

  /// The index of the first lane that is set; 16 if none is.
  @inline(__always)
  static func firstSet(_ mask: SIMDMask<SIMD16<Int8>>) -> Int {
    let words = unsafeBitCast(mask, to: SIMD2<UInt64>.self)
    let low = words[0]
    if low != 0 { return low.trailingZeroBitCount &>> 3 }
    let high = words[1]
    return 8 &+ (high.trailingZeroBitCount &>> 3)
  }

  /// The index of the first lane that is not set; 16 if all are.
  @inline(__always)
  static func firstClear(_ mask: SIMDMask<SIMD16<Int8>>) -> Int {
    let words = unsafeBitCast(mask, to: SIMD2<UInt64>.self)
    let low = ~words[0]
    if low != 0 { return low.trailingZeroBitCount &>> 3 }
    let high = ~words[1]
    return 8 &+ (high.trailingZeroBitCount &>> 3)
  }

  /// Letters, digits and `-`: all that almost every field name is made of. For these `| 0x20` is the lower-case byte.
  @inline(__always)
  static func plainNameBytes(_ v: Vector) -> SIMDMask<SIMD16<Int8>> {
    (((v | all(0x20)) &- all(0x61)) .< all(26)) .| ((v &- all(0x30)) .< all(10)) .| (v .== all(0x2d))
  }

  /// Letters, digits, `-` and `.`: all that almost every host is made of.
  @inline(__always)
  static func plainHostBytes(_ v: Vector) -> SIMDMask<SIMD16<Int8>> {
    (((v | all(0x20)) &- all(0x61)) .< all(26)) .| ((v &- all(0x30)) .< all(10)) .| ((v &- all(0x2d)) .< all(2))
  }

  /// Control characters, HTAB among them, and DEL.
  @inline(__always)
  static func controls(_ v: Vector) -> SIMDMask<SIMD16<Int8>> { (v .< all(0x20)) .| (v .== all(0x7f)) }

  /// The first control character or DEL of `p[i..<n]`, or an index of `n` or more. `n` is at least 8, `i` at most `n`.
  @inline(__always)
  static func firstControl(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> Int {
    var i = start
    var step: Int
    repeat {
      step = firstSet(controls(load16(p, i, n)))
      i &+= step
    } while step == 16
    return i
  }

  /// The first byte of `p[i..<n]` that no field value may hold (a control character other than HTAB, or DEL; RFC 9110
  /// §5.5), or `n`. `n` is at least 8.
  @inline(__always)
  static func valueEnd(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> Int {
    var i = start
    while i < n {
      let stop = firstSet(controls(load16(p, i, n)))
      i &+= stop
      if stop == 16 { continue }
      if i >= n { return n }
      if p[i] != 0x09 { return i }
      i &+= 1
    }
    return n
  }

  /// The first byte of `p[i..<n]` that cannot be part of a request target (anything but VCHAR, and `#`), or `n`. `n` is at
  /// least 8.
  @inline(__always)
  static func targetEnd(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> Int {
    var i = start
    while i < n {
      let v = load16(p, i, n)
      let stop = firstSet(((v &- all(0x21)) .> all(0x5d)) .| (v .== all(0x23)))
      i &+= stop
      if stop < 16 { return i < n ? i : n }
    }
    return n
  }

  /// Whether the `count` bytes at `p` hold a control character other than HTAB. Sixteen bytes beyond are readable.
  @inline(__always)
  static func hasControl(_ p: UnsafeMutablePointer<UInt8>, _ count: Int) -> Bool {
    let bytes = UnsafePointer(p)
    var i = 0
    while i < count {
      let v = load16(bytes, i)
      let stop = firstSet(controls(v) .& (v .!= all(0x09)))
      if stop < 16 { return i &+ stop < count }
      i &+= 16
    }
    return false
  }

  /// The index of the first LF in `p[i..<n]`, or `n`.
  @inline(__always)
  static func lineFeed(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> Int {
    var i = start
    while i &+ 16 <= n {
      let stop = firstSet(load16(p, i) .== all(0x0a))
      if stop < 16 { return i &+ stop }
      i &+= 16
    }
    while i < n, p[i] != 0x0a { i &+= 1 }
    return i
  }

  /// Whether a field value, which holds no control characters, is `literal` in any case. `literal` is made of lower-case
  /// letters, digits and `-`: for these `| 0x20` confuses no two bytes that a value may hold.
  @inline(__always)
  static func equalsFolded(_ value: Bytes, _ literal: StaticString) -> Bool {
    let n = literal.utf8CodeUnitCount
    guard value.count == n, let p = value.baseAddress else { return false }
    let q = literal.utf8Start
    var i = 0
    while i &+ 8 <= n {
      if load8(p, i) | 0x2020_2020_2020_2020 != load8(q, i) { return false }
      i &+= 8
    }
    while i < n {
      if p[i] | 0x20 != q[i] { return false }
      i &+= 1
    }
    return true
  }

  // MARK: Character classes

  /// tchar (RFC 9110 §5.6.2).
  @inline(__always)
  static func isToken(_ byte: UInt8) -> Bool {
    // Bit i: byte i. !#$%&'*+-. and digits; then ^_`|~ and letters.
    isMember(byte, 0x03ff_6cfa_0000_0000, 0x57ff_ffff_c7ff_fffe)
  }

  @inline(__always)
  static func isMember(_ byte: UInt8, _ low: UInt64, _ high: UInt64) -> Bool {
    byte < 0x80 && ((byte < 0x40 ? low : high) &>> UInt64(byte & 63)) & 1 != 0
  }

  static func isToken(_ bytes: Bytes) -> Bool { bytes.count > 0 && bytes.allSatisfy { isToken($0) } }

  @inline(__always)
  static func isTarget(_ byte: UInt8) -> Bool { byte &- 0x21 <= 0x5d && byte != 0x23 }

  static func isTarget(_ bytes: Bytes) -> Bool {
    guard let p = bytes.baseAddress else { return true }
    if bytes.count < 8 { return bytes.allSatisfy { isTarget($0) } }
    return targetEnd(p, 0, bytes.count) == bytes.count
  }

  @inline(__always)
  static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

  @inline(__always)
  static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  /// The value of a hexadecimal digit; nil for other bytes.
  @inline(__always)
  static func hexValue(_ byte: UInt8) -> UInt8? {
    if byte &- 0x30 < 10 { return byte &- 0x30 }
    let letter = (byte | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : nil
  }

  /// The lower-case digit for 0...15.
  @inline(__always)
  static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 &+ value : 0x57 &+ value }

  // MARK: Copying

  /// Copies `n` bytes in blocks: up to 15 bytes more are read and written, which both sides must allow. `n` may be 0. A
  /// destination before an overlapping source is fine.
  @inline(__always)
  static func copyBlocks(_ to: UnsafeMutablePointer<UInt8>, _ from: UnsafePointer<UInt8>, _ n: Int) {
    if n > 96 {
      UnsafeMutableRawPointer(to).copyMemory(from: UnsafeRawPointer(from), byteCount: n)
      return
    }
    var i = 0
    while i < n {
      store16(to, i, load16(from, i))
      i &+= 16
    }
  }
}
