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

  /// Memory of its own only where `capacity` is not zero.
  private var base: UnsafeMutablePointer<UInt8>
  private var capacity = 0
  /// Bytes written.
  public private(set) var count = 0
  /// The time stamp of the second last asked for, and which second that was.
  private let stamp: UnsafeMutablePointer<UInt8>
  private var stampSecond: UInt64 = .max

  public init() {
    stamp = .allocate(capacity: 32)
    base = stamp
  }

  deinit {
    if capacity > 0 { base.deallocate() }
    stamp.deallocate()
  }

  /// What was written; valid until the next mutation.
  public var bytes: Bytes { Bytes(start: base, count: count) }

  /// Forgets what was written and keeps the memory.
  public mutating func removeAll() { count = 0 }

  /// Gives the memory with what was written away; nil if nothing was.
  mutating func takeChunk(lines: Int) -> AccessLogChunk? {
    guard count > 0 else { return nil }
    let chunk = AccessLogChunk(base: base, capacity: capacity, count: count, lines: lines)
    base = stamp
    capacity = 0
    count = 0
    return chunk
  }

  /// Takes the memory of a chunk over, to write from its beginning.
  mutating func adopt(_ chunk: AccessLogChunk) {
    if capacity > 0 { base.deallocate() }
    base = chunk.base
    capacity = chunk.capacity
    count = 0
  }

  // MARK: Writing

  /// Room for `size` more bytes at the tail: write there, then `commit`.
  @inline(__always)
  mutating func reserve(_ size: Int) -> UnsafeMutablePointer<UInt8> {
    if capacity &- count >= size { return base + count }
    return grow(size)
  }

  @inline(__always)
  mutating func commit(_ size: Int) { count &+= size }

  @inline(never)
  private mutating func grow(_ size: Int) -> UnsafeMutablePointer<UInt8> {
    let needed = max(count + size, capacity * 2, Self.blockSize)
    let block = UnsafeMutablePointer<UInt8>.allocate(capacity: needed)
    if capacity > 0 {
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

  /// Appends `length` bytes, most often few: 16 are read in any case.
  @inline(__always)
  mutating func appendText(_ source: UnsafePointer<UInt8>, _ length: Int) {
    let target = UnsafeMutableRawPointer(reserve(length &+ 16))
    let source = UnsafeRawPointer(source)
    target.storeBytes(of: source.loadUnaligned(as: Vector.self), as: Vector.self)
    if length > 16 { (target + 16).copyMemory(from: source + 16, byteCount: length &- 16) }
    commit(length)
  }

  /// Appends a number in decimal digits.
  @inline(__always)
  mutating func append(decimal value: UInt64) {
    if value < 10 {
      append(0x30 &+ UInt8(truncatingIfNeeded: value))
    } else if value < 1_000 {
      appendFewDigits(UInt32(truncatingIfNeeded: value))
    } else {
      appendDigits(value)
    }
  }

  /// Two or three digits, which most status codes, durations and sizes are.
  @inline(__always)
  private mutating func appendFewDigits(_ value: UInt32) {
    var target = reserve(4)
    let isLong = value >= 100
    target.pointee = 0x30 &+ UInt8(truncatingIfNeeded: value / 100)
    if isLong { target += 1 }
    target[0] = 0x30 &+ UInt8(truncatingIfNeeded: value / 10 % 10)
    target[1] = 0x30 &+ UInt8(truncatingIfNeeded: value % 10)
    commit(isLong ? 3 : 2)
  }

  private mutating func appendDigits(_ value: UInt64) {
    // From the last digit to the first, at the end of what was reserved; then to where it belongs.
    let target = reserve(40)
    var rest = value
    var at = 40
    repeat {
      at &-= 1
      target[at] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    } while rest > 0
    target.update(from: target + at, count: 40 &- at)
    commit(40 &- at)
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

  @inline(__always) private static var ones: UInt64 { 0x0101_0101_0101_0101 }
  @inline(__always) private static var harmless: UInt64 { 0x6161_6161_6161_6161 }

  /// Has a bit of 0x80… set if any of the eight bytes must not be written as it is. (Comparing vectors would be fewer
  /// operations, but the compiler takes them apart here, byte by byte.)
  @inline(__always)
  private static func escapes(_ x: UInt64) -> UInt64 {
    let quote = x ^ (ones &* 0x22)
    let backslash = x ^ (ones &* 0x5c)
    // Above 0x7e; below 0x20; the two characters. Each is exact for whether there is one.
    return x | (x &+ ones) | ((x &- (ones &* 0x20)) & ~x) | ((quote &- ones) & ~quote)
      | ((backslash &- ones) & ~backslash)
  }

  @inline(__always)
  private static func needsEscape(_ first: UInt64, _ second: UInt64) -> Bool {
    (escapes(first) | escapes(second)) & (ones &* 0x80) != 0
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
        let first = source.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        let second = source.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self)
        if Self.needsEscape(first, second) { return appendBytewise(bytes) }
        target.storeBytes(of: first, toByteOffset: offset, as: UInt64.self)
        target.storeBytes(of: second, toByteOffset: offset &+ 8, as: UInt64.self)
        at &+= 16
      }
    } else if length >= 8 {
      let back = length &- 8
      let head = source.loadUnaligned(as: UInt64.self)
      let tail = source.loadUnaligned(fromByteOffset: back, as: UInt64.self)
      if Self.needsEscape(head, tail) { return appendBytewise(bytes) }
      target.storeBytes(of: head, as: UInt64.self)
      target.storeBytes(of: tail, toByteOffset: back, as: UInt64.self)
    } else if length >= 4 {
      let back = length &- 4
      let head = source.loadUnaligned(as: UInt32.self)
      let tail = source.loadUnaligned(fromByteOffset: back, as: UInt32.self)
      if Self.needsEscape(UInt64(head) << 32 | UInt64(tail), Self.harmless) { return appendBytewise(bytes) }
      target.storeBytes(of: head, as: UInt32.self)
      target.storeBytes(of: tail, toByteOffset: back, as: UInt32.self)
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
