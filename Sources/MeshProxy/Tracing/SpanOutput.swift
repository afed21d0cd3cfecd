import MeshPrimitives

/// Where spans are written: bytes that grow at the tail, in memory that is kept from batch to batch. Confined to the worker.
final class SpanOutput {
  private var base: UnsafeMutablePointer<UInt8>
  private var capacity: Int
  /// Bytes written.
  private(set) var count = 0

  init(capacity: Int = 16 * 1024) {
    self.capacity = capacity
    base = .allocate(capacity: capacity)
  }

  deinit { base.deallocate() }

  /// What was written; valid until more is.
  var bytes: Bytes { Bytes(start: base, count: count) }

  func removeAll() { count = 0 }

  /// Takes back everything behind the first `count` bytes.
  func truncate(to count: Int) { self.count = min(count, self.count) }

  /// Room for `size` more bytes at the tail: write there, then `commit`.
  @inline(__always)
  func reserve(_ size: Int) -> UnsafeMutablePointer<UInt8> {
    if capacity &- count < size { grow(size) }
    return base + count
  }

  @inline(__always)
  func commit(_ size: Int) { count &+= size }

  /// A byte that was written before.
  @inline(__always)
  subscript(index: Int) -> UInt8 {
    get { base[index] }
    set { base[index] = newValue }
  }

  @inline(never)
  private func grow(_ size: Int) {
    let needed = max(count + size, capacity * 2)
    let block = UnsafeMutablePointer<UInt8>.allocate(capacity: needed)
    block.update(from: base, count: count)
    base.deallocate()
    base = block
    capacity = needed
  }

  @inline(__always)
  func append(_ byte: UInt8) {
    reserve(1).pointee = byte
    count &+= 1
  }

  @inline(__always)
  func append(_ bytes: Bytes) {
    guard let source = bytes.baseAddress else { return }
    Bytes.copyExactly(reserve(bytes.count), source, bytes.count)
    count &+= bytes.count
  }

  @inline(__always)
  func append(_ literal: StaticString) { append(Bytes(literal)) }

  /// A number in decimal.
  func append(decimal number: UInt64) {
    let room = reserve(20)
    count &+= DecimalDigits.write(number, into: room)
  }
}

/// Numbers in decimal, in memory that is there.
enum DecimalDigits {
  /// - Parameter buffer: room for 20 bytes.
  /// - Returns: how many bytes were written.
  @inline(__always)
  static func write(_ number: UInt64, into buffer: UnsafeMutablePointer<UInt8>) -> Int {
    var length = 1
    var bound: UInt64 = 10
    while length < 20, number >= bound {
      length += 1
      if length == 20 { break }
      bound &*= 10
    }
    var rest = number
    var place = length
    repeat {
      place -= 1
      buffer[place] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    } while place > 0
    return length
  }
}
