import MeshPrimitives

/// Where formats are filled in: bytes that grow at the tail and are kept from use to use, so that a line allocates
/// nothing. Confined to one thread.
///
/// What peers said goes through `appendEscaped`; `escaping` says what that does.
public struct SubstitutionOutput: ~Copyable {
  /// What `appendEscaped` does to bytes that could be taken for something else where the output is read.
  public enum Escaping: UInt8, Sendable {
    /// For lines of text: nobody outside can end a line or a quoted field. `"`, `\`, control characters and every byte
    /// above 0x7e become `\xHH` (two upper-case digits), as nginx does by default. Envoy writes them as they are.
    case log
    /// For JSON strings: `"`, `\` and control characters become JSON's escapes. Text that is no UTF-8 is read as
    /// Latin-1 (`\u00e9`), as Envoy does, so that the line is JSON whatever peers send.
    case json
    /// Nothing.
    case none
  }

  /// The memory the first line brings with it: a block that is handed over at 64 KiB, and room for the line that fills it.
  static let blockSize = 68 * 1024

  public var escaping = Escaping.log
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

  private typealias Vector = SIMD16<UInt8>

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

  // MARK: Taking back

  /// Forgets what was written beyond the first `count` bytes.
  @inline(__always)
  mutating func truncate(to count: Int) { self.count = min(self.count, count) }

  /// The byte written last; 0 if there is none.
  var last: UInt8 { count > 0 ? base[count - 1] : 0 }
}
