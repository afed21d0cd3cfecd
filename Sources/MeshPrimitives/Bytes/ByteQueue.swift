/// A first-in-first-out run of bytes in one contiguous block: what a socket did not take yet, or a head that is not
/// complete. Empty, it owns no memory. Its first block comes from a `BufferPool`; a larger one from the allocator.
///
/// Confined to one thread. Call `clear(_:)` before dropping it, so that the block returns to the pool.
public struct ByteQueue: ~Copyable {
  private var base: UnsafeMutablePointer<UInt8>?
  private var capacity: UInt32 = 0
  private var start: UInt32 = 0
  private var end: UInt32 = 0

  @inline(__always)
  public init() {}

  deinit { base?.deallocate() }

  /// Bytes waiting.
  @inline(__always)
  public var count: Int { Int(end &- start) }

  @inline(__always)
  public var isEmpty: Bool { end == start }

  /// The bytes waiting; valid until the next mutation.
  @inline(__always)
  public var bytes: Bytes { Bytes(start: base.map { UnsafePointer($0 + Int(start)) }, count: count) }

  /// Room for at least `size` more bytes at the tail; write there, then call `commit`.
  @inline(__always)
  public mutating func reserve(_ size: Int, _ pool: BufferPool) -> UnsafeMutablePointer<UInt8> {
    if let base, Int(capacity &- end) >= size { return base + Int(end) }
    return makeRoom(size, pool)
  }

  /// Adds the first `size` bytes of the last `reserve`d room.
  @inline(__always)
  public mutating func commit(_ size: Int) { end += UInt32(truncatingIfNeeded: size) }

  /// Adds a copy of `bytes`.
  @inline(__always)
  public mutating func append(_ bytes: Bytes, _ pool: BufferPool) {
    guard bytes.count > 0, let source = bytes.baseAddress else { return }
    reserve(bytes.count, pool).update(from: source, count: bytes.count)
    commit(bytes.count)
  }

  /// Drops the first `size` bytes; gives the block back when nothing is left.
  @inline(__always)
  public mutating func drop(_ size: Int, _ pool: BufferPool) {
    start += UInt32(truncatingIfNeeded: size)
    if start == end { clear(pool) }
  }

  /// Drops everything and gives the block back.
  @inline(__always)
  public mutating func clear(_ pool: BufferPool) {
    guard let base else { return }
    if Int(capacity) == BufferPool.blockSize { pool.recycle(base) } else { base.deallocate() }
    self.base = nil
    capacity = 0
    start = 0
    end = 0
  }

  @inline(never)
  private mutating func makeRoom(_ size: Int, _ pool: BufferPool) -> UnsafeMutablePointer<UInt8> {
    let waiting = count
    if let base, Int(capacity) >= waiting + size, Int(start) >= waiting {
      base.update(from: base + Int(start), count: waiting)
      start = 0
      end = UInt32(truncatingIfNeeded: waiting)
      return base + waiting
    }
    let wanted = waiting + size
    let newCapacity = wanted <= BufferPool.blockSize ? BufferPool.blockSize : max(wanted, Int(capacity) * 2)
    precondition(newCapacity <= Int(UInt32.max), "a byte queue holds at most 4 GiB")
    let block = newCapacity == BufferPool.blockSize ? pool.take() : .allocate(capacity: newCapacity)
    if let base {
      block.update(from: base + Int(start), count: waiting)
      if Int(capacity) == BufferPool.blockSize { pool.recycle(base) } else { base.deallocate() }
    }
    base = block
    capacity = UInt32(newCapacity)
    start = 0
    end = UInt32(truncatingIfNeeded: waiting)
    return block + waiting
  }
}
