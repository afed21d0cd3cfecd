import MeshPrimitives

/// Where lines are formatted: bytes that grow at the tail and are kept from line to line, so that a line allocates
/// nothing. Confined to one thread.
///
/// What peers said goes through `appendEscaped`, so that nobody outside can end a line or a quoted field: `"`, `\`, control
/// characters and every byte above 0x7e become `\xHH` (two upper-case digits), as nginx does by default. Envoy writes
/// them as they are.
public struct SubstitutionOutput: ~Copyable {
  /// The memory the first line brings with it: a block that is handed over at 64 KiB, and room for the line that fills it.
  static let blockSize = 68 * 1024

  private var base: UnsafeMutablePointer<UInt8>?
  private var capacity = 0
  /// Bytes written.
  public private(set) var count = 0
  /// The time stamp of the second last asked for, and which second that was.
  private let stamp: UnsafeMutablePointer<UInt8>
  private var stampSecond: UInt64 = .max

  public init() { stamp = .allocate(capacity: 32) }

  deinit {
    base?.deallocate()
    stamp.deallocate()
  }

  /// What was written; valid until the next mutation.
  public var bytes: Bytes { Bytes(start: base.map { UnsafePointer($0) }, count: count) }

  /// Forgets what was written and keeps the memory.
  public mutating func removeAll() { count = 0 }

  /// Gives the memory with what was written away; nil if nothing was.
  mutating func takeChunk(lines: Int) -> AccessLogChunk? {
    guard let base, count > 0 else { return nil }
    let chunk = AccessLogChunk(base: base, capacity: capacity, count: count, lines: lines)
    self.base = nil
    capacity = 0
    count = 0
    return chunk
  }

  /// Takes the memory of a chunk over, to write from its beginning.
  mutating func adopt(_ chunk: AccessLogChunk) {
    base?.deallocate()
    base = chunk.base
    capacity = chunk.capacity
    count = 0
  }

  // MARK: Writing

  /// Room for `size` more bytes at the tail: write there, then `commit`.
  @inline(__always)
  mutating func reserve(_ size: Int) -> UnsafeMutablePointer<UInt8> {
    if let base, capacity &- count >= size { return base + count }
    return grow(size)
  }

  @inline(__always)
  mutating func commit(_ size: Int) { count &+= size }

  @inline(never)
  private mutating func grow(_ size: Int) -> UnsafeMutablePointer<UInt8> {
    let needed = max(count + size, capacity * 2, Self.blockSize)
    let block = UnsafeMutablePointer<UInt8>.allocate(capacity: needed)
    if let base {
      block.update(from: base, count: count)
      base.deallocate()
    }
    base = block
    capacity = needed
    return block + count
  }

  @inline(__always)
  mutating func append(_ byte: UInt8) {
    reserve(1).pointee = byte
    commit(1)
  }

  /// Appends bytes as they are.
  @inline(__always)
  mutating func append(_ bytes: Bytes) {
    guard let source = bytes.baseAddress else { return }
    reserve(bytes.count).update(from: source, count: bytes.count)
    commit(bytes.count)
  }

  @inline(__always)
  mutating func append(_ literal: StaticString) { append(Bytes(literal)) }

  /// Appends `length` bytes of a run in blocks of 16; up to 15 bytes behind the run are read as well.
  @inline(__always)
  mutating func appendBlocks(_ source: UnsafePointer<UInt8>, _ length: Int) {
    let target = UnsafeMutableRawPointer(reserve(length &+ 16))
    let source = UnsafeRawPointer(source)
    var at = 0
    while at < length {
      target.storeBytes(
        of: source.loadUnaligned(fromByteOffset: at, as: Vector.self), toByteOffset: at, as: Vector.self)
      at &+= 16
    }
    commit(length)
  }

  /// Appends a number in decimal digits.
  @inline(__always)
  mutating func append(decimal value: UInt64) {
    if value < 10 { append(0x30 &+ UInt8(truncatingIfNeeded: value)) } else { appendDigits(value) }
  }

  private mutating func appendDigits(_ value: UInt64) {
    var length = 1
    var bound: UInt64 = 10
    // 10^19 is the last power of ten that fits.
    while length < 20, value >= bound {
      length &+= 1
      bound = length == 20 ? .max : bound &* 10
    }
    let target = reserve(20)
    var rest = value
    var at = length
    while at > 0 {
      at &-= 1
      target[at] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    commit(length)
  }

  /// Appends an address with its port (`127.0.0.1:80`, `[::1]:80`, a path) or without.
  mutating func append(_ address: SocketAddress, port: Bool) {
    if let path = address.unixPath { return appendEscaped(path) }
    let target = reserve(SocketAddress.maximumText)
    commit(port ? address.writeTextWithPort(into: target) : address.writeText(into: target))
  }

  /// Appends 16 lower-case hexadecimal digits.
  mutating func append(hex value: UInt64) {
    Hex.write(value, into: reserve(16))
    commit(16)
  }

  /// Appends a time in UTC as `2026-11-22T03:10:01.774Z`.
  /// - Parameter wallClock: nanoseconds since 1970.
  @inline(__always)
  mutating func append(timeStamp wallClock: UInt64) {
    let second = wallClock / 1_000_000_000
    if second != stampSecond { writeStamp(second) }
    let milliseconds = UInt32(truncatingIfNeeded: wallClock % 1_000_000_000) / 1_000_000
    let target = UnsafeMutableRawPointer(reserve(32))
    let source = UnsafeRawPointer(stamp)
    target.storeBytes(of: source.loadUnaligned(as: Vector.self), as: Vector.self)
    target.storeBytes(of: source.loadUnaligned(fromByteOffset: 8, as: Vector.self), toByteOffset: 8, as: Vector.self)
    let digits = (target + 20).assumingMemoryBound(to: UInt8.self)
    digits[0] = 0x30 &+ UInt8(truncatingIfNeeded: milliseconds / 100)
    digits[1] = 0x30 &+ UInt8(truncatingIfNeeded: milliseconds / 10 % 10)
    digits[2] = 0x30 &+ UInt8(truncatingIfNeeded: milliseconds % 10)
    commit(ISO8601.length)
  }

  @inline(never)
  private mutating func writeStamp(_ second: UInt64) {
    // Divided out of 64 bits of nanoseconds, so that a thousand times as much fits.
    ISO8601.write(unixMilliseconds: Int64(second * 1_000), into: stamp)
    stampSecond = second
  }

  // MARK: What peers said

  private typealias Vector = SIMD16<UInt8>

  /// Whether any of the 16 bytes must not be written as it is.
  @inline(__always)
  private static func needsEscape(_ v: Vector) -> Bool {
    let mask = ((v &- 0x20) .> 0x5e) .| (v .== 0x22) .| (v .== 0x5c)
    let words = unsafeBitCast(mask, to: SIMD2<UInt64>.self)
    return words[0] | words[1] != 0
  }

  @inline(__always)
  private static func needsEscape(_ byte: UInt8) -> Bool { byte &- 0x20 > 0x5e || byte == 0x22 || byte == 0x5c }

  /// Appends what a peer said; see above. Copies and looks in one pass.
  @inline(__always)
  mutating func appendEscaped(_ bytes: Bytes) {
    guard let start = bytes.baseAddress else { return }
    let length = bytes.count
    let source = UnsafeRawPointer(start)
    let target = UnsafeMutableRawPointer(reserve(length))
    if length >= 16 {
      // The last block overlaps the one before it.
      var at = 0
      while at < length {
        let offset = min(at, length &- 16)
        let v = source.loadUnaligned(fromByteOffset: offset, as: Vector.self)
        if Self.needsEscape(v) { return appendBytewise(bytes) }
        target.storeBytes(of: v, toByteOffset: offset, as: Vector.self)
        at &+= 16
      }
    } else if length >= 8 {
      let back = length &- 8
      let head = source.loadUnaligned(as: UInt64.self)
      let tail = source.loadUnaligned(fromByteOffset: back, as: UInt64.self)
      if Self.needsEscape(unsafeBitCast(SIMD2(head, tail), to: Vector.self)) { return appendBytewise(bytes) }
      target.storeBytes(of: head, as: UInt64.self)
      target.storeBytes(of: tail, toByteOffset: back, as: UInt64.self)
    } else {
      return appendBytewise(bytes)
    }
    commit(length)
  }

  /// Appends text that a peer may have had a hand in.
  mutating func appendEscaped(_ text: String) {
    var text = text
    text.withUTF8 { appendEscaped($0) }
  }

  private mutating func appendBytewise(_ bytes: Bytes) {
    let target = reserve(bytes.count &* 4)
    var at = 0
    for byte in bytes {
      if Self.needsEscape(byte) {
        target[at] = 0x5c
        target[at &+ 1] = 0x78
        target[at &+ 2] = Self.upperCaseDigit(byte >> 4)
        target[at &+ 3] = Self.upperCaseDigit(byte & 15)
        at &+= 4
      } else {
        target[at] = byte
        at &+= 1
      }
    }
    commit(at)
  }

  private static func upperCaseDigit(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 0x30 &+ nibble : 0x37 &+ nibble }
}
